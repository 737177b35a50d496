import errno
import os
import signal
import struct
import subprocess
import sys
import tarfile
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
import pytest
from make_job import GREEN, PHOTO, PHOTO_FOUND, Job, found, picture, png
from make_model import COLOURS, SCORE, constant_model, ops, prepared
from make_run import SETTINGS
from test_job_settings import AD
from yolo.cli import detect
from yolo.detector import detector, pipeline, steps
from yolo.detector import job as job_module
from yolo.detector.steps import Output
from yolo.model import engine_openvino
from yolo.model.info import EmbeddedNms, load_info
from yolo.share import attempt, contents, fsio
from yolo.share.errors import YoloError
from yolo.share.journal import read_records
from yolo.share.layout import PASSES, Share, image_key
from yolo.share.records import Entry, Record, settings_digest
from yolo.share.settings import read_digest
from yolo.vision import draw, nms
from yolo.vision.decode import decode_photo

pytestmark = pytest.mark.usefixtures("outside_a_pool")


def test_an_engine_of_one_size_is_made_for_the_size_that_is_asked_for(tmp_path, monkeypatch):
    # As OpenVINO has to be for INT8 models on some processors.
    monkeypatch.setattr(engine_openvino, "_int8_needs_static", lambda _: True)
    job = Job(tmp_path, {"a.png": png(PHOTO)})
    assert job.settings["imgsz"] == 160
    assert load_info(job.model).imgsz == (64, 64)
    assert job.work() == 0
    # At 64 pixels they would be off.
    assert found(job.record("a.png")) == PHOTO_FOUND


def test_a_job_leaves_a_record_a_label_file_and_a_picture_for_each_image(tmp_path, capsys):
    job = Job(
        tmp_path, {"a.png": png(PHOTO), "street 1/Fußgänger.PNG": png(picture(320, 160, ((10, 30, 60, 90), GREEN)))}
    )
    assert job.work() == 0
    record = job.record("a.png")
    assert found(record) == PHOTO_FOUND
    assert (record.width, record.height, record.error) == (160, 120, None)
    entry = job.entries[0]
    assert (record.key, record.path, record.size) == (entry.key, "a.png", entry.size)
    assert (record.size, record.mtime_ns) == (entry.size, entry.mtime_ns)
    assert record.settings_digest == settings_digest(job.settings)
    assert (record.job, record.host) == ("s001-c00000", os.uname().nodename)
    assert list(record.times) == ["read_ms", "infer_ms", "draw_ms", "write_ms"]
    assert all(value > 0 for value in record.times.values())
    assert job.results()["labels/a.png.txt"] == b"0 0.375 0.333333 0.25 0.333333 0.75\n2 0.75 0.666667 0.25 0.5 0.75\n"
    annotated = job.annotated("a.png")
    expected = draw.draw(
        PHOTO.copy(), np.float32([box for _, box in PHOTO_FOUND]), np.float32([SCORE] * 2), np.array([0, 2]), COLOURS
    )
    np.testing.assert_array_equal(annotated, expected)
    other = job.record("street 1/Fußgänger.PNG")
    assert (found(other), other.width, other.height) == ([(1, [10, 30, 60, 90])], 160, 320)
    assert job.annotated("street 1/Fußgänger.PNG").shape == (320, 160, 3)
    assert capsys.readouterr().out.startswith("s001-c00000: 2 images, 0 failed, ")


def test_nothing_found_is_a_result_too(tmp_path):
    job = Job(tmp_path, {"a.png": png(picture(50, 50))})
    assert job.work() == 0
    assert job.record("a.png").detections == ()
    assert job.record("a.png").error is None
    assert job.results()["labels/a.png.txt"] == b""
    np.testing.assert_array_equal(job.annotated("a.png"), picture(50, 50))


def test_a_job_reports_itself_and_its_progress(tmp_path):
    start = time.time()
    job = Job(tmp_path, {"a.png": png(PHOTO), "b.png": b"no picture", "c.png": png(PHOTO)}, threads=1)
    assert job.work() == 0
    report, progress = job.report, job.progress
    assert (report.submission, report.chunk, report.images, report.failed) == ("s001", "c00000", 3, 1)
    assert (report.threads, report.cpus) == (1, len(os.sched_getaffinity(0)))
    assert list(report.seconds) == ["start", "read", "infer", "draw", "write"]
    assert start - report.start < report.seconds["start"] < report.end - report.start
    assert report.start < start < report.end  # this process began before
    assert report.versions["openvino"] == ov.__version__
    assert report.versions["opencv"] == cv2.__version__
    assert report.cpu_model
    assert (progress.done, progress.total, progress.failed) == (3, 3, 1)
    assert progress.updated >= start
    total = sum(record.times["infer_ms"] for record in (job.record("a.png"), job.record("c.png")))
    assert report.seconds["infer"] == pytest.approx(total / 1000, abs=0.001)


def test_pictures_are_not_drawn_where_nobody_wants_them(tmp_path):
    job = Job(tmp_path, {"a.png": png(PHOTO)}, save_images=False)
    assert job.work() == 0
    assert list(job.results()) == ["labels/a.png.txt"]
    assert found(job.record("a.png")) == PHOTO_FOUND
    assert list(job.record("a.png").times) == ["read_ms", "infer_ms", "write_ms"]


def claiming(data: bytes, width: int, height: int) -> bytes:
    """A PNG whose header claims another size."""
    header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


BAD = {
    "empty.jpg": (b"", "empty: the file has zero bytes"),
    "text.jpg": (b"hello\n", "not an image: text"),
    "cut.png": (png(PHOTO)[:-20], "truncated PNG: "),
    "huge.png": (claiming(png(PHOTO), 10_000, 10_001), "too large: 10000x10001 is 100.0 megapixels, the limit is 100;"),
}


def test_an_image_that_cannot_be_used_is_named_and_the_others_are_done(tmp_path, capfd):
    files = {"a.png": png(PHOTO)} | {name: data for name, (data, _) in BAD.items()} | {"z.png": png(PHOTO)}
    job = Job(tmp_path, files)
    gone = replace(job.entries[0], index=9, key=image_key("gone.png"), path="gone.png", label="gone.png.txt")
    job.entries.append(gone)
    job.write_chunk()
    assert job.work() == 0
    for name, (_, reason) in {**BAD, "gone.png": (b"", "unreadable: the file vanished")}.items():
        record = job.record(name)
        assert record.error.startswith(reason)
        assert (record.detections, record.width) == ((), 0)
        assert record.container == ""
    assert found(job.record("a.png")) == found(job.record("z.png")) == PHOTO_FOUND
    assert (job.report.images, job.report.failed) == (7, 5)


def test_an_odd_image_is_done_with_a_warning_and_its_annotated_image_stands_under_the_name_of_its_entry(tmp_path):
    done, data = cv2.imencode(".jpg", PHOTO, (cv2.IMWRITE_JPEG_QUALITY, 100))
    assert done
    job = Job(tmp_path, {"key": data.tobytes()[:-2], "b.png": png(PHOTO)})
    job.entries[0] = replace(job.entries[0], image="key.jpg")
    job.write_chunk()
    assert job.work() == 0
    record = job.record("key")
    assert found(record) == PHOTO_FOUND
    assert record.warning.startswith("the JPEG has no end-of-image marker")
    assert job.record("b.png").warning is None
    assert job.annotated("key.jpg").shape == PHOTO.shape
    assert sorted(job.results()) == ["images/b.png", "images/key.jpg", "labels/b.png.txt", "labels/key.txt"]


def test_boxes_of_a_picture_that_was_scaled_down_are_in_pixels_of_the_original(tmp_path, monkeypatch):
    large = cv2.resize(PHOTO, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    done, data = cv2.imencode(".jpg", large, (cv2.IMWRITE_JPEG_QUALITY, 100))
    assert done
    monkeypatch.setattr(
        steps,
        "decode_photo",
        lambda data, **more: decode_photo(data, **more, max_pixels=PHOTO.shape[0] * PHOTO.shape[1]),
    )
    job = Job(tmp_path, {"a.jpg": data.tobytes()})
    assert job.work() == 0
    record = job.record("a.jpg")
    assert (record.width, record.height) == (320, 240)
    assert found(record) == [(index, [2 * side for side in box]) for index, box in PHOTO_FOUND]
    assert record.warning == "320x240 pixels: detected and drawn at 1/2 of its size"


def test_an_engine_that_fails_on_one_picture_fails_that_picture(tmp_path):
    job = Job(tmp_path, {"a.png": png(picture(56, 56)), "b.png": png(picture(64, 64)), "c.png": png(picture(56, 56))})
    images = ops.parameter([1, 3, -1, -1], np.float32)
    # Fails where the number of pixels is no multiple of seven.
    none = ops.multiply(ops.reshape(ops.reduce_max(images, [1]), np.array([1, 7, -1]), False), np.float32(0))
    prepared(ov.Model([none], [images]), job.model, stride=8)
    fsio.write_json(job.run.settings, job.settings | {"imgsz": 56})
    # Letterboxed to 56 x 56 all of them: a smaller one in a rectangle of 48 x 56, 384 x 7.
    fsio.write_bytes(job.inputs / "b.png", png(picture(44, 64)))
    assert job.work() == 0
    assert job.record("b.png").error is None
    fsio.write_bytes(job.inputs / "b.png", png(picture(64, 64)))
    fsio.write_json(job.run.settings, job.settings | {"imgsz": 64})
    assert job.work() == 0
    assert job.record("b.png").error.startswith("OpenVINO failed: ")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (MemoryError(), "too large: not enough memory in this slot"),
        (
            cv2.error("OpenCV(4.14.0) x.cpp:1:\n error: (-4:Insufficient memory)"),
            "OpenCV failed: OpenCV(4.14.0) x.cpp:1: error",
        ),
    ],
)
def test_a_picture_that_needs_more_than_there_is(tmp_path, monkeypatch, error, text):
    def fail(*_: object) -> None:
        raise error

    job = Job(tmp_path, {"a.png": png(PHOTO)})
    monkeypatch.setattr(detector, "letterbox", lambda *_, **__: fail())
    assert job.work() == 0
    assert job.record("a.png").error.startswith(text)


def test_a_bug_is_not_taken_for_a_bad_picture(tmp_path, monkeypatch):
    job = Job(tmp_path, {"a.png": png(PHOTO)})
    monkeypatch.setattr(detector, "letterbox", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        job.work()
    assert not job.run_pass.records_dir.exists()
    assert job.reports() == []


def test_limits_of_the_model_itself_are_said_once(tmp_path, capfd):
    job = Job(tmp_path, {"a.png": png(PHOTO), "b.png": png(PHOTO)}, conf=0.1)
    raw = np.float32([[[20, 10, 40, 30, 0.5, 1]]])
    prepared(constant_model(raw, (60, 80)), job.model, layout=nms.END_TO_END, nms=EmbeddedNms(0.25, None, 300))
    fsio.write_json(job.run.settings, job.settings | {"imgsz": 0})
    assert job.work() == 0
    assert found(job.record("a.png")) == [(1, [40, 20, 80, 60])]
    assert capfd.readouterr().err.count("warning: conf=0.1: the model itself drops scores up to 0.25") == 1


def test_a_second_attempt_does_nothing_again(tmp_path):
    job = Job(tmp_path, {"a.png": png(PHOTO), "b/c.png": png(PHOTO)})
    job.work()
    before = job.state()
    assert job.work() == 0
    assert job.state() == before
    assert len(before) == 2
    assert (job.progress.done, job.report.images) == (2, 2)


def rewrite(job: Job, change: Callable[[str], str]) -> None:
    """Change the record of a.png where it stands; its journal keeps its date."""
    path = job.run_pass.records(job.submission, job.chunk, 1)
    dates = path.stat().st_atime_ns, path.stat().st_mtime_ns
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(change(line) if '"path":"a.png"' in line else line for line in lines))
    os.utime(path, ns=dates)


def cut(job: Job) -> None:
    rewrite(job, lambda line: line[:-10])


def zeros(job: Job) -> None:
    rewrite(job, lambda line: line[:60] + "\0" * 40 + line[100:])


def lose(job: Job) -> None:
    rewrite(job, lambda _: "")


def fail(job: Job) -> None:
    rewrite(job, lambda _: replace(job.record("a.png"), error="truncated", detections=()).to_json() + "\n")


def change_file(job: Job) -> None:
    job.entries[1] = job.put(1, "a.png", png(picture(120, 160, ((0, 0, 40, 40), GREEN))))
    job.write_chunk()


def change_settings(job: Job) -> None:
    rewrite(job, lambda _: replace(job.record("a.png"), settings_digest="0" * 16).to_json() + "\n")


@pytest.mark.parametrize("spoil", [cut, zeros, lose, fail, change_file, change_settings])
def test_what_has_no_good_record_is_done_again_and_nothing_else(tmp_path, spoil):
    # The last, so that a record that is cut short takes no other with it.
    job = Job(tmp_path, {"b.png": png(PHOTO), "a.png": png(PHOTO)})
    job.work()
    before = job.state()
    spoil(job)
    assert job.work() == 0
    after = job.state()
    expected = {"records/s001-c00000-2.jsonl", "containers/s001-c00000-2.tar"}
    assert {name for name in after if after[name] != before.get(name)} == expected
    record, entry = job.record("a.png"), job.entries[1]
    assert (record.error, record.size, record.mtime_ns) == (None, entry.size, entry.mtime_ns)
    assert record.settings_digest == settings_digest(job.settings)
    assert found(record) == ([(1, [0, 0, 40, 40])] if spoil is change_file else PHOTO_FOUND)


def test_the_float_pass_of_an_int8_run_detects_with_the_model_before_quantising(tmp_path):
    weights = Share(tmp_path).weights(SETTINGS["weights_id"])
    # Another model stands in for the quantised one: it finds nothing.
    prepared(constant_model(np.zeros((1, 7, 16), np.float32), None), weights.int8("1"), names=COLOURS)
    int8 = {"precision": "int8", "model_dir": str(weights.int8("1"))}
    job = Job(tmp_path, {"a.png": png(PHOTO)}, pass_name="float", **int8)
    assert job.work() == 0
    assert found(job.record("a.png")) == PHOTO_FOUND
    # It is there for its detections alone.
    assert list(job.results()) == ["labels/a.png.txt"]
    digests = {name: read_digest(job.run, name) for name in PASSES}
    assert job.record("a.png").settings_digest == digests["float"] != digests["parallel"] == digests["single"]
    own = Job(tmp_path, {"a.png": png(PHOTO)}, **int8)
    assert own.work() == 0
    assert found(own.record("a.png")) == []


def test_a_good_image_that_became_bad_leaves_no_old_results(tmp_path):
    job = Job(tmp_path, {"a.png": png(PHOTO)})
    job.work()
    job.entries[0] = job.put(0, "a.png", b"spoilt")
    job.write_chunk()
    assert job.work() == 0
    assert job.record("a.png").error == "not an image: text"
    assert job.results() == {}


def records(journal):
    return [Record.from_json(line) for line in journal.read_bytes().splitlines() if line.startswith(b'{"key":')]


def test_a_record_is_written_once_the_disk_has_what_it_names(tmp_path, monkeypatch):
    job = Job(tmp_path, {f"b/{i}.png": png(PHOTO) for i in range(3)})
    monkeypatch.setattr(attempt, "FLUSH_SECONDS", 0.0)
    container, journal = job.run_pass.container("s001-c00000-1.tar"), job.run_pass.records("s001", "c00000", 1)
    flushed = []
    fsync = os.fsync

    def poll(file):
        fsync(file)
        flushed.append((os.path.basename(os.readlink(f"/proc/self/fd/{file}")), container.stat().st_size))
        ends = [max(sum(r.image_at), sum(r.label_at)) for r in records(journal)]
        durable = max((size for name, size in flushed if name == container.name), default=0)
        assert all(end <= durable for end in ends)

    monkeypatch.setattr(os, "fsync", poll)
    assert job.work() == 0
    assert [name for name, _ in flushed] == [container.name, journal.name] * 3
    assert list(job.run_pass.root.rglob(".tmp-*")) == []
    # Any tar reads it.
    with tarfile.open(container) as tar:
        expected = [(f"labels/b/{i}.png.txt", f"images/b/{i}.png") for i in range(3)]
        assert tar.getnames() == [name for both in expected for name in both]
        assert sorted(job.results()) == sorted(tar.getnames())


def test_a_full_share_stops_the_job_and_keeps_what_is_done(tmp_path, monkeypatch):
    job = Job(tmp_path, {f"{i}.png": png(PHOTO) for i in range(5)})
    monkeypatch.setattr(attempt, "FLUSH_SECONDS", 0.0)
    write = os.write

    def full(file, data):
        if b"labels/2.png.txt" in bytes(data):
            # Half of it is there.
            write(file, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(
        YoloError, match=r"cannot read or write results: No space left on device: .*; free space on the"
    ):
        job.work()
    assert sorted(job.results()) == ["images/0.png", "images/1.png", "labels/0.png.txt", "labels/1.png.txt"]
    assert found(job.record("1.png")) == PHOTO_FOUND
    assert list(read_records(job.run_pass, [image_key("2.png")])) == [None]
    assert job.reports() == []
    before = job.state()
    monkeypatch.setattr(os, "write", write)
    assert job.work() == 0
    assert job.report.images == 5
    assert before.items() <= job.state().items()
    assert len(job.results()) == 10
    assert (job.annotated("2.png") == job.annotated("0.png")).all()


def test_what_the_share_lost_after_it_took_it_is_named_by_no_record(tmp_path, monkeypatch):
    job = Job(tmp_path, {f"{i}.png": png(PHOTO) for i in range(5)})
    monkeypatch.setattr(attempt, "FLUSH_SECONDS", 0.0)
    fsync, told = os.fsync, []

    def lost(file):
        # As NFS does: once.
        if not told and os.readlink(f"/proc/self/fd/{file}").endswith(".tar"):
            told.append(file)
            raise OSError(errno.EIO, "Input/output error")
        fsync(file)

    monkeypatch.setattr(os, "fsync", lost)
    with pytest.raises(YoloError, match="Input/output error"):
        job.work()
    assert job.results() == {}


def test_a_share_that_fills_up_in_the_journal_stops_the_job_and_keeps_what_is_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(attempt, "FLUSH_SECONDS", 0.0)
    job = Job(tmp_path, {f"{i}.png": png(PHOTO) for i in range(5)})
    write = os.write

    def full(file, data):
        if b'"path":"2.png"' in bytes(data):
            return write(file, data[:-50])
        if len(data) == 50:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(YoloError, match=r"No space left on device: .*; free space on the"):
        job.work()
    assert found(job.record("1.png")) == PHOTO_FOUND
    assert list(read_records(job.run_pass, [image_key("2.png")])) == [None]
    assert job.reports() == []
    monkeypatch.setattr(os, "write", write)
    assert job.work() == 0
    assert [found(job.record(f"{i}.png")) for i in range(5)] == [PHOTO_FOUND] * 5
    assert len(list(job.run_pass.records_dir.iterdir())) == 2


def test_a_share_that_is_gone_stops_the_job(tmp_path, monkeypatch):
    job = Job(tmp_path, {"a.png": png(PHOTO)})

    def stale(*_):
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(os, "write", stale)
    with pytest.raises(
        YoloError, match=r"Stale file handle: .*; check the share on this host, then run the same run_id"
    ):
        job.work()


def test_a_name_that_grows_too_long_for_a_file_is_no_problem_in_a_container(tmp_path):
    name = "n" * 251 + ".png"
    job = Job(tmp_path, {name: png(PHOTO), "b.png": png(PHOTO)})
    assert len(job.entries[0].label) == 259
    assert job.work() == 0
    assert found(job.record(name)) == PHOTO_FOUND
    assert job.results()[f"labels/{name}.txt"] == job.results()["labels/b.png.txt"]
    with tarfile.open(job.run_pass.container("s001-c00000-1.tar")) as tar:
        assert f"labels/{name}.txt" in tar.getnames()


def test_on_sigterm_the_image_in_work_is_finished_and_the_next_attempt_goes_on(tmp_path, monkeypatch, capfd):
    job = Job(tmp_path, {f"{i}.png": png(PHOTO) for i in range(4)})
    find = pipeline.find

    def stopped(item, detector):
        if item.entry.path == "1.png":
            os.kill(os.getpid(), signal.SIGTERM)
        find(item, detector)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(pipeline, "find", stopped)
    assert job.work() == 143
    assert signal.getsignal(signal.SIGTERM) == before
    assert sorted(job.results()) == ["images/0.png", "images/1.png", "labels/0.png.txt", "labels/1.png.txt"]
    assert found(job.record("1.png")) == PHOTO_FOUND
    assert (job.progress.done, job.progress.total) == (2, 4)
    assert "stopped by SIGTERM after 2 of 4 images" in capfd.readouterr().err
    assert job.reports() == []
    # It was no crash.
    assert not (job.run_pass.root / "inflight" / "s001-c00000").exists()
    monkeypatch.setattr(pipeline, "find", find)
    assert job.work() == 0
    assert job.report.images == 4


CRASH = """
import os, sys
from yolo.cli import detect
from yolo.detector import pipeline
step = getattr(pipeline, os.environ["STEP"])
def crash(item, *rest):
    if item.entry.path == "1.png" and item.record.error is None:
        os._exit(11)
    return step(item, *rest)
setattr(pipeline, os.environ["STEP"], crash)
sys.exit(detect.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("step", ["read", "find", "finish"])
def test_an_image_that_kills_the_process_twice_is_given_up_and_the_others_are_done(tmp_path, step):
    job = Job(tmp_path, {f"{i}.png": png(PHOTO) for i in range(3)})
    environment = os.environ | {"PYTHONPATH": str(Path(job_module.__file__).parents[2]), "STEP": step}
    codes = [
        subprocess.run([sys.executable, "-c", CRASH, *job.arguments], env=environment, check=False).returncode
        for _ in range(3)
    ]
    assert codes == [11, 11, 0]
    assert job.record("1.png").error.startswith("crashed the detector 2 times: the process died while this file was in")
    assert found(job.record("0.png")) == found(job.record("2.png")) == PHOTO_FOUND
    assert job.report.failed == 1
    assert not (job.run_pass.root / "inflight" / "s001-c00000").exists()


def test_a_copy_that_is_not_the_file_that_was_listed_is_named(tmp_path):
    job = Job(tmp_path, dict.fromkeys(("a.png", "b.png", "c.png"), png(PHOTO)))
    job.entries[0] = replace(job.entries[0], content="0f" * 16)
    job.entries[1] = replace(job.entries[1], content=contents.digest(png(PHOTO)))
    job.write_chunk()
    assert job.work() == 0
    assert job.record("a.png").error.startswith("changed: the copy on the share is not the file that was listed")
    assert [job.record(name).error for name in ("b.png", "c.png")] == [None, None]
    # Also where the manifest does not know it, for the next time.
    assert {job.record(name).content for name in ("b.png", "c.png")} == {contents.digest(png(PHOTO))}


def test_the_engine_gets_the_slots_threads(tmp_path, monkeypatch):
    job = Job(tmp_path, {"a.png": png(PHOTO)})
    (tmp_path / "ad").write_text(AD)
    monkeypatch.setenv("_CONDOR_MACHINE_AD", str(tmp_path / "ad"))
    given = []
    load = job_module.load_engine
    monkeypatch.setattr(job_module, "load_engine", lambda *a, **k: given.append(k["threads"]) or load(*a, **k))
    assert job.work() == 0
    assert given == [3]
    assert cv2.getNumThreads() == 3
    record, report = job.record("a.png"), job.report
    assert (record.host, record.slot) == (report.host, report.slot) == ("execute1.example.org", "slot1_2")
    assert (report.cpus, report.threads) == (3, 3)
    assert detect.main([*job.arguments, "--threads", "1"]) == 0
    assert given == [3, 1]


def test_a_chunk_that_is_missing_or_damaged(tmp_path):
    job = Job(tmp_path, {"a.png": png(PHOTO)})
    path, index = job.run_pass.chunks_file("s001"), job.run_pass.chunks_index("s001")
    whole = path.read_bytes()
    for damaged in (whole[:-9], b"{" * len(whole)):
        path.write_bytes(damaged)
        with pytest.raises(YoloError, match=r"chunk c00000 is damaged: .*chunks\.jsonl"):
            job.work()
    path.write_bytes(whole)
    for text in ("", "x" * 15 + "\n" + "y" * 15 + "\n"):
        index.write_text(text)
        with pytest.raises(YoloError, match=r"(no such chunk c00000|the index of the chunks is damaged): .*; run the"):
            job.work()
    path.unlink()
    with pytest.raises(YoloError, match=r"no such submission: .*chunks\.jsonl; run the same run_id again"):
        job.work()


def test_a_model_that_is_missing_says_what_to_do(tmp_path):
    job = Job(tmp_path, {"a.png": png(PHOTO)})
    (job.model / "model.json").unlink()
    with pytest.raises(
        YoloError, match=r"no prepared model: .*; run the same run_id again: the model is then prepared again"
    ):
        job.work()


def test_a_job_starts_without_torch_and_ultralytics(tmp_path):
    names = ["torch", "ultralytics", "yaml", "yolo.model.prepare", "yolo.model.selector", "yolo.cli.main"]
    code = f"import sys, yolo.detector.job; print(sorted(set({names}) & set(sys.modules)))"
    environment = {"PYTHONPATH": str(Path(job_module.__file__).parents[2]), "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_output_is_what_it_is_made_of():
    entry = Entry(0, "k", "a", "a.txt", 1, 1)
    record = Record("k", "a", 1, 1, "d")
    assert Output(entry, record) == Output(entry, record, None, None)
