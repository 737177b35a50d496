"""Draw detections into an image and encode it."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from ..share.errors import YoloError
from . import letters

_MIN_FONT_SCALE = 0.35  # about 8 pixels high; less cannot be read
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)
_GOLDEN_RATIO = 0.618033988749895

_ENCODERS: dict[str, tuple[int, ...]] = {
    ".jpg": (cv2.IMWRITE_JPEG_QUALITY, 95),
    ".jpeg": (cv2.IMWRITE_JPEG_QUALITY, 95),
    ".jpe": (cv2.IMWRITE_JPEG_QUALITY, 95),
    ".jfif": (cv2.IMWRITE_JPEG_QUALITY, 95),
    # Annotated photos hardly compress; the default level costs twice the time for 3 percent.
    ".png": (cv2.IMWRITE_PNG_COMPRESSION, 1),
    ".webp": (cv2.IMWRITE_WEBP_QUALITY, 95),
    ".bmp": (),
    ".tif": (),
    ".tiff": (),
}


class EncodeError(YoloError):
    """An image that does not fit the format it must be written in."""


def draw(
    image: np.ndarray,
    boxes: np.ndarray,
    scores: np.ndarray,
    classes: np.ndarray,
    names: Sequence[str],
) -> np.ndarray:
    """Draw boxes with their class names and scores into an image.

    Lines and letters grow with the image. Better boxes lie on top of worse ones, and each label
    stands where it covers no better one, if there is such a place at its box.

    Args:
        image: uint8 (height, width, 3), BGR; drawn into.
        boxes: (n, 4): x1, y1, x2, y2 in pixels of the image.
        scores: (n,), falling.
        classes: (n,): index into ``names``.
        names: Class names.

    Returns:
        ``image``.
    """
    line = line_width(image.shape)
    corners = [tuple(box) for box in np.rint(boxes).astype(int).tolist()]
    labels: list[_Label] = []
    for box, score, index in zip(corners, scores, classes, strict=True):
        name = letters.printable(names[index]) or f"class {index}"
        texts = (f"{name} {score:.2f}", name)
        labels.append(_place(image.shape, box, texts, line, labels))
    drawn = list(zip(corners, classes, labels, strict=True))[::-1]
    for (x1, y1, x2, y2), index, _ in drawn:
        # A dark edge keeps every colour visible on every ground.
        cv2.rectangle(image, (x1, y1), (x2, y2), _BLACK, line + 2, cv2.LINE_AA)
        cv2.rectangle(image, (x1, y1), (x2, y2), colour(int(index)), line, cv2.LINE_AA)
    for _, index, label in drawn:
        background = colour(int(index))
        cv2.rectangle(image, label[:2], label[2:4], background, cv2.FILLED)
        letters.write(image, label.text, label.origin, _font_scale(line), _font_weight(line), text_colour(background))
    return image


def shrink(image: np.ndarray, boxes: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Scale an image down before anything is drawn into it, so that lines and letters stay readable.

    Args:
        image: uint8 (height, width, 3).
        boxes: (n, 4): x1, y1, x2, y2 in pixels of the image.
        size: Longer side of the result, pixels, at most; 0 for any.

    Returns:
        Image and boxes; those that were given where they are small enough.
    """
    height, width = image.shape[:2]
    if not 0 < size < max(height, width):
        return image, boxes
    ratio = size / max(height, width)
    wide, high = max(round(width * ratio), 1), max(round(height * ratio), 1)
    small = image
    # The mean of 2x2 pixels is ten times as fast as that of areas of any size, and leaves less than half to the other.
    while small.shape[1] >= 2 * wide and small.shape[0] >= 2 * high:
        small = cv2.resize(small, (small.shape[1] // 2, small.shape[0] // 2), interpolation=cv2.INTER_AREA)
    if small.shape[:2] != (high, wide):
        small = cv2.resize(small, (wide, high), interpolation=cv2.INTER_LINEAR)
    scale = np.array([wide / width, high / height] * 2, np.float32)
    return small, boxes * scale


def line_width(shape: tuple[int, ...]) -> int:
    """Width of a box's line for an image of (height, width, ...), pixels."""
    return max(round((shape[0] + shape[1]) / 2 * 0.003), 1)


@lru_cache(maxsize=1024)
def colour(index: int) -> tuple[int, int, int]:
    """Return the BGR colour of a class: always the same, far from that of its neighbours."""
    hue = (0.55 + index * _GOLDEN_RATIO) % 1
    saturation, value = ((0.9, 1.0), (0.65, 1.0), (0.9, 0.8))[index % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(blue * 255), round(green * 255), round(red * 255)


def text_colour(background: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return black or white, whichever reads better on a BGR background."""
    blue, green, red = background
    return _BLACK if 0.114 * blue + 0.587 * green + 0.299 * red > 140 else _WHITE


class _Label(NamedTuple):
    """A label's rectangle, its text and where the text begins, all in pixels."""

    left: int
    top: int
    right: int
    bottom: int
    text: str
    origin: tuple[int, int]


def _font_scale(line: int) -> float:
    return max(line / 4, _MIN_FONT_SCALE)


def _font_weight(line: int) -> int:
    return max(line // 2, 1)


def _place(
    shape: tuple[int, ...],
    box: tuple[int, ...],
    texts: Sequence[str],
    line: int,
    taken: Sequence[_Label],
) -> _Label:
    """Find a label's place: above the box, else inside its top, else below it.

    Args:
        shape: (height, width, ...) of the image.
        box: x1, y1, x2, y2.
        texts: Texts to choose from, the first that is narrower than the image is taken.
        line: Width of the box's line.
        taken: Labels placed before.
    """
    height, width = shape[:2]
    pad = max(line, 2)
    for text in texts:
        (text_width, text_height), below = letters.size(text, _font_scale(line), _font_weight(line))
        if text_width + 2 * pad <= width:
            break
    high, wide = text_height + below + pad, text_width + 2 * pad
    left = max(min(box[0] - line // 2, width - wide), 0)
    places = []
    for top in (box[1] - high, box[1], box[3]):
        top = max(min(top, height - high), 0)
        origin = (left + pad, top + high - below - pad // 2)
        places.append(_Label(left, top, left + wide, top + high, text, origin))
    free = (place for place in places if not any(_overlap(place, other) for other in taken))
    return next(free, places[0])


def _overlap(a: _Label, b: _Label) -> bool:
    return a.left < b.right and b.left < a.right and a.top < b.bottom and b.top < a.bottom


def encode(image: np.ndarray, suffix: str) -> bytes:
    """Encode an image in the format of a file suffix.

    Args:
        image: uint8 (height, width, 3), BGR.
        suffix: One of ``layout.WRITTEN_SUFFIXES``, any case.

    Returns:
        The file's bytes.

    Raises:
        EncodeError: The format cannot hold the image, e.g. WEBP ends at 16383 pixels.
    """
    suffix = suffix.lower()
    try:
        done, data = cv2.imencode(".jpg" if suffix == ".jfif" else suffix, image, _ENCODERS.get(suffix, ()))
    except cv2.error as error:
        done, data, reason = False, None, str(error).splitlines()[0]
    else:
        reason = "the encoder refused"
    if not done or data is None:
        height, width = image.shape[:2]
        raise EncodeError(f"the annotated image of {width}x{height} cannot be written as {suffix}: {reason}")
    return data.tobytes()
