"""The settings that a job reads from ``run.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..share.errors import YoloError
from ..share.limits import ANNOTATED_SIZE, DECODES, IMGSZ_MAX, MAX_DET, THREADS


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a run that its jobs use.

    Attributes:
        input_dir: Folder of the staged images.
        model_dir: Folder of the prepared model.
        conf: Keep boxes with a score above this.
        iou: Suppress boxes that overlap a better one by more than this.
        imgsz: Side of the network's input, pixels; 0 for the model's own.
        classes: Names or indices of the classes to keep; empty for all.
        max_det: Most boxes of an image.
        save_images: Whether to write annotated images.
        annotated_size: Longer side of those, pixels, at most; 0 for that of what was decoded.
        decode: One of ``limits.DECODES``.
        threads: Threads of the engine; 0 for the slot's cpus.
        engine: One of ``limits.ENGINES``.
        precision: One of ``limits.PRECISIONS``.
    """

    input_dir: Path
    model_dir: Path
    conf: float
    iou: float
    imgsz: int = 0
    classes: tuple[int | str, ...] = ()
    max_det: int = 300
    save_images: bool = True
    threads: int = 0
    engine: str = "openvino"
    precision: str = "fp32"
    decode: str = "exact"
    annotated_size: int = 0

    @classmethod
    def from_run(cls, value: Mapping[str, Any]) -> Settings:
        """Return the settings in the content of ``run.json``.

        Raises:
            YoloError: A setting is missing or has no usable value.
        """
        try:
            settings = cls(
                input_dir=Path(value["input_dir"]),
                model_dir=Path(value["model_dir"]),
                conf=float(value["conf"]),
                iou=float(value["iou"]),
                imgsz=int(value.get("imgsz") or 0),
                classes=tuple(value.get("classes") or ()),
                max_det=int(value["max_det"]),
                save_images=bool(value.get("save_images", True)),
                threads=int(value.get("threads") or 0),
                engine=str(value.get("engine") or "openvino"),
                precision=str(value.get("precision") or "fp32"),
                decode=str(value.get("decode") or "exact"),
                annotated_size=int(value.get("annotated_size") or 0),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise YoloError("run.json lacks a usable setting", f"{type(error).__name__}: {error}") from error
        for name, low, high in (
            ("conf", 0, 1),
            ("iou", 0, 1),
            ("imgsz", 0, IMGSZ_MAX),
            ("max_det", MAX_DET[0], MAX_DET[-1]),
            ("threads", 0, THREADS[-1]),
            ("annotated_size", 0, ANNOTATED_SIZE[-1]),
        ):
            found = getattr(settings, name)
            if not low <= found <= high:
                raise YoloError(f"{name} in run.json out of range", found, f"{low} to {high}")
        if settings.decode not in DECODES:
            raise YoloError("unknown decode in run.json", settings.decode, f"one of {', '.join(DECODES)}")
        return settings
