"""Find the layout of a detector's raw output, and check that jobs can decode it."""

from __future__ import annotations

import numpy as np

from ..share.errors import YoloError
from ..vision import nms

#: Cells of these strides make up the rows of a detector's output.
_STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (16, 32))

_ANCHORS = 3


def guess_layout(shape: tuple[int, ...], size: tuple[int, int], nc: int | None, *, name: str = "the model") -> str:
    """Find the layout of a raw output from its shape.

    Args:
        shape: (rows, columns) of the output for one image.
        size: (height, width) of the input that gave it.
        nc: Number of classes, if known.
        name: For messages.

    Returns:
        One of ``nms.LAYOUTS``.

    Raises:
        YoloError: None fits.
    """
    rows, columns = shape
    cells = {sum((size[0] // s) * (size[1] // s) for s in strides) for strides in _STRIDES}
    anchored = {_ANCHORS * n for n in cells}
    if rows in anchored and columns >= 6 and nc in (None, columns - 5):
        return nms.CLASSIC
    # Also with a single class: a classic model would have had three rows per cell.
    if columns == 6 and rows not in cells:
        return nms.END_TO_END
    if columns in cells and rows >= 5 and nc in (None, rows - 4):
        return nms.ANCHOR_FREE
    if nc is not None and columns == nc + 5 and rows > columns:
        return nms.CLASSIC
    if nc is not None and rows == nc + 4 and columns > rows:
        return nms.ANCHOR_FREE
    if nc is not None and columns == nc + 4 and rows not in cells | anchored:
        raise _rtdetr(name)
    classes = f" with {nc} classes" if nc is not None else ""
    raise YoloError(
        f"the model's output{classes} has an unknown layout",
        f"{name}: (1, {rows}, {columns}) for an input of {size[0]}x{size[1]}",
        "(1, 4 + classes, boxes), (1, boxes, 5 + classes) or (1, boxes, 6)",
        "give detection weights exported by ultralytics or ultralytics/yolov5",
    )


def _rtdetr(name: str) -> YoloError:
    # A row for each query: a box in parts of the image, then a score for each class.
    return YoloError(
        "the model's output looks like RT-DETR's",
        name,
        "a YOLO network",
        "give detection weights of ultralytics/yolov5, or of a YOLO of ultralytics",
    )


def check_scores(raw: np.ndarray, layout: str, name: str) -> None:
    """Check that a model's scores are what inference gives, not raw values for training.

    Args:
        raw: float32 (rows, columns), the answer to a grey image.
        layout: One of ``nms.LAYOUTS``.
        name: For messages.

    Raises:
        YoloError: They are not between 0 and 1, or no class stands where one should.
    """
    if layout == nms.END_TO_END and (raw[:, 5] != np.round(raw[:, 5])).any():
        # Of two classes it has as many columns, the last of which is a score.
        raise _rtdetr(name)
    scores = {nms.END_TO_END: raw[:, 4], nms.ANCHOR_FREE: raw[4:], nms.CLASSIC: raw[:, 4:]}[layout]
    # An end-to-end model may find nothing at all in a grey image.
    low, high = scores.min(initial=0), scores.max(initial=0)
    if not np.isfinite(raw).all() or low < 0 or high > 1:
        raise YoloError(
            "the model's scores are not between 0 and 1",
            f"{name}: {low:g} to {high:g} on a grey image",
            remedy="export the weights again, for inference and not for training",
        )


def class_names(names: list[str] | None, shape: tuple[int, ...], layout: str, file: str) -> list[str]:
    """Return the class names, made up where the weights have none.

    Args:
        names: From the weights' metadata.
        shape: (rows, columns) of the raw output.
        layout: One of ``nms.LAYOUTS``.
        file: For messages.

    Raises:
        YoloError: There are more or fewer names than classes.
    """
    count = {nms.ANCHOR_FREE: shape[0] - 4, nms.CLASSIC: shape[1] - 5}.get(layout)
    if names is None:
        # An end-to-end output does not say how many classes there are.
        return [f"class{index}" for index in range(count or 1000)]
    if count is not None and count != len(names):
        raise YoloError(
            "the class names do not fit the model",
            f"{file}: {len(names)} names for {count} classes",
        )
    return names
