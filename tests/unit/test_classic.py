"""Checkpoints of ultralytics/yolov5, rebuilt; most of it needs torch, which execute hosts have."""

import math
import shutil

import numpy as np
import pytest
from compare_predictions import compare
from make_checkpoint import Values, classic, module, write
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


def _layers(content):
    return content["model"].state["_modules"]["model"].state["_modules"]


def _no_weight(content, values):
    del _layers(content)["0"].state["_modules"]["conv"].state["_parameters"]["weight"]


def _other_shape(content, values):
    _layers(content)["0"].state["_modules"]["conv"].state["out_channels"] = 5


def _other_classes(content, values):
    _layers(content)["1"].state["nc"] = 3


def _anchors(content, values):
    _layers(content)["1"].state["_buffers"]["anchors"] = values.tensor([1.0, 2.0, 3.0], 1, 1, 3)


def _negative_anchors(content, values):
    _layers(content)["1"].state["_buffers"]["anchors"] = values.tensor([1.0, 2.0, -3.0, 1.0], 1, 2, 2)


def _levels(content, values):
    _layers(content)["1"].state["stride"] = values.tensor([8.0, 16.0], 2)


def _not_a_number(content, values):
    _layers(content)["1"].state["_buffers"]["anchors"] = values.tensor([math.nan] * 4, 1, 2, 2)


def _unknown_layer(content, values):
    _layers(content)["0"] = module("models.common.TransformerBlock")


def _wired_ahead(content, values):
    _layers(content)["0"].state["f"] = 1


def _endless(content, values):
    inner = _layers(content)["0"].state["_modules"]
    for _ in range(40):
        inner["conv"] = module("torch.nn.modules.container.Sequential", {"0": inner["conv"]})


def _no_layers(content, values):
    _layers(content).clear()


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (_no_weight, "torch.nn.modules.conv.Conv2d lacks its weight"),
        (_other_shape, "weight of torch.nn.modules.conv.Conv2d is (4, 3, 3, 3), not (5, 3, 3, 3)"),
        (_other_classes, "its head does not give 16 values, for 2 anchors and 3 classes"),
        (_anchors, "its anchors are (1, 1, 3), not positive (levels, anchors, 2)"),
        (_negative_anchors, "its anchors are (1, 2, 2), not positive"),
        (_levels, "its head has 1 levels, 2 strides and anchors of 1"),
        (_not_a_number, "a tensor holds values that are no numbers"),
        (_unknown_layer, "it has a models.common.TransformerBlock, a layer that is not supported"),
        (_wired_ahead, "layer 0 takes the output of layer 1"),
        (_endless, "its layers are within each other without end"),
        (_no_layers, "the checkpoint's network can't be rebuilt: best.pt"),
    ],
)
def test_a_state_that_does_not_fit_its_description(weights, spoil, text):
    values = Values()
    content = classic(values)
    spoil(content, values)
    write(weights.source / "best.pt", content, values)
    found = failure(weights.source, "pt")
    assert found.startswith("the checkpoint's network can't be rebuilt: best.pt: ")
    assert text in found


def test_layers_that_do_not_fit_each_other(weights):
    values = Values()
    content = classic(values)
    _layers(content)["1"].state["f"] = [0, 0]
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
