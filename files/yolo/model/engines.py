"""The engines, and which of them computes in which precision.

An engine is imported when it is loaded: a job must start quickly, and a host may lack the others.
"""

from __future__ import annotations

import os
import socket
from typing import Protocol

import numpy as np

from ..share.errors import YoloError
from ..share.limits import ENGINES, PRECISIONS
from .cpu import cpu_flags, cpu_model
from .info import ModelInfo

#: The engines that compute in each. ONNX Runtime at INT8 took as long as at fp32, for it applies activations in float.
ENGINES_OF = {"fp32": ENGINES, "int8": ("openvino",), "bf16": ("openvino",)}

#: Any of these makes a processor multiply bf16 (names of /proc/cpuinfo).
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})


class Engine(Protocol):
    """Something that runs a model.

    Attributes:
        name: One of ``limits.ENGINES``.
        dynamic: Whether inputs of any size are taken; else only ``ModelInfo.imgsz``.
    """

    name: str
    dynamic: bool

    def infer(self, batch: np.ndarray) -> np.ndarray:
        """Run the model.

        Args:
            batch: float32 (n, 3, height, width), RGB, 0..1.

        Returns:
            float32 raw output with n as its first axis, valid until the next call.

        Raises:
            YoloError: The engine failed.
        """
        ...

    def versions(self) -> dict[str, str]:
        """Versions of what it runs on, for reports."""
        ...


def load_engine(
    model_dir: str | os.PathLike[str],
    info: ModelInfo,
    *,
    threads: int = 1,
    engine: str = "openvino",
    precision: str = "fp32",
) -> Engine:
    """Return the engine for a prepared model.

    Args:
        model_dir: Model folder in the format that the engine reads.
        info: Its description.
        threads: Threads of the engine.
        engine: One of ``limits.ENGINES``.
        precision: One of ``limits.PRECISIONS``.

    Raises:
        YoloError: It cannot be loaded, or this processor or engine cannot do what is asked for.
    """
    check_precision(engine, precision)
    if engine == "openvino":
        from .engine_openvino import OpenVinoEngine

        return OpenVinoEngine(model_dir, info, threads=threads, bf16=precision == "bf16")
    if engine == "onnxruntime":
        from .engine_onnxruntime import OnnxRuntimeEngine

        return OnnxRuntimeEngine(model_dir, info, threads=threads)
    from .engine_torch import TorchEngine

    return TorchEngine(model_dir, info, threads=threads)


def check_precision(engine: str, precision: str) -> None:
    """Check that an engine computes in a precision, on this processor.

    Raises:
        YoloError: Unknown, or they do not go together, or the processor lacks what is needed.
    """
    for name, value, known in (("engine", engine, ENGINES), ("precision", precision, PRECISIONS)):
        if value not in known:
            raise YoloError(f"unknown {name}", value, f"one of {', '.join(known)}")
    able = ENGINES_OF[precision]
    if engine not in able:
        raise YoloError(
            f"engine {engine} does not compute in {precision}",
            remedy=f"leave engine out, or give engine={able[0]}",
        )
    if precision == "bf16" and not BF16_FLAGS & cpu_flags():
        raise YoloError(
            "the processor has no bf16",
            f"{cpu_model() or 'unknown processor'} on {socket.gethostname()}",
            f"one with {' or '.join(sorted(BF16_FLAGS))}",
            "run with precision=fp32 or precision=int8, or on execute hosts that all have it",
        )
