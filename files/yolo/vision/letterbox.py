"""Fit images into a network's input and carry its boxes back, with ultralytics' numbers.

The arithmetic (rounding, order of operations, float32) follows its ``LetterBox``,
``BasePredictor.preprocess`` and ``ops.scale_boxes``: a difference of one pixel of padding moves
every box and changes scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

#: Grey of the padding, the value that YOLO models are trained with.
PADDING = 114


@dataclass(frozen=True)
class Fit:
    """How an image lies in the network's input.

    Attributes:
        resized: (height, width) of the image after scaling, before padding.
        top: Rows of padding above; ``bottom`` below, ``left`` and ``right`` beside.
        bottom: See ``top``.
        left: See ``top``.
        right: See ``top``.
    """

    resized: tuple[int, int]
    top: int
    bottom: int
    left: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the network's input."""
        return (
            self.resized[0] + self.top + self.bottom,
            self.resized[1] + self.left + self.right,
        )


def fit(image_shape: tuple[int, ...], size: tuple[int, int], *, rectangular: bool, stride: int = 32) -> Fit:
    """Plan scaling and padding.

    Args:
        image_shape: (height, width, ...) of the image.
        size: (height, width) of the input to fit into.
        rectangular: Pad only up to the next multiple of ``stride`` (a 4:3 photo then costs a
            quarter less than a square); needs a model of dynamic shape. Otherwise pad to exactly
            ``size``.
        stride: Largest stride of the model.

    Returns:
        The fit; without ``rectangular`` its shape equals ``size``.
    """
    height, width = image_shape[:2]
    ratio = min(size[0] / height, size[1] / width)
    new_width, new_height = max(round(width * ratio), 1), max(round(height * ratio), 1)
    pad_x, pad_y = size[1] - new_width, size[0] - new_height
    if rectangular:
        pad_x, pad_y = pad_x % stride, pad_y % stride
    # An odd pixel goes to the right and to the bottom: 0.1 keeps round() away from its tie.
    return Fit(
        resized=(new_height, new_width),
        top=round(pad_y / 2 - 0.1),
        bottom=round(pad_y / 2 + 0.1),
        left=round(pad_x / 2 - 0.1),
        right=round(pad_x / 2 + 0.1),
    )


def letterbox(image: np.ndarray, size: tuple[int, int], *, rectangular: bool, stride: int = 32) -> np.ndarray:
    """Scale an image into ``size``, keeping its aspect ratio, and pad it with grey.

    Args:
        image: uint8 (height, width, 3).
        size: (height, width) to fit into.
        rectangular: See :func:`fit`.
        stride: See :func:`fit`.

    Returns:
        uint8 (input height, input width, 3), same channel order.
    """
    fitted = fit(image.shape, size, rectangular=rectangular, stride=stride)
    if image.shape[:2] != fitted.resized:
        image = cv2.resize(image, fitted.resized[::-1], interpolation=cv2.INTER_LINEAR)
    return cv2.copyMakeBorder(
        image,
        fitted.top,
        fitted.bottom,
        fitted.left,
        fitted.right,
        cv2.BORDER_CONSTANT,
        value=(PADDING, PADDING, PADDING),
    )


def to_tensor(image: np.ndarray) -> np.ndarray:
    """Turn a letterboxed BGR image into network input.

    Args:
        image: uint8 (height, width, 3), BGR.

    Returns:
        float32 (1, 3, height, width), RGB, 0..1, contiguous.
    """
    height, width = image.shape[:2]
    tensor = np.empty((1, 3, height, width), np.float32)
    # Divided, not multiplied by 1/255: the last bit differs.
    for channel, plane in enumerate(reversed(cv2.split(image))):
        np.divide(plane, np.float32(255), out=tensor[0, channel], dtype=np.float32)
    return tensor


def scale_boxes(boxes: np.ndarray, input_shape: tuple[int, int], image_shape: tuple[int, ...]) -> np.ndarray:
    """Carry boxes from network input to image coordinates and clip them to the image.

    Args:
        boxes: float32 (n, 4): x1, y1, x2, y2 in pixels of the network's input.
        input_shape: (height, width) of the network's input.
        image_shape: (height, width, ...) of the image.

    Returns:
        float32 (n, 4): x1, y1, x2, y2 in pixels of the image, 0 <= x <= width, 0 <= y <= height.
    """
    height, width = image_shape[:2]
    gain = min(input_shape[0] / height, input_shape[1] / width)
    new_height, new_width = max(round(height * gain), 1), max(round(width * gain), 1)
    pad_x = round((input_shape[1] - new_width) / 2 - 0.1)
    pad_y = round((input_shape[0] - new_height) / 2 - 0.1)
    pad = np.array([pad_x, pad_y, pad_x, pad_y], np.float32)
    # Each side was rounded to whole pixels, so each axis has its own exact gain.
    scale = np.array([new_width / width, new_height / height] * 2, np.float32)
    scaled = (boxes.astype(np.float32, copy=False) - pad) / scale
    clipped: np.ndarray = np.clip(scaled, 0, np.array([width, height] * 2, np.float32))
    return clipped


def round_size(size: int | tuple[int, int], stride: int) -> tuple[int, int]:
    """Round an image size up to multiples of the model's stride, as ultralytics does.

    Args:
        size: One side of a square, or (height, width), in pixels.
        stride: Largest stride of the model.

    Returns:
        (height, width), each at least one stride.
    """
    height, width = (size, size) if isinstance(size, int) else size
    return (
        max(math.ceil(height / stride) * stride, stride),
        max(math.ceil(width / stride) * stride, stride),
    )
