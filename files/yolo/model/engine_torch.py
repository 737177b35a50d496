"""The engine ``torch``: runs TorchScript, for comparison; no build of it was the fastest on CPUs."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..share.errors import YoloError, one_line
from ..share.layout import MODEL_TORCH
from .info import REBUILD, ModelInfo


class TorchEngine:
    """Runs TorchScript on the CPU, one image or batch at a time.

    Args:
        model_dir: Folder with ``model.torchscript``.
        info: Its description.
        threads: Threads of one forward pass.

    Raises:
        YoloError: torch is missing or cannot read the model.
    """

    name = "torch"

    def __init__(self, model_dir: str | os.PathLike[str], info: ModelInfo, *, threads: int = 1) -> None:
        try:
            import torch
        except ImportError as error:
            raise YoloError(
                "engine torch needs torch on the execute host",
                one_line(error),
                remedy="run site.yml again, or give engine=openvino",
            ) from error
        self._torch = torch
        self.dynamic = info.dynamic
        torch.set_num_threads(threads)
        path = Path(model_dir) / MODEL_TORCH
        try:
            self._module = torch.jit.load(str(path), map_location="cpu").eval()
        except (RuntimeError, ValueError) as error:
            raise YoloError(
                f"torch cannot load the model: {one_line(' '.join(str(error).split()))[:300]}",
                path,
                remedy=REBUILD,
            ) from error

    def infer(self, batch: np.ndarray) -> np.ndarray:
        """See :meth:`yolo.model.engines.Engine.infer`."""
        torch = self._torch
        try:
            # Optimised for one shape, it would be compiled anew for each shape of image.
            with torch.inference_mode(), torch.jit.optimized_execution(False):
                raw = self._module(torch.from_numpy(batch))
        except RuntimeError as error:
            reason = one_line(" ".join(str(error).split()))[-300:]
            raise YoloError(f"torch failed: {reason}", f"input of shape {batch.shape}") from error
        output: np.ndarray = (raw[0] if isinstance(raw, tuple | list) else raw).numpy()
        return output

    def versions(self) -> dict[str, str]:
        """See :meth:`yolo.model.engines.Engine.versions`."""
        return {"torch": str(self._torch.__version__)}
