"""The main job on the whole cluster: demo images against their labels, real photos against ultralytics' predictor."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import PROJECT, Cluster, Outcome, files, make_samples, shared

sys.path.append(str(PROJECT / "tests/reference"))
import compare_predictions

REFERENCE = PROJECT / "tests/reference/ultralytics_reference.py"
NEEDED_MAP50 = 0.8


@pytest.fixture(scope="module")
def demo(cluster: Cluster, tmp_path_factory):
    """Outcome of both passes over the demo's images, with all detections that a score needs."""
    folder = tmp_path_factory.mktemp("demo")
    images = make_samples(folder, 32)
    labels = str(folder / "labels")
    return folder, cluster.infer(images, run_id="demo", mode="compare", conf=0.001, labels=labels)


def test_every_demo_image_has_a_result(demo):
    folder, outcome = demo
    assert outcome.code == 0
    assert outcome.metrics["counts"] | {"ok": 32, "failed": 0, "missing": 0} == outcome.metrics["counts"]
    assert files(outcome.results / "images") == files(folder / "images")
    assert files(outcome.results / "labels") == files(folder / "labels")


def test_the_demo_model_finds_what_is_labelled(demo):
    folder, outcome = demo
    scored = subprocess.run(
        [
            sys.executable,
            PROJECT / "tests/reference/map50.py",
            "--predictions",
            outcome.results / "predictions.json",
            "--images",
            folder / "images",
            "--labels",
            folder / "labels",
        ],
        text=True,
        capture_output=True,
        check=True,
    )
    assert float(scored.stdout) >= NEEDED_MAP50
    # The run says so itself.
    quality = json.loads((outcome.results / "quality.json").read_bytes())
    assert quality["map50"] == pytest.approx(float(scored.stdout), abs=0.01)
    assert f"mAP50 {quality['map50']}, mAP50-95 {quality['map']}" in outcome.output
    assert "How good the detections are" in (outcome.results / "report.html").read_text()
    # Both passes have the same detections: nothing else is fetched or scored.
    assert [(other["pass"], other["identical"]) for other in quality["compared"]] == [("single", True)]
    assert set(quality["compared"][0]["difference"].values()) == {0}
    assert "on one slot: the same, difference 0" in outcome.output
    assert not (outcome.results / "predictions-single.json").exists()


def test_one_slot_and_all_slots_find_the_same(demo):
    _, outcome = demo
    comparison = json.loads((outcome.results / "compare.json").read_bytes())
    assert comparison["identical"] is True
    assert comparison["images_that_differ"] == 0
    assert comparison["single"]["slots"] == 1
    assert comparison["slots"] == 2
    assert "The detections of both are identical" in outcome.output


def test_the_report_shows_what_was_measured(demo):
    _, outcome = demo
    report = (outcome.results / "report.html").read_text()
    comparison = json.loads((outcome.results / "compare.json").read_bytes())
    assert report.count("<svg") >= 5
    for shown in (f"{comparison['speed_up']:g}", outcome.metrics["settings"]["engine"], "prediction", "person"):
        assert shown in report
    with zipfile.ZipFile(outcome.results / "results.zip") as archive:
        assert archive.read("report.html").decode() == report
    # It says what computed and why; the engines that were measured are those of the weights.
    measured = outcome.metrics["settings"]["engine_measured"]
    assert sorted(measured["ms"]) == ["onnxruntime", "openvino"]
    assert f"engine {outcome.metrics['settings']['engine']}, precision fp32 (measured on" in outcome.output


@pytest.fixture(scope="module")
def by_engine(cluster, samples, demo) -> dict[str, compare_predictions.Detections]:
    """What each engine finds in the same images with the demo's weights; one of them did the run above."""
    taken = demo[1].metrics["settings"]["engine"]
    engines = {"openvino", "onnxruntime", "torch"}
    runs = {
        engine: cluster.infer(samples, run_id=engine, engine=engine, save_images=False)
        for engine in sorted(engines - {taken})
    }
    for engine, outcome in runs.items():
        assert outcome.code == 0
        assert outcome.metrics["engines"] == [engine]
    names = files(samples)
    # It kept all that a score needs.
    conf = next(iter(runs.values())).metrics["settings"]["conf"]
    above = {
        name: [box for box in boxes if box[1] >= conf]
        for name, boxes in found(demo[1]).items()
        if name in names and boxes
    }
    nothing = {name: [] for name in names}
    return {engine: nothing | found(outcome) for engine, outcome in runs.items()} | {taken: nothing | above}


def found(outcome: Outcome) -> compare_predictions.Detections:
    return compare_predictions.read(outcome.results / "predictions.json")


def test_all_engines_find_the_same(by_engine):
    for engine in ("onnxruntime", "torch"):
        comparison = compare_predictions.compare(by_engine["openvino"], by_engine[engine], box=0.1, score=0.001)
        print(engine, comparison.report())
        assert comparison.agrees
        assert comparison.detections > 12


def by_ultralytics(cluster: Cluster, settings: dict, model: str, out: Path) -> compare_predictions.Detections:
    """What ultralytics' own predictor finds in a run's images, in one process on a host that has it.

    Args:
        cluster: The cluster.
        settings: The run's.
        model: Path of the weights on execute1.
        out: Folder to put its answer into.
    """
    cluster.send("execute1", REFERENCE, "/tmp/ultralytics_reference.py")
    cluster.on(
        "execute1",
        *("/opt/yolo/venv/bin/python", "/tmp/ultralytics_reference.py", "--out", "/tmp/reference.json"),
        *("--images", settings["input_dir"], "--model", model),
        *("--imgsz", str(max(settings["input_size"])), "--conf", str(settings["conf"]), "--iou", str(settings["iou"])),
        user="yolo",
    )
    (out / "reference.json").write_text(cluster.on("execute1", "cat", "/tmp/reference.json"))
    return compare_predictions.read(out / "reference.json")


def test_detections_on_demo_images_equal_those_of_ultralytics(cluster, demo, by_engine, tmp_path):
    cluster.send("execute1", PROJECT / "files/demo/yolov5n-demo.pt", "/tmp/demo.pt")
    # ultralytics runs the weights as they are, with torch; the run used what was exported from them.
    settings = demo[1].metrics["settings"]
    expected = by_ultralytics(cluster, settings, "/tmp/demo.pt", tmp_path)
    comparison = compare_predictions.compare(
        expected, {key: [] for key in expected} | found(demo[1]), box=0.02, score=0.0005
    )
    print(comparison.report())
    assert comparison.agrees
    assert comparison.images == 32
    assert comparison.detections > 32


def test_int8_without_enough_images_says_how_many_it_needs(cluster, samples):
    outcome = cluster.infer(samples, run_id="few", precision="int8")
    assert outcome.code != 0
    assert "12" in outcome.output
    assert "precision int8" in outcome.output


def test_int8_with_labels_says_what_it_costs_in_quality(cluster, demo):
    folder, in_float = demo
    labels = str(folder / "labels")
    outcome = cluster.infer(
        folder / "images",
        run_id="int8",
        precision="int8",
        precision_limit=1,
        conf=0.001,
        labels=labels,
        save_images="no",
    )
    assert outcome.code == 0
    assert "one pass more, with the float model" in outcome.output
    quality = json.loads((outcome.results / "quality.json").read_bytes())
    (other,) = quality["compared"]
    # The float pass finds what the run in float found.
    scored = json.loads((in_float.results / "quality.json").read_bytes())
    assert (other["pass"], other["map50"]) == ("float", pytest.approx(scored["map50"], abs=0.001))
    assert other["difference"]["map50"] == pytest.approx(quality["map50"] - other["map50"], abs=1e-4)
    assert (outcome.results / "predictions.json").read_bytes() != (
        outcome.results / "predictions-float.json"
    ).read_bytes()
    assert f"with the float model: mAP50 {other['map50']}, " in outcome.output


def test_each_execute_host_did_a_part(demo):
    _, outcome = demo
    assert {slot["host"].split(".")[0] for slot in outcome.metrics["slots"]} == {"execute1", "execute2"}


def test_detections_on_photos_equal_those_of_ultralytics(cluster, tmp_path):
    images = shared("data/coco128/images")
    weights = shared("weights/yolov5nu_int8_openvino_model")
    outcome = cluster.infer(images, weights=str(weights), run_id="coco128")
    assert outcome.code == 0
    assert outcome.metrics["counts"]["ok"] == 128
    settings = outcome.metrics["settings"]
    expected = by_ultralytics(cluster, settings, f"{settings['model_dir']}/../source", tmp_path)
    comparison = compare_predictions.compare(
        expected, {key: [] for key in expected} | found(outcome), box=0.01, score=0.001
    )
    print(comparison.report())
    assert comparison.agrees
    assert comparison.images == 128
    assert comparison.detections > 400


ALIKE = (
    "clean.jpg", "photo.heic", "heic_named.jpg", "photo.avif", "photo.gif", "photo.mpo", "photo.jfif", "no_suffix",
    "no_end_marker.jpg", "phone_trailer_no_end_marker.jpg",
)  # fmt: skip
DAMAGED = ("damaged_zeros_to_end.jpg", "damaged.webp", "damaged_lzw.tif", "damaged_deflate.tif")


def test_a_checkpoint_of_yolov5_over_photos_of_every_kind(cluster):
    images = shared("data/cases")
    weights = shared("weights/yolov5n-classic/yolov5n.pt")
    outcome = cluster.infer(images, weights=str(weights), run_id="cases", imgsz=640)
    assert outcome.code == 0
    seen: dict[str, list[str]] = {}
    names = {category["id"]: category["name"] for category in outcome.metrics["categories"]}
    for item in outcome.predictions:
        seen.setdefault(item["file_name"], []).append(names[item["category_id"]])
    # What a lossy copy does to the umbrella beside the person is between 0.2 and 0.35.
    assert {name: "person" in seen.get(name, ()) for name in ALIKE} == dict.fromkeys(ALIKE, True)
    assert sorted(seen["clean.jpg"]) == ["person", "umbrella"]
    failed = {item["path"]: item["reason"] for item in outcome.metrics["failures"] if item["status"] == "failed"}
    assert set(DAMAGED) <= set(failed)
    assert (outcome.results / "images/photo.heic.jpg").is_file()
    rows = {row["path"]: row for row in outcome.images}
    assert "no end-of-image marker" in rows["no_end_marker.jpg"]["warning"]
    assert outcome.metrics["counts"]["missing"] == 0
