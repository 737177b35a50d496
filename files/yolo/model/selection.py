"""What a run computes with: what was asked for, what was settled, and what an earlier call kept.

``yolo.model.selector`` settles it on an execute host. The submit host sees by this module whether that was done
before: it needs the standard library only.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..share.errors import YoloError
from ..share.fsio import read_json
from ..share.layout import Run, Weights
from ..share.limits import AUTO, ENGINES, KINDS, PRECISIONS
from .model import ModelInfo, is_prepared

LIMIT = 0.15
"""Default of the largest difference from fp32, see ``difference.compare``."""


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """What the user asked for.

    Attributes:
        weights: Folder of the weights on the share, with ``source/``.
        kind: What the weights are.
        run: The run; its manifest is there, its settings if it ran before.
        input_dir: Folder of the staged images.
        engine: One of ``model.ENGINES``, or "auto".
        precision: One of ``model.PRECISIONS``.
        imgsz: Side of the network's input; 0 for the model's own.
        threads: Threads of a job's engine.
        limit: Largest difference of detections from fp32, 0 to 1.
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


@dataclass(frozen=True, slots=True)
class Selection:
    """What the jobs are told, by ``run.json``.

    Attributes:
        engine: One of ``model.ENGINES``.
        precision: One of ``model.PRECISIONS``.
        model_dir: The model folder.
        measured: How ``auto`` chose: ``ms`` for each engine, ``failed`` with the reason of those that do not run,
            ``cpu_model``, ``cores``, ``flags``, ``threads``, ``input``, ``versions``; empty where there was no choice.
        difference: From fp32, see ``difference.compare``; empty for fp32.
    """

    engine: str
    precision: str
    model_dir: Path
    measured: dict[str, Any] = field(default_factory=dict)
    difference: dict[str, Any] = field(default_factory=dict)

    def sentence(self) -> str:
        """Say in one line what was chosen and why."""
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
        return text


def kept_selection(asked: ModelRequest) -> Selection | None:
    """Return what an earlier call settled for the same run and the same wishes."""
    value = read_object(asked.run.settings)
    if value is None:
        return None
    same = (asked.weights.root.name, asked.engine, asked.precision, asked.imgsz)
    if (value.get("weights_id"), value.get("engine_asked"), value.get("precision"), value.get("imgsz")) != same:
        return None
    try:
        choice = Selection(
            value["engine"],
            value["precision"],
            Path(value["model_dir"]),
            dict(value["engine_measured"]),
            dict(value["precision_difference"]),
        )
    except (KeyError, TypeError, ValueError):
        return None
    return choice if is_prepared(choice.model_dir) else None


def check_limit(asked: ModelRequest, choice: Selection) -> None:
    """Check that a choice changes the detections no more than was allowed.

    Raises:
        YoloError: It does.
    """
    found = choice.difference
    if found and found["difference"] > asked.limit:
        raise YoloError(
            f"precision {choice.precision} changes the detections too much",
            f"{found['difference']:g} (1 - F1 against fp32 on {found['images']} images: {found['matched']} of "
            f"{found['reference']} found again, {found['found']} found)",
            f"at most {asked.limit:g}, the input precision_limit",
            "run with precision=fp32, or raise precision_limit",
        )


def answer(asked: ModelRequest, choice: Selection, info: ModelInfo, *, made: bool) -> dict[str, Any]:
    """Return what the playbook is told about a choice; it writes that into ``run.json``."""
    return {
        "made": made,
        "model": str(choice.model_dir),
        "engine": choice.engine,
        "precision": choice.precision,
        "measured": choice.measured,
        "difference": choice.difference,
        "sentence": choice.sentence(),
        # (height, width) of what the run's images are fitted into.
        "input": info.input_size(asked.imgsz),
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that make up an :class:`Asked`."""
    parser.add_argument("--weights", type=Path, required=True, help="<share>/weights/<id>, with source/ in it")
    parser.add_argument("--kind", choices=KINDS, required=True, help="what the weights are")
    parser.add_argument("--run-dir", type=Path, required=True, help="<share>/runs/<run_id>, with its manifest")
    parser.add_argument("--input-dir", type=Path, required=True, help="folder of the run's images")
    parser.add_argument("--engine", default=AUTO, help=f"{AUTO} or one of {', '.join(ENGINES)}")
    parser.add_argument("--precision", default="fp32", help=f"one of {', '.join(PRECISIONS)}")
    parser.add_argument("--imgsz", type=int, default=0, help="input side that the run asks for; 0: the model's own")
    parser.add_argument("--threads", type=int, default=1, help="threads of a job's engine")
    parser.add_argument("--limit", type=float, default=LIMIT, help="largest difference from fp32, 0 to 1")


def asked_by(args: argparse.Namespace) -> ModelRequest:
    """Return what the arguments of :func:`add_arguments` ask for."""
    return ModelRequest(
        weights=Weights(args.weights),
        kind=args.kind,
        run=Run(args.run_dir),
        input_dir=args.input_dir,
        engine=args.engine,
        precision=args.precision,
        imgsz=args.imgsz,
        threads=args.threads,
        limit=args.limit,
    )
