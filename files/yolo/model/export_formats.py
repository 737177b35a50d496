"""The other export formats of a model: ONNX for ONNX Runtime, TorchScript for torch.

Each has a folder of its own beside the OpenVINO IR (``yolo.share.layout``) and the same description, because all are
made from the same weights. Each is run once on a grey image and must answer as the IR does.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..share.errors import YoloError
from ..share.layout import MODEL_ONNX, MODEL_TORCH, Weights
from ..share.limits import AUTO
from ..vision import nms
from ..vision.letterbox import PADDING
from .checkpoint import export_pt
from .engines import load_engine
from .folder import make_folder
from .info import ModelInfo
from .source import find_weights

#: Engines add in different orders. Boxes are in pixels of the input, scores from 0 to 1.
_TOLERANCE = 0.05


def engines_for(kind: str) -> tuple[str, ...]:
    """Return the engines that can run weights of a kind, in the order in which ``auto`` measures them.

    torch comes last and is not measured: to load it takes seconds, and no build of it was the fastest.
    """
    return {"pt": ("openvino", "onnxruntime", "torch"), "onnx": ("openvino", "onnxruntime")}.get(kind, ("openvino",))


def check_kind(engine: str, precision: str, kind: str, name: str) -> None:
    """Check that weights of a kind can be given to an engine and a precision.

    Raises:
        YoloError: They cannot.
    """
    if engine not in (AUTO, *engines_for(kind)):
        needed = " or ".join(k for k in ("pt", "onnx") if engine in engines_for(k))
        raise YoloError(
            f"engine {engine} cannot run weights of the kind {kind}",
            name,
            f"weights of the kind {needed}",
            f"give engine=auto or engine={engines_for(kind)[0]}, or other weights",
        )
    if precision == "int8" and kind == "openvino":
        raise YoloError(
            "precision int8 needs weights that can be quantised",
            f"{name} is an OpenVINO folder",
            "a .pt or an .onnx",
            "leave precision out (a folder of INT8 weights runs as it is), or give other weights",
        )


def export_for(engine: str, source: Path, kind: str, weights: Weights, info: ModelInfo, trust: bool = False) -> Path:
    """Export weights to the format that an engine reads, unless that is there already.

    Args:
        engine: One of ``limits.ENGINES``.
        source: Folder of the original weights.
        kind: What they are.
        weights: Where the exports are.
        info: Description of the IR, which is there.
        trust: Whether code in a checkpoint may run.

    Returns:
        The model folder.

    Raises:
        YoloError: It cannot be made, or does not answer as the IR does.
    """
    out = weights.export(engine)
    if engine == "openvino":
        return out

    def make(folder: Path) -> ModelInfo:
        path = find_weights(source, kind)
        versions = dict(info.versions)
        if kind == "onnx":
            # With its external data, which it names relative to itself.
            shutil.copytree(source, folder, dirs_exist_ok=True)
            os.rename(folder / path.relative_to(source), folder / MODEL_ONNX)
        else:
            with tempfile.TemporaryDirectory(prefix="yolo-prepare-") as scratch:
                export_format, name = {"onnxruntime": ("onnx", MODEL_ONNX), "torch": ("torchscript", MODEL_TORCH)}[
                    engine
                ]
                side = info.imgsz[0] if len(set(info.imgsz)) == 1 else 0
                exported = export_pt(path, side, Path(scratch), export_format, trust)
                shutil.copyfile(exported.path, folder / name)
                versions |= exported.versions
        check_answer(engine, folder, weights.model, info)
        return replace(info, versions=versions | load_engine(folder, info, engine=engine).versions())

    make_folder(out, make)
    return out


def check_answer(engine: str, folder: Path, reference: Path, info: ModelInfo) -> None:
    """Check that an export answers as the IR does to a grey image.

    Raises:
        YoloError: It fails, or answers something else.
    """
    if info.layout == nms.END_TO_END:
        return  # its answer is sorted by score, and equal scores may stand in another order
    grey = np.full((1, 3, *info.imgsz), PADDING / 255, np.float32)
    expected = load_engine(reference, info).infer(grey)
    found = load_engine(folder, info, engine=engine).infer(grey)
    if expected.shape != found.shape:
        raise YoloError(f"engine {engine} answers in another shape than OpenVINO", found.shape, str(expected.shape))
    difference = float(np.abs(expected - found).max(initial=0))
    if not difference <= _TOLERANCE:
        raise YoloError(
            f"engine {engine} does not answer as OpenVINO does",
            f"{info.source_name}: they differ by {difference:g}",
            f"at most {_TOLERANCE}",
            "give engine=openvino",
        )
