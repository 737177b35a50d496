import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from make_run import make_compared_run, make_run, pull, put_job, put_record
from yolo.results import merge, summary
from yolo.results.figures import read_figures
from yolo.share import fsio
from yolo.share.errors import YoloError
from yolo.share.records import Detection

ODD = b"caf\xe9\n.jpg".decode("utf-8", "surrogateescape")
NOT_AN_IMAGE = "not an image: text"


def results(tmp_path, names=("a.jpg",), classes=None, **record):
    run, entries = make_run(tmp_path, list(names), names=classes)
    for item in entries:
        put_record(run.get_pass("parallel"), item, **record)
    put_job(run.get_pass("parallel"), images=len(entries))
    merge.merge(run, "parallel")
    return pull(run, tmp_path / "results")


def summary_of(folder, **options):
    return summary.lines(read_figures(folder), **options)


def change(folder, **figures):
    """Give a results folder other figures."""
    metrics = fsio.read_json(folder / "metrics.json")
    fsio.write_json(folder / "metrics.json", {**metrics, **figures})
    return folder


def failure(path, status="failed", reason="truncated JPEG"):
    return {"path": path, "status": status, "reason": reason}


def test_what_a_normal_run_says(tmp_path):
    folder = results(tmp_path, ["a.jpg", "b.jpg"])
    assert summary_of(folder) == [
        "Run r1: 2 of 2 images done.",
        "Newest submission: 2 images in 10.0 s on 1 slot, 0.2 images/s.",
        "2 detections: 2 dog.",
        f"Results: {folder} (metrics.json, metrics.csv)",
    ]


def test_odd_images_are_named_with_their_warning(tmp_path):
    folder = results(tmp_path, ["a.jpg"], warning="the JPEG has no end-of-image marker")
    assert "  warning: a.jpg: the JPEG has no end-of-image marker" in summary_of(folder)


def test_names_that_are_not_utf8_are_shown(tmp_path):
    folder = results(tmp_path, [ODD, "ü.jpg"], error="truncated", detections=())
    done = subprocess.run(
        [sys.executable, "-m", "yolo", "publish", folder],
        env={"PYTHONPATH": str(Path(summary.__file__).parents[2]), "LC_ALL": "C", "PATH": os.environ["PATH"]},
        capture_output=True,
        check=True,
    )
    lines = done.stdout.decode().splitlines()
    assert lines[0] == "Run r1: 0 of 2 images done, 2 failed."
    assert "  failed: caf\\udce9\\n.jpg: truncated" in lines
    assert "  failed: ü.jpg: truncated" in lines


def test_a_repeat_that_did_nothing_says_so_and_what_the_run_holds(tmp_path):
    lines = summary_of(results(tmp_path, [f"{n}.jpg" for n in range(6)]), nothing_done=True)
    assert lines[0] == "Run r1: nothing was left to do: 6 of 6 images done."
    assert "6 detections: 6 dog." in lines
    assert not [line for line in lines if "images in" in line]


def test_a_corrupt_photo_stands_before_files_that_are_no_images(tmp_path):
    failures = [failure(f"{n}.txt", "skipped", NOT_AN_IMAGE) for n in range(30)]
    failures.insert(17, failure("x.jpg"))
    counts = {"images": 34, "ok": 3, "failed": 1, "skipped": 30, "missing": 0, "detections": 0, "processed": 4}
    lines = summary_of(change(results(tmp_path), failures=failures, counts=counts))
    assert lines[0] == "Run r1: 3 of 4 images done, 1 failed, 30 other files skipped."
    assert lines[1:3] == [
        "  failed: x.jpg: truncated JPEG",
        f"  skipped: 30 files: {NOT_AN_IMAGE} (0.txt, 1.txt, 2.txt and 27 more)",
    ]


def test_hidden_files_are_mentioned(tmp_path):
    folder = results(tmp_path)
    metrics = fsio.read_json(folder / "metrics.json")
    assert not [line for line in summary_of(folder) if "ignored" in line]
    change(folder, settings={**metrics["settings"], "ignored": 3})
    assert "  ignored: 3 hidden files and folders" in summary_of(folder)


def test_failures_of_many_reasons_are_counted_and_the_first_reasons_told(tmp_path):
    failures = [failure(f"{n:02}.jpg", reason=f"reason {n % 7}") for n in range(25)]
    lines = [line for line in summary_of(change(results(tmp_path), failures=failures)) if "failed: " in line]
    assert lines[0] == "  failed: 4 images: reason 0 (00.jpg, 07.jpg, 14.jpg and 1 more)"
    assert lines[-1] == "  failed: 9 more images for other reasons, see report.html"
    assert len(lines) == summary.FAILED


def test_a_last_reason_is_told_where_a_line_about_it_would_be_as_long(tmp_path):
    failures = [failure(f"{n}.jpg", reason=f"reason {n}") for n in range(summary.FAILED)]
    lines = [line for line in summary_of(change(results(tmp_path), failures=failures)) if "failed: " in line]
    assert lines[-1] == "  failed: 4.jpg: reason 4"


def test_classes_that_are_not_named_are_counted(tmp_path):
    found = tuple(Detection(min(n, 10), 0.5, (0.0, 0.0, 1.0, 1.0)) for n in range(12))
    lines = summary_of(results(tmp_path, classes=[f"class{n:02}" for n in range(11)], detections=found))
    (told,) = (line for line in lines if "detections: " in line)
    assert told.startswith("12 detections: 2 class10, 1 class00, 1 class01")
    assert told.endswith("1 class06, and 3 of 3 more classes, see metrics.json.")


def test_no_detections_are_said_so(tmp_path):
    assert "No detections." in summary_of(results(tmp_path, detections=()))


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    root = tmp_path_factory.mktemp("run")
    return pull(make_compared_run(root, [f"{n}.jpg" for n in range(28)]), root / "results")


def test_a_comparison_and_notes_are_said(compared, tmp_path):
    change(compared, notes=["the clock of execute1 is 3600 s ahead", "another", "and another"])
    lines = summary_of(compared)
    assert "Note: the clock of execute1 is 3600 s ahead (2 more notes in report.html)" in lines
    assert "The detections of both are identical." in lines
    assert [line for line in lines if "; 2 slots: " in line and "; speed-up " in line]


def test_detections_that_differ_are_said_so(compared):
    found = fsio.read_json(compared / "compare.json")
    before = (compared / "compare.json").read_bytes()
    fsio.write_json(
        compared / "compare.json", {**found, "identical": False, "images_that_differ": 1, "comparable": False}
    )
    lines = summary_of(compared)
    (compared / "compare.json").write_bytes(before)
    (told,) = (line for line in lines if "NOT identical" in line)
    assert told.startswith("The detections of both are NOT identical: 1 image differs, see compare.json.")
    assert "did not do the same images" in told


def test_a_summary_is_short(compared):
    change(compared, notes=["first", "second"])
    assert len(summary_of(compared)) <= 8
    failures = [failure(f"{n}.jpg", reason=f"reason {n}") for n in range(50)]
    failures += [failure(f"{n}.txt", "skipped", f"not an image: {n}") for n in range(50)]
    settings = {**fsio.read_json(compared / "metrics.json")["settings"], "ignored": 7}
    change(compared, failures=failures, settings=settings)
    lines = summary_of(compared)
    assert len(lines) == 18
    assert all(line.isprintable() for line in lines)


def test_only_what_is_there_is_named(tmp_path):
    folder = results(tmp_path)
    (folder / "labels").mkdir()
    (folder / "report.html").write_text("")
    assert summary_of(folder)[-1] == f"Results: {folder} (report.html, labels/, metrics.json, metrics.csv)"


@pytest.mark.parametrize("content", ["", "{}", "[]"])
def test_damaged_figures_are_named(tmp_path, content):
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(YoloError, match="figures are damaged"):
        summary_of(tmp_path)


def test_an_interrupted_run_says_what_has_no_result(tmp_path):
    run, entries = make_run(tmp_path, ["a.jpg", "b.jpg", "c.jpg"])
    put_record(run.get_pass("parallel"), entries[0])
    merge.merge(run, "parallel")
    folder = pull(run, tmp_path / "results")
    assert summary_of(folder)[0] == "Run r1: 1 of 3 images done, 2 without a result."
    assert json.loads((folder / "metrics.json").read_bytes())["missing"] == ["b.jpg", "c.jpg"]
