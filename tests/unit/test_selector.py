"""What a run computes with: measured, calibrated, kept, refused."""

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from make_model import constant_model, save
from onnx import TensorProto, helper, numpy_helper
from yolo.cli import prepare_model
from yolo.model import agreement, calibrate, cpu, engines, measurement, selector
from yolo.model.engines import load_engine
from yolo.model.info import load_info
from yolo.model.measurement import fastest
from yolo.model.openvino_runtime import import_openvino
from yolo.model.selection import ModelRequest, kept_selection
from yolo.model.selector import EngineSelector
from yolo.request import listing
from yolo.share import fsio, manifest
from yolo.share.errors import YoloError
from yolo.share.layout import Share
from yolo.share.records import settings_digest

IMAGES = 40


def convolutions(seed: int = 3, *, rounded: bool = False) -> bytes:
    """An ONNX detector of two classes with two convolutions and a SiLU, INT8 already if ``rounded``."""
    random = np.random.default_rng(seed)
    weights = {
        "w1": random.normal(0, 0.3, (8, 3, 8, 8)).astype(np.float32),
        "w2": random.normal(0, 0.5, (6, 8, 1, 1)).astype(np.float32),
        "scale": np.array([64, 64, 64, 64, 1, 1], np.float32).reshape(1, 6, 1),
        "shape": np.array([1, 6, -1], np.int64),
    }
    if rounded:
        weights |= {"step": np.array(1 / 255, np.float32), "zero": np.array(0, np.uint8)}
    first = [
        helper.make_node("QuantizeLinear", ["images", "step", "zero"], ["q"], name="quantize"),
        helper.make_node("DequantizeLinear", ["q", "step", "zero"], ["r"], name="dequantize"),
    ]
    nodes = [
        *(first if rounded else ()),
        helper.make_node("Conv", ["r" if rounded else "images", "w1"], ["a"], name="first", strides=[8, 8]),
        helper.make_node("Sigmoid", ["a"], ["s"], name="gate"),
        helper.make_node("Mul", ["a", "s"], ["b"], name="silu"),
        helper.make_node("Conv", ["b", "w2"], ["c"], name="last"),
        helper.make_node("Sigmoid", ["c"], ["d"], name="sigmoid"),
        helper.make_node("Reshape", ["d", "shape"], ["e"], name="reshape"),
        helper.make_node("Mul", ["e", "scale"], ["output0"], name="mul"),
    ]
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 6, 64])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(made, {"names": "{0: 'cat', 1: 'dog'}"})
    return made.SerializeToString()


class Pool:
    """Weights, images and a run on a pretended share."""

    def __init__(self, root: Path, images: int = IMAGES) -> None:
        share = Share(root)
        self.weights, self.run, self.inputs = share.weights("0123456789abcdef"), share.run("r1"), share.input("in")
        fsio.write_bytes(self.weights.source / "best.onnx", convolutions())
        random = np.random.default_rng(0)
        for number in range(images):
            picture = random.integers(0, 255, (8, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
            fsio.write_bytes(self.inputs / f"{number}.png", cv2.imencode(".png", picture)[1].tobytes())
        self.write_manifest()

    def write_manifest(self) -> None:
        manifest.write(listing.build(self.inputs).entries, self.run.manifest)

    def arguments(self, kind: str = "onnx", threads: int = 1, **settings: Any) -> list[str]:
        """Write a request and return the command's arguments."""
        asked = {
            "engine": "auto",
            "precision": "fp32",
            "imgsz": 0,
            "precision_limit": 0.15,
            "decode": "exact",
        } | settings
        request = {
            "settings": asked, "job": {"cpus": threads}, "weights": {"kind": kind},
            "places": {"weights": str(self.weights.root), "input": str(self.inputs)},
        }  # fmt: skip
        fsio.write_json(self.run.request, request)
        return ["--run-dir", str(self.run.root)]

    def request(self, **changes: Any) -> ModelRequest:
        return ModelRequest(weights=self.weights, kind="onnx", run=self.run, input_dir=self.inputs, **changes)

    def keep(self, answer: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """Write the settings as the playbook does."""
        settings = {
            "weights_id": self.weights.root.name, "imgsz": 0, "engine_asked": "auto", "engine": answer["engine"],
            "engine_measured": answer["measured"], "precision": answer["precision"],
            "precision_difference": answer["difference"], "model_dir": answer["model"],
            "decode_difference": answer["decode_difference"],
        } | changes  # fmt: skip
        fsio.write_json(self.run.settings, settings)
        return settings


@pytest.fixture
def pool(tmp_path):
    return Pool(tmp_path)


@pytest.fixture
def times(monkeypatch):
    """Pretended times instead of measured ones, and how often they were asked for."""
    value = {"openvino": 20.0, "onnxruntime": 10.0}
    calls = []
    monkeypatch.setattr(measurement, "_SECONDS", 0.0)
    real = measurement.measure

    def measure(engines, size):
        calls.append((sorted(engines), size))
        assert real(engines, size).keys() == engines.keys()
        return {name: value[name] for name in engines}

    monkeypatch.setattr(measurement, "measure", measure)
    return value, calls


def answer(capsys, *arguments: str) -> dict[str, Any]:
    assert prepare_model.main(list(arguments)) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    return json.loads(out)


# --- auto ----------------------------------------------------------------------------------------------------


def test_auto_measures_once_and_takes_the_fastest(pool, times, capsys):
    value, calls = times
    first = answer(capsys, *pool.arguments())
    assert (first["made"], first["engine"], first["precision"]) == (True, "onnxruntime", "fp32")
    assert first["model"] == str(pool.weights.export("onnxruntime"))
    assert first["measured"]["ms"] == value
    assert first["measured"]["cores"] == os.cpu_count()
    assert "onnxruntime 10 ms" in first["sentence"]
    assert "openvino 20 ms" in first["sentence"]
    assert calls == [(["onnxruntime", "openvino"], (64, 64))]
    again = answer(capsys, *pool.arguments())
    assert again == first | {"made": False}
    assert len(calls) == 1
    # Other threads are another question.
    answer(capsys, *pool.arguments(threads=2))
    assert len(calls) == 2


def test_another_type_of_host_is_measured_anew(pool, times, capsys, monkeypatch):
    value, calls = times
    answer(capsys, *pool.arguments())
    monkeypatch.setattr(selector, "cpu_model", lambda: "Other Processor")
    value["openvino"] = 5.0
    other = answer(capsys, *pool.arguments())
    assert (other["engine"], other["measured"]["cpu_model"]) == ("openvino", "Other Processor")
    assert len(calls) == 2


def test_a_run_keeps_its_choice_on_whatever_host(pool, times, capsys, monkeypatch):
    value, calls = times
    pool.keep(answer(capsys, *pool.arguments()))
    monkeypatch.setattr(selector, "cpu_model", lambda: "Other Processor")
    value["openvino"] = 5.0
    assert answer(capsys, *pool.arguments())["engine"] == "onnxruntime"
    assert len(calls) == 1
    # Other wishes are not that run's.
    assert answer(capsys, *pool.arguments(engine="openvino"))["engine"] == "openvino"
    pool.keep(answer(capsys, *pool.arguments()), weights_id="f" * 16)
    assert answer(capsys, *pool.arguments())["engine"] == "openvino"


@pytest.mark.parametrize("spoilt", [b"", b"[]", b'{"weights_id": "0123456789abcdef"}'])
def test_settings_that_are_damaged_are_no_choice(pool, times, capsys, spoilt):
    fsio.write_bytes(pool.run.settings, spoilt)
    assert answer(capsys, *pool.arguments())["engine"] == "onnxruntime"


def test_equally_fast_is_the_first():
    assert fastest({"openvino": 10.2, "onnxruntime": 10.0}) == "openvino"
    assert fastest({"openvino": 10.4, "onnxruntime": 10.0}) == "onnxruntime"


def test_an_engine_that_does_not_run_is_named(pool, times, capsys, monkeypatch):
    real = selector.load_engine

    def load(folder, info, **options):
        if options.get("engine") == "onnxruntime":
            raise YoloError("engine onnxruntime is not installed on this host")
        return real(folder, info, **options)

    monkeypatch.setattr(selector, "load_engine", load)
    found = answer(capsys, *pool.arguments())
    assert found["engine"] == "openvino"
    assert "onnxruntime does not run: engine onnxruntime is not installed on this host" in found["sentence"]


def test_what_only_one_engine_runs_is_not_measured(pool, times, capsys):
    source = pool.weights.source
    (source / "best.onnx").unlink()
    save(constant_model(np.full((1, 6, 84), 0.5, np.float32)), source, "best", "names: [cat, dog]")
    found = answer(capsys, *pool.arguments(kind="openvino"))
    assert (found["engine"], found["measured"]) == ("openvino", {})
    assert times[1] == []
    with pytest.raises(YoloError, match="engine onnxruntime cannot run weights of the kind openvino"):
        prepare_model.main(pool.arguments(engine="onnxruntime", kind="openvino"))


def test_measuring_gives_the_median_of_each(pool):
    info = EngineSelector(pool.request(engine="openvino")).select()[1]
    times = measurement.measure({"one": load_engine(pool.weights.model, info)}, info.imgsz)
    assert list(times) == ["one"]
    assert times["one"] > 0


# --- INT8 ----------------------------------------------------------------------------------------------------


def test_int8_is_calibrated_once_and_says_how_far_it_differs(pool, times, capsys):
    first = answer(capsys, *pool.arguments(precision="int8", precision_limit=1.0))
    folder = Path(first["model"])
    assert folder.parent == pool.weights.root
    assert folder.name.startswith("int8-")
    info = load_info(folder)
    assert (info.precision, info.difference) == ("int8", first["difference"])
    assert info.difference["images"] == IMAGES
    assert info.difference["matched"] > 0
    # Both convolutions get rounded numbers, none of what comes out of them is rounded, and the activation is one
    # operation: in parts (sigmoid, product) OpenVINO would not compute it within the convolution.
    ops = import_openvino().Core().read_model(folder / "model.xml").get_ops()
    rounded = [op.input_value(0).get_node().get_type_name() for op in ops if op.get_type_name() == "FakeQuantize"]
    assert sorted(rounded) == ["Parameter", "Swish"]
    again = answer(capsys, *pool.arguments(precision="int8", precision_limit=1.0))
    assert again == first | {"made": False}
    # It answers as at fp32 but for the steps of 8 bits.
    picture = np.random.default_rng(1).random((1, 3, 64, 64)).astype(np.float32)
    expected = load_engine(pool.weights.model, info).infer(picture).copy()
    found = load_engine(folder, info, engine="openvino", precision="int8").infer(picture)
    assert 0 < np.abs(found - expected)[:, 4:].max() < 0.1


def test_the_convolution_that_adds_up_a_boxs_distribution_stays_in_float():
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["a"], name="branch"),
        helper.make_node("Softmax", ["a"], ["b"], name="softmax"),
        helper.make_node("Transpose", ["b"], ["c"], name="transpose"),
        helper.make_node("Conv", ["c", "v"], ["output0"], name="dfl"),
    ]
    graph = helper.make_graph(nodes, "g", [], [helper.make_tensor_value_info("output0", TensorProto.FLOAT, None)])
    assert calibrate.box_convolutions(graph) == ["dfl"]


@pytest.mark.parametrize("count", [1, calibrate.MIN_IMAGES - 1])
def test_too_few_images_to_calibrate(tmp_path, count):
    pool = Pool(tmp_path, count)
    fsio.write_bytes(pool.inputs / "broken.png", b"\x89PNG\r\n\x1a\n broken")
    pool.write_manifest()
    with pytest.raises(YoloError) as error:
        prepare_model.main(pool.arguments(precision="int8"))
    assert str(error.value) == (
        f"too few images for precision int8: {count} that can be read; expected at least 32; give more images, or "
        "leave precision out"
    )
    assert not list(pool.weights.root.glob("int8*"))


def test_a_difference_above_the_limit_is_refused_with_its_value(pool, times, monkeypatch, capsys):
    worse = {**agreement.compare([], []), "images": 40, "reference": 10, "found": 9, "matched": 7, "difference": 0.26}
    monkeypatch.setattr(agreement, "compare", lambda *_: worse)
    text = (
        r"precision int8 changes the detections too much: 0\.26 \(1 - F1 against fp32 on 40 images: 7 of 10 found "
        r"again, 9 found\); expected at most 0\.15, the input precision_limit; run with precision=fp32"
    )
    for _ in range(2):  # also when it was made before
        with pytest.raises(YoloError, match=text):
            prepare_model.main(pool.arguments(precision="int8"))
    found = answer(capsys, *pool.arguments(precision="int8", precision_limit=0.26))
    assert "detections differ from fp32 by 26.0%" in found["sentence"]
    pool.keep(found)
    with pytest.raises(YoloError, match=text):
        prepare_model.main(pool.arguments(precision="int8"))


def test_weights_that_are_int8_already_are_not_quantised_again(pool):
    fsio.write_bytes(pool.weights.source / "best.onnx", convolutions(rounded=True))
    arguments = pool.arguments(precision="int8")
    with pytest.raises(YoloError, match=r"the weights are INT8 already: best\.onnx; leave precision out: they run as"):
        prepare_model.main(arguments)


def test_other_images_give_other_int8_weights_and_other_records(pool, times, capsys):
    settings = {"conf": 0.25, "iou": 0.7, "max_det": 300}
    first = pool.keep(answer(capsys, *pool.arguments(precision="int8", precision_limit=1.0))) | settings
    pool.inputs = pool.inputs.parent / "other"
    for number in range(IMAGES):
        picture = np.full((64, 64, 3), number, np.uint8)
        fsio.write_bytes(pool.inputs / f"{number}.png", cv2.imencode(".png", picture)[1].tobytes())
    pool.write_manifest()
    pool.run.settings.unlink()
    second = pool.keep(answer(capsys, *pool.arguments(precision="int8", precision_limit=1.0))) | settings
    assert first["model_dir"] != second["model_dir"]
    digests = [settings_digest(value) for value in (first, second, first | {"precision": "fp32"})]
    assert len(set(digests)) == 3


# --- fast decoding -------------------------------------------------------------------------------------------


def put_photos(pool: Pool, count: int = 3) -> None:
    random = np.random.default_rng(5)
    for number in range(count):
        blocks = random.integers(0, 255, (16, 16, 3), np.uint8).repeat(16, 0).repeat(16, 1)
        fsio.write_bytes(pool.inputs / f"photo{number}.jpg", cv2.imencode(".jpg", blocks)[1].tobytes())
    whole = cv2.imencode(".jpg", blocks)[1].tobytes()
    fsio.write_bytes(pool.inputs / "broken.jpg", whole[: len(whole) // 2])
    pool.write_manifest()


def test_fast_decoding_is_compared_with_exact_on_the_photos_that_it_changes(pool, times, capsys, monkeypatch):
    put_photos(pool)
    first = answer(capsys, *pool.arguments(decode="fast"))
    found = first["decode_difference"]
    assert found["images"] == 3
    assert found["difference"] == pytest.approx(1 - found["f1"])
    assert f"decode fast: detections differ from exact decoding by {found['difference']:.1%}" in first["sentence"]
    assert "on 3 large photos" in first["sentence"]
    # Measured once.
    monkeypatch.setattr(calibrate, "read_photos", None)
    again = answer(capsys, *pool.arguments(decode="fast"))
    assert (again["decode_difference"], again["made"]) == (found, False)
    pool.keep(again, decode="fast")
    assert kept_selection(pool.request(decode="fast")).decode_difference == found
    # Another wish.
    assert kept_selection(pool.request(decode="exact")) is None


def test_the_difference_of_fast_decoding_is_that_of_its_pixels(pool, times, capsys, monkeypatch):
    put_photos(pool)
    real = calibrate.decode_photo
    monkeypatch.setattr(calibrate, "decode_photo", lambda data, needed=None: real(data))
    found = answer(capsys, *pool.arguments(decode="fast"))["decode_difference"]
    assert (found["f1"], found["score"], found["reference"] > 0) == (1, 0, True)


def test_a_sample_without_large_photos_says_so(pool, times, capsys):
    found = answer(capsys, *pool.arguments(decode="fast"))
    assert found["decode_difference"]["images"] == 0
    assert "decode fast: no JPEG of the sample is large enough for it" in found["sentence"]


def test_exact_decoding_measures_nothing(pool, times, capsys):
    put_photos(pool)
    found = answer(capsys, *pool.arguments())
    assert (found["decode_difference"], "decode" in found["sentence"]) == ({}, False)


def test_the_sample_is_the_same_each_time_and_holds_no_skipped_file(pool):
    fsio.write_bytes(pool.inputs / "empty.png", b"")
    pool.write_manifest()
    picked = calibrate.pick(pool.run.manifest, 8)
    assert picked == calibrate.pick(pool.run.manifest, 8)
    assert len({entry.key for entry in picked}) == 16
    assert {entry.path for entry in calibrate.pick(pool.run.manifest)} == {f"{n}.png" for n in range(IMAGES)}
    assert [entry.index for entry in picked] != sorted(entry.index for entry in picked)


# --- bf16 ----------------------------------------------------------------------------------------------------


def test_bf16_says_how_far_it_differs(pool, capsys):
    if not engines.BF16_FLAGS & cpu.cpu_flags():
        pytest.skip("this processor has no bf16")
    first = answer(capsys, *pool.arguments(precision="bf16", precision_limit=1.0))
    assert (first["engine"], first["precision"], first["made"]) == ("openvino", "bf16", True)
    assert first["difference"]["images"] == 16
    assert answer(capsys, *pool.arguments(precision="bf16", precision_limit=1.0)) == first | {"made": False}
    info = load_info(pool.weights.model)
    picture = np.random.default_rng(1).random((1, 3, 64, 64)).astype(np.float32)
    answers = [
        load_engine(pool.weights.model, info, precision=precision).infer(picture).copy()
        for precision in ("fp32", "bf16")
    ]
    assert 0 < np.abs(answers[0] - answers[1])[:, 4:].max() < 0.05


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"engine": "x"}, "unknown engine: x; expected one of auto, openvino, onnxruntime, torch"),
        ({"precision": "fp8"}, "unknown precision: fp8; expected one of fp32, int8, bf16"),
        ({"precision_limit": 2}, "precision_limit out of range: 2"),
        ({"imgsz": 128}, "imgsz does not fit the model: 128; expected 64"),
        ({"imgsz": 31}, "imgsz out of range: 31; expected 0, or 32 to 8192"),
        ({"imgsz": 8193}, "imgsz out of range: 8193; expected 0, or 32 to 8192"),
        ({"imgsz": -640}, "imgsz out of range: -640; expected 0, or 32 to 8192"),
    ],
)
def test_bad_wishes_are_refused_before_any_job(pool, arguments, text):
    with pytest.raises(YoloError) as error:
        prepare_model.main(pool.arguments(**arguments))
    assert str(error.value).startswith(text)
