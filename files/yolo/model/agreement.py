"""Detection agreement: how far the detections of one engine or precision differ from another's, on some images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..vision import nms
from ..vision.letterbox import to_tensor
from .engines import Engine
from .info import ModelInfo

#: What is compared: detections that a run with its defaults would show.
CONF, IOU = 0.25, 0.7
#: Two boxes of a class that overlap by this much are the same object: COCO's and VOC's mildest threshold.
SAME = 0.5


def detections(engine: Engine, info: ModelInfo, images: Sequence[np.ndarray]) -> list[nms.Detections]:
    """Detect in letterboxed images.

    Args:
        engine: What runs the model.
        info: Its description.
        images: uint8 (height, width, 3), BGR, of sizes that the engine takes.

    Returns:
        Detections in pixels of each image.
    """
    found = []
    for image in images:
        one = nms.detect(engine.infer(to_tensor(image)), info.layout, conf=CONF, iou=IOU)
        # Copies: an engine's answer is valid until its next one.
        found.append(nms.Detections(one.boxes.copy(), one.scores.copy(), one.classes.copy()))
    return found


def compare(reference: Sequence[nms.Detections], found: Sequence[nms.Detections]) -> dict[str, Any]:
    """Match detections one to one, best first, as COCO's evaluation does: same class, most overlap.

    Args:
        reference: By image.
        found: By image, in the same order.

    Returns:
        ``images``; ``reference`` and ``found``, numbers of detections; ``matched``; ``precision`` (part of
        what was found that is in the reference), ``recall`` (part of the reference that was found), ``f1``
        (their harmonic mean, 1 when both found nothing); ``score`` (mean difference of the scores of
        matched detections); ``difference`` (1 - f1).
    """
    matched, scores = 0, []
    for wanted, got in zip(reference, found, strict=True):
        free = np.ones(len(wanted), bool)
        for box, score, kind in zip(got.boxes, got.scores, got.classes, strict=True):
            overlap = np.where(free & (wanted.classes == kind), _iou(box, wanted.boxes), 0)
            if overlap.size and overlap.max() >= SAME:
                best = int(overlap.argmax())
                free[best] = False
                matched += 1
                scores.append(abs(float(score) - float(wanted.scores[best])))
    count, other = sum(map(len, reference)), sum(map(len, found))
    f1 = 2 * matched / (count + other) if count + other else 1.0
    return {
        "images": len(reference),
        "reference": count,
        "found": other,
        "matched": matched,
        "precision": round(matched / other, 4) if other else 1.0,
        "recall": round(matched / count, 4) if count else 1.0,
        "f1": round(f1, 4),
        "score": round(float(np.mean(scores)), 4) if scores else 0.0,
        "difference": round(1 - f1, 4),
    }


def _iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Overlap (intersection over union) of one box (4,) with others (n, 4): x1, y1, x2, y2."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    total = (box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) - shared
    overlap: np.ndarray = np.divide(shared, total, out=np.zeros_like(shared), where=total > 0)
    return overlap
