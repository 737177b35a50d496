"""Write the text of a label: in OpenCV's own letters where they suffice, else in a font that has the others."""

from __future__ import annotations

import os
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from PIL import ImageFont

FONTS = (
    # One file for all scripts, a few MB; the role yolo_venv installs it.
    "/usr/share/fonts/opentype/unifont/unifont.otf",
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
)
"""Fonts for what OpenCV's own does not have, the first that is there is taken."""

_OWN = cv2.FONT_HERSHEY_SIMPLEX
_SIZE = 30  # pixels of a font's letters that are as high as OpenCV's at scale 1
_MIN_SIZE = 14  # less can't be read where letters have many strokes


@lru_cache(maxsize=1024)
def printable(name: str) -> str:
    """Return what of a name can be written: without a font, letters of ASCII; may be empty."""
    if name.isascii() or _path() is None:
        name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return "".join(char for char in unicodedata.normalize("NFC", name) if char.isprintable()).strip()


def size(text: str, scale: float, weight: int) -> tuple[tuple[int, int], int]:
    """Return (width, height above the line) of a text, and how far it reaches below the line, pixels."""
    if text.isascii():
        (width, height), below = cv2.getTextSize(text, _OWN, scale, weight)
        return (width, height), below
    ascent, descent = _font(scale).getmetrics()
    return (round(_font(scale).getlength(text)), ascent), descent


def write(
    image: np.ndarray, text: str, origin: tuple[int, int], scale: float, weight: int, colour: tuple[int, int, int]
) -> None:
    """Write a text into an image.

    Args:
        image: uint8 (height, width, 3), BGR; written into.
        text: As from ``printable``.
        origin: Left end of the line that the letters stand on, pixels.
        scale: Of OpenCV's letters.
        weight: Of their strokes, pixels.
        colour: BGR.
    """
    if text.isascii():
        cv2.putText(image, text, origin, _OWN, scale, colour, weight, cv2.LINE_AA)
        return
    (width, ascent), descent = size(text, scale, weight)
    left, top = origin[0], origin[1] - ascent
    # Where the image has room for it.
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + width, image.shape[1]), min(top + ascent + descent, image.shape[0])
    if x1 >= x2 or y1 >= y2:
        return
    from PIL import Image, ImageDraw

    mask = Image.new("L", (width, ascent + descent))
    ImageDraw.Draw(mask).text((0, 0), text, fill=255, font=_font(scale))
    ink = np.asarray(mask, np.float32)[y1 - top : y2 - top, x1 - left : x2 - left, None] / 255
    part = image[y1:y2, x1:x2]
    part[:] = np.rint(part * (1 - ink) + np.asarray(colour, np.float32) * ink).astype(np.uint8)


@lru_cache(maxsize=1)
def _path() -> str | None:
    return next((path for path in FONTS if os.path.isfile(path)), None)


@lru_cache(maxsize=64)
def _font(scale: float) -> ImageFont.FreeTypeFont:
    # Loaded only where a name needs it.
    from PIL import ImageFont

    path = _path()
    assert path is not None, "printable() leaves nothing to a font that is not there"
    return ImageFont.truetype(path, max(round(scale * _SIZE), _MIN_SIZE))
