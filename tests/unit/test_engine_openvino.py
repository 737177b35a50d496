import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from make_model import constant_model, openvino, ops, prepared
from yolo.model import cpu
from yolo.model.engines import load_engine
from yolo.model.openvino_runtime import openvino_reason
from yolo.share.errors import YoloError

ANSWER = np.arange(2 * 8, dtype=np.float32).reshape(1, 8, 2)


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


def test_a_failure_inside_is_an_error_and_not_the_answer_to_the_image_before(tmp_path):
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
    with pytest.raises(
        YoloError, match=r"OpenVINO cannot load the model: .*; remove that folder, then run the same run_id again"
    ) as error:
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
    monkeypatch.setattr(cpu.Path, "read_text", lambda *_: cpuinfo)
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


def python(code: str, home: Path) -> str:
    package = Path(cpu.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"HOME": str(home), "PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_openvino_is_imported_without_the_part_that_reports_home(tmp_path):
    code = (
        "import sys; from yolo.model.openvino_runtime import import_openvino; import_openvino().Core();"
        "print(sys.modules['openvino_telemetry'])"
    )
    assert python(code, tmp_path) == "None"
    assert list(tmp_path.iterdir()) == []


def test_openvinos_converters_are_imported_where_they_are_needed_and_nowhere_else(tmp_path):
    code = (
        "import sys; from yolo.model.openvino_runtime import import_openvino\n"
        "before = hasattr(import_openvino(), 'convert_model'); "
        "print(before, sys.modules['openvino.tools.ovc'], callable(import_openvino(tools=True).convert_model))"
    )
    assert python(code, tmp_path) == "False None True"
