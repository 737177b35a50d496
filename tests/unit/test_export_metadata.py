"""What exports say of themselves, read on the control node without a library."""

import numpy as np
import pytest
from make_model import onnx_model
from yolo.request.export_metadata import check_export, read_class_names
from yolo.share.errors import YoloError

ANSWER = np.zeros((1, 6, 84), np.float32)
NAMES = {"names": "{0: 'cat', 1: 'dog'}"}


def onnx(tmp_path, **metadata):
    path = tmp_path / "best.onnx"
    path.write_bytes(onnx_model(ANSWER, metadata=NAMES | metadata))
    return path


@pytest.mark.parametrize("task", ["segment", "pose", "obb", "classify"])
def test_an_export_for_another_task_is_named(tmp_path, task):
    with pytest.raises(YoloError, match=f"for another task: best.onnx: {task}; expected .*; give others"):
        check_export("onnx", onnx(tmp_path, task=task))
    (tmp_path / "metadata.yaml").write_text(f"description: x\ntask: {task}\nnames:\n  0: cat\n")
    with pytest.raises(YoloError, match=f"for another task: .*: {task}; expected"):
        check_export("openvino", tmp_path, ("metadata.yaml",))


def test_rtdetr_is_named(tmp_path):
    with pytest.raises(YoloError, match="detect with RT-DETR"):
        check_export("onnx", onnx(tmp_path, task="detect", description="Ultralytics rtdetr-l model trained on x"))


@pytest.mark.parametrize("metadata", [{}, {"task": "detect"}, {"task": "detect", "description": "task"}])
def test_an_export_for_detection_passes_and_so_does_one_that_says_nothing(tmp_path, metadata):
    path = onnx(tmp_path, **metadata)
    check_export("onnx", path)
    check_export("openvino", tmp_path)
    assert read_class_names("onnx", path) == ["cat", "dog"]


def test_a_file_that_ends_at_the_key_is_not_read_beyond_its_end(tmp_path):
    path = tmp_path / "cut.onnx"
    path.write_bytes(b"\x08\x08\x0a\x04task\x12")
    check_export("onnx", path)
