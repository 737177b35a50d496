"""Score detections against labels with the COCO project's own evaluation, pycocotools; on the control node."""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from .figures import FIGURES
from .truth import Label

_CONFIDENCES = np.linspace(0, 1, 1000)


def evaluate(
    labels: Mapping[str, Sequence[Label]],
    predictions: Iterable[Mapping[str, Any]],
    names: Sequence[str],
    max_det: int,
) -> dict[str, Any]:
    """Return the figures of ``quality.json``.

    ``map50`` and ``map`` (mAP50-95) are means over the classes that have labels. ``precision`` and ``recall``, at an
    overlap of 0.5, are those at the one confidence where the mean F1 of these classes is the largest, as the
    validation of ultralytics/yolov5 has them.

    Args:
        labels: By image.
        predictions: As in ``predictions.json``, with the class's index as ``category_id``; those in images that have
            no labels do not count.
        names: The weights' classes by index.
        max_det: So many of an image count, the best first.
    """
    ids = {image: number for number, image in enumerate(labels, 1)}
    found = [
        {"image_id": ids[item["file_name"]], **{key: item[key] for key in ("category_id", "bbox", "score")}}
        for item in predictions
        if item["file_name"] in ids
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        precision, scores = _accumulate(_truth(labels, ids, names), found, max_det)
    counted = Counter(label.class_id for of in labels.values() for label in of)
    classes = sorted(counted)
    average = {index: precision[:, :, index].mean(axis=1) for index in classes}
    at = _at_best_f1(precision[0][:, classes], scores[0][:, classes])
    values = {
        index: (average[index][0], average[index].mean(), at[0][column], at[1][column])
        for column, index in enumerate(classes)
    }
    rows = [
        {
            "name": names[index],
            "labels": counted[index],
            **{name: _rounded(value) for name, value in zip(FIGURES, values[index], strict=True)},
        }
        for index in classes
    ]
    return {
        "images": len(labels),
        "labels": sum(map(len, labels.values())),
        "confidence": _rounded(at[2]),
        **{name: _rounded(np.mean([row[name] for row in rows])) if rows else None for name in FIGURES},
        "classes": rows,
    }


def _rounded(value: Any) -> float:
    return round(float(value), 4)


def _truth(labels: Mapping[str, Sequence[Label]], ids: Mapping[str, int], names: Sequence[str]) -> dict[str, Any]:
    annotations = [
        {
            "image_id": ids[image],
            "category_id": label.class_id,
            "bbox": list(label.box),
            "area": label.box[2] * label.box[3],
            "iscrowd": int(label.crowd),
        }
        for image, of in labels.items()
        for label in of
    ]
    return {
        "images": [{"id": number} for number in ids.values()],
        "annotations": [{"id": number, **entry} for number, entry in enumerate(annotations, 1)],
        "categories": [{"id": index} for index in range(len(names))],
    }


def _accumulate(truth: dict[str, Any], found: list[dict[str, Any]], max_det: int) -> tuple[np.ndarray, np.ndarray]:
    """Return precision and scores, (overlaps, recalls, classes); precision is 0 where a recall is not reached."""
    expected = COCO()
    expected.dataset = truth
    expected.createIndex()
    nothing = COCO()
    nothing.dataset = {"images": [], "annotations": [], "categories": []}
    nothing.createIndex()
    evaluation = COCOeval(expected, expected.loadRes(found) if found else nothing, "bbox")
    evaluation.params.imgIds = sorted(expected.getImgIds())
    evaluation.params.catIds = sorted(expected.getCatIds())
    evaluation.params.maxDets = [max_det]
    evaluation.params.areaRng = evaluation.params.areaRng[:1]
    evaluation.params.areaRngLbl = evaluation.params.areaRngLbl[:1]
    evaluation.evaluate()
    evaluation.accumulate()
    precision, scores = (evaluation.eval[name][:, :, :, 0, 0] for name in ("precision", "scores"))
    return np.maximum(precision, 0), scores


def _at_best_f1(precision: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return precision and recall of each class at the confidence of the largest mean F1, and that confidence.

    Args:
        precision: (recalls, classes), at recalls from 0 to 1.
        scores: The same shape: the confidence down to which detections count for that recall; 0 where it is not
            reached.
    """
    recalls = np.linspace(0, 1, precision.shape[0])
    count = precision.shape[1]
    best: tuple[float, np.ndarray, np.ndarray, float] = (-1.0, np.zeros(count), np.zeros(count), 0.0)
    reached = precision > 0
    for confidence in _CONFIDENCES:
        counts = reached & (scores >= confidence)
        # The largest recall among them; the first where there is none.
        last = np.where(counts.any(axis=0), precision.shape[0] - 1 - counts[::-1].argmax(axis=0), 0)
        p = np.where(counts.any(axis=0), precision[last, np.arange(count)], 0)
        r = np.where(counts.any(axis=0), recalls[last], 0)
        f1 = float(np.mean(2 * p * r / np.maximum(p + r, 1e-16))) if count else 0.0
        if f1 > best[0]:
            best = f1, p, r, float(confidence)
    return best[1], best[2], best[3]
