import json
from dataclasses import replace

import pytest
from make_run import DIGEST, SETTINGS, make_run, put_record
from yolo.share import records
from yolo.share.records import Detection, Entry, JobReport, Progress, Record, parse_record, settings_digest

RECORD = Record(
    key="0" * 16,
    path="a/\udce9 ü\n.jpg",
    size=5,
    mtime_ns=7,
    settings_digest="d",
    width=640,
    height=480,
    detections=(Detection(3, 0.1 + 0.2, (1 / 3, 2.0, 3.5, 1e-7)),),
    times={"read_ms": 1.25},
    host="execute1",
    slot="slot1_1",
    job="s001-c00000",
)
ENTRY = Entry(0, "0" * 16, RECORD.path, "x.txt", 5, 7)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"key": "a"}', '{"detections": [[1]]}'])
def test_what_is_no_record_is_refused(text):
    with pytest.raises(ValueError):
        Record.from_json(text)


def test_a_record_that_was_cut_short_is_refused():
    text = RECORD.to_json()
    for end in range(len(text)):
        with pytest.raises(ValueError):
            Record.from_json(text[:end])


def test_a_record_reads_back_to_the_last_bit():
    again = Record.from_json(RECORD.to_json())
    assert again == RECORD
    assert isinstance(again.detections[0], Detection)


def test_a_record_is_one_ascii_line():
    assert "\n" not in RECORD.to_json()
    assert RECORD.to_json().isascii()


def test_a_score_that_is_no_number_is_refused():
    broken = replace(RECORD, detections=(Detection(0, float("nan"), (0, 0, 1, 1)),))
    with pytest.raises(ValueError):
        broken.to_json()


def test_fields_of_a_newer_version_are_left_out():
    value = json.loads(RECORD.to_json())
    assert Record.from_json(json.dumps({**value, "new": 1})) == RECORD


def test_the_others_read_back():
    report = JobReport("s001", "c00000", "h", "slot1", 1, 1, 1.5, 2.5, {"read": 0.5}, 3)
    assert JobReport.from_json(report.to_json()) == report
    assert Progress.from_json(Progress(1, 2, 0, "h", 1.5).to_json()) == Progress(1, 2, 0, "h", 1.5)
    assert Entry.from_json(ENTRY.to_json()) == ENTRY


@pytest.mark.parametrize(
    "change",
    [
        {"conf": 0.3},
        {"iou": 0.5},
        {"imgsz": 320},
        {"classes": [0]},
        {"max_det": 10},
        {"weights_id": "f" * 16},
        {"save_images": False},
        {"engine": "onnxruntime"},
        {"precision": "bf16"},
        {"decode": "fast"},
        {"annotated_size": 1280},
    ],
)
def test_what_changes_results_changes_the_digest(change):
    assert settings_digest({**SETTINGS, **change}) != settings_digest(SETTINGS)


@pytest.mark.parametrize(
    "change",
    [
        {"run_id": "other"},
        {"mode": "compare"},
        {"threads": 4},
        {"classes": []},
        {"conf": "0.25"},
        {"imgsz": "640"},
        {"save_images": True},
        {"decode": "exact"},
        {"annotated_size": 0},
    ],
)
def test_what_does_not_change_results_does_not_change_the_digest(change):
    assert settings_digest({**SETTINGS, **change}) == settings_digest(SETTINGS)


def test_the_size_of_copies_that_are_not_drawn_does_not_count():
    bare = {**SETTINGS, "save_images": False}
    assert settings_digest({**bare, "annotated_size": 1280}) == settings_digest(bare)


def test_the_order_of_classes_does_not_count():
    first = settings_digest({**SETTINGS, "classes": [2, 0, 2]})
    assert first == settings_digest({**SETTINGS, "classes": ["0", "2"]})


def test_the_digest_is_the_same_in_every_process_and_version():
    # If this fails, every run that was begun before is done again from its start.
    many = {**SETTINGS, "classes": [7, 3, 11, 0, 42, 5]}
    assert settings_digest(many) == "7a72494b3981fb61"


def test_the_model_may_be_named_by_its_folder():
    by_folder = {k: v for k, v in SETTINGS.items() if k != "weights_id"}
    by_folder["model_dir"] = "/srv/share/weights/0123456789abcdef/model"
    assert settings_digest(by_folder) == settings_digest(SETTINGS)


def test_a_missing_setting_is_no_default():
    with pytest.raises(KeyError):
        settings_digest({k: v for k, v in SETTINGS.items() if k != "conf"})


@pytest.mark.parametrize("path", ["a.jpg", 'q".jpg', "b\\", '\\"', "ü\n\udce9", '","error":null}', ""])
def test_the_fast_way_to_read_a_record_reads_what_json_reads(tmp_path, path):
    run, entries = make_run(tmp_path, [path])
    record = put_record(
        run.get_pass("parallel"), entries[0], detections=(Detection(1, 1e-7, (-0.5, 2.0, 1e22, 4.0)),) * 2
    )
    text = record.to_json().encode()
    assert records._RECORD.fullmatch(text)
    expected = (record.key, 100, 1_000, DIGEST, False, None, "s001-c00000-1.tar")
    assert parse_record(text) == expected
    assert parse_record(json.dumps(json.loads(text)).encode()) == expected
    more = json.dumps({**json.loads(text), "later": 1, "name": "x"}, separators=(",", ":")).encode()
    assert records._RECORD.fullmatch(more)
    assert parse_record(more) == expected
    assert parse_record(replace(record, error="cut short").to_json().encode()) == (*expected[:4], True, *expected[5:])
    with_content = replace(record, content="0f" * 16).to_json().encode()
    assert records._RECORD.fullmatch(with_content)
    assert parse_record(with_content) == (*expected[:5], "0f" * 16, expected[6])
    for end in range(len(text)):
        with pytest.raises(ValueError):
            parse_record(text[:end])


@pytest.mark.parametrize("at", [40, 200, 300])
def test_zeros_that_a_lost_host_left_make_no_record(at):
    text = replace(RECORD, path="p" * 100, host="h" * 100).to_json().encode()
    with pytest.raises(ValueError):
        parse_record(text[:at] + bytes(20) + text[at + 20 :])


@pytest.mark.parametrize("key", [1, "g" * 16, "0" * 15, ""])
def test_a_record_without_a_key_is_none(key):
    with pytest.raises(ValueError, match="not a record: key"):
        parse_record(json.dumps({**json.loads(RECORD.to_json()), "key": key}).encode())
