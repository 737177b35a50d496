"""Bring the graph of a detector into the one form that jobs run, and read what it says about itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..share.errors import YoloError
from ..share.file_kind import describe_bytes
from ..vision import nms
from .info import EmbeddedNms
from .openvino_runtime import import_openvino, openvino_reason

if TYPE_CHECKING:
    import openvino


def read_model(core: openvino.Core, path: Path) -> openvino.Model:
    """Read an IR or an ONNX file.

    Raises:
        YoloError: It is neither; the text says what it looks like.
    """
    what = "ONNX" if path.suffix.lower() == ".onnx" else "OpenVINO"
    try:
        return core.read_model(path)
    except RuntimeError as error:
        with open(path, "rb") as file:
            looks = describe_bytes(file.read(512))
        reason = openvino_reason(error)
        if not looks.startswith(("unknown", "an XML")):
            reason = f"it is {looks}"
        elif what == "ONNX":
            reason = f"corrupt, truncated or not ONNX: {reason}"
        raise YoloError(
            f"the weights cannot be read as {what}",
            f"{path.name}: {reason}",
            remedy="copy or export them again",
        ) from error


def onnx_metadata(model: openvino.Model) -> dict[str, str]:
    """Return the ONNX file's ``metadata_props``, which OpenVINO keeps as runtime information."""
    return {
        key: str(model.get_rt_info(["framework", key]).value)
        for key in ("names", "stride", "imgsz", "task", "version")
        if model.has_rt_info(["framework", key])
    }


def one_float_input_and_output(model: openvino.Model, name: str) -> tuple[openvino.Model, bool]:
    """Leave one float32 input (1, 3, height, width) and one float32 output, that of the detections.

    Returns:
        The model, and whether it had to be changed.

    Raises:
        YoloError: The model has other inputs or outputs than a detector.
    """
    openvino = import_openvino()
    shapes = [i.partial_shape for i in model.inputs]
    if [_rank(shape) for shape in shapes] != [4]:
        raise wrong_shape(name, f"inputs {[str(shape) for shape in shapes]}")
    shape = shapes[0]
    if shape[1].is_static and shape[1].get_length() != 3:
        raise wrong_shape(name, f"input {shape}", "colour images as (batch, 3, height, width)")
    changed = False
    if shape[0].is_static and shape[0].get_length() != 1:
        shape[0] = 1
        try:
            model.reshape(shape)
        except RuntimeError as error:
            raise wrong_shape(name, f"input {shape}", "a batch of 1 or a dynamic batch") from error
        changed = True
    detections = [o for o in model.outputs if _rank(o.partial_shape) == 3]
    if not detections or any(_rank(o.partial_shape) == 4 for o in model.outputs):
        raise wrong_shape(name, f"outputs {[str(o.partial_shape) for o in model.outputs]}")
    if len(model.outputs) > 1:
        # Old YOLOv5 exports append the raw feature maps of each scale.
        model = openvino.Model([detections[0].get_node()], model.get_parameters())
        changed = True
    f32 = openvino.Type.f32
    if model.input().element_type != f32 or model.output().element_type != f32:
        from openvino.preprocess import PrePostProcessor

        processor = PrePostProcessor(model)
        processor.input().tensor().set_element_type(f32)
        processor.output().tensor().set_element_type(f32)
        model = processor.build()
        changed = True
    return model, changed


def fixed_size(model: openvino.Model, name: str) -> tuple[int, int] | None:
    """Return the (height, width) of a model's input, pixels; None if both are dynamic.

    Raises:
        YoloError: Only one of them is fixed.
    """
    height, width = model.input().partial_shape[2], model.input().partial_shape[3]
    if height.is_dynamic != width.is_dynamic:
        raise wrong_shape(name, f"input {model.input().partial_shape}", "height and width both fixed or both free")
    return None if height.is_dynamic else (height.get_length(), width.get_length())


def weights_precision(model: openvino.Model) -> str:
    """Return how a model's weights are stored: "fp32", "fp16" or "int8"."""
    sizes: dict[str, int] = {}
    for op in model.get_ops():
        if op.get_type_name() == "FakeQuantize":
            return "int8"
        if op.get_type_name() == "Constant":
            kind = op.get_output_element_type(0).get_type_name()
            sizes[kind] = sizes.get(kind, 0) + int(np.prod(op.get_output_shape(0)))
    return "fp16" if sizes.get("f16", 0) > sizes.get("f32", 0) else "fp32"


def embedded_nms(model: openvino.Model) -> EmbeddedNms:
    """Read the limits that an export with ``nms=True`` wrote into the graph."""
    conf = iou = None
    for op in model.get_ops():
        kind = op.get_type_name()
        if kind == "NonMaxSuppression":
            iou = _scalar(op, 3)
        elif kind == "Greater":
            value = _scalar(op, 1)
            if value is not None and 0 < value < 1:
                conf = value
    rows = model.output().partial_shape[1]
    # Without a fixed number of rows the model itself sets no limit.
    return EmbeddedNms(conf, iou, rows.get_length() if rows.is_static else nms.MAX_CANDIDATES)


def _scalar(op: Any, port: int) -> float | None:
    node = op.input_value(port).get_node()
    if node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Constant":
        return None
    data = np.asarray(node.get_data())
    return round(float(data.ravel()[0]), 6) if data.size == 1 else None


def _rank(shape: openvino.PartialShape) -> int | None:
    return None if shape.rank.is_dynamic else shape.rank.get_length()


def wrong_shape(name: str, found: str, expected: str = "") -> YoloError:
    """Return the error for weights whose inputs or outputs are not those of a detector."""
    return YoloError(
        "the weights do not look like a YOLO detector",
        f"{name}: {found}",
        expected or "one input (1, 3, height, width) and one output of rank 3",
        "give detection weights exported by ultralytics or ultralytics/yolov5",
    )
