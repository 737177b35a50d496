import json

import pytest
from demo import comparison
from make_run import make_compared_run

NUMBERS = {"images": 24, "wall_seconds": 12.5, "images_per_second": 1.92, "ok": 24}


def compared(**changes):
    parallel = {**NUMBERS, "wall_seconds": 7.0, "images_per_second": 3.429}
    return {
        "single": NUMBERS, "parallel": parallel, "slots": 2, "speed_up": 1.786, "efficiency": 0.893, "identical": True,
        "images_that_differ": 0, "comparable": True, **changes,
    }  # fmt: skip


def test_one_slot_stands_beside_all():
    assert comparison.table(compared()) == [
        "              one slot     2 slots",
        "images              24          24",
        "seconds           12.5           7",
        "images/s          1.92       3.429",
        "speed-up             1       1.786",
        "efficiency           1       0.893",
        "detections: identical",
    ]


def test_what_is_wrong_with_a_comparison_is_said():
    lines = comparison.table(compared(identical=False, images_that_differ=1, comparable=False, speed_up=None))
    assert lines[-2] == "detections: NOT identical in 1 image"
    assert "start a new run_id" in lines[-1]
    assert lines[4].split() == ["speed-up", "1", "not", "known"]


def test_a_results_folder_is_summed_up_with_the_place_of_its_report(tmp_path, capsys):
    run = make_compared_run(tmp_path, [f"{i}.jpg" for i in range(30)])
    assert comparison.main([str(run.root)]) == 0
    said = capsys.readouterr().out
    found = json.loads(run.compare.read_text())
    assert str(found["speed_up"]) in said
    assert said.rstrip().endswith(f"report: {run.root / 'report.html'}")


@pytest.mark.parametrize("text", [None, "{", "{}"])
def test_a_folder_without_a_comparison_is_one_line(tmp_path, text, capsys):
    if text is not None:
        (tmp_path / "compare.json").write_text(text)
    assert comparison.main([str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"error: no comparison in {tmp_path}")
