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
_STRETCH = 101


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
        evaluation = _evaluation(_truth(labels, ids, names), found, max_det)
    counted = Counter(label.class_id for of in labels.values() for label in of)
    classes = sorted(counted)
    precision = np.maximum(evaluation.eval["precision"][..., 0, 0], 0)
    average = {index: precision[:, :, index].mean(axis=1) for index in classes}
    at = _at_best_f1(evaluation, classes)
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


def _evaluation(truth: dict[str, Any], found: list[dict[str, Any]], max_det: int) -> COCOeval:
    """Return COCO's evaluation of all sizes of objects, done."""
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
    return evaluation


def _at_best_f1(evaluation: COCOeval, classes: Sequence[int]) -> tuple[np.ndarray, np.ndarray, float]:
    """Return precision and recall of each class at the confidence of the largest mean F1, and that confidence.

    They are counted from the matches at an overlap of 0.5: the curve that mAP is taken from is no measure of precision,
    for it has at each recall the best precision of any larger one.
    """
    curves = [_curve(evaluation, index) for index in classes]
    if not curves:
        return np.zeros(0), np.zeros(0), 0.0
    precision, recall = (np.stack([curve[part] for curve in curves], axis=1) for part in (0, 1))
    f1 = np.mean(2 * precision * recall / np.maximum(precision + recall, 1e-16), axis=1)
    # Of a stretch of confidences, so that no single detection decides; as the validation of ultralytics/yolov5 has it.
    beside = _STRETCH // 2
    best = int(np.convolve(np.pad(f1, beside, mode="edge"), np.ones(_STRETCH), "valid").argmax())
    return precision[best], recall[best], float(_CONFIDENCES[best])


def _curve(evaluation: COCOeval, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a class's precision and recall at each of ``_CONFIDENCES``.

    Where no detection is as confident, precision is 1, as none of them is wrong; for a class without any detection it
    is 0. So counts the validation of ultralytics/yolov5.
    """
    count = len(evaluation.params.imgIds)
    images = [image for image in evaluation.evalImgs[index * count : (index + 1) * count] if image]
    positives = sum(int((np.asarray(image["gtIgnore"]) == 0).sum()) for image in images)
    scores = np.concatenate([np.asarray(image["dtScores"], float) for image in images] or [np.zeros(0)])
    right = np.concatenate([np.asarray(image["dtMatches"][0]) > 0 for image in images] or [np.zeros(0, bool)])
    counts = np.concatenate([np.asarray(image["dtIgnore"][0]) == 0 for image in images] or [np.zeros(0, bool)])
    order = np.argsort(-scores[counts], kind="stable")
    if not len(order):
        return np.zeros(len(_CONFIDENCES)), np.zeros(len(_CONFIDENCES))
    found = np.concatenate(([0], right[counts][order].cumsum()))
    so_many = np.searchsorted(-scores[counts][order], -_CONFIDENCES, side="right")
    precision = np.where(so_many > 0, found[so_many] / np.maximum(so_many, 1), 1.0)
    return precision, found[so_many] / max(positives, 1)
