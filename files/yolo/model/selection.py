"""What a run computes with: what was asked for, what was selected, and what an earlier call kept.

``yolo.model.selector`` selects, on an execute host. The submit host finds with this module what was selected before:
it needs the standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..share.errors import YoloError
from ..share.fsio import read_json
from ..share.layout import Run, Weights
from ..share.limits import AUTO
from .info import ModelInfo, is_prepared

LIMIT = 0.15
"""Default of the largest difference from fp32, see ``agreement.compare``."""


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """What the user asked for.

    Attributes:
        weights: Folder of the weights on the share, with ``source/``.
        kind: What the weights are.
        run: The run; its manifest is there, its settings if it ran before.
        input_dir: Folder of the staged images.
        engine: One of ``limits.ENGINES``, or "auto".
        precision: One of ``limits.PRECISIONS``.
        imgsz: Side of the network's input; 0 for the model's own.
        threads: Threads of a job's engine.
        limit: Largest difference of detections from fp32, 0 to 1.
        trust: Whether code in the weights may run on the execute host.
        decode: One of ``limits.DECODES``.
    """

    weights: Weights
    kind: str
    run: Run
    input_dir: Path
    engine: str = AUTO
    precision: str = "fp32"
    imgsz: int = 0
    threads: int = 1
    limit: float = LIMIT
    trust: bool = False
    decode: str = "exact"


@dataclass(frozen=True, slots=True)
class Selection:
    """What the jobs are told, by ``run.json``.

    Attributes:
        engine: One of ``limits.ENGINES``.
        precision: One of ``limits.PRECISIONS``.
        model_dir: The model folder.
        measured: How ``auto`` chose: ``ms`` for each engine, ``failed`` with the reason of those that do not run,
            ``cpu_model``, ``cores``, ``flags``, ``threads``, ``input``, ``versions``; empty where
            nothing was measured.
        difference: From fp32, see ``agreement.compare``; empty for fp32.
        decode_difference: Of fast decoding from exact; empty where that was not asked for.
    """

    engine: str
    precision: str
    model_dir: Path
    measured: dict[str, Any] = field(default_factory=dict)
    difference: dict[str, Any] = field(default_factory=dict)
    decode_difference: dict[str, Any] = field(default_factory=dict)

    def sentence(self) -> str:
        """Return what was selected and why, in one line."""
        text = f"engine {self.engine}, precision {self.precision}"
        if self.measured:
            times = ", ".join(f"{name} {ms:g} ms" for name, ms in self.measured["ms"].items())
            text += f" (measured on {self.measured['cpu_model']}, {self.measured['threads']} thread(s): {times}"
            text += "".join(f"; {name} does not run: {why}" for name, why in self.measured["failed"].items()) + ")"
        if self.difference:
            d = self.difference
            text += (
                f"; detections differ from fp32 by {d['difference']:.1%} (F1 {d['f1']:g} on {d['images']} images, "
                f"scores by {d['score']:g})"
            )
        if self.decode_difference:
            d = self.decode_difference
            text += "; decode fast: " + (
                f"detections differ from exact decoding by {d['difference']:.1%} (F1 {d['f1']:g} on {d['images']} "
                f"large photos, scores by {d['score']:g})"
                if d["images"]
                else "no JPEG of the sample is large enough for it"
            )
        return text


def kept_selection(request: ModelRequest) -> Selection | None:
    """Return what an earlier call selected for the same run and the same request; None if there is none."""
    value = read_object(request.run.settings)
    if value is None:
        return None
    same = (request.weights.root.name, request.engine, request.precision, request.imgsz, request.decode)
    asked = tuple(value.get(name) for name in ("weights_id", "engine_asked", "precision", "imgsz"))
    # A run of before had no other.
    if (*asked, value.get("decode") or "exact") != same:
        return None
    try:
        selection = Selection(
            value["engine"],
            value["precision"],
            Path(value["model_dir"]),
            dict(value["engine_measured"]),
            dict(value["precision_difference"]),
            dict(value.get("decode_difference") or {}),
        )
    except (KeyError, TypeError, ValueError):
        return None
    return selection if is_prepared(selection.model_dir) else None


def check_limit(request: ModelRequest, selection: Selection) -> None:
    """Check that a selection changes the detections no more than was allowed.

    Raises:
        YoloError: It does.
    """
    found = selection.difference
    if found and found["difference"] > request.limit:
        raise YoloError(
            f"precision {selection.precision} changes the detections too much",
            f"{found['difference']:g} (1 - F1 against fp32 on {found['images']} images: {found['matched']} of "
            f"{found['reference']} found again, {found['found']} found)",
            f"at most {request.limit:g}, the input precision_limit",
            "run with precision=fp32, or raise precision_limit",
        )


def answer(request: ModelRequest, selection: Selection, info: ModelInfo, *, made: bool) -> dict[str, Any]:
    """Return what the playbook is told about a selection; it writes that into ``run.json``."""
    return {
        "made": made,
        "model": str(selection.model_dir),
        "engine": selection.engine,
        "precision": selection.precision,
        "measured": selection.measured,
        "difference": selection.difference,
        "decode_difference": selection.decode_difference,
        "sentence": selection.sentence(),
        # (height, width) of the network's input, which images are fitted into.
        "input": info.input_size(request.imgsz),
        "layout": info.layout,
        "classes": len(info.names),
        "dynamic": info.dynamic,
    }


def read_object(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file, or None if there is none."""
    try:
        value = read_json(path)
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) else None
