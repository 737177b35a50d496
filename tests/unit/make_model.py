"""Makes tiny detectors: real OpenVINO and ONNX models of a few operations, made in milliseconds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from yolo.model.info import ModelInfo
from yolo.model.openvino_runtime import import_openvino
from yolo.vision import nms

openvino = import_openvino()
from openvino import opset13 as ops  # noqa: E402  (importing it first would turn telemetry on)

Size = tuple[int, int]

COLOURS = ("red", "green", "blue")
"""Classes of the colour detector."""

SCORE = 0.75
"""Score of everything that the colour detector finds; exact as a float."""

_BOXES = 16


def _input(size: Size | None, *, batch: int = 1, kind: Any = np.float32) -> Any:
    return ops.parameter([batch, 3, *(size or (-1, -1))], kind, name="images")


def constant_model(
    output: np.ndarray, size: Size | None = (64, 64), *, batch: int = 1, kind: Any = np.float32, outputs: int = 1
) -> Any:
    """Return a model that always answers ``output``.

    Args:
        output: What it answers, with its batch axis.
        size: (height, width) of its input; None for any.
        batch: Batch of its input.
        kind: Type of its input and output.
        outputs: How many outputs, all alike.
    """
    images = _input(size, batch=batch, kind=kind)
    # The input has to lead somewhere.
    nothing = ops.multiply(ops.reduce_max(images, [0, 1, 2, 3]), np.zeros((), kind))
    answers = [ops.add(ops.constant(output.astype(kind)), nothing) for _ in range(outputs)]
    return openvino.Model(answers, [images])


def colour_model(size: Size | None = None) -> Any:
    """Return an anchor-free detector that boxes all red, all green and all blue pixels of a picture.

    It sees what a network sees: RGB from 0 to 1 after letterboxing. So a wrong order of channels, wrong
    padding or wrong scaling shows as a wrong box.
    """
    images = _input(size)
    height, width = (ops.gather(ops.shape_of(images, "i32"), np.int32(axis), np.int32(0)) for axis in (2, 3))
    planes = [ops.gather(images, np.int32(channel), np.int32(1)) for channel in range(3)]

    def span(mask: Any, axis: int, length: Any) -> tuple[Any, Any]:
        """First and one past the last pixel of the mask, along an axis of the picture."""
        line = ops.reduce_max(mask, [0, axis])
        end = ops.convert(length, "f32")
        place = ops.range(np.int32(0), length, np.int32(1), "f32")
        last = ops.reduce_max(ops.multiply(line, ops.add(place, np.float32(1))), [0])
        first = ops.subtract(end, ops.reduce_max(ops.multiply(line, ops.subtract(end, place)), [0]))
        return first, last

    columns = []
    for channel, plane in enumerate(planes):
        others = ops.maximum(*(p for other, p in enumerate(planes) if other != channel))
        mask = ops.convert(ops.greater(ops.subtract(plane, others), np.float32(0.5)), "f32")
        (x1, x2), (y1, y2) = span(mask, 1, width), span(mask, 2, height)
        score = ops.multiply(ops.reduce_max(mask, [0, 1, 2]), np.float32(SCORE))
        scores = [score if index == channel else ops.constant(np.float32(0)) for index in range(3)]
        half = np.float32(0.5)
        box = [
            ops.multiply(ops.add(x1, x2), half),
            ops.multiply(ops.add(y1, y2), half),
            ops.subtract(x2, x1),
            ops.subtract(y2, y1),
        ]
        columns.append(ops.concat([ops.reshape(v, np.array([1, 1, 1]), False) for v in (*box, *scores)], 1))
    padding = ops.constant(np.zeros((1, 7, _BOXES - 3), np.float32))
    return openvino.Model([ops.concat([*columns, padding], 2)], [images])


def save(model: Any, folder: Path, name: str = "model", metadata: str | None = None) -> Path:
    """Write a model as an OpenVINO folder; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    openvino.save_model(model, folder / f"{name}.xml", compress_to_fp16=False)
    if metadata is not None:
        (folder / "metadata.yaml").write_text(metadata, encoding="utf-8")
    return folder


def prepared(model: Any, folder: Path, **changes: Any) -> ModelInfo:
    """Write a model as jobs find it, with its description; by default that of the colour detector."""
    shape = model.input().partial_shape
    values: dict[str, Any] = {
        "names": COLOURS,
        "stride": 32,
        "imgsz": (64, 64) if shape.is_dynamic else (shape[2].get_length(), shape[3].get_length()),
        "dynamic": shape.is_dynamic,
        "layout": nms.ANCHOR_FREE,
        "precision": "fp32",
        "source_name": "colours.pt",
    }
    info = ModelInfo(**{**values, **changes})
    save(model, folder)
    (folder / "model.json").write_text(json.dumps(info.to_dict()))
    return info


# --- ONNX: the few messages of its protocol buffer that a model of two operations needs -----------


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def _field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _tensor(name: str, array: np.ndarray) -> bytes:
    dims = b"".join(_field(1, size) for size in array.shape)
    return dims + _field(2, 1) + _field(8, name) + _field(9, array.astype("<f4").tobytes())


def _value_info(name: str, shape: Sequence[int | str]) -> bytes:
    dims = b"".join(_field(1, _field(1 if isinstance(size, int) else 2, size)) for size in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, dims)))


def _node(kind: str, inputs: Sequence[str], output: str, **integers: int) -> bytes:
    attributes = b"".join(
        _field(5, _field(1, name) + _field(3, value) + _field(20, 2)) for name, value in integers.items()
    )
    return b"".join(_field(1, name) for name in inputs) + _field(2, output) + _field(4, kind) + attributes


def onnx_model(output: np.ndarray, size: Size | None = (64, 64), metadata: Mapping[str, str] | None = None) -> bytes:
    """Return an ONNX file whose model always answers ``output``; see :func:`constant_model`."""
    shape: list[int | str] = [1, 3, *(size or ("height", "width"))]
    graph = (
        _field(1, _node("ReduceMax", ["images"], "brightest", keepdims=0))
        + _field(1, _node("Mul", ["brightest", "zero"], "nothing"))
        + _field(1, _node("Add", ["answer", "nothing"], "output0"))
        + _field(2, "detector")
        + _field(5, _tensor("zero", np.zeros(1, np.float32)))
        + _field(5, _tensor("answer", output))
        + _field(11, _value_info("images", shape))
        + _field(12, _value_info("output0", output.shape))
    )
    properties = b"".join(_field(14, _field(1, key) + _field(2, value)) for key, value in (metadata or {}).items())
    return _field(1, 8) + _field(7, graph) + _field(8, _field(1, "") + _field(2, 13)) + properties
