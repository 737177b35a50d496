"""Export a network that was built from a classic checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch

from ...share.checkpoint_file import CheckpointFile
from ...share.errors import YoloError, one_line
from ...share.inert_pickle import Record
from ..metadata import USUAL_SIDE, read_size
from .build import Network

_EXPORT_OPSET = 17


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


def export(network: Network, size: tuple[int, int], export_format: str, out: Path) -> None:
    """Export a network with a dynamic batch and size.

    Args:
        network: From ``build.build``.
        size: (height, width) of the example that it is traced with; rounded up to what the network takes.
        export_format: "onnx" or "torchscript".
        out: The file to write.

    Raises:
        YoloError: The network fails.
    """
    height, width = (math.ceil(side / network.stride) * network.stride for side in size)
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
