"""The engine ``openvino``: runs an OpenVINO IR."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ..share.errors import YoloError
from ..share.layout import MODEL_XML
from .cpu import cpu_flags
from .info import REBUILD, ModelInfo
from .openvino_runtime import import_openvino, openvino_reason, run_request


class OpenVinoEngine:
    """Runs an OpenVINO IR on the CPU, one request at a time.

    Args:
        model_dir: Folder with ``model.xml`` and ``model.bin``.
        info: Its description.
        threads: Threads for one request: the slot's cpus. OpenVINO ignores OMP_NUM_THREADS and
            would take the whole host.
        bf16: Whether to compute in bf16.

    Raises:
        YoloError: OpenVINO cannot read the model.
    """

    name = "openvino"

    def __init__(
        self, model_dir: str | os.PathLike[str], info: ModelInfo, *, threads: int = 1, bf16: bool = False
    ) -> None:
        openvino = import_openvino()
        self._version = openvino.__version__
        core = openvino.Core()
        folder = Path(model_dir)
        try:
            model = core.read_model(folder / MODEL_XML)
            self.dynamic = info.dynamic and not _int8_needs_static(model)
            if info.dynamic and not self.dynamic:
                model.reshape([1, 3, *info.imgsz])
            self._compiled = core.compile_model(
                model,
                "CPU",
                {
                    "INFERENCE_NUM_THREADS": threads,
                    "NUM_STREAMS": 1,
                    "PERFORMANCE_HINT": "LATENCY",
                    # Where the processor has bf16 OpenVINO would use it unasked: the same run must
                    # give the same detections on every host.
                    "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
                    # OpenVINO pins from core 0 upwards, so that two slots of one host would share
                    # core 0. Which cores a job may use is HTCondor's business.
                    "ENABLE_CPU_PINNING": False,
                },
            )
        except RuntimeError as error:
            raise YoloError(
                f"OpenVINO cannot load the model: {openvino_reason(error)}",
                folder,
                remedy=REBUILD,
            ) from error
        self._request = self._compiled.create_infer_request()

    def infer(self, batch: np.ndarray) -> np.ndarray:
        """See :meth:`yolo.model.engines.Engine.infer`."""
        try:
            return run_request(self._request, batch)
        except RuntimeError as error:
            raise YoloError(f"OpenVINO failed: {openvino_reason(error)}", f"input of shape {batch.shape}") from error

    def versions(self) -> dict[str, str]:
        """See :meth:`yolo.model.engines.Engine.versions`."""
        return {"openvino": self._version}


def _int8_needs_static(model: Any) -> bool:
    # OpenVINO's CPU plugin crashes on INT8 models of dynamic shape where the processor has AMX
    # (github.com/openvinotoolkit/openvino/issues/37577); ultralytics avoids it in the same way.
    return "amx_int8" in cpu_flags() and any(op.get_type_name() == "FakeQuantize" for op in model.get_ops())
