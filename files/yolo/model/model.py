"""The model in the form that jobs read: its description, and engines that run it.

A model folder holds ``model.json`` (:class:`ModelInfo`) and the weights as one engine reads them: an
OpenVINO IR, an ONNX file or TorchScript. ``yolo.model.prepare`` makes it once from whatever weights the user
gave; jobs need no ultralytics to use it, and torch for the engine ``torch`` only.

Importing this module needs the standard library only; an engine imports what it runs on.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from ..share.errors import YoloError, one_line
from ..share.fsio import read_json
from ..share.layout import MODEL_JSON, MODEL_XML
from ..share.limits import ENGINES, PRECISIONS

if TYPE_CHECKING:
    import numpy as np
    import openvino

#: Version of ``model.json``; a folder of another version is prepared anew.
FORMAT = 1
#: The engines that compute in each. ONNX Runtime at INT8 took as long as at fp32, for it applies activations in float.
ENGINES_OF = {"fp32": ENGINES, "int8": ("openvino",), "bf16": ("openvino",)}
#: Any of these makes a processor multiply bf16 (names of /proc/cpuinfo).
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})


@dataclass(frozen=True, slots=True)
class EmbeddedNms:
    """Limits of a suppression that is part of the model and that no setting can widen.

    Attributes:
        conf: Boxes at or below this score never leave the model; ``None`` if not found.
        iou: Overlap above which the worse box is dropped; ``None`` if not found.
        max_det: Most boxes that leave the model for one image.
    """

    conf: float | None
    iou: float | None
    max_det: int


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What ``model.json`` says.

    Attributes:
        names: Class names by index.
        stride: Largest stride; sides of the input are multiples of it.
        imgsz: (height, width) of the input: the only one of a static model, else the default.
        dynamic: Whether the input may have any size that is a multiple of ``stride``.
        layout: Layout of the raw output, see ``yolo.vision.nms``.
        precision: "fp32", "fp16" or "int8": how weights are stored.
        nms: Limits of suppression inside an "end-to-end" model.
        source_kind: "pt", "onnx" or "openvino".
        source_name: File or folder name of the original weights.
        source_sha256: SHA-256 of the original file, or over all files of the folder.
        versions: Of what made the folder.
        difference: How far detections differ from those at fp32, see ``yolo.model.agreement``; empty for
            fp32 itself.
        format: :data:`FORMAT`.
    """

    names: tuple[str, ...]
    stride: int
    imgsz: tuple[int, int]
    dynamic: bool
    layout: str
    precision: str
    nms: EmbeddedNms | None = None
    source_kind: str = ""
    source_name: str = ""
    source_sha256: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    difference: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``model.json``."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> ModelInfo:
        """Return the description in the content of ``model.json``.

        Raises:
            ValueError: Something is missing or of the wrong type, or of another format.
        """
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            found = value.get("format") if isinstance(value, dict) else value
            raise ValueError(f"format is {found!r}, expected {FORMAT}")
        try:
            height, width = value["imgsz"]
            nms = value.get("nms")
            return cls(
                names=tuple(str(name) for name in value["names"]),
                stride=int(value["stride"]),
                imgsz=(int(height), int(width)),
                dynamic=bool(value["dynamic"]),
                layout=str(value["layout"]),
                precision=str(value["precision"]),
                nms=EmbeddedNms(nms["conf"], nms["iou"], int(nms["max_det"])) if nms else None,
                source_kind=str(value.get("source_kind", "")),
                source_name=str(value.get("source_name", "")),
                source_sha256=str(value.get("source_sha256", "")),
                versions=dict(value.get("versions", {})),
                difference=dict(value.get("difference", {})),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error

    def input_size(self, imgsz: int | None) -> tuple[int, int]:
        """Return the (height, width) to fit pictures into.

        Args:
            imgsz: Side that the user asked for; ``None`` or 0 takes the model's own.

        Raises:
            YoloError: The model has a fixed size and another one was asked for.
        """
        if not imgsz:
            return self.imgsz
        if self.dynamic:
            side = max(-(-imgsz // self.stride), 1) * self.stride
            return side, side
        if (imgsz, imgsz) != self.imgsz:
            height, width = self.imgsz
            raise YoloError(
                "imgsz does not fit the model",
                imgsz,
                f"{height}, the fixed input size of {self.source_name or 'this model'}"
                if height == width
                else f"nothing, the model has the fixed input size {height}x{width}",
                "leave imgsz out, or give weights with dynamic size (a .pt, or an export with dynamic=True)",
            )
        return self.imgsz

    def class_ids(self, wanted: Sequence[int | str] | None) -> list[int] | None:
        """Return the indices of classes given by name or index; ``None`` or empty means all.

        Raises:
            YoloError: A class that the model does not have.
        """
        if not wanted:
            return None
        by_name = {name.casefold(): index for index, name in enumerate(self.names)}
        ids = set()
        for item in wanted:
            text = str(item).strip()
            index = by_name.get(text.casefold())
            if index is None and text.isdecimal() and int(text) < len(self.names):
                index = int(text)
            if index is None:
                some = ", ".join(self.names[:10]) + (", ..." if len(self.names) > 10 else "")
                raise YoloError(
                    "unknown class",
                    text,
                    f"an index from 0 to {len(self.names) - 1} or one of: {some}",
                )
            ids.add(index)
        return sorted(ids)

    def limits(self, *, conf: float, iou: float, max_det: int) -> list[str]:
        """Say which settings the model cannot obey because it suppresses boxes itself.

        Returns:
            One sentence for each; empty when everything can be obeyed.
        """
        if self.nms is None:
            return []
        found = []
        if self.nms.conf is not None and conf < self.nms.conf - 1e-6:
            found.append(f"conf={conf:g}: the model itself drops scores up to {self.nms.conf:g}")
        if self.nms.iou is not None and abs(iou - self.nms.iou) > 1e-6:
            found.append(f"iou={iou:g}: the model itself suppresses at {self.nms.iou:g}")
        if max_det > self.nms.max_det:
            found.append(f"max_det={max_det}: the model itself ends at {self.nms.max_det}")
        return found


def load_info(model_dir: str | os.PathLike[str]) -> ModelInfo:
    """Read ``model.json``.

    Raises:
        YoloError: The folder holds no prepared model.
    """
    path = Path(model_dir) / MODEL_JSON
    remedy = "prepare the weights again with `python -m yolo.model.prepare`"
    try:
        return ModelInfo.from_dict(read_json(path))
    except FileNotFoundError:
        raise YoloError("no prepared model", model_dir, MODEL_JSON, remedy) from None
    except ValueError as error:
        raise YoloError(f"{path} is not usable: {error}", remedy=remedy) from error


def is_prepared(out: Path) -> bool:
    """Whether ``out`` holds a model that this version of the package can read."""
    try:
        load_info(out)
    except YoloError:
        return False
    return True


class Engine(Protocol):
    """Something that runs a model.

    Attributes:
        name: For reports, e.g. "openvino".
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


def import_openvino(*, tools: bool = False) -> ModuleType:
    """Import OpenVINO without its usage statistics.

    Merely importing it writes ``~/intel`` and, where it reaches the internet, reports home, unless
    the package that does so cannot be imported.

    Args:
        tools: Whether its converters are needed, by ultralytics' exporter; to import them takes as long
            as a quarter of the rest.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    if not tools:
        sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]
    import openvino

    if tools and not hasattr(openvino, "convert_model"):
        # Imported without them before.
        del sys.modules["openvino.tools.ovc"]
        from openvino.tools.ovc import convert_model

        openvino.convert_model = convert_model
    return openvino


def run_request(request: openvino.InferRequest, batch: np.ndarray) -> np.ndarray:
    """Run a model of one input and one output.

    Not ``request.infer``: with a single thread OpenVINO (2026.4) keeps quiet about what goes wrong
    inside, and the answer to the picture before would be taken for this one's.

    Returns:
        A view of the answer, valid until the request runs again.

    Raises:
        RuntimeError: OpenVINO failed.
    """
    request.start_async([batch], share_inputs=True)
    request.wait()
    return request.get_output_tensor(0).data


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
                remedy="prepare the weights again with `python -m yolo.model.prepare`",
            ) from error
        self._request = self._compiled.create_infer_request()

    def infer(self, batch: np.ndarray) -> np.ndarray:
        """See :meth:`Engine.infer`."""
        try:
            return run_request(self._request, batch)
        except RuntimeError as error:
            raise YoloError(f"OpenVINO failed: {openvino_reason(error)}", f"input of shape {batch.shape}") from error

    def versions(self) -> dict[str, str]:
        """See :meth:`Engine.versions`."""
        return {"openvino": self._version}


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
        model_dir: Folder in the form that the engine reads.
        info: Its description.
        threads: Threads of the engine.
        engine: One of :data:`ENGINES`.
        precision: One of :data:`PRECISIONS`.

    Raises:
        YoloError: It cannot be loaded, or this processor or engine cannot do what is asked for.
    """
    check_precision(engine, precision)
    if engine == "openvino":
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


def read_cpuinfo(field: str) -> str:
    """Return a field of the first processor in /proc/cpuinfo; empty if the system does not say."""
    try:
        match = re.search(rf"^{field}\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        return ""
    return match[1].strip() if match else ""


def cpu_model() -> str:
    """Name of the processor; empty if the system does not say."""
    return read_cpuinfo("model name")


def cpu_flags() -> frozenset[str]:
    """Instruction flags of the processor."""
    return frozenset(read_cpuinfo("flags").split())


def _int8_needs_static(model: Any) -> bool:
    # OpenVINO's CPU plugin crashes on INT8 models of dynamic shape where the processor has AMX
    # (github.com/openvinotoolkit/openvino/issues/37577); ultralytics avoids it in the same way.
    return "amx_int8" in cpu_flags() and any(op.get_type_name() == "FakeQuantize" for op in model.get_ops())


def openvino_reason(error: RuntimeError) -> str:
    """Return what went wrong from an error of OpenVINO, in one line.

    Its text begins with places in OpenVINO's own source; the cause stands in the last line.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return one_line(lines[-1] if lines else type(error).__name__)[:300]
