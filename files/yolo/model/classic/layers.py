"""The layers of ultralytics/yolov5 in torch, made of parts that are given to them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


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


class Attention(nn.Module):
    """Attention of each token to all others, in several heads.

    Args:
        joined: Makes of a query, a key and a value of c channels each what the heads take: 3 c channels.
        out: Takes what the heads give.
        heads: They share the channels.
    """

    def __init__(self, joined: nn.Linear, out: nn.Module, heads: int) -> None:
        super().__init__()
        self.joined, self.out, self.heads = joined, out, heads

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Return (n, tokens, channels) for three of these."""
        weights = self.joined.weight.chunk(3)
        biases = (None, None, None) if self.joined.bias is None else self.joined.bias.chunk(3)
        n, tokens, channels = query.shape
        q, k, v = (
            nn.functional.linear(x, weight, bias).view(n, tokens, self.heads, -1).transpose(1, 2)
            for x, weight, bias in zip((query, key, value), weights, biases, strict=True)
        )
        # Not divided by the number of channels of the input: it is that of a head that counts.
        shares = (q @ k.transpose(2, 3) * (channels // self.heads) ** -0.5).softmax(3)
        return self.out((shares @ v).transpose(1, 2).reshape(n, tokens, channels))


class TransformerLayer(nn.Module):
    """Attention, then two linear layers, each added to its input; without normalisation."""

    def __init__(self, inputs: Sequence[nn.Module], attention: Attention, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.inputs, self.attention = nn.ModuleList(inputs), attention
        self.first, self.second = first, second

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (n, tokens, channels) for one of these."""
        x = self.attention(*(make(x) for make in self.inputs)) + x
        return self.second(self.first(x)) + x


class Transformer(nn.Module):
    """Each place of a picture as a token; a learned place is added, and transformer layers follow."""

    def __init__(self, before: nn.Module, place: nn.Module, layers: nn.Module) -> None:
        super().__init__()
        self.before, self.place, self.layers = before, place, layers

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's output."""
        x = self.before(x)
        n, channels, height, width = x.shape
        tokens = x.flatten(2).transpose(1, 2)
        tokens = self.layers(tokens + self.place(tokens))
        return tokens.transpose(1, 2).reshape(n, channels, height, width)


class Contract(nn.Module):
    """Every so many pixels of rows and columns as channels of their own."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's output."""
        step = range(self.factor)
        parts = [x[..., row :: self.factor, column :: self.factor] for row in step for column in step]
        return torch.cat(parts, 1)


class Expand(nn.Module):
    """Groups of channels as pixels between the others."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's output."""
        n, channels, height, width = x.shape
        groups = x.view(n, self.factor**2, channels // self.factor**2, height, width)
        return nn.functional.pixel_shuffle(groups.transpose(1, 2).reshape(n, channels, height, width), self.factor)
