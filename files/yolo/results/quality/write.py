"""Write ``quality.json`` into a results folder: how good its detections are."""

from __future__ import annotations

import json
from pathlib import Path

from ...share import fsio
from ...share.errors import YoloError
from ...share.layout import Pass
from .. import table
from .truth import read_labels

NAME = "quality.json"
"""Name of the figures in the results folder."""

FIGURES = {"map50": "mAP50", "map": "mAP50-95", "precision": "precision", "recall": "recall"}
"""The figures, of all classes and of each, and what people call them."""

LOW_CONF = 0.01
"""With detections left out above this confidence, mAP is lower than the validation of ultralytics/yolov5 would say."""


def update(folder: Path, labels: Path | None) -> bool:
    """Score a results folder, or without labels remove an earlier score; return whether that changed anything.

    Args:
        folder: Holds ``metrics.json``, ``metrics.csv`` and ``predictions.json``.
        labels: A folder of YOLO label files, or a COCO JSON.

    Raises:
        YoloError: The labels or the figures can't be used, or a library is missing.
        OSError: A file can't be read or written.
    """
    path = folder / NAME
    if labels is None:
        there = path.exists()
        path.unlink(missing_ok=True)
        return there
    try:
        from .evaluate import evaluate
    except ModuleNotFoundError as error:
        raise YoloError(
            "a library that scores detections is not installed",
            error.name,
            remedy="use the project's .venv/bin/python",
        ) from None
    files = Pass(folder)
    try:
        metrics = fsio.read_json(files.metrics_json)
        names = [category["name"] for category in metrics["categories"]]
        # Of COCO's classes the predictions have COCO's ids.
        index_of = {category["id"]: index for index, category in enumerate(metrics["categories"])}
        max_det, conf = metrics["settings"]["max_det"], metrics["settings"]["conf"]
        predictions = [
            {**item, "category_id": index_of[item["category_id"]]}
            for item in json.loads(files.predictions.read_bytes())
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise YoloError(
            "the results are damaged", f"{folder}: {type(error).__name__}: {error}", remedy="remove them and run again"
        ) from None
    truth = read_labels(labels, table.read_sizes(files.metrics_csv), names)
    found = evaluate(truth, predictions, names, max_det) | {"conf": conf}
    if path.is_file() and fsio.read_json(path) == found:
        return False
    fsio.write_json(path, found, indent=1)
    return True
