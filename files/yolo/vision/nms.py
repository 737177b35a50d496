"""Decode a detector's raw output and suppress overlapping boxes, in numpy.

Three layouts of output are known:

``anchor-free``
    (1, 4 + classes, boxes): x, y, width, height, then one score per class. YOLOv5u, YOLOv8 and
    later, as ultralytics exports them.
``classic``
    (1, boxes, 5 + classes): x, y, width, height, objectness, then one conditional score per
    class; a box's score is objectness x class score. YOLOv5 as ultralytics/yolov5 exports it.
``end-to-end``
    (1, boxes, 6): x1, y1, x2, y2, score, class, already suppressed inside the model (exported with
    ``nms=True``, or a model that needs none). Its own limits cannot be widened from outside.

Filters, their order and the arithmetic (float32, class offset) are those of ultralytics'
``non_max_suppression`` and torchvision's ``nms``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..share.limits import MAX_DET

ANCHOR_FREE = "anchor-free"
CLASSIC = "classic"
END_TO_END = "end-to-end"
LAYOUTS = (ANCHOR_FREE, CLASSIC, END_TO_END)

#: Boxes of different classes are moved apart by this many pixels, so that they never overlap.
CLASS_OFFSET = 7680
#: At most this many best candidates enter suppression.
MAX_CANDIDATES = MAX_DET[-1]


@dataclass(frozen=True)
class Detections:
    """Boxes found in one image, best first.

    Attributes:
        boxes: float32 (n, 4): x1, y1, x2, y2 in pixels.
        scores: float32 (n,): 0..1, falling.
        classes: int64 (n,): index into the model's names.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray

    def __len__(self) -> int:
        """Number of boxes."""
        return len(self.scores)


def detect(
    raw: np.ndarray,
    layout: str,
    *,
    conf: float = 0.25,
    iou: float = 0.7,
    classes: Sequence[int] | None = None,
    max_det: int = 300,
) -> Detections:
    """Turn one image's raw output into detections.

    Args:
        raw: float32 output of the model for one image, with or without the leading batch axis of 1.
        layout: One of :data:`LAYOUTS`.
        conf: Keep boxes whose score is above this, 0..1.
        iou: Drop a box that overlaps a better one of its class by more than this, 0..1.
        classes: Keep only these class indices; ``None`` keeps all.
        max_det: Keep at most this many boxes.

    Returns:
        Detections in pixels of the network's input.

    Raises:
        ValueError: Unknown layout, or an output that does not fit it.
    """
    if raw.ndim == 3 and raw.shape[0] == 1:
        raw = raw[0]
    if raw.ndim != 2:
        raise ValueError(f"raw output has shape {raw.shape}, expected (1, rows, columns)")
    if layout == ANCHOR_FREE:
        found = decode_anchor_free(raw, conf)
    elif layout == CLASSIC:
        found = decode_classic(raw, conf)
    elif layout == END_TO_END:
        found = decode_end_to_end(raw, conf)
    else:
        raise ValueError(f"layout is {layout!r}, expected one of {', '.join(LAYOUTS)}")
    if classes is not None:
        found = _take(found, np.isin(found.classes, np.asarray(classes, np.int64)))
    if layout == END_TO_END:
        # Most models sort their answer; none promises it.
        return _take(found, np.argsort(-found.scores, kind="stable")[:max_det])
    if len(found) > MAX_CANDIDATES:
        found = _take(found, np.argsort(-found.scores, kind="stable")[:MAX_CANDIDATES])
    # float32 on purpose: at offsets of 80 classes its rounding reaches 1/32 of a pixel, and the
    # reference has the same.
    offset = (found.classes * CLASS_OFFSET).astype(np.float32)[:, None]
    return _take(found, suppress(found.boxes + offset, found.scores, iou, max_det))


def decode_anchor_free(raw: np.ndarray, conf: float) -> Detections:
    """Pick the best class of each box above ``conf`` from (4 + classes, boxes)."""
    if raw.shape[0] < 5:
        raise ValueError(f"anchor-free output has {raw.shape[0]} rows, expected 4 + classes")
    scores = raw[4:]
    candidates = np.flatnonzero(scores.max(axis=0) > conf)
    scores = scores[:, candidates]
    classes = scores.argmax(axis=0)
    return Detections(
        boxes=_corners(raw[:4, candidates].T),
        scores=scores[classes, np.arange(len(candidates))],
        classes=classes.astype(np.int64),
    )


def decode_classic(raw: np.ndarray, conf: float) -> Detections:
    """Pick the best class of each box above ``conf`` from (boxes, 5 + classes)."""
    if raw.shape[1] < 6:
        raise ValueError(f"classic output has {raw.shape[1]} columns, expected 5 + classes")
    # A class score is at most 1, so a box of lower objectness cannot pass: most go here.
    rows = raw[raw[:, 4] > conf]
    scores = rows[:, 5:] * rows[:, 4:5]
    classes = scores.argmax(axis=1)
    best = scores[np.arange(len(rows)), classes]
    return _take(
        Detections(_corners(rows[:, :4]), best, classes.astype(np.int64)),
        best > conf,
    )


def decode_end_to_end(raw: np.ndarray, conf: float) -> Detections:
    """Read finished boxes above ``conf`` from (boxes, 6)."""
    if raw.shape[1] != 6:
        raise ValueError(f"end-to-end output has {raw.shape[1]} columns, expected 6")
    rows = raw[raw[:, 4] > conf]
    return Detections(rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64))


def suppress(boxes: np.ndarray, scores: np.ndarray, iou: float, limit: int) -> np.ndarray:
    """Greedy non-maximum suppression.

    Args:
        boxes: float32 (n, 4): x1, y1, x2, y2.
        scores: float32 (n,).
        iou: Overlap (intersection over union) above which the worse box goes.
        limit: Stop after this many boxes.

    Returns:
        int64 indices of the boxes kept, best first, at most ``limit``.
    """
    order = np.argsort(-scores, kind="stable")
    x1, y1, x2, y2 = boxes[order].T
    areas = (x2 - x1) * (y2 - y1)
    alive = np.arange(len(order))
    kept: list[int] = []
    while alive.size and len(kept) < limit:
        best, alive = alive[0], alive[1:]
        kept.append(best)
        width = np.minimum(x2[best], x2[alive]) - np.maximum(x1[best], x1[alive])
        height = np.minimum(y2[best], y2[alive]) - np.maximum(y1[best], y1[alive])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            overlap = shared / (areas[best] + areas[alive] - shared)
        # Not `overlap <= iou`: 0/0 of two empty boxes must keep both.
        alive = alive[~(overlap > iou)]
    return order[np.array(kept, np.int64)]


def _corners(boxes: np.ndarray) -> np.ndarray:
    """x, y, width, height of centres -> x1, y1, x2, y2; float32 (n, 4)."""
    half = boxes[:, 2:] / 2
    return np.concatenate((boxes[:, :2] - half, boxes[:, :2] + half), axis=1)


def _take(found: Detections, index: np.ndarray | slice) -> Detections:
    return Detections(found.boxes[index], found.scores[index], found.classes[index])
