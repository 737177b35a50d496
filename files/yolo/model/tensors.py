"""Read tensors of a checkpoint into torch."""

from __future__ import annotations

from typing import Any

import torch

from ..share.checkpoint_file import CheckpointFile

_DTYPES = {
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


def read_tensor(file: CheckpointFile, value: Any) -> torch.Tensor:
    """Return a tensor with its own values.

    Args:
        file: The checkpoint.
        value: What its pickle holds in the tensor's place.

    Raises:
        YoloError: It is no tensor, or its values are damaged.
    """
    tensor = file.tensor(value)
    if not tensor.count:
        return torch.empty(tensor.size, dtype=_DTYPES[tensor.kind])
    flat = torch.frombuffer(bytearray(file.values(tensor)), dtype=_DTYPES[tensor.kind])
    # A copy: the member's other values are let go.
    return torch.as_strided(flat, tensor.size, tensor.stride, tensor.offset).clone(
        memory_format=torch.contiguous_format
    )
