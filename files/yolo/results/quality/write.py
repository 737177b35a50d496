"""Write ``quality.json`` into a results folder: how good its detections are, and those of the run's other passes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...share import fsio
from ...share.errors import YoloError
from ...share.layout import FLOAT, Pass
from .. import beside, table
from ..figures import Figures, damaged
from .figures import FIGURES, NAME
from .truth import read_labels


def update(figures: Figures, labels: Path | None) -> tuple[bool, dict[str, Any]]:
    """Score a results folder, or without labels remove an earlier score.

    Args:
        figures: Of the folder, which also holds ``metrics.csv``, ``predictions.json`` and what is ``beside`` them.
        labels: A folder of YOLO label files, or a COCO JSON.

    Returns:
        Whether that changed anything, and what stands in ``quality.json``, empty without labels.

    Raises:
        YoloError: The labels or the figures can't be used, or a library is missing.
        OSError: A file can't be read or written.
    """
    path = figures.folder / NAME
    if labels is None:
        there = path.exists()
        path.unlink(missing_ok=True)
        return there, {}
    scored = score(figures, labels)
    return fsio.update_bytes(path, (fsio.dumps(scored, indent=1) + "\n").encode()), scored


def score(figures: Figures, labels: Path) -> dict[str, Any]:
    """Return the figures of the run's detections and, as ``compared``, those of its other passes.

    An image counts if each pass has a result for it.

    Raises:
        YoloError: The labels or the figures can't be used, or a library is missing.
        OSError: A file can't be read.
    """
    try:
        from .evaluate import evaluate
    except ModuleNotFoundError as error:
        raise YoloError(
            "a library that scores detections is not installed",
            error.name,
            remedy="use the project's .venv/bin/python",
        ) from None
    folder, files = figures.folder, Pass(figures.folder)
    try:
        names = [str(category["name"]) for category in figures.metrics["categories"]]
        # Of COCO's classes the predictions have COCO's ids.
        index_of = {category["id"]: index for index, category in enumerate(figures.metrics["categories"])}
        max_det, conf = int(figures.metrics["settings"]["max_det"]), float(figures.metrics["settings"]["conf"])
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(files.metrics_json, f"{type(error).__name__}: {error}") from None
    others = _others(figures)
    sizes = table.read_sizes(files.metrics_csv)
    for name in others:
        there = table.read_sizes(folder / beside.table(name))
        sizes = {path: size for path, size in sizes.items() if path in there}
    truth = read_labels(labels, sizes, names)

    def scored(predictions: Path) -> dict[str, Any]:
        return evaluate(truth, _read_predictions(predictions, index_of), names, max_det)

    found = scored(files.predictions)
    compared = [_difference(found, name, scored(folder / beside.predictions(name))) for name in others]
    if figures.compared.get("identical"):
        compared.append(_difference(found, "single", found) | {"identical": True})
    return found | {"conf": conf, "compared": compared}


def _others(figures: Figures) -> list[str]:
    """Return the passes whose detections may be others than the run's own."""
    wanted = [FLOAT] if (figures.folder / beside.predictions(FLOAT)).exists() else []
    return wanted + (["single"] if figures.compared and not figures.compared["identical"] else [])


def _difference(own: Mapping[str, Any], name: str, other: Mapping[str, Any]) -> dict[str, Any]:
    """Return another pass's figures, and how much higher the run's own are."""
    known = {key: None if own[key] is None else round(own[key] - other[key], 4) for key in FIGURES}
    figures = {key: other[key] for key in (*FIGURES, "confidence")}
    return {"pass": name, "identical": False, **figures, "difference": known}


def _read_predictions(path: Path, index_of: Mapping[Any, int]) -> list[dict[str, Any]]:
    try:
        return [_prediction(item, index_of) for item in json.loads(path.read_bytes())]
    except FileNotFoundError:
        raise YoloError(
            "the detections are missing", path, remedy="run the same run_id again, which pulls them"
        ) from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(path, f"{type(error).__name__}: {error}") from None


def _prediction(item: Mapping[str, Any], index_of: Mapping[Any, int]) -> dict[str, Any]:
    x, y, width, height = map(float, item["bbox"])
    return {
        "file_name": str(item["file_name"]),
        "category_id": index_of[item["category_id"]],
        "bbox": [x, y, width, height],
        "score": float(item["score"]),
    }
