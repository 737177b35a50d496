"""Make the torch modules that a checkpoint's records describe."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from ...share import classic_network as described
from ...share.checkpoint_file import CheckpointFile
from ...share.inert_pickle import Record
from ..tensors import read_tensor
from .head import Detect
from .layers import (
    Attention,
    Concat,
    Contract,
    Conv,
    Expand,
    Focus,
    Ghost,
    Parallel,
    Pyramid,
    Shortcut,
    Sum,
    Transformer,
    TransformerLayer,
)


def build(file: CheckpointFile) -> Network:
    """Return the network of a checkpoint, float32, ready to detect.

    Its input is (n, 3, height, width), RGB, 0..1, sides multiples of the largest stride; its output is of the layout
    ``classic`` (``yolo.vision.nms``).

    Args:
        file: The checkpoint.

    Raises:
        YoloError: It has a part that is not known, lacks tensors, or its state does not fit its description.
    """
    described.check_network(file)
    try:
        network = Network(_Builder(file), file.model())
        network.float().eval().requires_grad_(False)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError) as error:
        raise described.wrong_network(file, error) from None
    return network


class Network(nn.Module):
    """The layers in their order, each with the outputs that it takes.

    Args:
        builder: Makes modules of records.
        model: The model's record.
    """

    def __init__(self, builder: _Builder, model: Record) -> None:
        super().__init__()
        records = described.layers(model)
        self.layers = nn.ModuleList(builder.module(record) for record in records)
        self.sources = [described.sources(record, index) for index, record in enumerate(records)]
        self.stride = int(max(self.layers[-1].strides))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the raw output for a batch of images."""
        outputs: list[torch.Tensor] = []
        last = images
        for layer, sources in zip(self.layers, self.sources, strict=True):
            taken = [last if source is None else outputs[source] for source in sources]
            last = layer(taken) if isinstance(layer, Concat | Detect) else layer(taken[0])
            outputs.append(last)
        return last


class _Builder:
    """Makes modules of a checkpoint's records, which ``described`` has checked."""

    def __init__(self, file: CheckpointFile) -> None:
        self._file = file
        self._made: dict[int, nn.Module] = {}

    def module(self, record: Record) -> nn.Module:
        """Return the module of a record, the same one wherever the record stands."""
        if id(record) not in self._made:
            make = _Builder.activation if described.is_activation(record.of) else _MAKERS[record.of.name]
            self._made[id(record)] = make(self, record)
        return self._made[id(record)]

    def activation(self, record: Record) -> nn.Module:
        if record.of.name == "LeakyReLU":
            return nn.LeakyReLU(float(record.state.get("negative_slope", 0.01)))
        made: nn.Module = getattr(nn, record.of.name)()
        return made

    def _child(self, record: Record, name: str) -> nn.Module:
        return self.module(described.children(record)[name])

    def _child_or_nothing(self, record: Record, name: str) -> nn.Module:
        return self._child(record, name) if name in described.children(record) else nn.Identity()

    def _children(self, record: Record) -> list[nn.Module]:
        return [self.module(child) for child in described.children(record).values()]

    def _tensor(self, record: Record, name: str) -> torch.Tensor | None:
        """Return a parameter or buffer of a record, float32; None where it has none of this name."""
        value = described.tensor(record, name)
        if value is None:
            return None
        found = read_tensor(self._file, value).float()
        if not bool(torch.isfinite(found).all()):
            raise ValueError("a tensor holds values that are no numbers")
        return found

    def _fill(self, made: nn.Module, record: Record, names: Mapping[str, str]) -> nn.Module:
        """Give a module the tensors of a record: of each of its names, which name of the record."""
        for name, of in names.items():
            value = self._tensor(record, of)
            setattr(made, name, None if value is None else nn.Parameter(value))
        return made

    def conv(self, record: Record) -> nn.Module:
        # A fused model has its normalisation within the convolution.
        return Conv(self._child(record, "conv"), self._child_or_nothing(record, "bn"), self._child(record, "act"))

    def convolution(self, record: Record) -> nn.Module:
        state = record.state
        of = nn.Conv2d if record.of.name == "Conv2d" else nn.ConvTranspose2d
        more = {} if of is nn.Conv2d else {"output_padding": described.pair(state["output_padding"])}
        # Made without values: these are given.
        made = nn.utils.skip_init(
            of,
            state["in_channels"],
            state["out_channels"],
            described.pair(state["kernel_size"]),
            stride=described.pair(state["stride"]),
            padding=described.pair(state["padding"]),
            dilation=described.pair(state["dilation"]),
            groups=state["groups"],
            **more,
        )
        return self._fill(made, record, {"weight": "weight", "bias": "bias"})

    def batch_norm(self, record: Record) -> nn.Module:
        made = nn.BatchNorm2d(record.state["num_features"], eps=float(record.state["eps"]))
        made.running_mean = self._tensor(record, "running_mean")
        made.running_var = self._tensor(record, "running_var")
        return self._fill(made, record, {"weight": "weight", "bias": "bias"})

    def linear(self, record: Record) -> nn.Module:
        made = nn.utils.skip_init(nn.Linear, record.state["in_features"], record.state["out_features"])
        return self._fill(made, record, {"weight": "weight", "bias": "bias"})

    def attention(self, record: Record) -> nn.Module:
        count = record.state["embed_dim"]
        joined = nn.utils.skip_init(nn.Linear, count, 3 * count)
        self._fill(joined, record, {"weight": "in_proj_weight", "bias": "in_proj_bias"})
        return Attention(joined, self._child(record, "out_proj"), record.state["num_heads"])

    def transformer_layer(self, record: Record) -> nn.Module:
        inputs = [self._child(record, name) for name in ("q", "k", "v")]
        return TransformerLayer(inputs, *(self._child(record, name) for name in ("ma", "fc1", "fc2")))

    def transformer(self, record: Record) -> nn.Module:
        before = self._child_or_nothing(record, "conv")
        return Transformer(before, self._child(record, "linear"), self._child(record, "tr"))

    def sequential(self, record: Record) -> nn.Module:
        return nn.Sequential(*self._children(record))

    def max_pool(self, record: Record) -> nn.Module:
        kernel, stride, padding = (described.pair(record.state[name]) for name in ("kernel_size", "stride", "padding"))
        return nn.MaxPool2d(kernel, stride, padding, ceil_mode=bool(record.state.get("ceil_mode")))

    def upsample(self, record: Record) -> nn.Module:
        return nn.Upsample(scale_factor=float(record.state["scale_factor"]), mode=record.state["mode"])

    def pad(self, record: Record) -> nn.Module:
        return nn.ZeroPad2d(tuple(record.state["padding"]))

    def bottleneck(self, record: Record) -> nn.Module:
        return Shortcut(self._child(record, "cv1"), self._child(record, "cv2"), record.state["add"])

    def c3(self, record: Record) -> nn.Module:
        long = nn.Sequential(self._child(record, "cv1"), self._child(record, "m"))
        return Parallel(long, self._child(record, "cv2"), self._child(record, "cv3"))

    def csp(self, record: Record) -> nn.Module:
        long = nn.Sequential(*(self._child(record, name) for name in ("cv1", "m", "cv3")))
        after = nn.Sequential(*(self._child(record, name) for name in ("bn", "act", "cv4")))
        return Parallel(long, self._child(record, "cv2"), after)

    def spp(self, record: Record) -> nn.Module:
        pools = self._children(described.children(record)["m"])
        return Pyramid(self._child(record, "cv1"), pools, self._child(record, "cv2"), chained=False)

    def sppf(self, record: Record) -> nn.Module:
        pools = [self._child(record, "m")] * 3
        return Pyramid(self._child(record, "cv1"), pools, self._child(record, "cv2"), chained=True)

    def focus(self, record: Record) -> nn.Module:
        return Focus(self._child(record, "conv"))

    def ghost(self, record: Record) -> nn.Module:
        return Ghost(self._child(record, "cv1"), self._child(record, "cv2"))

    def ghost_bottleneck(self, record: Record) -> nn.Module:
        return Sum(self._child(record, "conv"), self._child(record, "shortcut"))

    def contract(self, record: Record) -> nn.Module:
        return Contract(record.state["gain"])

    def expand(self, record: Record) -> nn.Module:
        return Expand(record.state["gain"])

    def concat(self, record: Record) -> nn.Module:
        return Concat(record.state.get("d", 1))

    def detect(self, record: Record) -> nn.Module:
        anchors = self._tensor(record, "anchors")
        strides = read_tensor(self._file, record.state["stride"]).float().tolist()
        return Detect(self._children(described.children(record)["m"]), anchors, strides)


_MAKERS: dict[str, Callable[[_Builder, Record], nn.Module]] = {
    "Conv": _Builder.conv,
    "DWConv": _Builder.conv,
    "Conv2d": _Builder.convolution,
    "ConvTranspose2d": _Builder.convolution,
    "DWConvTranspose2d": _Builder.convolution,
    "BatchNorm2d": _Builder.batch_norm,
    "Sequential": _Builder.sequential,
    "MaxPool2d": _Builder.max_pool,
    "Upsample": _Builder.upsample,
    "ZeroPad2d": _Builder.pad,
    "Bottleneck": _Builder.bottleneck,
    "CrossConv": _Builder.bottleneck,
    "C3": _Builder.c3,
    "C3x": _Builder.c3,
    "C3TR": _Builder.c3,
    "C3SPP": _Builder.c3,
    "C3Ghost": _Builder.c3,
    "BottleneckCSP": _Builder.csp,
    "SPP": _Builder.spp,
    "SPPF": _Builder.sppf,
    "Focus": _Builder.focus,
    "GhostConv": _Builder.ghost,
    "GhostBottleneck": _Builder.ghost_bottleneck,
    "TransformerBlock": _Builder.transformer,
    "TransformerLayer": _Builder.transformer_layer,
    "MultiheadAttention": _Builder.attention,
    "Linear": _Builder.linear,
    "_LinearWithBias": _Builder.linear,
    "NonDynamicallyQuantizableLinear": _Builder.linear,
    "Contract": _Builder.contract,
    "Expand": _Builder.expand,
    "Concat": _Builder.concat,
    "Detect": _Builder.detect,
}
