"""The engine ``onnxruntime``: runs an ONNX file."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..share.errors import YoloError, one_line
from ..share.layout import MODEL_ONNX
from .info import ModelInfo

#: Types of the input that detectors are exported with.
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


def import_onnxruntime() -> ModuleType:
    """Import ONNX Runtime.

    Raises:
        YoloError: It is not installed on this host.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise YoloError(
            "engine onnxruntime is not installed on this host",
            one_line(error),
            remedy="run site.yml again, or give engine=openvino",
        ) from error
    module: ModuleType = onnxruntime
    return module


def session_options(onnxruntime: ModuleType, threads: int) -> Any:
    """Return options for a session that computes with so many threads and no others."""
    options = onnxruntime.SessionOptions()
    # It ignores OMP_NUM_THREADS and would take the whole host.
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # A thread that waits for work by spinning takes the processor from the next slot.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


class OnnxRuntimeEngine:
    """Runs an ONNX file on the CPU, one image or batch at a time.

    Args:
        model_dir: Folder with ``model.onnx``.
        info: Its description.
        threads: Threads of one forward pass.

    Raises:
        YoloError: ONNX Runtime cannot read the model.
    """

    name = "onnxruntime"

    def __init__(self, model_dir: str | os.PathLike[str], info: ModelInfo, *, threads: int = 1) -> None:
        onnxruntime = import_onnxruntime()
        self._version = onnxruntime.__version__
        self.dynamic = info.dynamic
        path = Path(model_dir) / MODEL_ONNX
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), session_options(onnxruntime, threads), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its errors have no class in common
            raise YoloError(
                f"ONNX Runtime cannot load the model: {onnxruntime_reason(error)}",
                path,
                remedy="give engine=openvino, or other weights",
            ) from error
        images = self._session.get_inputs()[0]
        self._input = images.name
        self._type = _TYPES.get(images.type)
        # Old YOLOv5 exports append the raw feature maps of each scale, which have a rank of 5.
        outputs = [output for output in self._session.get_outputs() if len(output.shape or ()) == 3]
        if self._type is None or not outputs:
            found = f"input {images.type}, outputs {[output.shape for output in self._session.get_outputs()]}"
            raise YoloError(
                "ONNX Runtime cannot run the weights as a detector",
                found,
                "a float input and an output of rank 3",
                "give engine=openvino",
            )
        self._output = outputs[0].name

    def infer(self, batch: np.ndarray) -> np.ndarray:
        """See :meth:`yolo.model.engines.Engine.infer`."""
        try:
            raw: np.ndarray = self._session.run([self._output], {self._input: batch.astype(self._type, copy=False)})[0]
        except Exception as error:  # see above
            raise YoloError(
                f"ONNX Runtime failed: {onnxruntime_reason(error)}", f"input of shape {batch.shape}"
            ) from error
        return raw.astype(np.float32, copy=False)

    def versions(self) -> dict[str, str]:
        """See :meth:`yolo.model.engines.Engine.versions`."""
        return {"onnxruntime": self._version}


def onnxruntime_reason(error: Exception) -> str:
    """Return what went wrong from an error of ONNX Runtime, in one line."""
    return one_line(" ".join(str(error).split()) or type(error).__name__)[:300]
