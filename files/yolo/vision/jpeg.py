"""Decode JPEG files, and judge what libjpeg complained about."""

from __future__ import annotations

import re

import cv2
import numpy as np

from ..share.errors import BadImage
from .container import JpegWalk, walk_jpeg
from .listening import listen

_EXTRANEOUS = re.compile(r"Corrupt JPEG data: \d+ extraneous bytes before marker 0x(\w\w)")
# Said before the first pixel is decoded. libjpeg writes its first warning only, so these hide what follows.
_HARMLESS = re.compile(
    r".*bad ICC marker|Warning: unknown JFIF revision|Unknown Adobe color transform|Invalid SOS parameters"
)
_END = b"\xff\xd9"
_GREY = 128
_FEW_ZEROS = 64


_SCALED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def decode_jpeg(data: bytes, scale: int = 1) -> tuple[np.ndarray | None, str | None]:
    """Decode a JPEG to BGR, turned by its EXIF orientation.

    Args:
        data: The file.
        scale: 1, or 2, 4 or 8 to have each side by so much shorter.

    Returns:
        The pixels, None where OpenCV has none; and what is odd about the file, though its pixels are all there.

    Raises:
        BadImage: Some of its pixels are missing or damaged.
    """
    warning = None
    # To walk through all of it takes time, which an ordinary photo need not cost.
    whole = data.endswith(_END) or walk_jpeg(data).whole
    if not whole:
        data += _END
        warning = "the JPEG has no end-of-image marker, though all of its pixels are there"
    image, heard = _decode(data, _SCALED[scale])
    if not heard:
        return image, warning
    walk = walk_jpeg(data)
    if _HARMLESS.match(heard[0]):
        _, more = _decode(_plain(data, walk), _SCALED[scale])
        warning = warning or f"odd JPEG: {heard[0]}"
        heard = [line for line in more if not _HARMLESS.match(line)]
    if not heard:
        return image, warning
    match = _EXTRANEOUS.match(heard[0])
    if match and (match.group(1) == "d9" or (_is_trailer(match.group(1)) and not whole and not walk.progressive)):
        end = data.rindex(_END)
        bare = data[:end].rstrip(b"\0")
        if end - len(bare) >= _FEW_ZEROS and any(
            not _EXTRANEOUS.match(line) for line in _decode(bare + _END, _SCALED[scale])[1]
        ):
            raise _zeros(data, walk, len(bare), end)
        return image, warning or "the JPEG has superfluous bytes after its pixels"
    raise _damaged(data, walk, heard[0])


def _is_trailer(marker: str) -> bool:
    """Whether bytes before this marker can lie behind the pixels: those before a restart marker are among them."""
    return not 0xD0 <= int(marker, 16) <= 0xD7


def _decode(data: bytes, flags: int = cv2.IMREAD_COLOR) -> tuple[np.ndarray | None, list[str]]:
    with listen() as heard:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    return image, heard


def _plain(data: bytes, walk: JpegWalk) -> bytes:
    """Return a JPEG without what the harmless warnings are about."""
    head, position = bytearray(data[:2]), 2
    while position + 4 <= walk.scan:
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        if data[position] != 0xFF:
            return data
        part = bytearray(data[position : position + 2 + length])
        if marker == 0xDA and not walk.progressive:
            part[-3:] = b"\0\x3f\0"
        if marker not in (0xE0, 0xE1, 0xE2):
            head += part
        position += 2 + length
    return bytes(head) + data[walk.scan :]


def _damaged(data: bytes, walk: JpegWalk, heard: str) -> BadImage:
    tail = data[walk.scan :].removesuffix(_END)
    bare = tail.rstrip(b"\0")
    if len(tail) - len(bare) >= _FEW_ZEROS:
        return _zeros(data, walk, walk.scan + len(bare), walk.scan + len(tail))
    if "premature end" not in heard.lower():
        return BadImage(f"corrupt JPEG: {heard.removeprefix('Corrupt JPEG data: ')}")
    if walk.progressive:
        return BadImage("truncated JPEG: its data ends before its pixels are complete")
    image, _ = _decode(data, cv2.IMREAD_REDUCED_GRAYSCALE_8 | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        return BadImage("truncated JPEG: its data ends before its pixels are complete")
    filled = np.flatnonzero((image != _GREY).any(axis=1))
    height = walk.size[1]
    rows = height - min((int(filled[-1]) + 1) * 8 if len(filled) else 0, height)
    if not rows:
        return BadImage("truncated JPEG: its data ends before its pixels are complete, in its last rows")
    return BadImage(
        f"truncated JPEG: {rows / height:.0%} of its pixels are missing, the last {rows} of its {height} rows"
    )


def _zeros(data: bytes, walk: JpegWalk, start: int, end: int) -> BadImage:
    share = (end - start) / max(end - walk.scan, 1)
    return BadImage(
        f"corrupt JPEG: {share:.0%} of its pixels are missing, bytes {start} to {end} of {len(data)} are zeros "
        "(an interrupted download or copy)"
    )
