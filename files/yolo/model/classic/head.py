"""The head of a classic network: from what its last layers give to boxes, in torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


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
