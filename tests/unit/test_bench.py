"""The benchmark's own arithmetic; what it measures needs its own environment and a cluster."""

import ast
import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from make_job import PHOTO
from make_model import colour_model, prepared
from yolo.pool import plan
from yolo.results import merge
from yolo.share.errors import BadImage
from yolo.share.layout import Share

from bench import __main__ as bench
from bench import candidates, image_folder, photos, plot, scale_point, stats
from bench.candidates import BenchError, Measurement
from bench.forward import share

ROOT = Path(bench.__file__).resolve().parent.parent


def test_every_other_round_runs_backwards():
    assert stats.rounds(["a", "b", "c"], 3) == [["a", "b", "c"], ["c", "b", "a"], ["a", "b", "c"]]
    with pytest.raises(ValueError, match="expected 1 or more"):
        stats.rounds(["a"], 0)


def test_medians_and_ranges():
    assert stats.summary([3.0, 1.0, 8.0]) == {"median": 3.0, "low": 1.0, "high": 8.0, "count": 3}
    with pytest.raises(ValueError, match="no values"):
        stats.summary([])


def test_a_ratio_is_taken_round_by_round():
    # The second round ran on a machine of half the speed: for the ratio that does not matter.
    assert stats.ratio([10.0, 5.0], [5.0, 2.5]) == {"median": 2.0, "low": 2.0, "high": 2.0, "count": 2}
    with pytest.raises(ValueError, match=r"shorter|longer"):
        stats.ratio([1.0, 2.0], [1.0])


@pytest.mark.parametrize(("power", "expected"), [(1, 1.0), (2, 2.0), (0, 0.0)])
def test_growth_is_the_exponent(power, expected):
    assert stats.growth({size: 0.1 * size**power for size in (10, 100, 1000)}) == pytest.approx(expected)
    assert stats.growth({10: 1.0}) is None


def test_images_are_repeated_under_different_names(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "a.jpg").write_bytes(b"a")
    (tmp_path / "in" / "deep" / "b.PNG").write_bytes(b"b")
    (tmp_path / "in" / "a.txt").write_text("no image")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.jpg").write_bytes(b"old")
    made = image_folder.replicate(tmp_path / "in", 5, tmp_path / "out")
    assert [path.read_bytes() for path in made] == [b"a", b"b", b"a", b"b", b"a"]
    assert sorted((tmp_path / "out").iterdir()) == made
    with pytest.raises(ValueError, match="no images"):
        image_folder.replicate(tmp_path / "out" / "none", 5, tmp_path / "other")


def test_passes_are_shared_evenly():
    assert share(7, 3) == [3, 2, 2]


def test_photos_are_measured_beside_forward_passes(tmp_path, monkeypatch):
    monkeypatch.setattr(photos, "HEIGHT", 480)
    monkeypatch.setattr(photos, "WIDTH", 640)
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "a.png"), PHOTO)
    prepared(colour_model(), tmp_path / "model")
    made = photos.make_photos(tmp_path / "in", 3, tmp_path / "photos")
    assert {cv2.imread(str(path)).shape for path in made} == {(480, 640, 3)}
    found = photos.measure(tmp_path / "model", "openvino", made, 160, tmp_path)
    assert list(found["cases"]) == list(photos.CASES)
    assert found["pass_ms"]["count"] == 3 * len(photos.CASES)
    assert all(case["ms"]["count"] == 3 and 0 < case["ratio"]["median"] < 1 for case in found["cases"].values())


def test_a_photo_that_fails_is_no_measurement(tmp_path):
    prepared(colour_model(), tmp_path / "model")
    (tmp_path / "a.jpg").write_bytes(cv2.imencode(".jpg", PHOTO)[1].tobytes()[:700])
    with pytest.raises(BadImage, match="truncated JPEG"):
        photos.measure(tmp_path / "model", "openvino", [tmp_path / "a.jpg"], 160, tmp_path)


def metrics(**counts):
    return {
        "run_id": "r",
        "counts": {"images": 10, "processed": 10, "failed": 0, "detections": 4, **counts},
        "times": {"wall_seconds": 5.0},
        "slots": [{"host": "execute1", "jobs": 2}, {"host": "execute2", "jobs": 3}],
        "cpu_models": ["AMD"],
        "versions": {},
    }


def test_our_figures_are_those_of_the_report():
    measurement = candidates.from_metrics(metrics(), 40.0)
    assert (measurement.rate, measurement.command_seconds) == (2.0, 40.0)
    assert (measurement.details["hosts"], measurement.details["jobs"]) == (2, 5)


@pytest.mark.parametrize("counts", [{"processed": 9}, {"failed": 1}])
def test_a_run_that_did_not_do_all_images_is_no_measurement(counts):
    with pytest.raises(BenchError, match="expected all images done"):
        candidates.from_metrics(metrics(**counts), 40.0)


def test_a_candidate_that_skips_images_is_no_measurement(tmp_path):
    (tmp_path / "a.jpg").touch()
    assert candidates._count_images(tmp_path, 1) == 1
    with pytest.raises(BenchError, match="expected 2"):
        candidates._count_images(tmp_path, 2)


def test_a_command_that_fails_is_named(tmp_path):
    with pytest.raises(BenchError, match="exit code 3"):
        candidates.run([sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "log")
    seconds, text = candidates.run([sys.executable, "-c", "print('noise'); print('{\"a\": 1}')"], tmp_path / "log")
    assert seconds > 0
    assert candidates.last_json(text) == {"a": 1}


def test_hosts_side_by_side_add_up():
    measurement = candidates.from_hosts([{"images": 100, "seconds": 5.0}, {"images": 100, "seconds": 10.0}], 20.0)
    assert measurement.rate == pytest.approx(30.0)
    assert (measurement.images, measurement.command_seconds) == (200, 20.0)


def test_the_hosts_limit_needs_a_run(capsys):
    with pytest.raises(SystemExit):
        bench.parse(["--images", "x", "--candidates", "forward_hosts,ours_1"])
    assert "name that too" in capsys.readouterr().err
    assert bench.parse(["--images", "x", "--no-cluster"]).candidates == ["forward", "predict", "ray_data"]


def test_rounds_alternate_and_end_when_the_time_is_over(capsys):
    called = []

    def runner(name):
        called.append(name)
        return Measurement(2.0, 10, 2.0)

    measurements = bench.measure_rounds({"forward": runner, "ours_2": runner}, 2, "t", bench.Clock(1))
    assert called == ["t-1-forward", "t-1-ours-2", "t-2-ours-2", "t-2-forward"]
    found = bench.summarise(measurements)
    assert found["images_per_second"]["forward"]["median"] == 5.0
    assert found["ratios"]["ours_2_of_limit"]["median"] == 1.0
    assert "speed_up_2_hosts" not in found["ratios"]
    assert len(bench.measure_rounds({"forward": runner}, 3, "t", bench.Clock(-1))["forward"]) == 1
    assert "left out" in capsys.readouterr().out


RESULTS = {
    "setup": {"rounds": 3, "images": 10, "imgsz": 640},
    "images_per_second": {"ours_2": stats.summary([1.0, 2.0, 4.0]), "forward": stats.summary([5.0])},
}


def test_bars_have_their_order_and_ranges():
    assert plot.bars(RESULTS) == [
        (plot.LABELS["forward"], 5.0, 0.0, 0.0),
        (plot.LABELS["ours_2"], 2.0, 1.0, 2.0),
    ]


def test_the_plot_names_what_it_shows(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib belongs to the benchmark's own environment")
    plot.draw(RESULTS, tmp_path / "a.svg")
    plot.draw(RESULTS, tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert "ours, 2 execute hosts" in (tmp_path / "a.svg").read_text()


def test_pretended_records_are_what_collect_takes_for_done(tmp_path):
    run = Share(tmp_path).run("scale")
    scale_point.make_run(run, 10)
    made = plan.plan_submission(run, scale_point.PASS, slots=2, chunk_size=2)
    scale_point.write_records(run, made.submission, made.chunks)
    assert merge.merge(run, scale_point.PASS).counts["ok"] == 10
    assert plan.plan_submission(run, scale_point.PASS, slots=2).images == 0


def test_a_point_of_the_scale_is_measured_with_the_package_as_it_is(tmp_path):
    # HTCondor's commands: jobs that are over at once.
    tools = {"condor_submit": "echo '7.0 - 7.3'", "condor_q": "exit 0"}
    (tmp_path / "bin").mkdir()
    for name, line in tools.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    folder = Share(tmp_path / "share").run("scale").root
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "files")}

    def step(name):
        words = [sys.executable, ROOT / "bench" / "scale_point.py", name, f"--folder={folder}"]
        words += ["--chunks=4", "--slots=2", "--limit=5"]
        done = subprocess.run(words, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    point = step("run")
    assert (point["chunks"], point["images"], point["jobs"]["ended"]) == (4, 4, 4)
    assert {"plan_seconds", "plan_megabytes", "submit_seconds"} <= point.keys()
    submit_file = next(folder.rglob("detect.sub")).read_text()
    assert "queue chunk from $(chunks)" in submit_file
    assert re.search(r"^chunks = /", submit_file, re.MULTILINE)
    step("records")
    assert step("collect").keys() == {"collect_seconds", "replan_seconds"}
    counts = json.loads(next(folder.rglob("metrics.json")).read_text())["counts"]
    assert (counts["ok"], counts["missing"]) == (4, 0)


def package_imports():
    """Return the module and the name of each import of the package in the benchmark, also within functions."""
    for path in sorted((ROOT / "bench").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "yolo":
                yield from ((path.name, node.module, alias.name) for alias in node.names)


@pytest.mark.parametrize(("file", "module", "name"), list(package_imports()))
def test_what_the_benchmark_imports_of_the_package_is_there(file, module, name):
    found = importlib.import_module(module)
    assert hasattr(found, name) or importlib.util.find_spec(f"{module}.{name}")


@pytest.mark.parametrize("module", ["forward", "model", "photos", "ray_data", "scale_point", "__main__"])
def test_commands_explain_themselves(module):
    command = [sys.executable, "-m", f"bench.{module}" if module != "__main__" else "bench", "--help"]
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'files'}"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert "--" in done.stdout


def test_a_checkout_needs_its_own_weights(capsys):
    with pytest.raises(SystemExit):
        bench.parse(["--images", "x", "--yolov5-dir", "y"])
    assert "go together" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        bench.parse(["--images", "x", "--parts", "rounds,all"])
    assert "expected some of rounds" in capsys.readouterr().err
    assert json.dumps(bench.parse(["--images", "x", "--parts", "naive"]).parts) == '["naive"]'
