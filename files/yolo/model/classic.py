"""Rebuild a checkpoint of ultralytics/yolov5 in torch, from its own description, and export it.

The modules that the checkpoint records say what the network is made of and how it is wired; their tensors are checked
against that. No code of the checkpoint or of ultralytics/yolov5 is needed. Needs torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..share.checkpoint_file import CheckpointFile
from ..share.errors import YoloError, one_line
from ..share.inert_pickle import Record
from .metadata import USUAL_SIDE, read_size
from .tensors import read_tensor

_DEEPEST = 24
_MOST_CHANNELS = 1 << 16
_LARGEST_STRIDE = 1024
_ACTIVATIONS = ("SiLU", "Hardswish", "LeakyReLU", "ReLU", "ReLU6", "Mish", "GELU", "ELU", "SELU", "Sigmoid", "Identity")
_EXPORT_OPSET = 17


class _WrongPartError(ValueError):
    """A part of the network is not as its description says."""


def build(file: CheckpointFile) -> nn.Module:
    """Return the network of a checkpoint, float32, ready to detect.

    Its input is (n, 3, height, width), RGB, 0..1, sides multiples of the largest stride; its output is of the layout
    ``classic`` (``yolo.vision.nms``).

    Args:
        file: The checkpoint.

    Raises:
        YoloError: It has a part that is not known, lacks tensors, or its state does not fit its description.
    """
    try:
        network = Network(_Builder(file), file.model())
        return network.float().eval().requires_grad_(False)
    except (_WrongPartError, KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError) as error:
        reason = str(error) if isinstance(error, _WrongPartError) else f"{type(error).__name__}: {error}"
        raise YoloError(
            "the checkpoint's network can't be rebuilt",
            f"{file.name}: {one_line(reason)[:250]}",
            "a detection model of ultralytics/yolov5, v5.0 to v7.0, whose tensors fit its description",
            "copy it again; if it is whole, export it with ultralytics/yolov5's export.py --include onnx --dynamic",
        ) from None


def training_size(file: CheckpointFile) -> tuple[int, int]:
    """Return the size (height, width) that a checkpoint was trained with, else the usual one."""
    options = file.content.get("opt")
    options = options.state if isinstance(options, Record) else options
    if isinstance(options, Mapping):
        for key in ("imgsz", "img_size"):
            found = read_size(options.get(key))
            if found:
                return found
    return USUAL_SIDE, USUAL_SIDE


def stride_of(network: nn.Module) -> int:
    """Return what the sides of the input must be multiples of, pixels."""
    return int(max(network.detect.strides))


def export(network: nn.Module, size: tuple[int, int], export_format: str, out: Path) -> None:
    """Export a network with a dynamic batch and size.

    Args:
        network: From :func:`build`.
        size: (height, width) of the example that it is traced with; rounded up to what the network takes.
        export_format: "onnx" or "torchscript".
        out: The file to write.

    Raises:
        YoloError: The network fails.
    """
    stride = stride_of(network)
    height, width = (math.ceil(side / stride) * stride for side in size)
    example = torch.zeros(1, 3, height, width)
    try:
        with torch.inference_mode(False), torch.no_grad():
            network(example)
            if export_format == "torchscript":
                torch.jit.save(torch.jit.trace(network, example, check_trace=False), str(out))
                return
            axes = {0: "batch", 2: "height", 3: "width"}
            torch.onnx.export(
                network,
                (example,),
                str(out),
                opset_version=_EXPORT_OPSET,
                input_names=["images"],
                output_names=["output0"],
                dynamic_axes={"images": axes, "output0": {0: "batch", 1: "boxes"}},
                dynamo=False,
            )
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise YoloError(
            "the checkpoint's network fails: its parts do not fit each other",
            f"{type(error).__name__}: {one_line(' '.join(str(error).split()))[:200]}",
            remedy="copy the weights again, or give an ONNX export",
        ) from error


class Network(nn.Module):
    """The layers in their order, each with the outputs that it takes.

    Args:
        builder: Makes modules of records.
        model: The model's record.
    """

    def __init__(self, builder: _Builder, model: Record) -> None:
        super().__init__()
        records = list(_modules(_modules(model)["model"]).values())
        self.layers = nn.ModuleList(builder.module(record) for record in records)
        self.sources = [_sources(record, index) for index, record in enumerate(records)]
        self.detect = self.layers[-1]
        if not isinstance(self.detect, Detect):
            raise _WrongPartError(f"the last layer is {records[-1].of}, not Detect")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the raw output for a batch of images."""
        outputs: list[torch.Tensor] = []
        last = images
        for layer, sources in zip(self.layers, self.sources, strict=True):
            taken = [last if source is None else outputs[source] for source in sources]
            last = layer(taken) if isinstance(layer, Concat | Detect) else layer(taken[0])
            outputs.append(last)
        return last


class Conv(nn.Module):
    """Convolution, normalisation, activation."""

    def __init__(self, conv: nn.Module, bn: nn.Module, act: nn.Module) -> None:
        super().__init__()
        self.conv, self.bn, self.act = conv, bn, act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's output."""
        return self.act(self.bn(self.conv(x)))


class Shortcut(nn.Module):
    """Two layers, and the input added to their output where that has its shape."""

    def __init__(self, first: nn.Module, second: nn.Module, add: bool) -> None:
        super().__init__()
        self.first, self.second, self.add = first, second, add

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's output."""
        y = self.second(self.first(x))
        return x + y if self.add else y


class Parallel(nn.Module):
    """A block cut in two branches (cross stage partial); both are joined on the axis of channels."""

    def __init__(self, long: nn.Module, short: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.long, self.short, self.after = long, short, after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's output."""
        return self.after(torch.cat((self.long(x), self.short(x)), 1))


class Pyramid(nn.Module):
    """Pooling at several sizes, side by side (SPP) or one after the other (SPPF)."""

    def __init__(self, before: nn.Module, pools: Sequence[nn.Module], after: nn.Module, chained: bool) -> None:
        super().__init__()
        self.before, self.pools, self.after, self.chained = before, nn.ModuleList(pools), after, chained

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's output."""
        outputs = [self.before(x)]
        for pool in self.pools:
            outputs.append(pool(outputs[-1] if self.chained else outputs[0]))
        return self.after(torch.cat(outputs, 1))


class Focus(nn.Module):
    """Every second pixel of rows and columns as channels of their own, then a convolution."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's output."""
        parts = [x[..., row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.conv(torch.cat(parts, 1))


class Ghost(nn.Module):
    """Half of the channels by one convolution, the other half by a cheap one of these."""

    def __init__(self, first: nn.Module, cheap: nn.Module) -> None:
        super().__init__()
        self.first, self.cheap = first, cheap

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's output."""
        y = self.first(x)
        return torch.cat((y, self.cheap(y)), 1)


class Sum(nn.Module):
    """Two branches, added."""

    def __init__(self, one: nn.Module, other: nn.Module) -> None:
        super().__init__()
        self.one, self.other = one, other

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's output."""
        return self.one(x) + self.other(x)


class Concat(nn.Module):
    """Several outputs, joined on an axis."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        """Return the layer's output."""
        return torch.cat(inputs, self.axis)


class Detect(nn.Module):
    """The head: boxes relative to the cells of each level's grid and to its anchors, in pixels of the input.

    With s = sigmoid(x): centre (2 s - 0.5 + cell) * stride, size (2 s)^2 * anchor, then objectness and class scores s.

    Args:
        convolutions: Of each level: (3 anchors) * (5 + classes) channels.
        anchors: (levels, anchors, 2): width and height, in cells.
        strides: Pixels of a cell, of each level.
    """

    def __init__(self, convolutions: Sequence[nn.Module], anchors: torch.Tensor, strides: Sequence[float]) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(convolutions)
        self.strides = [float(stride) for stride in strides]
        self.per_cell = anchors.shape[1]
        sizes = anchors.float() * torch.tensor(self.strides).view(-1, 1, 1)
        self.register_buffer("anchors", sizes.view(len(self.strides), 1, self.per_cell, 1, 1, 2))

    def forward(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        """Return (n, boxes, 5 + classes)."""
        outputs = []
        for level, (convolution, x) in enumerate(zip(self.convolutions, inputs, strict=True)):
            y = convolution(x)
            n, channels, height, width = y.shape
            values = channels // self.per_cell
            y = y.view(n, self.per_cell, values, height, width).permute(0, 1, 3, 4, 2).sigmoid()
            rows = torch.arange(height, dtype=y.dtype).view(1, 1, -1, 1, 1)
            columns = torch.arange(width, dtype=y.dtype).view(1, 1, 1, -1, 1)
            # Added to zeros of the grid's size, for both have to be as large as the grid.
            zeros = torch.zeros_like(y[:1, :1, :, :, :1])
            cells = torch.cat((columns + zeros, rows + zeros), 4)
            centre = (y[..., :2] * 2 + (cells - 0.5)) * self.strides[level]
            size = (y[..., 2:4] * 2) ** 2 * self.anchors[level]
            y = torch.cat((centre, size, y[..., 4:]), 4)
            outputs.append(y.reshape(n, -1, values))
        return torch.cat(outputs, 1)


class _Builder:
    """Makes modules of a checkpoint's records."""

    def __init__(self, file: CheckpointFile) -> None:
        self._file = file
        self._deep = 0

    def module(self, record: Any) -> nn.Module:
        """Return the module of a record.

        Raises:
            _WrongPartError: It is not known, or its state does not fit.
        """
        if not isinstance(record, Record):
            raise _WrongPartError(f"{type(record).__name__} in place of a layer")
        if record.of.module.startswith("torch.nn.modules.") and record.of.name in _ACTIVATIONS:
            return self._activation(record)
        make = _PARTS.get(record.of.name)
        if make is None:
            raise _WrongPartError(f"it has a {record.of}, a layer that is not supported")
        self._deep += 1
        if self._deep > _DEEPEST:
            raise _WrongPartError("its layers are within each other without end")
        try:
            return make(self, record)
        finally:
            self._deep -= 1

    def tensor(self, record: Record, name: str, shape: Sequence[int] | None = None) -> torch.Tensor:
        """Return a parameter or buffer of a record, float32.

        Raises:
            _WrongPartError: It is missing or of another shape.
        """
        for part in ("_parameters", "_buffers"):
            value = (record.state.get(part) or {}).get(name)
            if value is not None:
                found = self._values(value)
                if shape is not None and tuple(found.shape) != tuple(shape):
                    raise _WrongPartError(f"{name} of {record.of} is {tuple(found.shape)}, not {tuple(shape)}")
                return found
        raise _WrongPartError(f"{record.of} lacks its {name}")

    def attribute_tensor(self, value: Any) -> torch.Tensor:
        """Return a tensor that is an attribute, float32."""
        return self._values(value)

    def _values(self, value: Any) -> torch.Tensor:
        found = read_tensor(self._file, value).float()
        if not bool(torch.isfinite(found).all()):
            raise _WrongPartError("a tensor holds values that are no numbers")
        return found

    def child(self, record: Record, name: str) -> nn.Module:
        """Return the module of one of a record's children."""
        modules = _modules(record)
        if name not in modules:
            raise _WrongPartError(f"{record.of} lacks its {name}")
        return self.module(modules[name])

    def _activation(self, record: Record) -> nn.Module:
        if record.of.name == "LeakyReLU":
            return nn.LeakyReLU(float(record.state.get("negative_slope", 0.01)))
        made: nn.Module = getattr(nn, record.of.name)()
        return made

    def conv(self, record: Record) -> nn.Module:
        # A fused model has its normalisation within the convolution.
        normalised = "bn" in _modules(record)
        return Conv(
            self.child(record, "conv"),
            self.child(record, "bn") if normalised else nn.Identity(),
            self.child(record, "act") if "act" in _modules(record) else nn.SiLU(),
        )

    def conv2d(self, record: Record) -> nn.Module:
        state = record.state
        channels = [_whole(state[name], _MOST_CHANNELS) for name in ("in_channels", "out_channels", "groups")]
        kernel, stride, dilation = (_pair(state[name], 1) for name in ("kernel_size", "stride", "dilation"))
        if state.get("padding_mode", "zeros") != "zeros":
            raise _WrongPartError(f"a convolution pads with {state['padding_mode']}")
        weight = self.tensor(record, "weight", (channels[1], channels[0] // channels[2], *kernel))
        has_bias = (record.state.get("_parameters") or {}).get("bias") is not None
        bias = self.tensor(record, "bias", (channels[1],)) if has_bias else None
        # Made without values: these are given.
        made = nn.utils.skip_init(
            nn.Conv2d,
            channels[0],
            channels[1],
            kernel,
            stride=stride,
            padding=_pair(state["padding"], 0),
            dilation=dilation,
            groups=channels[2],
            bias=has_bias,
        )
        made.weight = nn.Parameter(weight)
        made.bias = None if bias is None else nn.Parameter(bias)
        return made

    def batch_norm(self, record: Record) -> nn.Module:
        count = _whole(record.state["num_features"], _MOST_CHANNELS)
        made = nn.BatchNorm2d(count, eps=float(record.state["eps"]))
        made.weight = nn.Parameter(self.tensor(record, "weight", (count,)))
        made.bias = nn.Parameter(self.tensor(record, "bias", (count,)))
        made.running_mean = self.tensor(record, "running_mean", (count,))
        made.running_var = self.tensor(record, "running_var", (count,))
        return made

    def sequential(self, record: Record) -> nn.Module:
        return nn.Sequential(*(self.module(child) for child in _modules(record).values()))

    def max_pool(self, record: Record) -> nn.Module:
        state = record.state
        return nn.MaxPool2d(
            _pair(state["kernel_size"], 1), _pair(state["stride"], 1), _pair(state["padding"], 0),
            ceil_mode=bool(state.get("ceil_mode")),
        )  # fmt: skip

    def upsample(self, record: Record) -> nn.Module:
        factor, mode = float(record.state["scale_factor"]), record.state["mode"]
        if mode not in ("nearest", "bilinear") or not 1 <= factor <= 16:
            raise _WrongPartError(f"an Upsample of mode {mode} by {factor}")
        return nn.Upsample(scale_factor=factor, mode=mode)

    def pad(self, record: Record) -> nn.Module:
        sides = record.state["padding"]
        return nn.ZeroPad2d(tuple(_whole(side, 64, 0) for side in sides))

    def bottleneck(self, record: Record) -> nn.Module:
        return Shortcut(self.child(record, "cv1"), self.child(record, "cv2"), bool(record.state["add"]))

    def c3(self, record: Record) -> nn.Module:
        long = nn.Sequential(self.child(record, "cv1"), self.child(record, "m"))
        return Parallel(long, self.child(record, "cv2"), self.child(record, "cv3"))

    def csp(self, record: Record) -> nn.Module:
        long = nn.Sequential(*(self.child(record, name) for name in ("cv1", "m", "cv3")))
        after = nn.Sequential(*(self.child(record, name) for name in ("bn", "act", "cv4")))
        return Parallel(long, self.child(record, "cv2"), after)

    def spp(self, record: Record) -> nn.Module:
        pools = [self.module(child) for child in _modules(_modules(record)["m"]).values()]
        return Pyramid(self.child(record, "cv1"), pools, self.child(record, "cv2"), chained=False)

    def sppf(self, record: Record) -> nn.Module:
        pools = [self.child(record, "m")] * 3
        return Pyramid(self.child(record, "cv1"), pools, self.child(record, "cv2"), chained=True)

    def focus(self, record: Record) -> nn.Module:
        return Focus(self.child(record, "conv"))

    def ghost(self, record: Record) -> nn.Module:
        return Ghost(self.child(record, "cv1"), self.child(record, "cv2"))

    def ghost_bottleneck(self, record: Record) -> nn.Module:
        return Sum(self.child(record, "conv"), self.child(record, "shortcut"))

    def concat(self, record: Record) -> nn.Module:
        return Concat(_whole(record.state.get("d", 1), 3))

    def detect(self, record: Record) -> nn.Module:
        convolutions = [self.module(child) for child in _modules(_modules(record)["m"]).values()]
        anchors = self.tensor(record, "anchors")
        strides = self.attribute_tensor(record.state["stride"]).tolist()
        classes = _whole(record.state["nc"], _MOST_CHANNELS)
        if anchors.ndim != 3 or anchors.shape[2] != 2 or not bool((anchors > 0).all()):
            raise _WrongPartError(f"its anchors are {tuple(anchors.shape)}, not positive (levels, anchors, 2)")
        if not len(convolutions) == len(strides) == anchors.shape[0]:
            raise _WrongPartError(
                f"its head has {len(convolutions)} levels, {len(strides)} strides and anchors of {anchors.shape[0]}"
            )
        if not all(stride == int(stride) and 1 <= stride <= _LARGEST_STRIDE for stride in strides):
            raise _WrongPartError(f"its strides are {strides}")
        channels = anchors.shape[1] * (5 + classes)
        for convolution in convolutions:
            if not isinstance(convolution, nn.Conv2d) or convolution.out_channels != channels:
                raise _WrongPartError(
                    f"its head does not give {channels} values, for {anchors.shape[1]} anchors and {classes} classes"
                )
        return Detect(convolutions, anchors, strides)


_PARTS: dict[str, Callable[[_Builder, Record], nn.Module]] = {
    "Conv": _Builder.conv,
    "DWConv": _Builder.conv,
    "Conv2d": _Builder.conv2d,
    "BatchNorm2d": _Builder.batch_norm,
    "Sequential": _Builder.sequential,
    "MaxPool2d": _Builder.max_pool,
    "Upsample": _Builder.upsample,
    "ZeroPad2d": _Builder.pad,
    "Bottleneck": _Builder.bottleneck,
    "CrossConv": _Builder.bottleneck,
    "C3": _Builder.c3,
    "C3x": _Builder.c3,
    "C3SPP": _Builder.c3,
    "C3Ghost": _Builder.c3,
    "BottleneckCSP": _Builder.csp,
    "SPP": _Builder.spp,
    "SPPF": _Builder.sppf,
    "Focus": _Builder.focus,
    "GhostConv": _Builder.ghost,
    "GhostBottleneck": _Builder.ghost_bottleneck,
    "Concat": _Builder.concat,
    "Detect": _Builder.detect,
}


def _modules(record: Any) -> Mapping[str, Any]:
    modules = record.state.get("_modules") if isinstance(record, Record) else None
    if not isinstance(modules, Mapping):
        raise _WrongPartError("a layer has no parts")
    return modules


def _sources(record: Record, index: int) -> list[int | None]:
    """Return whose outputs a layer takes: None for the layer before it, which is the image for the first."""
    found = record.state.get("f", -1)
    sources: list[int | None] = []
    for value in found if isinstance(found, list | tuple) else [found]:
        place = index + value if value < -1 else value
        if value != -1 and not 0 <= place < index:
            raise _WrongPartError(f"layer {index} takes the output of layer {value}")
        sources.append(None if value == -1 else place)
    return sources


def _whole(value: Any, most: int, least: int = 1) -> int:
    if type(value) is not int or not least <= value <= most:
        raise _WrongPartError(f"a layer has the size {value}")
    return value


def _pair(value: Any, least: int) -> tuple[int, int]:
    values = value if isinstance(value, tuple | list) else (value, value)
    if len(values) != 2:
        raise _WrongPartError(f"a layer has the size {value}")
    return _whole(values[0], 1024, least), _whole(values[1], 1024, least)
