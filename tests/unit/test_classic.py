"""Checkpoints of ultralytics/yolov5, rebuilt; most of it needs torch, which execute hosts have."""

import shutil

import numpy as np
import pytest
from compare_predictions import compare
from make_checkpoint import Values, classic, write
from make_weights import failure
from shared_data import SHARED
from yolo.detector.detector import Detector, to_detections
from yolo.detector.settings import Settings
from yolo.model.engines import load_engine
from yolo.model.export_formats import export_for
from yolo.model.prepare import prepare
from yolo.share.layout import Share
from yolo.vision import nms
from yolo.vision.decode import read_image

IMAGES = SHARED / "data" / "coco128" / "images"
WEIGHTS = SHARED / "weights" / "yolov5n-classic"


@pytest.fixture
def weights(tmp_path):
    pytest.importorskip("torch", reason="torch is only on execute hosts; the end-to-end test does this there")
    found = Share(tmp_path).weights("0" * 16)
    found.source.mkdir(parents=True)
    return found


def test_a_classic_checkpoint_runs_on_each_engine_at_any_size(weights):
    values = Values()
    write(weights.source / "best.pt", classic(values, {0: "cat", 1: "dog", 2: "cow"}), values)
    info = prepare(weights.source, "pt", weights.model)
    assert (info.names, info.stride, info.imgsz) == (("cat", "dog", "cow"), 8, (320, 320))
    assert (info.dynamic, info.layout) == (True, nms.CLASSIC)
    assert (info.source_kind, info.source_name) == ("pt", "best.pt")
    for height, width in ((320, 320), (64, 96), (96, 64)):
        image = np.random.default_rng(0).random((1, 3, height, width), np.float32)
        reference = load_engine(weights.model, info).infer(image).copy()
        # Two anchors in each cell.
        assert reference.shape == (1, 2 * (height // 8) * (width // 8), 5 + 3)
        for engine in ("onnxruntime", "torch"):
            folder = export_for(engine, weights.source, "pt", weights, info)
            found = load_engine(folder, info, engine=engine).infer(image)
            np.testing.assert_allclose(found, reference, atol=1e-3)


def test_the_head_decodes_boxes_as_it_was_published(weights):
    values = Values()
    content = classic(values)
    # Nothing but biases: all convolutions give them at each cell.
    for key, member in values.members.items():
        if len(member) > 4 * 20:
            values.members[key] = bytes(len(member))
    write(weights.source / "best.pt", content, values)
    info = prepare(weights.source, "pt", weights.model)
    found = load_engine(weights.model, info).infer(np.zeros((1, 3, 32, 64), np.float32))[0]
    s = 1 / (1 + np.exp(-np.arange(14) / 100))
    # First the first anchor (1.25 x 1.625 cells) row by row, then the second. The cell in row 2 and column 3 of 8:
    cell = 2 * 8 + 3
    first = [(2 * s[0] - 0.5 + 3) * 8, (2 * s[1] - 0.5 + 2) * 8, (2 * s[2]) ** 2 * 10, (2 * s[3]) ** 2 * 13, *s[4:7]]
    second = [(2 * s[7] + 2.5) * 8, (2 * s[8] + 1.5) * 8, (2 * s[9]) ** 2 * 16, (2 * s[10]) ** 2 * 30, *s[11:]]
    np.testing.assert_allclose(found[cell], first, rtol=1e-5)
    np.testing.assert_allclose(found[32 + cell], second, rtol=1e-5)


def test_the_average_of_a_training_is_taken_before_the_model(weights):
    values = Values()
    content = classic(values)
    content["ema"] = classic(values, ("average", "model", "names"))["model"]
    write(weights.source / "last.pt", content, values)
    assert prepare(weights.source, "pt", weights.model).names == ("average", "model", "names")


def test_a_state_that_does_not_fit_its_description_is_not_built(weights):
    values = Values()
    content = classic(values)
    content["model"].state["_modules"]["model"].state["_modules"]["1"].state["nc"] = 3
    write(weights.source / "best.pt", content, values)
    text = failure(weights.source, "pt")
    assert text.startswith("the checkpoint's network can't be rebuilt: best.pt: its head does not give 16 values")


def test_values_that_are_no_numbers(weights):
    values = Values()
    content = classic(values)
    for key, member in values.members.items():
        if len(member) > 4 * 20:
            values.members[key] = b"\xff" * len(member)
    write(weights.source / "best.pt", content, values)
    assert "a tensor holds values that are no numbers" in failure(weights.source, "pt")


def test_layers_that_do_not_fit_each_other(weights):
    values = Values()
    content = classic(values)
    content["model"].state["_modules"]["model"].state["_modules"]["1"].state["f"] = [0, 0]
    write(weights.source / "best.pt", content, values)
    assert failure(weights.source, "pt").startswith("the checkpoint's network fails: its parts do not fit each other")


@pytest.mark.skipif(
    not (IMAGES.is_dir() and WEIGHTS.is_dir()), reason="photos and weights to compare with are not there"
)
def test_a_released_checkpoint_detects_what_its_own_projects_export_detects(weights, tmp_path):
    shutil.copy(WEIGHTS / "yolov5n.pt", weights.source)
    info = prepare(weights.source, "pt", weights.model)
    assert (info.stride, info.imgsz, len(info.names), info.dynamic) == (32, (640, 640), 80, True)
    (tmp_path / "onnx").mkdir()
    shutil.copy(WEIGHTS / "yolov5n.onnx", tmp_path / "onnx")
    exported = prepare(tmp_path / "onnx", "onnx", tmp_path / "exported")
    settings = Settings(IMAGES, tmp_path, conf=0.25, iou=0.7)
    # Its own project's export has one size: square.
    ours = load_engine(weights.model, info)
    ours.dynamic = False
    theirs = load_engine(tmp_path / "exported", exported)
    detectors = Detector(exported, theirs, settings), Detector(info, ours, settings)
    names = sorted(path.name for path in IMAGES.iterdir())[:8]
    expected, found = (
        {
            name: [[d.class_id, d.score, *d.box] for d in to_detections(detector.detect(read_image(IMAGES / name)))]
            for name in names
        }
        for detector in detectors
    )
    result = compare(expected, found, box=0.01, score=1e-4)
    assert result.agrees, result.report()
    assert result.detections >= 20
