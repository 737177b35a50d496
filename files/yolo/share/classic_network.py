"""What a checkpoint of ultralytics/yolov5 says its network is, checked: parts, sizes, wiring, tensors.

The parts are records (``inert_pickle``) with the names of that project's and of torch's classes. A part that is not
known, lacks something, or has something more than the published one is an error: a network that is almost right would
be wrong in silence. The standard library is enough, so that weights are checked before they are sent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .checkpoint_file import CheckpointFile
from .errors import YoloError, one_line
from .inert_pickle import Global, Record

ACTIVATIONS = ("SiLU", "Hardswish", "LeakyReLU", "ReLU", "ReLU6", "Mish", "GELU", "ELU", "SELU", "Sigmoid", "Identity")
"""Names of activations in ``torch.nn`` that a network may have."""

_DEEPEST = 24
_MOST_CHANNELS = 1 << 16
_LARGEST_STRIDE = 1024
_FUSED = ("forward_fuse", "fuseforward")
# An old head keeps its anchors twice; the number of batches counts for training alone.
_LEFT_OUT = frozenset(("anchor_grid", "num_batches_tracked"))


class _WrongPartError(ValueError):
    """A part of the network is not as its description says."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What a class of parts is made of.

    Attributes:
        children: Names of its parts.
        optional: Names of parts that it may have.
        tensors: Names of its tensors.
        check: Checks its sizes.
    """

    children: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    tensors: tuple[str, ...] = ()
    check: Callable[[CheckpointFile, Record], None] | None = None


def check_network(file: CheckpointFile) -> None:
    """Check the network of a checkpoint.

    Raises:
        YoloError: It has a part that is not known, lacks tensors, or its state does not fit its description.
    """
    try:
        records = layers(file.model())
        checked: set[int] = set()
        for index, record in enumerate(records):
            sources(record, index)
            _check(file, record, checked)
        if not records or records[-1].of.name != "Detect":
            raise _WrongPartError(f"the last layer is {records[-1].of if records else 'missing'}, not Detect")
    except (_WrongPartError, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise wrong_network(file, error) from None


def wrong_network(file: CheckpointFile, error: Exception) -> YoloError:
    """Return the error that says why a network can't be rebuilt."""
    reason = str(error) if isinstance(error, _WrongPartError) else f"{type(error).__name__}: {error}"
    return YoloError(
        "the checkpoint's network can't be rebuilt",
        f"{file.name}: {one_line(reason)[:250]}",
        "a detection model of ultralytics/yolov5, v5.0 to v7.0, whose tensors fit its description",
        "copy it again; if it is whole, export it with ultralytics/yolov5's export.py --include onnx --dynamic",
    )


def layers(model: Record) -> list[Record]:
    """Return a model's layers in their order."""
    return list(children(children(model)["model"]).values())


def children(record: Any) -> Mapping[str, Record]:
    """Return the parts of a part by their names."""
    modules = record.state.get("_modules") if isinstance(record, Record) else None
    if not isinstance(modules, Mapping):
        raise _WrongPartError("a layer has no parts")
    return modules


def tensor(record: Record, name: str) -> Any:
    """Return what the pickle holds for a parameter or buffer; None where there is none."""
    parts = (record.state.get("_parameters"), record.state.get("_buffers"))
    return next((part[name] for part in parts if isinstance(part, Mapping) and part.get(name) is not None), None)


def sources(record: Record, index: int) -> list[int | None]:
    """Return whose outputs a layer takes: None for the layer before it, which is the image for the first."""
    found = record.state.get("f", -1)
    taken: list[int | None] = []
    for value in found if isinstance(found, list | tuple) else [found]:
        place = index + value if value < -1 else value
        if value != -1 and not 0 <= place < index:
            raise _WrongPartError(f"layer {index} takes the output of layer {value}")
        taken.append(None if value == -1 else place)
    return taken


def pair(value: Any) -> tuple[int, int]:
    """Return a size on both axes."""
    return (value[0], value[1]) if isinstance(value, tuple | list) else (value, value)


def is_activation(of: Global) -> bool:
    """Return whether a name is one of :data:`ACTIVATIONS`."""
    return of.module.startswith("torch.nn.modules.") and of.name in ACTIVATIONS


def _check(file: CheckpointFile, record: Any, checked: set[int], deep: int = 0) -> None:
    """Check a part and all below it, each once: parts may be shared."""
    if not isinstance(record, Record):
        raise _WrongPartError(f"{type(record).__name__} in place of a layer")
    part = _Part() if is_activation(record.of) else _PARTS.get(record.of.name)
    if part is None:
        raise _WrongPartError(f"it has a {record.of}, a layer that is not supported")
    if deep > _DEEPEST:
        raise _WrongPartError("its layers are within each other without end")
    if id(record) in checked:
        return
    _check_forward(record)
    inside = children(record)
    if part is not _LIST:
        for name in part.children:
            if name not in inside:
                raise _WrongPartError(f"{record.of} lacks its {name}")
        more = [name for name in inside if name not in part.children + part.optional]
        more += [name for name in _tensor_names(record) if name not in part.tensors]
        if more:
            raise _WrongPartError(f"a {record.of} has a part that the published one has not, {more[0]}")
    if part.check:
        part.check(file, record)
    for child in inside.values():
        _check(file, child, checked, deep + 1)
    # Only now: one that is within itself is found by its depth.
    checked.add(id(record))


def _check_forward(record: Record) -> None:
    """Check that a part runs its class's own code: a method in its place is that of a fused model."""
    method = record.state.get("forward")
    if method is None:
        return
    of, name = (str(method.of), method.arguments[-1]) if isinstance(method, Record) else ("", "")
    if of != "builtins.getattr" or name not in _FUSED:
        raise _WrongPartError(f"a {record.of} runs other code than its own")


def _tensor_names(record: Record) -> list[str]:
    parts = (record.state.get("_parameters"), record.state.get("_buffers"))
    return [
        name
        for part in parts
        if isinstance(part, Mapping)
        for name, value in part.items()
        if value is not None and name not in _LEFT_OUT
    ]


def _shape(file: CheckpointFile, record: Record, name: str, shape: Sequence[int]) -> None:
    value = tensor(record, name)
    if value is None:
        raise _WrongPartError(f"{record.of} lacks its {name}")
    found = file.tensor(value).size
    if found != tuple(shape):
        raise _WrongPartError(f"{name} of {record.of} is {found}, not {tuple(shape)}")


def _optional_shape(file: CheckpointFile, record: Record, name: str, shape: Sequence[int]) -> None:
    if tensor(record, name) is not None:
        _shape(file, record, name, shape)


def _whole(value: Any, most: int = _MOST_CHANNELS, least: int = 1) -> int:
    if type(value) is not int or not least <= value <= most:
        raise _WrongPartError(f"a layer has the size {value}")
    return value


def _sides(record: Record, name: str, least: int = 1) -> tuple[int, int]:
    value = record.state[name]
    if isinstance(value, tuple | list) and len(value) != 2:
        raise _WrongPartError(f"a layer has the size {value}")
    height, width = pair(value)
    return _whole(height, 1024, least), _whole(width, 1024, least)


def _convolution(file: CheckpointFile, record: Record) -> None:
    inputs, outputs, groups = (_whole(record.state[name]) for name in ("in_channels", "out_channels", "groups"))
    kernel = _sides(record, "kernel_size")
    for name, least in (("stride", 1), ("dilation", 1), ("padding", 0)):
        _sides(record, name, least)
    if record.state.get("padding_mode", "zeros") != "zeros":
        raise _WrongPartError(f"a convolution pads with {record.state['padding_mode']}")
    if inputs % groups or outputs % groups:
        raise _WrongPartError(f"a convolution has {groups} groups for {inputs} and {outputs} channels")
    if record.of.name == "Conv2d":
        _shape(file, record, "weight", (outputs, inputs // groups, *kernel))
    else:
        _sides(record, "output_padding", 0)
        _shape(file, record, "weight", (inputs, outputs // groups, *kernel))
    _optional_shape(file, record, "bias", (outputs,))


def _batch_norm(file: CheckpointFile, record: Record) -> None:
    count = _whole(record.state["num_features"])
    for name in ("weight", "bias", "running_mean", "running_var"):
        _shape(file, record, name, (count,))
    if not 0 <= float(record.state["eps"]) < 1:
        raise _WrongPartError(f"a normalisation has the eps {record.state['eps']}")


def _linear(file: CheckpointFile, record: Record) -> None:
    inputs, outputs = (_whole(record.state[name]) for name in ("in_features", "out_features"))
    _shape(file, record, "weight", (outputs, inputs))
    _optional_shape(file, record, "bias", (outputs,))


def _attention(file: CheckpointFile, record: Record) -> None:
    count, heads = (_whole(record.state[name]) for name in ("embed_dim", "num_heads"))
    if count % heads or record.state.get("batch_first") or record.state.get("add_zero_attn"):
        raise _WrongPartError(f"an attention of {count} channels and {heads} heads is not the published one")
    _shape(file, record, "in_proj_weight", (3 * count, count))
    _optional_shape(file, record, "in_proj_bias", (3 * count,))


def _max_pool(file: CheckpointFile, record: Record) -> None:
    for name, least in (("kernel_size", 1), ("stride", 1), ("padding", 0)):
        _sides(record, name, least)
    if _sides(record, "dilation") != (1, 1):
        raise _WrongPartError(f"a pooling has the dilation {record.state['dilation']}")


def _upsample(file: CheckpointFile, record: Record) -> None:
    factor, mode = float(record.state["scale_factor"]), record.state["mode"]
    if mode not in ("nearest", "bilinear") or not 1 <= factor <= 16 or record.state.get("align_corners"):
        raise _WrongPartError(f"an Upsample of mode {mode} by {factor}")


def _pad(file: CheckpointFile, record: Record) -> None:
    for side in record.state["padding"]:
        _whole(side, 64, 0)
    if len(record.state["padding"]) != 4 or record.state.get("value", 0) != 0:
        raise _WrongPartError(f"it pads {record.state['padding']} with {record.state.get('value')}")


def _factor(file: CheckpointFile, record: Record) -> None:
    _whole(record.state["gain"], 16)


def _adds(file: CheckpointFile, record: Record) -> None:
    if type(record.state["add"]) is not bool:
        raise _WrongPartError(f"{record.of} adds {record.state['add']}")


def _axis(file: CheckpointFile, record: Record) -> None:
    _whole(record.state.get("d", 1), 3)


def _several(file: CheckpointFile, record: Record) -> None:
    if children(record)["m"].of.name != "ModuleList":
        raise _WrongPartError(f"the parts of {record.of} are a {children(record)['m'].of}")


def _head(file: CheckpointFile, record: Record) -> None:
    _several(file, record)
    convolutions = list(children(children(record)["m"]).values())
    found = tensor(record, "anchors")
    if found is None:
        raise _WrongPartError(f"{record.of} lacks its anchors")
    shape, anchors = file.tensor(found).size, _numbers(file, found)
    if len(shape) != 3 or shape[2] != 2 or not anchors:
        raise _WrongPartError(f"its anchors have the shape {shape}, not (levels, anchors, 2)")
    if min(anchors) <= 0:
        raise _WrongPartError(f"an anchor has the side {min(anchors):g}: anchors that were not set by a training")
    strides = _numbers(file, record.state["stride"])
    if not len(convolutions) == len(strides) == shape[0]:
        raise _WrongPartError(
            f"its head has {len(convolutions)} levels, {len(strides)} strides and anchors of {shape[0]}"
        )
    if not all(1 <= stride <= _LARGEST_STRIDE and stride == int(stride) for stride in strides):
        raise _WrongPartError(f"its strides are {strides}")
    classes = _whole(record.state["nc"])
    channels = shape[1] * (5 + classes)
    for convolution in convolutions:
        if convolution.of.name != "Conv2d" or convolution.state["out_channels"] != channels:
            raise _WrongPartError(
                f"its head does not give {channels} values, for {shape[1]} anchors and {classes} classes"
            )


def _numbers(file: CheckpointFile, value: Any) -> list[float]:
    """Return the values of a small tensor."""
    numbers = file.numbers(file.tensor(value))
    if not all(map(math.isfinite, numbers)):
        raise _WrongPartError("a tensor holds values that are no numbers")
    return numbers


_LIST = _Part()
_CONV = _Part(("conv", "act"), ("bn",))
_CONVOLUTION = _Part(tensors=("weight", "bias"), check=_convolution)
_LINEAR = _Part(tensors=("weight", "bias"), check=_linear)
_TWO = _Part(("cv1", "cv2"))
_ADDED = _Part(("cv1", "cv2"), check=_adds)
_C3 = _Part(("cv1", "cv2", "cv3", "m"))
_FACTOR = _Part(check=_factor)

_PARTS: dict[str, _Part] = {
    "Conv": _CONV,
    "DWConv": _CONV,
    "Conv2d": _CONVOLUTION,
    "ConvTranspose2d": _CONVOLUTION,
    "DWConvTranspose2d": _CONVOLUTION,
    "BatchNorm2d": _Part(tensors=("weight", "bias", "running_mean", "running_var"), check=_batch_norm),
    "Sequential": _LIST,
    "ModuleList": _LIST,
    "MaxPool2d": _Part(check=_max_pool),
    "Upsample": _Part(check=_upsample),
    "ZeroPad2d": _Part(check=_pad),
    "Bottleneck": _ADDED,
    "CrossConv": _ADDED,
    "C3": _C3,
    "C3x": _C3,
    "C3TR": _C3,
    "C3SPP": _C3,
    "C3Ghost": _C3,
    "BottleneckCSP": _Part(("cv1", "cv2", "cv3", "cv4", "bn", "act", "m")),
    "SPP": _Part(("cv1", "cv2", "m"), check=_several),
    "SPPF": _Part(("cv1", "cv2", "m")),
    "Focus": _Part(("conv",)),
    "GhostConv": _TWO,
    "GhostBottleneck": _Part(("conv", "shortcut")),
    "TransformerBlock": _Part(("linear", "tr"), ("conv",)),
    "TransformerLayer": _Part(("q", "k", "v", "ma", "fc1", "fc2")),
    "MultiheadAttention": _Part(("out_proj",), tensors=("in_proj_weight", "in_proj_bias"), check=_attention),
    "Linear": _LINEAR,
    "_LinearWithBias": _LINEAR,
    "NonDynamicallyQuantizableLinear": _LINEAR,
    "Contract": _FACTOR,
    "Expand": _FACTOR,
    "Concat": _Part(check=_axis),
    "Detect": _Part(("m",), tensors=("anchors",), check=_head),
}
