"""The description of a prepared model, ``model.json``.

A model folder holds ``model.json`` (:class:`ModelInfo`) and the weights as one engine reads them: an OpenVINO IR, an
ONNX file or TorchScript. ``yolo.model.prepare`` makes it once from the weights that the user gave. The submit host and
the control node read descriptions too: this module needs the standard library only.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..share.classes import class_indices
from ..share.errors import YoloError
from ..share.fsio import read_json
from ..share.layout import MODEL_JSON

#: Version of ``model.json``; a folder of another version is prepared anew.
FORMAT = 1

RERUN = "run the same run_id again: the model is then prepared again"
"""What to do about a model folder that is missing or that this version cannot read."""

REBUILD = "remove that folder, then run the same run_id again: the model is then prepared again"
"""What to do about a model folder whose description is good and whose weights are damaged."""


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
        """Return the (height, width) to fit images into.

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
        return class_indices(wanted, self.names)

    def limits(self, *, conf: float, iou: float, max_det: int) -> list[str]:
        """Return which settings the model cannot obey because it suppresses boxes itself.

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
    try:
        return ModelInfo.from_dict(read_json(path))
    except FileNotFoundError:
        raise YoloError("no prepared model", model_dir, MODEL_JSON, RERUN) from None
    except ValueError as error:
        raise YoloError(f"{path} is not usable: {error}", remedy=RERUN) from error


def is_prepared(out: Path) -> bool:
    """Whether ``out`` holds a model that this version of the package can read."""
    try:
        load_info(out)
    except YoloError:
        return False
    return True
