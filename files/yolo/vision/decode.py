"""Read image files as ultralytics' loader does where that is right; say what is wrong with those that can't be used."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..share.errors import BadImage, one_line
from . import isobmff, tiff, tiff_pages
from .container import MAX_PIXELS, check_container, fast_scale, too_large, walk_jpeg
from .depth import to_8_bits
from .jpeg import decode_jpeg
from .listening import listen

#: 32-bit floating-point RGB takes 12 bytes per pixel, plus headers; of common formats none takes more.
_MAX_BYTES_PER_PIXEL = 12

_HEADER_ALLOWANCE = 1 << 20


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
    return decode_image(read_file(path, max_pixels=max_pixels), max_pixels=max_pixels)


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


@dataclass(frozen=True, slots=True)
class Photo:
    """A decoded image file.

    Attributes:
        image: uint8 (height, width, 3), BGR, upright.
        warning: What is odd about the file, though its pixels are all there; else None.
        size: Width and height of the whole picture, upright; larger than ``image`` where that was scaled down.
    """

    image: np.ndarray
    warning: str | None
    size: tuple[int, int]


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Return the pixels of :func:`decode_photo`."""
    return decode_photo(data, max_pixels=max_pixels).image


def decode_photo(data: bytes, *, max_pixels: int = MAX_PIXELS, needed: tuple[int, int] | None = None) -> Photo:
    """Decode an image file's bytes to BGR; JPEG, PNG and so on with the same OpenCV call as ultralytics' ``imread``.

    Args:
        data: Whole content of the file; what counts is what it begins with, not its name.
        max_pixels: Largest width x height to decode.
        needed: (height, width) of the network's input: a JPEG that is at least twice as large as it is fitted into
            that is decoded at a half, a quarter or an eighth of its size. None for all of its pixels.

    Returns:
        Of an animation or of several pages the first picture.

    Raises:
        BadImage: Empty, not an image, truncated, corrupt, too large, or of a kind that can't be read.
    """
    kind, scale = check_container(data, max_pixels=max_pixels)
    try:
        if kind == "JPEG":
            return _decode_jpeg(data, scale, needed)
        samples, warning, max_value = _DECODERS.get(kind, _decode_other)(data, kind)
    except cv2.error as error:
        raise BadImage(f"corrupt {kind}: {one_line(error)[:200]}") from error
    except MemoryError as error:
        raise BadImage(f"too large: not enough memory to decode this {kind}") from error
    if samples is None or samples.size == 0:
        raise BadImage(f"corrupt {kind}: its pixels cannot be decoded")
    if samples.shape[0] * samples.shape[1] > max_pixels:
        raise too_large(samples.shape[1], samples.shape[0], max_pixels)
    image, inferred = to_8_bits(samples, kind, max_value)
    if image.ndim != 3 or image.shape[2] != 3:
        raise BadImage(f"unsupported {kind}: pixels of shape {'x'.join(map(str, image.shape))}; convert the file")
    # Boxes are drawn on it: not the bytes of a decoder that allows no writing.
    return Photo(np.require(image, requirements=("C", "W")), warning or inferred, (image.shape[1], image.shape[0]))


def _decode_jpeg(data: bytes, limit: int, needed: tuple[int, int] | None) -> Photo:
    """Decode a JPEG at a whole, a half, a quarter or an eighth of its size.

    Args:
        data: The file.
        limit: By how much it has to be scaled down because of its pixels: 1, 2, 4 or 8.
        needed: See :func:`decode_photo`.
    """
    fast = fast_scale(data, needed) if needed is not None else 1
    scale = max(limit, fast)
    image, warning = decode_jpeg(data, scale)
    if image is None or image.size == 0:
        raise BadImage("corrupt JPEG: its pixels cannot be decoded")
    shown = image.shape[1], image.shape[0]
    if scale == 1:
        return Photo(np.ascontiguousarray(image), warning, shown)
    width, height = walk_jpeg(data, head=True).size
    if shown != (-(-width // scale), -(-height // scale)):
        width, height = height, width  # turned by its orientation
    # Only where the user did not ask for it.
    scaled = f"{width}x{height} pixels: detected and drawn at 1/{scale} of its size" if limit > fast else None
    return Photo(np.ascontiguousarray(image), warning or scaled, (width, height))


_Decoded = tuple[np.ndarray | None, str | None, int]
"""Samples in BGR, a warning, and the largest value of a sample where the file says it, else 0."""


def _decode_other(data: bytes, kind: str) -> _Decoded:
    # 16 bits are kept: whoever takes the upper 8 of them must know whether all are in use.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH if kind in ("PNG", "JPEG 2000") else cv2.IMREAD_COLOR
    with listen() as heard:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    _raise_errors(heard, kind)
    return image, None, 0


def _decode_tiff(data: bytes, kind: str) -> _Decoded:
    page = tiff_pages.first_page(data)
    samples = tiff.read_samples(data, page)
    if samples is not None:
        image = np.repeat(samples, 3, axis=2) if samples.shape[2] == 1 else samples[..., ::-1]
        return _turn(image, page.orientation), None, page.max_value
    with listen() as heard:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    _raise_errors(heard, kind)
    return (None if found is None else _turn(found, page.orientation)), None, 0


def _decode_avif(data: bytes, kind: str) -> _Decoded:
    image, warning, _ = _decode_other(data, kind)
    return (None if image is None else isobmff.turn(image, data)), warning, 0


def _decode_webp(data: bytes, kind: str) -> _Decoded:
    image, warning, _ = _decode_other(data, kind)
    if image is not None and (hole := _HOLE.search(data)) and _count_even_blocks(image) < len(hole.group()):
        raise BadImage(
            f"corrupt {kind}: bytes {hole.start()} to {hole.end()} of {len(data)} are zeros (an interrupted copy)"
        )
    return image, warning, 0


# The format has no checksum, and its decoder notices no damage. What interrupted copies and bad disks leave are blocks
# of zeros. An even area may be stored as zeros too, but takes less than a byte for 16x16 pixels.
_HOLE = re.compile(rb"\0{512,}")
_BLOCK = 16


def _count_even_blocks(image: np.ndarray) -> int:
    """Count the blocks of 16x16 pixels that have one colour."""
    height, width = (side // _BLOCK * _BLOCK for side in image.shape[:2])
    blocks = image[:height, :width].reshape(height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK, 3)
    even = blocks.max(axis=(1, 3)) == blocks.min(axis=(1, 3))
    return int(np.count_nonzero(even.all(axis=-1)))


def _decode_heic(data: bytes, kind: str) -> _Decoded:
    try:
        import pillow_heif
    except ImportError:
        raise BadImage(
            "unsupported HEIC: this host's Python has no pillow-heif; run site.yml again, or convert the file to JPEG"
        ) from None
    try:
        # Turned and mirrored by its own properties, in BGR.
        picture = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=True, bgr_mode=True)
        pixels = np.asarray(picture)
    except (ValueError, RuntimeError, SyntaxError, OSError, EOFError) as error:
        raise BadImage(f"corrupt {kind}: {one_line(error)[:200]}") from error
    return (np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels[..., :3]), None, 0


_DECODERS: dict[str, Callable[[bytes, str], _Decoded]] = {
    "TIFF": _decode_tiff,
    "AVIF": _decode_avif,
    "HEIC": _decode_heic,
    "WEBP": _decode_webp,
}

# What libjpeg and the fax decoder of libtiff say as warnings is damage too.
_DAMAGE = re.compile(r"\[ *ERROR|libpng error|.*(?:Corrupt JPEG|Premature|Bad code word|Not enough data|Read error)")


def _raise_errors(heard: Sequence[str], kind: str) -> None:
    for line in heard:
        if _DAMAGE.match(line):
            raise BadImage(f"corrupt {kind}: {one_line(_PREFIX.sub('', line))[:200]}")


_PREFIX = re.compile(r"^\[[^\]]*\] global \S+ |^libpng error: ")


def _turn(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turn pixels upright by an EXIF orientation, 1 to 8."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return image
