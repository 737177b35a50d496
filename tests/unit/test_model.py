import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from make_model import constant_model, openvino, ops, prepared
from yolo.model import model
from yolo.model.model import EmbeddedNms, ModelInfo, load_engine, load_info, openvino_reason
from yolo.share.errors import YoloError

INFO = ModelInfo(
    names=("person", "traffic light", "7", "Straße"),
    stride=32,
    imgsz=(256, 320),
    dynamic=True,
    layout="end-to-end",
    precision="int8",
    nms=EmbeddedNms(0.25, None, 300),
    source_kind="openvino",
    source_name="best.xml",
    source_sha256="ab" * 32,
    versions={"openvino": "2026"},
)
ANSWER = np.arange(2 * 8, dtype=np.float32).reshape(1, 8, 2)


# --- the description --------------------------------------------------------------------------------------


def test_the_description_reads_back(tmp_path):
    (tmp_path / "model.json").write_text(json.dumps(INFO.to_dict()))
    assert load_info(tmp_path) == INFO
    plain = replace(INFO, nms=None)
    assert ModelInfo.from_dict(json.loads(json.dumps(plain.to_dict()))) == plain


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "Expecting value"),
        ("{}", "format is None, expected 1"),
        ("[1]", r"format is \[1\], expected 1"),
        ('{"format": 0}', "format is 0, expected 1"),
        ('{"format": 1}', "KeyError: 'imgsz'"),
        (json.dumps(INFO.to_dict() | {"imgsz": 640}), "TypeError: cannot unpack"),
        (json.dumps(INFO.to_dict() | {"stride": "x"}), "ValueError: invalid literal"),
        (json.dumps(INFO.to_dict() | {"nms": {"conf": 0.1}}), "KeyError: 'iou'"),
    ],
)
def test_a_description_that_is_damaged_or_of_another_version_is_refused(tmp_path, text, found):
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(YoloError, match=f"model.json is not usable: {found}.*; prepare the weights again"):
        load_info(tmp_path)


def test_no_description(tmp_path):
    with pytest.raises(YoloError, match=r"no prepared model: .*; expected model\.json; prepare the weights again with"):
        load_info(tmp_path)


# --- what the user asks of it -------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "size"), [(None, (256, 320)), (0, (256, 320)), (320, (320, 320)), (33, (64, 64))])
def test_a_dynamic_model_takes_any_size_rounded_up_to_its_stride(asked, size):
    assert INFO.input_size(asked) == size


def test_a_small_size_is_one_stride():
    assert replace(INFO, stride=64).input_size(1) == (64, 64)
    assert replace(INFO, stride=64).input_size(65) == (128, 128)


def test_a_fixed_model_has_one_size():
    square = replace(INFO, dynamic=False, imgsz=(320, 320))
    assert square.input_size(0) == square.input_size(320) == (320, 320)
    with pytest.raises(YoloError, match=r"imgsz does not fit the model: 640; expected 320, the fixed .* of best\.xml"):
        square.input_size(640)
    with pytest.raises(YoloError, match=r"expected nothing, the model has the fixed input size 256x320; leave imgsz"):
        replace(INFO, dynamic=False).input_size(320)


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (None, None),
        ((), None),
        (("person",), [0]),
        ((" Traffic LIGHT ",), [1]),
        (("strasse",), [3]),
        ((3, "1", 1), [1, 3]),
        ((0,), [0]),
        (("7",), [2]),
    ],
)
def test_classes_by_name_and_by_index(wanted, ids):
    assert INFO.class_ids(wanted) == ids


def test_a_name_comes_before_an_index():
    assert replace(INFO, names=("a", "b", "0")).class_ids(["0"]) == [2]


@pytest.mark.parametrize("wanted", ["persons", 4, -1, "1.0", ""])
def test_an_unknown_class_lists_those_that_there_are(wanted):
    with pytest.raises(YoloError, match=r"unknown class: .*; expected an index from 0 to 3 or one of: person, traffic"):
        INFO.class_ids([0, wanted])


def test_of_many_classes_some_are_listed():
    many = replace(INFO, names=tuple(f"c{i}" for i in range(80)))
    with pytest.raises(YoloError, match=r"from 0 to 79 or one of: c0, .*, c9, \.\.\.$"):
        many.class_ids(["x"])


def test_settings_that_a_model_with_its_own_suppression_cannot_obey_are_named():
    info = replace(INFO, nms=EmbeddedNms(0.25, 0.7, 300))
    assert info.limits(conf=0.25, iou=0.7, max_det=300) == []
    assert info.limits(conf=0.3, iou=0.7, max_det=1) == []
    assert info.limits(conf=0.2, iou=0.45, max_det=301) == [
        "conf=0.2: the model itself drops scores up to 0.25",
        "iou=0.45: the model itself suppresses at 0.7",
        "max_det=301: the model itself ends at 300",
    ]
    assert replace(INFO, nms=EmbeddedNms(None, None, 300)).limits(conf=0, iou=0.1, max_det=300) == []
    assert replace(INFO, nms=None).limits(conf=0, iou=0, max_det=9000) == []


# --- the engine ---------------------------------------------------------------------------------------------


def test_the_engine_answers(tmp_path):
    info = prepared(constant_model(ANSWER), tmp_path)
    engine = load_engine(tmp_path, info)
    np.testing.assert_array_equal(engine.infer(np.zeros((1, 3, 64, 64), np.float32)), ANSWER)
    assert (engine.name, engine.dynamic) == ("openvino", False)
    assert engine.versions() == {"openvino": openvino.__version__}


def test_the_answer_depends_on_nothing_but_the_input(tmp_path):
    images = ops.parameter([1, 3, -1, -1], np.float32)
    info = prepared(openvino.Model([ops.multiply(images, np.float32(2))], [images]), tmp_path)
    engine = load_engine(tmp_path, info)
    assert engine.dynamic
    for shape in ((1, 3, 32, 64), (1, 3, 64, 32), (1, 3, 32, 64)):
        batch = np.random.default_rng(sum(shape)).random(shape, np.float32)
        np.testing.assert_array_equal(engine.infer(batch), batch * 2)


def test_the_engine_takes_the_threads_and_the_precision_that_it_is_told(tmp_path):
    info = prepared(constant_model(ANSWER), tmp_path)
    for threads in (1, 2):
        # Nothing outside shows them: a wrong number would only make two jobs on one host slow.
        compiled = load_engine(tmp_path, info, threads=threads)._compiled
        assert compiled.get_property("INFERENCE_NUM_THREADS") == threads
        assert compiled.get_property("NUM_STREAMS") == 1
        assert compiled.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32
        assert compiled.get_property("ENABLE_CPU_PINNING") is False


def test_an_input_of_the_wrong_size_is_an_error_in_one_line(tmp_path):
    engine = load_engine(tmp_path, prepared(constant_model(ANSWER), tmp_path))
    with pytest.raises(YoloError, match=r"OpenVINO failed: .*: input of shape \(1, 3, 32, 32\)") as error:
        engine.infer(np.zeros((1, 3, 32, 32), np.float32))
    assert str(error.value).isprintable()


def test_a_failure_inside_is_an_error_and_not_the_answer_to_the_picture_before(tmp_path):
    images = ops.parameter([1, 3, -1, -1], np.float32)
    sevenths = ops.reshape(ops.reduce_max(images, [1]), np.array([1, 7, -1]), False)
    engine = load_engine(tmp_path, prepared(openvino.Model([sevenths], [images]), tmp_path), threads=1)
    assert engine.infer(np.ones((1, 3, 56, 56), np.float32)).shape == (1, 7, 448)
    with pytest.raises(YoloError, match=r"OpenVINO failed: .*: input of shape \(1, 3, 64, 64\)"):
        engine.infer(np.ones((1, 3, 64, 64), np.float32))
    assert engine.infer(np.ones((1, 3, 28, 56), np.float32)).shape == (1, 7, 224)


def spoil_xml(folder: Path) -> None:
    (folder / "model.xml").write_text("<net")


def cut_bin(folder: Path) -> None:
    data = (folder / "model.bin").read_bytes()
    (folder / "model.bin").write_bytes(data[: len(data) // 2])


def remove_xml(folder: Path) -> None:
    (folder / "model.xml").unlink()


@pytest.mark.parametrize("spoil", [spoil_xml, cut_bin, remove_xml])
def test_a_damaged_model_says_what_to_do(tmp_path, spoil):
    info = prepared(constant_model(ANSWER), tmp_path)
    spoil(tmp_path)
    with pytest.raises(YoloError, match=r"OpenVINO cannot load the model: .*; prepare the weights again") as error:
        load_engine(tmp_path, info)
    assert str(error.value).isprintable()


def int8_model() -> object:
    images = ops.parameter([1, 3, -1, -1], np.float32)
    low, high = np.float32(0), np.float32(1)
    return openvino.Model([ops.fake_quantize(images, low, high, low, high, 256)], [images])


@pytest.mark.parametrize(
    ("cpuinfo", "make", "dynamic"),
    [
        ("flags\t\t: fpu avx2 amx_int8 amx_tile", int8_model, False),
        ("flags\t\t: fpu avx2", int8_model, True),
        ("flags\t\t: fpu avx2 amx_int8", lambda: constant_model(ANSWER, None), True),
    ],
)
def test_int8_runs_at_a_fixed_size_where_dynamic_sizes_would_crash(tmp_path, monkeypatch, cpuinfo, make, dynamic):
    info = prepared(make(), tmp_path, imgsz=(64, 96))
    monkeypatch.setattr(model.Path, "read_text", lambda *_: cpuinfo)
    engine = load_engine(tmp_path, info)
    assert engine.dynamic is dynamic
    engine.infer(np.zeros((1, 3, 64, 96), np.float32))
    if not dynamic:
        with pytest.raises(YoloError):
            engine.infer(np.zeros((1, 3, 32, 32), np.float32))


def test_the_cause_stands_in_the_last_line():
    text = "Exception from src/inference/src/cpp/core.cpp:84:\nCheck failed at x.cpp:1:\n  no such\x1b layer\n\n"
    assert openvino_reason(RuntimeError(text)) == "no such\\x1b layer"
    assert openvino_reason(RuntimeError()) == "RuntimeError"
    assert len(openvino_reason(RuntimeError("x" * 1000))) == 300


# --- imports ------------------------------------------------------------------------------------------------


def python(code: str, home: Path) -> str:
    package = Path(model.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"HOME": str(home), "PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_a_description_can_be_read_with_the_standard_library_alone(tmp_path):
    code = "import sys, yolo.model.model; print(sorted({'numpy', 'cv2', 'openvino', 'torch'} & set(sys.modules)))"
    assert python(code, tmp_path) == "[]"


def test_openvino_is_imported_without_the_part_that_reports_home(tmp_path):
    code = (
        "import sys; from yolo.model.model import import_openvino; import_openvino().Core();"
        "print(sys.modules['openvino_telemetry'])"
    )
    assert python(code, tmp_path) == "None"
    assert list(tmp_path.iterdir()) == []


def test_openvinos_converters_are_imported_where_they_are_needed_and_nowhere_else(tmp_path):
    code = (
        "import sys; from yolo.model.model import import_openvino\n"
        "before = hasattr(import_openvino(), 'convert_model'); "
        "print(before, sys.modules['openvino.tools.ovc'], callable(import_openvino(tools=True).convert_model))"
    )
    assert python(code, tmp_path) == "False None True"
