"""All engines give the same answers and the same detections, made from the same weights."""

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from compare_predictions import compare
from make_model import colour_model, constant_model, onnx_model, prepared
from onnx import numpy_helper
from shared_data import SHARED
from yolo.detector.detector import Detector, to_detections
from yolo.detector.settings import Settings
from yolo.model import cpu
from yolo.model.engine_onnxruntime import OnnxRuntimeEngine, session_options
from yolo.model.engines import check_precision, load_engine
from yolo.model.export_formats import check_answer, check_kind, engines_for, export_for
from yolo.model.info import load_info
from yolo.model.prepare import prepare
from yolo.request.weights import DEMO
from yolo.share.errors import YoloError
from yolo.share.layout import Weights
from yolo.vision import nms
from yolo.vision.decode import read_image
from yolo.vision.letterbox import letterbox, scale_boxes, to_tensor

PROJECT = Path(__file__).resolve().parents[2]
IMAGES = SHARED / "data" / "coco128" / "images"
CLASSIC = SHARED / "weights" / "yolov5n-classic" / "yolov5n.onnx"
PHOTOS = 6
#: A 64 x 64 image has 84 cells at strides 8, 16 and 32.
ANSWER = np.full((1, 6, 84), 0.5, np.float32)


def staged(root: Path, data: bytes, name: str = "best.onnx") -> Weights:
    weights = Weights(root / "w")
    weights.source.mkdir(parents=True)
    (weights.source / name).write_bytes(data)
    return weights


def exports(weights: Weights, kind: str, engines: tuple[str, ...]) -> dict[str, Path]:
    info = prepare(weights.source, kind, weights.model)
    return {engine: export_for(engine, weights.source, kind, weights, info) for engine in engines}


def needed(*folders: Path) -> None:
    for folder in folders:
        if not folder.exists():
            pytest.skip(f"photos and weights to compare with are not there: {folder.relative_to(SHARED.parent)}")


# --- the export and the engine --------------------------------------------------------------------------------


def test_an_onnx_file_runs_as_it_is(tmp_path):
    data = onnx_model(ANSWER, (64, 64), {"names": "{0: 'cat', 1: 'dog'}"})
    weights = staged(tmp_path, data)
    made = exports(weights, "onnx", ("openvino", "onnxruntime"))
    assert (made["onnxruntime"] / "model.onnx").read_bytes() == data
    info = load_info(made["onnxruntime"])
    assert (info.names, info.imgsz, info.layout) == (("cat", "dog"), (64, 64), nms.ANCHOR_FREE)
    assert info.versions["onnxruntime"] == onnxruntime.__version__
    engine = load_engine(made["onnxruntime"], info, engine="onnxruntime")
    assert (engine.name, engine.dynamic) == ("onnxruntime", False)
    assert engine.versions() == {"onnxruntime": onnxruntime.__version__}
    np.testing.assert_array_equal(engine.infer(np.zeros((1, 3, 64, 64), np.float32)), ANSWER)
    before = (made["onnxruntime"] / "model.json").stat().st_ino
    assert exports(weights, "onnx", ("onnxruntime",)) == {"onnxruntime": made["onnxruntime"]}
    assert (made["onnxruntime"] / "model.json").stat().st_ino == before


def test_an_onnx_file_with_its_values_beside_it_runs_on_both_engines(tmp_path):
    weights = staged(tmp_path, b"")
    model = onnx.load_from_string(onnx_model(ANSWER, (64, 64), {"names": "{0: 'cat', 1: 'dog'}"}))
    for tensor in model.graph.initializer:
        # In the form that can be moved out of the file.
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    onnx.save_model(
        model,
        weights.source / "best.onnx",
        save_as_external_data=True,
        location="best.onnx.data",
        size_threshold=0,
    )
    assert (weights.source / "best.onnx.data").stat().st_size >= ANSWER.nbytes
    made = exports(weights, "onnx", ("openvino", "onnxruntime"))
    for engine, folder in made.items():
        found = load_engine(folder, load_info(folder), engine=engine).infer(np.zeros((1, 3, 64, 64), np.float32))
        np.testing.assert_array_equal(found, ANSWER)


def test_a_dynamic_onnx_file_takes_any_size(tmp_path):
    weights = staged(tmp_path, onnx_model(ANSWER, None, {"names": "{0: 'cat', 1: 'dog'}", "imgsz": "[64, 64]"}))
    folder = exports(weights, "onnx", ("onnxruntime",))["onnxruntime"]
    engine = load_engine(folder, load_info(folder), engine="onnxruntime")
    assert engine.dynamic
    assert engine.infer(np.zeros((1, 3, 32, 96), np.float32)).shape == ANSWER.shape


def test_onnxruntime_has_the_threads_of_the_slot_and_does_not_spin():
    options = session_options(onnxruntime, 3)
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_a_wrong_input_is_named(tmp_path):
    folder = exports(staged(tmp_path, onnx_model(ANSWER, (64, 64))), "onnx", ("onnxruntime",))["onnxruntime"]
    engine = load_engine(folder, load_info(folder), engine="onnxruntime")
    with pytest.raises(YoloError, match="ONNX Runtime failed: ") as error:
        engine.infer(np.zeros((1, 3, 32, 32), np.float32))
    assert "input of shape (1, 3, 32, 32)" in str(error.value)
    assert str(error.value).isprintable()


def test_a_damaged_onnx_file_says_what_to_do(tmp_path):
    info = prepared(constant_model(ANSWER), tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"\x08\x08")
    with pytest.raises(YoloError, match=r"ONNX Runtime cannot load the model: .*; give engine=openvino"):
        OnnxRuntimeEngine(tmp_path, info)


def test_an_export_that_answers_otherwise_is_refused(tmp_path):
    info = prepared(constant_model(ANSWER), tmp_path / "ir")
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model.onnx").write_bytes(onnx_model(ANSWER + 0.25, (64, 64)))
    with pytest.raises(YoloError, match=r"does not answer as OpenVINO does: colours.pt: .* by 0\.25"):
        check_answer("onnxruntime", tmp_path / "onnx", tmp_path / "ir", info)
    (tmp_path / "onnx" / "model.onnx").write_bytes(onnx_model(ANSWER, (64, 64)))
    check_answer("onnxruntime", tmp_path / "onnx", tmp_path / "ir", info)


# --- what goes together --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("engine", "precision", "text"),
    [
        ("tensorrt", "fp32", "unknown engine: tensorrt; expected one of openvino, onnxruntime, torch"),
        ("openvino", "fp8", "unknown precision: fp8; expected one of fp32, int8, bf16"),
        ("torch", "int8", "engine torch does not compute in int8; leave engine out, or give engine=openvino"),
        ("onnxruntime", "bf16", "engine onnxruntime does not compute in bf16; leave engine out, or give"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(engine, precision, text):
    with pytest.raises(YoloError) as error:
        check_precision(engine, precision)
    assert str(error.value).startswith(text)


def test_bf16_where_the_processor_has_none_is_refused(tmp_path, monkeypatch):
    info = prepared(constant_model(ANSWER), tmp_path)
    cpuinfo = "model name\t: Old Processor\nflags\t\t: fpu avx2\n"
    monkeypatch.setattr(cpu.Path, "read_text", lambda *_: cpuinfo)
    with pytest.raises(YoloError, match=r"the processor has no bf16: Old Processor on .*; expected .*avx512_bf16; run"):
        load_engine(tmp_path, info, precision="bf16")
    load_engine(tmp_path, info)
    monkeypatch.setattr(cpu.Path, "read_text", lambda *_: cpuinfo.replace("avx2", "avx512_bf16"))
    check_precision("openvino", "bf16")


@pytest.mark.parametrize(
    ("engine", "precision", "kind", "text"),
    [
        ("onnxruntime", "fp32", "openvino", "engine onnxruntime cannot run weights of the kind openvino: w; expected "
         "weights of the kind pt or onnx; give engine=auto or engine=openvino"),
        ("torch", "fp32", "onnx", "engine torch cannot run weights of the kind onnx: w; expected weights of "
         "the kind pt;"),
        ("openvino", "int8", "openvino", "precision int8 needs weights that can be quantised: w is an OpenVINO folder"),
    ],
)  # fmt: skip
def test_weights_of_a_kind_that_cannot_be_used_are_refused_in_one_line(engine, precision, kind, text):
    with pytest.raises(YoloError) as error:
        check_kind(engine, precision, kind, "w")
    assert str(error.value).startswith(text)


def test_weights_and_engines():
    assert engines_for("openvino") == ("openvino",)
    for kind in ("pt", "onnx", "openvino"):
        for engine in ("auto", *engines_for(kind)):
            check_kind(engine, "fp32", kind, "w")


# --- the same detections -------------------------------------------------------------------------------------


def found_by(engine: str, folder: Path, photos: list[Path], **settings: float) -> dict[str, list[list[float]]]:
    info = load_info(folder)
    values = {"conf": 0.25, "iou": 0.7} | settings
    detector = Detector(info, load_engine(folder, info, engine=engine), Settings(IMAGES, folder, **values))
    return {
        photo.name: [[d.class_id, d.score, *d.box] for d in to_detections(detector.detect(read_image(photo)))]
        for photo in photos
    }


def reference(folder: Path, photos: list[Path], conf: float, iou: float) -> dict[str, list[list[float]]]:
    """Decode 25200 x 85 the straightforward way: a loop over boxes, OpenCV's suppression for each class."""
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    found = {}
    for photo in photos:
        image = read_image(photo)
        boxed = letterbox(image, (640, 640), rectangular=False)
        rows = session.run(None, {session.get_inputs()[0].name: to_tensor(boxed)})[0][0]
        by_class: dict[int, list[list[float]]] = {}
        for x, y, width, height, objectness, *classes in rows[rows[:, 4] > conf].tolist():
            best = max(range(80), key=classes.__getitem__)
            if objectness * classes[best] > conf:
                box = [x - width / 2, y - height / 2, width, height]
                by_class.setdefault(best, []).append([objectness * classes[best], *box])
        found[photo.name] = []
        for index, boxes in by_class.items():
            kept = cv2.dnn.NMSBoxes([b[1:] for b in boxes], [b[0] for b in boxes], conf, iou)
            for score, x, y, width, height in (boxes[i] for i in kept):
                corners = np.array([[x, y, x + width, y + height]], np.float32)
                found[photo.name].append([index, score, *scale_boxes(corners, (640, 640), image.shape)[0].tolist()])
    return found


def test_a_classic_export_is_decoded_rightly_by_both_engines(tmp_path):
    needed(IMAGES, CLASSIC)
    made = exports(staged(tmp_path, CLASSIC.read_bytes(), CLASSIC.name), "onnx", ("openvino", "onnxruntime"))
    photos = sorted(IMAGES.glob("*.jpg"))[:PHOTOS]
    expected = reference(made["onnxruntime"], photos, 0.25, 0.7)
    assert sum(map(len, expected.values())) >= 10
    for engine, folder in made.items():
        assert load_info(folder).layout == nms.CLASSIC
        result = compare(expected, found_by(engine, folder, photos), box=0.05, score=0.001)
        assert result.agrees, f"{engine}: {result.report()}"


def test_all_engines_find_the_same_from_a_checkpoint(tmp_path, monkeypatch):
    for package in ("torch", "torchvision", "ultralytics"):
        pytest.importorskip(package, reason=f"{package} is only on execute hosts; the end-to-end test does this there")
    needed(IMAGES)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    weights = Weights(tmp_path / "w")
    weights.source.mkdir(parents=True)
    shutil.copy(DEMO, weights.source)
    made = exports(weights, "pt", engines_for("pt"))
    photos = sorted(IMAGES.glob("*.jpg"))[:16]
    found = {engine: found_by(engine, folder, photos, conf=0.05) for engine, folder in made.items()}
    assert sum(map(len, found["openvino"].values())) >= 5
    for engine in ("onnxruntime", "torch"):
        result = compare(found["openvino"], found[engine], box=0.05, score=0.001)
        assert result.agrees, f"{engine}: {result.report()}"


def test_the_colour_detector_is_not_for_onnxruntime(tmp_path):
    info = prepared(colour_model(), tmp_path)
    with pytest.raises(YoloError, match="ONNX Runtime cannot load the model: "):
        load_engine(tmp_path, info, engine="onnxruntime")
