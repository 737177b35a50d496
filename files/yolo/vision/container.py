"""Check an image file by its headers and length fields: is it whole, and how many pixels would it unfold to?

OpenCV decodes a JPEG that lost its second half without a word (the rest is grey) and answers ``None`` for everything
else. A run that promises "a result or a named failure for every image" needs more, so the container is walked before
the pixels are decoded.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from ..share.errors import BadImage
from ..share.file_kind import describe_bytes, kind_of
from . import isobmff, tiff_pages

#: Width x height of the largest image that is decoded: 100 megapixels are 300 MB of BGR bytes.
MAX_PIXELS = 100_000_000

# A marker in entropy-coded JPEG data: 0xFF and then neither a stuffed zero, a restart nor fill.
_JPEG_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])", re.DOTALL)

_JPEG_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_JPEG_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})


def check_container(data: bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[str, int]:
    """Check from headers and length fields that the file is whole and not too large.

    Returns:
        The format's name for messages: "JPEG", "PNG", ..., or "image" where OpenCV may know it; and by how much its
        decoder has to scale it down, 1 unless it is a JPEG of too many pixels.

    Raises:
        BadImage: Empty, not an image, truncated, corrupt or too large.
    """
    if not data:
        raise BadImage("empty: the file has zero bytes")
    kind = kind_of(data)
    if kind is None:
        raise BadImage(f"not an image: {describe_bytes(data)}")
    if kind in _MEASURES:
        try:
            width, height = _MEASURES[kind](data)
        except (struct.error, IndexError, OverflowError) as error:
            raise BadImage(f"truncated {kind}: it ends inside its header") from error
        if width * height > max_pixels:
            scale = _jpeg_scale(data, max_pixels) if kind == "JPEG" else 0
            if not scale:
                raise too_large(width, height, max_pixels)
            return kind, scale
    return kind, 1


def _jpeg_scale(data: bytes, max_pixels: int) -> int:
    """Return by how much a JPEG's decoder has to scale it down to stay within so many pixels.

    Returns:
        2, 4 or 8; 0 where none of these is enough, or where the decoder would hold the whole picture all the same,
        as it does with a progressive one.
    """
    walk = walk_jpeg(data, head=True)
    width, height = walk.size
    fitting = (scale for scale in (2, 4, 8) if -(-width // scale) * -(-height // scale) <= max_pixels)
    return 0 if walk.progressive else next(fitting, 0)


def fast_scale(data: bytes, needed: tuple[int, int]) -> int:
    """Return by how much a file's decoder may scale it down so that it is still no smaller than the network sees it.

    Args:
        data: The file.
        needed: (height, width) that it is fitted into.

    Returns:
        2, 4 or 8 for a JPEG that is large enough, else 1.

    Raises:
        BadImage: A JPEG that ends before its pixels.
    """
    if kind_of(data) != "JPEG":
        return 1
    width, height = (max(side, 1) for side in walk_jpeg(data, head=True).size)
    # Whether its EXIF data turn it is not known yet: so that it suffices either way.
    ratio = max(min(needed[0] / a, needed[1] / b) for a, b in ((height, width), (width, height)))
    return next((scale for scale in (8, 4, 2) if scale * ratio <= 1), 1)


def count_pixels(data: bytes) -> int:
    """Return the pixels that a file will unfold to by its header; 0 where it does not say."""
    measure = _MEASURES.get(kind_of(data) or "")
    if measure is None:
        return 0
    try:
        width, height = measure(data)
    except (BadImage, struct.error, IndexError, OverflowError):
        return 0  # decoding will say why
    return min(width * height, MAX_PIXELS)


def too_large(width: int, height: int, max_pixels: int) -> BadImage:
    """Return the error for an image of too many pixels."""
    return BadImage(
        f"too large: {width}x{height} is {width * height / 1e6:.1f} megapixels, the limit is "
        f"{max_pixels / 1e6:g}; scale it down"
    )


def _measure_jpeg(data: bytes) -> tuple[int, int]:
    return walk_jpeg(data, head=True).size


@dataclass(frozen=True, slots=True)
class JpegWalk:
    """What a JPEG's segments say.

    Attributes:
        size: Width, height.
        whole: Whether there is an end-of-image marker after its pixels.
        progressive: Whether its pixels come in several scans, from coarse to fine.
        scan: Where its pixels begin, bytes.
    """

    size: tuple[int, int]
    whole: bool
    progressive: bool
    scan: int


def walk_jpeg(data: bytes, *, head: bool = False) -> JpegWalk:
    """Walk a JPEG's segments to its end-of-image marker.

    An EXIF thumbnail is a whole JPEG inside a segment, with an end marker of its own: segments are
    therefore skipped by their length, and only what stands between them and after the scans counts.

    Args:
        data: The file.
        head: End where the pixels begin: ``whole`` is false then. The rest of a large photo takes a millisecond.

    Raises:
        BadImage: It ends before its pixels.
    """
    size: tuple[int, int] | None = None
    progressive = False
    position, scan = 2, 0
    while True:
        if scan:
            match = _JPEG_MARKER.search(data, position)
            if match is None:
                return JpegWalk(size or (0, 0), False, progressive, scan)
            marker, position = match.group(1)[0], match.end()
        else:
            position = data.find(b"\xff", position)
            while 0 <= position < len(data) and data[position] == 0xFF:
                position += 1
            if not 0 <= position < len(data):
                raise BadImage(f"truncated JPEG: it ends before its pixels ({len(data)} bytes)")
            marker, position = data[position], position + 1
        if marker == 0xD9:
            if not scan:
                raise BadImage("corrupt JPEG: it has no pixels")
            return JpegWalk(size or (0, 0), True, progressive, scan)
        if marker == 0 or marker in _JPEG_STANDALONE:
            continue
        if scan and position + 2 > len(data):
            return JpegWalk(size or (0, 0), False, progressive, scan)
        (length,) = struct.unpack_from(">H", data, position)
        if marker in _JPEG_SOF and size is None:
            height, width = struct.unpack_from(">HH", data, position + 3)
            size, progressive = (width, height), marker in _JPEG_PROGRESSIVE
        position += length
        if marker == 0xDA and not scan:
            scan = position
            if head:
                return JpegWalk(size or (0, 0), False, progressive, scan)


def _measure_png(data: bytes) -> tuple[int, int]:
    position, width, height = 8, 0, 0
    while True:
        if position + 12 > len(data):
            raise BadImage(f"truncated PNG: no IEND chunk in {len(data)} bytes")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise BadImage(
                f"truncated PNG: its {kind.decode('latin-1')} chunk needs {end} bytes, the file has {len(data)}"
            )
        # Lower case marks an ancillary chunk: decoders forgive errors there.
        if kind[:1].isupper():
            (expected,) = struct.unpack_from(">I", data, end - 4)
            if zlib.crc32(memoryview(data)[position + 4 : end - 4]) != expected:
                raise BadImage(f"corrupt PNG: wrong checksum of its {kind.decode('latin-1')} chunk")
        if kind == b"IHDR":
            width, height = struct.unpack_from(">II", data, position + 8)
        if kind == b"IEND":
            return width, height
        position = end


def _measure_webp(data: bytes) -> tuple[int, int]:
    (size,) = struct.unpack_from("<I", data, 4)
    if size + 8 > len(data):
        raise BadImage(f"truncated WEBP: its header says {size + 8} bytes, the file has {len(data)}")
    kind = data[12:16]
    if kind == b"VP8X":
        return (
            1 + int.from_bytes(data[24:27], "little"),
            1 + int.from_bytes(data[27:30], "little"),
        )
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise BadImage(f"corrupt WEBP: unknown first chunk {kind!r}")


def _measure_bmp(data: bytes) -> tuple[int, int]:
    offset, header = struct.unpack_from("<II", data, 10)
    if header == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    width, height = abs(width), abs(height)
    if compression in (0, 3):
        need = offset + (bits * width + 31) // 32 * 4 * height
        if need > len(data):
            raise BadImage(f"truncated BMP: {width}x{height} needs {need} bytes, it has {len(data)}")
    return width, height


def _measure_gif(data: bytes) -> tuple[int, int]:
    return struct.unpack_from("<HH", data, 6)


def _measure_jpeg2000(data: bytes) -> tuple[int, int]:
    # Of the codestream's SIZ segment: width and height of the grid, less the offset of the picture in it.
    start = data.index(b"\xff\x4f\xff\x51") if b"\xff\x4f\xff\x51" in data else len(data)
    width, height, left, top = struct.unpack_from(">IIII", data, start + 8)
    return width - left, height - top


_MEASURES: dict[str, Callable[[bytes], tuple[int, int]]] = {
    "JPEG": _measure_jpeg,
    "PNG": _measure_png,
    "WEBP": _measure_webp,
    "BMP": _measure_bmp,
    "TIFF": tiff_pages.measure,
    "GIF": _measure_gif,
    "AVIF": isobmff.measure,
    "HEIC": isobmff.measure,
    "JPEG 2000": _measure_jpeg2000,
}
