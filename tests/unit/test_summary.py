import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from make_run import make_compared_run, make_run, pull, put_record
from yolo.results import merge, summary
from yolo.share.errors import YoloError

ODD = b"caf\xe9\n.jpg".decode("utf-8", "surrogateescape")


def results(tmp_path, names=("a.jpg",), classes=None, **record):
    run, entries = make_run(tmp_path, list(names), names=classes)
    for item in entries:
        put_record(run.get_pass("parallel"), item, **record)
    merge.merge(run, "parallel")
    return pull(run, tmp_path / "results")


def test_names_that_are_not_utf8_are_shown(tmp_path):
    folder = results(tmp_path, [ODD, "ü.jpg"], error="truncated", detections=())
    done = subprocess.run(
        [sys.executable, "-m", "yolo.results.summary", folder],
        env={"PYTHONPATH": str(Path(summary.__file__).parents[2]), "LC_ALL": "C", "PATH": os.environ["PATH"]},
        capture_output=True,
        check=True,
    )
    lines = done.stdout.decode().splitlines()
    assert lines[0] == "Run r1: 0 of 2 images done, 2 failed, 0 can't be images."
    assert "  failed: caf\\udce9\\n.jpg: truncated" in lines
    assert "  failed: ü.jpg: truncated" in lines


def test_all_failures_are_counted_and_twenty_are_named(tmp_path):
    text = summary.render(results(tmp_path, [f"{n:02}.jpg" for n in range(25)], error="truncated", detections=()))
    assert text.count("failed: ") == 20
    assert "... and 5 more in metrics.json" in text


def test_classes_that_are_not_named_are_counted(tmp_path):
    from yolo.share.records import Detection

    found = tuple(Detection(n, 0.5, (0.0, 0.0, 1.0, 1.0)) for n in range(11))
    text = summary.render(results(tmp_path, classes=[f"class{n:02}" for n in range(11)], detections=found))
    assert "11 detections: 1 class00, 1 class01" in text
    assert "1 class07, 3 of 3 other classes" in text


def test_a_comparison_and_notes_are_said(tmp_path):
    folder = pull(make_compared_run(tmp_path, [f"{n}.jpg" for n in range(30)]), tmp_path / "results")
    metrics = json.loads((folder / "metrics.json").read_bytes())
    (folder / "metrics.json").write_text(json.dumps({**metrics, "notes": ["the clock of execute1 is 3600 s ahead"]}))
    text = summary.render(folder)
    assert "Note: the clock of execute1 is 3600 s ahead" in text
    assert "The detections of both are identical." in text
    assert "Speed-up " in text


@pytest.mark.parametrize("content", ["", "{}", "[]"])
def test_damaged_figures_are_named(tmp_path, content):
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(YoloError, match="figures are damaged"):
        summary.render(tmp_path)
