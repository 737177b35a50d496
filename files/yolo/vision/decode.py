"""Read image files exactly as ultralytics' loader does, and say what is wrong with those that cannot be used."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from ..share.errors import BadImage, one_line
from .container import MAX_PIXELS, check_container, too_large

#: No supported format stores more than 6 bytes (16-bit RGB) per pixel, plus headers.
_MAX_BYTES_PER_PIXEL = 6

_HEADER_ALLOWANCE = 1 << 20
_TIFF_SUFFIXES = (".tif", ".tiff")


def read_image(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read one image file.

    Args:
        path: File to read.
        max_pixels: Largest width x height to decode; protects the slot's memory.

    Returns:
        uint8 array of shape (height, width, 3), BGR, turned upright by its EXIF orientation.

    Raises:
        BadImage: The file cannot be used; the exception's text is the reason, in one line.
    """
    return decode_image(read_file(path, max_pixels=max_pixels), Path(path).name, max_pixels=max_pixels)


def read_file(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> bytes:
    """Read a file's bytes, unless it is larger than any image of ``max_pixels`` can be.

    Raises:
        BadImage: The file is gone, may not be read, or is too large.
    """
    limit = max_pixels * _MAX_BYTES_PER_PIXEL + _HEADER_ALLOWANCE
    try:
        with open(path, "rb") as file:
            # Asked for `limit` at once, Python would take as much memory first.
            data = file.read(min(os.fstat(file.fileno()).st_size, limit) + 1)
    except FileNotFoundError as error:
        raise BadImage("unreadable: the file vanished after the run was planned") from error
    except IsADirectoryError as error:
        raise BadImage("unreadable: it is a folder") from error
    except MemoryError as error:
        raise BadImage("too large: not enough memory to read the file") from error
    except OSError as error:
        raise BadImage(f"unreadable: {error.strerror or error}") from error
    if len(data) > limit:
        raise BadImage(
            f"too large: more than {limit / 1e6:.0f} MB, more than an image within the limit of "
            f"{max_pixels / 1e6:g} megapixels needs"
        )
    return data


def decode_image(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode an image file's bytes to BGR, with the same OpenCV calls as ultralytics' ``imread``.

    Args:
        data: Whole content of the file.
        name: File name; a ``.tif``/``.tiff`` suffix selects ultralytics' TIFF path.
        max_pixels: Largest width x height to decode.

    Returns:
        uint8 array of shape (height, width, 3), BGR.

    Raises:
        BadImage: Empty, not an image, truncated, corrupt or too large.
    """
    kind = check_container(data, max_pixels=max_pixels)
    try:
        image = _decode(np.frombuffer(data, np.uint8), name)
    except cv2.error as error:
        raise BadImage(f"corrupt {kind}: {one_line(error)[:200]}") from error
    except MemoryError as error:
        raise BadImage(f"too large: not enough memory to decode this {kind}") from error
    if image is None or image.size == 0:
        raise BadImage(f"corrupt {kind}: its pixels cannot be decoded")
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        shape = "x".join(map(str, image.shape))
        raise BadImage(
            f"unsupported {kind}: pixels decode to {image.dtype} of shape {shape}, expected 8 or "
            "16 bit grey or colour; convert the file"
        )
    if image.shape[0] * image.shape[1] > max_pixels:
        raise too_large(image.shape[1], image.shape[0], max_pixels)
    return np.ascontiguousarray(image)


def _decode(buffer: np.ndarray, name: str) -> np.ndarray | None:
    """Call OpenCV as ``ultralytics.utils.patches.imread(name, cv2.IMREAD_COLOR)`` does."""
    if name.lower().endswith(_TIFF_SUFFIXES):
        # Only the first page is ever used: do not unfold the others.
        success, pages = cv2.imdecodemulti(buffer, cv2.IMREAD_UNCHANGED, range=(0, 1))
        if success and pages and pages[0].ndim == 3:
            return pages[0][..., :3]
    return cv2.imdecode(buffer, cv2.IMREAD_COLOR)
