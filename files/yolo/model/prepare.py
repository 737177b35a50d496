"""Turn any weights into the first export format that jobs read: an OpenVINO IR and its description.

It runs once for each weights file, on an execute host, for ``yolo.model.selector``. What the weights are is read from
the IR, so it is always made; ``yolo.model.export_formats`` makes the others. ``.onnx`` and OpenVINO folders are plain
data; a ``.pt`` may hold code, see ``yolo.model.checkpoint``.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..share.errors import YoloError
from ..share.layout import MODEL_BIN, MODEL_XML
from ..share.task import check_task
from ..vision import nms
from ..vision.letterbox import PADDING, round_size
from . import graph
from .checkpoint import export_pt
from .folder import make_folder
from .info import ModelInfo
from .metadata import USUAL_SIDE, Metadata, read_metadata_yaml
from .openvino_runtime import import_openvino, openvino_reason, run_request
from .output_layout import check_scores, class_names, guess_layout
from .source import digest, find_weights

if TYPE_CHECKING:
    import openvino


def prepare(source: Path, kind: str, out: Path, trust: bool = False) -> ModelInfo:
    """Make the model folder ``out`` from weights, unless it is there already.

    Args:
        source: Folder with one ``.pt`` or ``.onnx`` file, or the content of an OpenVINO folder.
        kind: "pt", "onnx" or "openvino".
        out: Folder to make; appears whole or not at all.
        trust: Whether code in a checkpoint may run.

    Returns:
        The model's description.

    Raises:
        YoloError: The weights cannot be used; the text says why and what to do.
        OSError: The share cannot be read or written.
    """

    def make(folder: Path) -> ModelInfo:
        path = find_weights(source, kind)
        with tempfile.TemporaryDirectory(prefix="yolo-prepare-") as scratch:
            if kind == "pt":
                exported, metadata = _export_openvino(path, Path(scratch), trust)
                info = _normalise(exported, metadata, folder)
            elif kind == "onnx":
                info = _normalise(path, None, folder)
            else:
                info = _normalise(path, read_metadata_yaml(path.parent), folder)
        return replace(
            info,
            source_kind=kind,
            source_name=path.name,
            source_sha256=digest(source if kind == "openvino" else path),
        )

    return make_folder(out, make)


def _export_openvino(path: Path, scratch: Path, trust: bool) -> tuple[Path, Metadata]:
    exported = export_pt(path, 0, scratch, "openvino", trust)
    found = exported.path
    metadata = exported.metadata or read_metadata_yaml(found)
    metadata.versions |= exported.versions
    return found if found.is_file() else find_weights(found, "openvino"), metadata


def _normalise(path: Path, metadata: Metadata | None, folder: Path) -> ModelInfo:
    """Write weights as an IR in the one form that jobs run, and return its description.

    Args:
        path: An ONNX file, or the ``.xml`` of an IR.
        metadata: What the weights say about themselves; None to read it from the ONNX file.
        folder: Gets the IR.
    """
    openvino = import_openvino()
    core = openvino.Core()
    model = graph.read_model(core, path)
    if metadata is None:
        metadata = Metadata.parse(graph.onnx_metadata(model))
    check_task(path.name, metadata.task)
    model, changed = graph.one_float_input_and_output(model, path.name)
    fixed = graph.fixed_size(model, path.name)
    stride = metadata.stride or 32
    size = fixed or round_size(metadata.imgsz or USUAL_SIDE, stride)
    raw = _probe(core, model, size, path.name)
    nc = len(metadata.names) if metadata.names else None
    layout = guess_layout(raw.shape, size, nc, name=path.name)
    check_scores(raw, layout, path.name)
    if path.suffix.lower() == ".onnx" or changed:
        # Not compressed: half precision would change every score a little.
        openvino.save_model(model, folder / MODEL_XML, compress_to_fp16=False)
    else:
        shutil.copyfile(path, folder / MODEL_XML)
        shutil.copyfile(path.with_suffix(".bin"), folder / MODEL_BIN)
    return ModelInfo(
        names=tuple(class_names(metadata.names, raw.shape, layout, path.name)),
        stride=stride,
        imgsz=size,
        dynamic=fixed is None,
        layout=layout,
        precision=graph.weights_precision(model),
        nms=graph.embedded_nms(model) if layout == nms.END_TO_END else None,
        versions={
            "python": platform.python_version(),
            "numpy": np.__version__,
            "openvino": openvino.__version__,
            **metadata.versions,
        },
    )


def _probe(core: openvino.Core, model: openvino.Model, size: tuple[int, int], name: str) -> np.ndarray:
    """Run the model once on a grey image; return its output, float32 (rows, columns)."""
    grey = np.full((1, 3, *size), PADDING / 255, np.float32)
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": _threads()}
    try:
        # A copy: the view would not outlive the request.
        raw = run_request(core.compile_model(model, "CPU", config).create_infer_request(), grey).copy()
    except RuntimeError as error:
        raise YoloError(
            f"the model fails on an input of {size[0]}x{size[1]}",
            f"{name}: {openvino_reason(error)}",
        ) from error
    if raw.ndim != 3 or raw.shape[0] != 1:
        raise graph.wrong_shape(name, f"output {raw.shape}")
    output: np.ndarray = raw[0]
    return output


def _threads() -> int:
    value = os.environ.get("OMP_NUM_THREADS", "")
    return int(value) if value.isdecimal() and int(value) else 1
