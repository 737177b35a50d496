import csv
from dataclasses import replace
from types import SimpleNamespace

import pytest
from make_run import SETTINGS, make_run, put_job, put_record, restamp
from yolo.pool import plan
from yolo.results import classes, merge, table
from yolo.share import fsio, manifest
from yolo.share.containers import list_containers, read_contents
from yolo.share.errors import YoloError
from yolo.share.records import Detection, settings_digest

ODD = b'caf\xe9, "x"\r\n.jpg'.decode("utf-8", "surrogateescape")


def results(run, pass_name="parallel", submitted=None):
    summary = merge.merge(run, pass_name, submitted).summary()
    run_pass = run.get_pass(pass_name)
    predictions = fsio.read_json(run_pass.predictions)
    metrics = fsio.read_json(run_pass.metrics_json)
    with open(run_pass.metrics_csv, encoding="utf-8", errors="surrogateescape", newline="") as file:
        table = list(csv.DictReader(file))
    return summary, metrics, predictions, table


def test_an_image_without_a_record_is_missing_and_says_so(tmp_path):
    run, entries = make_run(tmp_path, ["a.jpg", "b\n.jpg", "c.txt"], skipped=("c.txt",))
    put_record(run.get_pass("parallel"), entries[0])
    merged = merge.merge(run, "parallel")
    assert merged.counts["missing"] == 1
    assert str(merged.missing_error()) == (
        "1 of 3 images have no result: b\\n.jpg; run the same run_id again: only what is missing or failed is done"
    )
    metrics = fsio.read_json(run.get_pass("parallel").metrics_json)
    assert metrics["missing"] == ["b\n.jpg"]


def test_every_line_of_the_manifest_ends_as_one_of_four(tmp_path):
    paths = ["a.jpg", "b.jpg", "c.jpg", "d.txt"]
    run, entries = make_run(tmp_path, paths, skipped=("d.txt",))
    run_pass = run.get_pass("parallel")
    put_record(run_pass, entries[0])
    put_record(run_pass, entries[1], error="truncated JPEG", detections=(), width=0, height=0)
    summary, metrics, predictions, table = results(run)
    counts = metrics["counts"]
    assert {k: counts[k] for k in ("images", "ok", "failed", "skipped", "missing")} == {
        "images": 4, "ok": 1, "failed": 1, "skipped": 1, "missing": 1,
    }  # fmt: skip
    assert metrics["failures"] == [
        {"path": "b.jpg", "status": "failed", "reason": "truncated JPEG"},
        {"path": "d.txt", "status": "skipped", "reason": "empty file: 0 bytes"},
    ]
    assert summary["failures"] == metrics["failures"]
    assert [row["status"] for row in table] == ["ok", "failed", "missing", "skipped"]
    assert [row["error"] for row in table] == ["", "truncated JPEG", "", "empty file: 0 bytes"]
    assert [row["path"] for row in table] == paths
    assert len(predictions) == 1


@pytest.mark.parametrize("change", [{"size": 1}, {"mtime_ns": 1}, {"settings_digest": "0" * 16}, {"key": "f" * 16}])
def test_a_record_of_something_else_is_none(tmp_path, change):
    run, entries = make_run(tmp_path, ["a.jpg"])
    put_record(run.get_pass("parallel"), entries[0])
    assert merge.merge(run, "parallel").counts["missing"] == 0
    if "key" in change:
        run.get_pass("parallel").records("s001", "c00000", 1).write_text("{}\n")
    else:
        put_record(run.get_pass("parallel"), entries[0], **change)
    assert merge.merge(run, "parallel").counts["missing"] == 1


def test_no_records_at_all(tmp_path):
    run, _ = make_run(tmp_path, ["a.jpg", "b.jpg"])
    summary, metrics, predictions, table = results(run)
    assert summary["missing"] == 2
    assert predictions == []
    assert len(table) == 2
    assert metrics["images_per_second"] is None
    assert metrics["times"]["wall_seconds"] is None


def test_a_record_that_appears_later_is_seen(tmp_path):
    run, entries = make_run(tmp_path, ["a.jpg"])
    run_pass = run.get_pass("parallel")
    assert merge.merge(run, "parallel").counts["missing"] == 1
    put_record(run_pass, entries[0])
    assert merge.merge(run, "parallel").counts["missing"] == 0


def test_predictions_are_cocos_results(tmp_path):
    run, entries = make_run(tmp_path, ["a b/ü.jpg"])
    put_record(
        run.get_pass("parallel"),
        entries[0],
        detections=(
            Detection(1, 0.123456789, (1.23456, 2.0, 11.98765, 4.5)),
            Detection(0, 1.0, (0.0, 0.0, 640.0, 480.0)),
        ),
    )
    _, metrics, predictions, _ = results(run)
    assert predictions == [
        {
            "image_id": 1,
            "file_name": "a b/ü.jpg",
            "category_id": 1,
            "bbox": [1.235, 2.0, 10.753, 2.5],
            "score": 0.12346,
        },
        {
            "image_id": 1,
            "file_name": "a b/ü.jpg",
            "category_id": 0,
            "bbox": [0.0, 0.0, 640.0, 480.0],
            "score": 1.0,
        },
    ]
    assert metrics["detections_per_class"] == {"cat": 1, "dog": 1}
    assert metrics["categories"] == [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]


def test_a_model_with_cocos_names_gets_cocos_ids(tmp_path):
    run, entries = make_run(tmp_path, ["a.jpg"], names=list(classes.COCO_CLASSES))
    box = (0.0, 0.0, 1.0, 1.0)
    found = tuple(Detection(c, 0.5, box) for c in (0, 11, 79))
    put_record(run.get_pass("parallel"), entries[0], detections=found)
    _, metrics, predictions, _ = results(run)
    assert [p["category_id"] for p in predictions] == [1, 13, 90]
    assert metrics["categories"][11] == {"id": 13, "name": "stop sign"}
    assert metrics["detections_per_class"] == {"person": 1, "stop sign": 1, "toothbrush": 1}


def test_names_that_cannot_be_read_do_not_stop_the_results(tmp_path):
    run, entries = make_run(tmp_path, ["a.jpg"])
    put_record(run.get_pass("parallel"), entries[0])
    settings = fsio.read_json(run.settings)
    fsio.write_json(run.settings, {**settings, "model_dir": "/nonexistent/model"})
    _, metrics, predictions, _ = results(run)
    assert predictions[0]["category_id"] == 1
    assert metrics["categories"] == []
    assert metrics["detections_per_class"] == {"1": 1}


def test_the_table_quotes_whatever_the_names(tmp_path):
    run, entries = make_run(tmp_path, [ODD])
    put_record(run.get_pass("parallel"), entries[0], error='bad, "very"\nbad', detections=())
    _, _, _, table = results(run)
    assert table[0]["path"] == ODD
    assert table[0]["error"] == 'bad, "very"\nbad'
    assert list(table[0]) == [
        "path", "status", "width", "height", "detections", "read_ms", "infer_ms", "draw_ms",
        "write_ms", "total_ms", "host", "slot", "job", "error", "warning",
    ]  # fmt: skip


def test_the_table_has_the_figures_of_each_image(tmp_path):
    run, entries = make_run(tmp_path, ["a.jpg"])
    put_record(run.get_pass("parallel"), entries[0])
    assert results(run)[3] == [
        {
            "path": "a.jpg", "status": "ok", "width": "640", "height": "480", "detections": "1",
            "read_ms": "1.0", "infer_ms": "2.0", "draw_ms": "3.0", "write_ms": "4.0",
            "total_ms": "10.0", "host": "execute1", "slot": "slot1_1", "job": "s001-c00000", "error": "", "warning": "",
        }
    ]  # fmt: skip


def test_a_warning_stands_in_the_table_and_in_the_figures(tmp_path):
    run, entries = make_run(tmp_path, ["a.jpg", "b.jpg"])
    put_record(run.get_pass("parallel"), entries[0], warning="the JPEG has no end-of-image marker")
    put_record(run.get_pass("parallel"), entries[1])
    _, metrics, _, table = results(run)
    assert [row["warning"] for row in table] == ["the JPEG has no end-of-image marker", ""]
    assert metrics["warnings"] == [
        {"path": "a.jpg", "status": "warning", "reason": "the JPEG has no end-of-image marker"}
    ]
    assert metrics["counts"]["ok"] == 2


def test_the_figures_of_a_pass(tmp_path):
    run, entries = make_run(tmp_path, [f"{i}.jpg" for i in range(8)])
    run_pass = run.get_pass("parallel")
    for item in entries:
        put_record(run_pass, item, job=f"s001-c0000{item.index % 2}")
    put_job(run_pass, chunk="c00000", start=1000, end=1010)
    put_job(run_pass, chunk="c00001", start=1002, end=1016, host="execute2", threads=2,
            versions={"python": "3.13.5", "openvino": "2025.3"})  # fmt: skip
    summary, metrics, _, _ = results(run, submitted=998.5)
    assert metrics["run_id"] == "r1"
    assert metrics["settings"]["conf"] == SETTINGS["conf"]
    assert metrics["weights"] == {"weights_id": SETTINGS["weights_id"]}
    times = metrics["times"]
    assert times["submission"] == "s001"
    assert times["wall_seconds"] == 16.0
    assert times["submit_to_start_seconds"] == 1.5
    assert times["submit_to_end_seconds"] == 17.5
    assert times["seconds"] == {
        "start": 4.0, "read": 2.0, "infer": 10.0, "draw": 2.0, "write": 2.0,
    }  # fmt: skip
    assert metrics["images_per_second"] == 0.5
    assert metrics["slots"] == [
        {"host": "execute1", "slot": "slot1_1", "jobs": 1, "images": 4, "busy_seconds": 10.0,
         "images_per_second": 0.4},
        {"host": "execute2", "slot": "slot1_1", "jobs": 1, "images": 4, "busy_seconds": 14.0,
         "images_per_second": 0.286},
    ]  # fmt: skip
    assert [job["chunk"] for job in metrics["jobs"]] == ["c00000", "c00001"]
    assert metrics["threads"] == [1, 2]
    assert metrics["cpu_models"] == ["AMD EPYC"]
    assert metrics["versions"]["python"] == ["3.13.5"]
    assert metrics["versions"]["openvino"] == ["2025.3"]
    assert (summary["images_per_second"], summary["slots"]) == (0.5, 2)


def test_where_the_time_of_a_pass_went(tmp_path):
    run, entries = make_run(tmp_path, [f"{i}.jpg" for i in range(8)])
    run_pass = run.get_pass("parallel")
    for item in entries:
        put_record(run_pass, item)
    put_job(run_pass, chunk="c00000", start=1000, end=1010)
    put_job(run_pass, chunk="c00001", start=1010, end=1013)
    put_job(run_pass, chunk="c00002", start=1002, end=1016, host="execute2")
    merge.merge(run, "parallel", 998.5, stage_seconds=7.25)
    metrics = fsio.read_json(run_pass.metrics_json)
    times = metrics["times"]
    assert [job["queue_seconds"] for job in metrics["jobs"]] == [1.5, 11.5, 3.5]
    assert times["queue_seconds"] == 16.5
    assert (times["busy_seconds"], times["idle_seconds"]) == (27.0, 2 * 16.0 - 27.0)
    assert times["stage_seconds"] == 7.25
    assert times["merge_seconds"] >= 0


def test_what_is_measured_once_stays_when_the_pass_is_merged_again(tmp_path, monkeypatch):
    run, entries = make_run(tmp_path, ["a.jpg"])
    run_pass = run.get_pass("parallel")
    put_record(run_pass, entries[0])
    put_job(run_pass)
    merge.merge(run, "parallel", 990, stage_seconds=7.25)
    before = run_pass.metrics_json.read_bytes()
    clock = SimpleNamespace(monotonic=iter([0.0, 10.0, 16.0]).__next__)
    monkeypatch.setattr(merge, "time", clock)
    merge.merge(run, "parallel")
    assert run_pass.metrics_json.read_bytes() == before
    put_job(run_pass, "s002", start=2000, end=2001)
    merge.merge(run, "parallel", 1999)
    times = fsio.read_json(run_pass.metrics_json)["times"]
    assert (times["stage_seconds"], times["merge_seconds"]) == (None, 6.0)


def test_engine_and_precision_are_what_the_jobs_were_told(tmp_path):
    run, entries = make_run(tmp_path, ["a.jpg"])
    put_record(run.get_pass("parallel"), entries[0])
    put_job(run.get_pass("parallel"))
    assert (results(run)[1]["engines"], results(run)[1]["precisions"]) == ([], [])
    fsio.write_json(run.settings, {**fsio.read_json(run.settings), "engine": "openvino", "precision": "int8"})
    metrics = results(run)[1]
    assert (metrics["engines"], metrics["precisions"]) == (["openvino"], ["int8"])


def test_how_long_images_took(tmp_path):
    run, entries = make_run(tmp_path, [f"{i:02d}.jpg" for i in range(21)])
    run_pass = run.get_pass("parallel")
    for item in entries[:20]:
        ms = float(item.index)
        put_record(run_pass, item, times={"read_ms": 1.0, "infer_ms": ms, "write_ms": 2.0})
    put_record(run_pass, entries[20], error="truncated", detections=(), times={"read_ms": 9999.0})
    metrics = results(run)[1]
    assert metrics["latency_ms"]["infer"] == {
        "count": 20, "p50": 9.5, "p90": 17.1, "p95": 18.05, "p99": 18.81, "mean": 9.5, "max": 19.0,
    }  # fmt: skip
    assert metrics["latency_ms"]["total"]["max"] == 22.0
    assert metrics["latency_ms"]["draw"] is None
    assert [row["path"] for row in metrics["slowest"]] == [f"{i:02d}.jpg" for i in range(19, 9, -1)]
    assert metrics["slowest"][0] == {
        "path": "19.jpg", "width": 640, "height": 480, "detections": 1, "host": "execute1", "slot": "slot1_1",
        "job": "s001-c00000", "total_ms": 22.0, "read_ms": 1.0, "infer_ms": 19.0, "draw_ms": None, "write_ms": 2.0,
    }  # fmt: skip


def test_what_a_pass_cost(tmp_path):
    run, entries = make_run(tmp_path, [f"{i}.jpg" for i in range(4)])
    run_pass = run.get_pass("parallel")
    for item in entries:
        put_record(run_pass, item)
    put_job(run_pass, start=1000, end=1030)
    merge.merge(run, "parallel", 995, 5, {"source": "price_per_hour", "per_hour": 1.2})
    metrics = fsio.read_json(run_pass.metrics_json)
    seconds = 5 + 35 + metrics["times"]["merge_seconds"]
    assert metrics["cost"]["seconds"] == pytest.approx(seconds)
    assert metrics["cost"]["dollars_per_1000_images"] == pytest.approx(1.2 * seconds / 3600 / 4 * 1000, abs=1e-6)
    merge.merge(run, "parallel", 995, 5)
    assert fsio.read_json(run_pass.metrics_json)["cost"] is None


def test_figures_of_a_resumed_run_cover_its_last_pass(tmp_path):
    run, entries = make_run(tmp_path, [f"{i}.jpg" for i in range(4)])
    run_pass = run.get_pass("parallel")
    for item in entries[:3]:
        put_record(run_pass, item, job="s999-c00000")
    put_job(run_pass, "s999", start=1000, end=1100)
    results(run, submitted=990)
    put_record(run_pass, entries[3], job="s1000-c00000")
    put_job(run_pass, "s1000", start=5000, end=5002, images=1)
    _, metrics, _, _ = results(run, submitted=4990)
    assert metrics["counts"]["ok"] == 4
    assert (metrics["counts"]["resumed"], metrics["counts"]["processed"]) == (3, 1)
    assert metrics["times"]["submission"] == "s1000"
    assert metrics["times"]["wall_seconds"] == 2.0
    assert metrics["times"]["submit_to_start_seconds"] == 10
    assert metrics["images_per_second"] == 0.5
    assert len(metrics["jobs"]) == 1


def test_a_pass_that_did_nothing_keeps_the_last_figures(tmp_path):
    run, entries = make_run(tmp_path, ["a.jpg"])
    run_pass = run.get_pass("parallel")
    put_record(run_pass, entries[0])
    put_job(run_pass)
    _, before, _, _ = results(run, submitted=990)
    _, after, _, _ = results(run)
    assert after == before


def test_the_time_of_another_pass_is_not_kept(tmp_path):
    run, entries = make_run(tmp_path, ["a.jpg"])
    run_pass = run.get_pass("parallel")
    put_record(run_pass, entries[0])
    put_job(run_pass)
    results(run, submitted=990)
    put_job(run_pass, "s002", start=2000, end=2001)
    assert results(run)[1]["times"]["submitted"] is None


def test_clocks_that_disagree_give_no_negative_wait(tmp_path):
    run, entries = make_run(tmp_path, ["a.jpg"])
    put_record(run.get_pass("parallel"), entries[0])
    put_job(run.get_pass("parallel"), start=1000, end=1010)
    times = results(run, submitted=1001)[1]["times"]
    assert times["submit_to_start_seconds"] is None
    assert times["submit_to_end_seconds"] == 9


def test_a_damaged_report_of_a_job_is_left_out(tmp_path):
    run, entries = make_run(tmp_path, ["a.jpg"])
    run_pass = run.get_pass("parallel")
    put_record(run_pass, entries[0])
    put_job(run_pass)
    run_pass.records("s001", "c00009", 1).write_text('{"submission":"s001","chunk":"c000')
    assert len(results(run)[1]["jobs"]) == 1


def test_the_summary_names_at_most_ten_failures(tmp_path):
    run, entries = make_run(tmp_path, [f"{i:02d}.jpg" for i in range(25)])
    for item in entries:
        put_record(run.get_pass("parallel"), item, error="truncated", detections=())
    summary, metrics, _, _ = results(run)
    assert len(summary["failures"]) == 10
    assert summary["failures_not_shown"] == 15
    assert len(metrics["failures"]) == 25


def test_a_full_disk_leaves_the_last_results(tmp_path, monkeypatch):
    run, entries = make_run(tmp_path, ["a.jpg", "b.jpg"])
    run_pass = run.get_pass("parallel")
    put_record(run_pass, entries[0])
    results(run)
    before = [p.read_bytes() for p in (run_pass.predictions, run_pass.metrics_csv, run_pass.metrics_json)]
    put_record(run_pass, entries[1])

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(table, "row", full)
    with pytest.raises(OSError, match="No space"):
        merge.merge(run, "parallel")
    after = [p.read_bytes() for p in (run_pass.predictions, run_pass.metrics_csv, run_pass.metrics_json)]
    assert after == before
    assert not list(run_pass.root.glob(".tmp-*"))


def test_a_run_without_a_manifest_is_one_clear_error(tmp_path):
    run, _ = make_run(tmp_path, ["a.jpg"])
    run.manifest.write_text("{}\n")
    restamp(run)
    with pytest.raises(YoloError, match=r"manifest\.jsonl line 1"):
        merge.merge(run, "parallel")


@pytest.mark.parametrize("left", [b"", b"one line of another run\n"])
def test_a_manifest_that_lost_its_lines_is_no_success(tmp_path, left):
    run, entries = make_run(tmp_path, ["a.jpg", "b.jpg"])
    for item in entries:
        put_record(run.get_pass("parallel"), item)
    run.manifest.write_bytes(left)
    with pytest.raises(YoloError, match=r"not the one that was sent.*expected 2 lines.*run the same run_id again"):
        merge.merge(run, "parallel")
    assert not run.get_pass("parallel").metrics_json.exists()


@pytest.mark.parametrize("paths", [[], ["a.txt"]])
def test_a_run_without_images_is_no_success(tmp_path, paths):
    run, _ = make_run(tmp_path, paths, skipped=tuple(paths))
    with pytest.raises(YoloError, match="the run has no images"):
        merge.merge(run, "parallel")


def test_settings_that_do_not_name_the_manifest_are_refused(tmp_path):
    run, _ = make_run(tmp_path, ["a.jpg"])
    fsio.write_json(run.settings, {k: v for k, v in fsio.read_json(run.settings).items() if k != "manifest"})
    with pytest.raises(YoloError, match=r"lack a value.*manifest"):
        merge.merge(run, "parallel")


def test_classes_of_one_name_are_counted_apart(tmp_path):
    run, entries = make_run(tmp_path, ["a.jpg"], names=["person", "cat", "person"])
    box = (0.0, 0.0, 1.0, 1.0)
    put_record(run.get_pass("parallel"), entries[0], detections=tuple(Detection(c, 0.5, box) for c in (0, 0, 1, 2)))
    _, metrics, _, _ = results(run)
    assert metrics["detections_per_class"] == {"person (class 0)": 2, "cat": 1, "person (class 2)": 1}
    assert sum(metrics["detections_per_class"].values()) == metrics["counts"]["detections"]


@pytest.mark.parametrize("name", ["=1+2.jpg", "+1.jpg", "-rf.jpg", "@x.jpg", "\tx.jpg", "\rx.jpg"])
def test_no_cell_of_the_table_is_a_formula(tmp_path, name):
    run, entries = make_run(tmp_path, [name])
    put_record(run.get_pass("parallel"), entries[0], error="=cmd|' /C calc'!A0", host="@host", detections=())
    _, metrics, _, table = results(run)
    assert (table[0]["path"], table[0]["error"], table[0]["host"]) == (f"'{name}", "'=cmd|' /C calc'!A0", "'@host")
    assert metrics["failures"][0]["path"] == name


def listed(run_pass):
    """The files of the results, and the containers that are there."""
    contents = [stored.path for stored in read_contents(run_pass.contents)]
    return contents, sorted(list_containers(run_pass))


def test_the_list_of_contents_names_the_files_of_what_counts(tmp_path):
    run, entries = make_run(tmp_path, ["a/a.jpg", "b/b.jpg", "c.jpg"])
    run_pass = run.get_pass("parallel")
    for item in entries:
        put_record(run_pass, item, error="truncated" if item.path == "c.jpg" else None)
    merge.merge(run, "parallel")
    assert listed(run_pass) == (
        ["images/a/a.jpg", "labels/a/a.jpg.txt", "images/b/b.jpg", "labels/b/b.jpg.txt"],
        ["s001-c00000-1.tar"],
    )
    for stored in read_contents(run_pass.contents):
        with run_pass.container(stored.container).open("rb") as container:
            content = b"".join(stored.read(container))
        assert content in (b"label", b"annotated " + stored.path.removeprefix("images/").encode())


def test_the_results_of_other_images_do_not_stay(tmp_path):
    run, entries = make_run(tmp_path, ["a/a.jpg", "b/b.jpg"])
    run_pass = run.get_pass("parallel")
    for number, item in enumerate(entries):
        put_record(run_pass, item, job=f"s001-c{number:05d}")
    merge.merge(run, "parallel")
    assert len(listed(run_pass)[1]) == 2
    # The same name again, with fewer images: there is nothing to plan.
    manifest.write(tuple(entries[:1]), run.manifest)
    assert plan.plan_submission(restamp(run), "parallel", 1).submission is None
    merge.merge(run, "parallel")
    assert listed(run_pass) == (["images/a/a.jpg", "labels/a/a.jpg.txt"], ["s001-c00000-1.tar"])
    # And with both: what is gone is done again.
    manifest.write(tuple(entries), run.manifest)
    assert plan.plan_submission(restamp(run), "parallel", 1).images == 1


def test_a_container_that_is_gone_takes_its_results_with_it(tmp_path):
    run, entries = make_run(tmp_path, ["a.jpg", "b.jpg"])
    run_pass = run.get_pass("parallel")
    put_record(run_pass, entries[0])
    put_record(run_pass, entries[1], job="s001-c00001")
    run_pass.container("s001-c00000-1.tar").unlink()
    assert merge.merge(run, "parallel").metrics["missing"] == ["a.jpg"]
    planned = plan.plan_submission(run, "parallel", 1)
    assert (planned.images, planned.done_before) == (1, 1)


def test_images_that_are_not_wanted_any_more_do_not_stay(tmp_path):
    run, entries = make_run(tmp_path, ["a.jpg"])
    run_pass = run.get_pass("parallel")
    put_record(run_pass, entries[0])
    merge.merge(run, "parallel")
    settings = {**fsio.read_json(run.settings), "save_images": False}
    fsio.write_json(run.settings, settings)
    record = put_record(run_pass, entries[0], job="s002-c00000", settings_digest=settings_digest(settings))
    path = run_pass.records("s002", "c00000", 1)
    path.write_text(replace(record, image_at=None).to_json() + "\n")
    merge.merge(run, "parallel")
    assert listed(run_pass) == (["labels/a.jpg.txt"], ["s002-c00000-1.tar"])


def test_a_label_that_is_called_otherwise_now_is_so_among_the_results(tmp_path):
    run, entries = make_run(tmp_path, ["a.jpg"])
    run_pass = run.get_pass("parallel")
    put_record(run_pass, entries[0])
    # As when a.png came to stand beside a.jpg.
    manifest.write((replace(entries[0], label="a.jpg.jpg.txt"),), run.manifest)
    merge.merge(restamp(run), "parallel")
    assert listed(run_pass)[0] == ["images/a.jpg", "labels/a.jpg.jpg.txt"]
