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

from ..share.errors import BadImage
from ..share.file_kind import describe_bytes, kind_of

#: Width x height of the largest image that is decoded: 100 megapixels are 300 MB of BGR bytes.
MAX_PIXELS = 100_000_000

# A marker in entropy-coded JPEG data: 0xFF and then neither a stuffed zero, a restart nor fill.
_JPEG_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])", re.DOTALL)

_JPEG_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_MAX_TIFF_PAGES = 10_000


def check_container(data: bytes, *, max_pixels: int = MAX_PIXELS) -> str:
    """Check from headers and length fields that the file is whole and not too large.

    Returns:
        The format's name for messages: "JPEG", "PNG", ..., or "image" where OpenCV may know it.

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
            raise too_large(width, height, max_pixels)
    return kind


def count_pixels(data: bytes) -> int:
    """Return the pixels that a file will unfold to by its header; 0 where it does not say."""
    measure = _MEASURES.get(kind_of(data) or "")
    if measure is None:
        return 0
    try:
        width, height = measure(data)
    except (BadImage, struct.error, IndexError, OverflowError):
        return 0  # decoding will say why
    return width * height


def too_large(width: int, height: int, max_pixels: int) -> BadImage:
    """Return the error for an image of too many pixels."""
    return BadImage(
        f"too large: {width}x{height} is {width * height / 1e6:.1f} megapixels, the limit is "
        f"{max_pixels / 1e6:g}; scale it down"
    )


def _measure_jpeg(data: bytes) -> tuple[int, int]:
    """Walk a JPEG's segments to its end-of-image marker.

    An EXIF thumbnail is a whole JPEG inside a segment, with an end marker of its own: segments are
    therefore skipped by their length, and only what stands between them and after the scans counts.
    """
    width = height = 0
    position, in_scan = 2, False
    while True:
        if in_scan:
            match = _JPEG_MARKER.search(data, position)
            if match is None:
                raise BadImage(f"truncated JPEG: no end-of-image marker after its pixels ({len(data)} bytes)")
            marker, position = match.group(1)[0], match.end()
        else:
            position = data.find(b"\xff", position)
            while 0 <= position < len(data) and data[position] == 0xFF:
                position += 1
            if not 0 <= position < len(data):
                raise BadImage(f"truncated JPEG: it ends before its pixels ({len(data)} bytes)")
            marker, position = data[position], position + 1
        if marker == 0xD9:
            if not in_scan:
                raise BadImage("corrupt JPEG: it has no pixels")
            return width, height
        if marker == 0 or marker in _JPEG_STANDALONE:
            continue
        (length,) = struct.unpack_from(">H", data, position)
        if marker in _JPEG_SOF:
            height, width = struct.unpack_from(">HH", data, position + 3)
        in_scan = in_scan or marker == 0xDA
        position += length


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


#: Types of unsigned integers, and their codes in ``struct``.
_TIFF_INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_TIFF_DATA = ((273, 279), (324, 325))  # (offsets, byte counts) of strips, of tiles
_TIFF_WANTED = frozenset({_TIFF_WIDTH, _TIFF_HEIGHT, *(tag for pair in _TIFF_DATA for tag in pair)})


def _measure_tiff(data: bytes) -> tuple[int, int]:
    """Walk the pages' directories; every strip and tile must lie inside the file."""
    order = "<" if data[:2] == b"II" else ">"
    (magic,) = struct.unpack_from(order + "H", data, 2)
    big = magic == 43
    count_format, count_size, word, entry_size = ("Q", 8, "Q", 20) if big else ("H", 2, "I", 12)
    word_size = struct.calcsize(word)
    (directory,) = struct.unpack_from(order + word, data, 8 if big else 4)
    first: tuple[int, int] | None = None
    seen: set[int] = set()
    while directory and directory not in seen and len(seen) < _MAX_TIFF_PAGES:
        seen.add(directory)
        (entries,) = struct.unpack_from(order + count_format, data, directory)
        tags: dict[int, tuple[int, ...]] = {}
        position = directory + count_size
        for _ in range(entries):
            tag, kind = struct.unpack_from(order + "HH", data, position)
            (count,) = struct.unpack_from(order + word, data, position + 4)
            if kind in _TIFF_INTEGERS and tag in _TIFF_WANTED:
                size = count * struct.calcsize("=" + _TIFF_INTEGERS[kind])
                value = position + 4 + word_size
                if size > word_size:
                    (value,) = struct.unpack_from(order + word, data, value)
                if value + size > len(data):
                    raise _truncated_tiff(value + size, data)
                tags[tag] = struct.unpack_from(f"{order}{count}{_TIFF_INTEGERS[kind]}", data, value)
            position += entry_size
        for offsets, counts in _TIFF_DATA:
            ends = [a + b for a, b in zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False)]
            if ends and max(ends) > len(data):
                raise _truncated_tiff(max(ends), data)
        if first is None:
            if not tags.get(_TIFF_WIDTH) or not tags.get(_TIFF_HEIGHT):
                raise BadImage("corrupt TIFF: its first page has no width or height")
            first = tags[_TIFF_WIDTH][0], tags[_TIFF_HEIGHT][0]
        (directory,) = struct.unpack_from(order + word, data, position)
    if first is None:
        raise BadImage("corrupt TIFF: it has no page")
    return first


def _truncated_tiff(need: int, data: bytes) -> BadImage:
    return BadImage(f"truncated TIFF: its directory needs {need} bytes, the file has {len(data)}")


def _measure_gif(data: bytes) -> tuple[int, int]:
    return struct.unpack_from("<HH", data, 6)


_MEASURES: dict[str, Callable[[bytes], tuple[int, int]]] = {
    "JPEG": _measure_jpeg,
    "PNG": _measure_png,
    "WEBP": _measure_webp,
    "BMP": _measure_bmp,
    "TIFF": _measure_tiff,
    "GIF": _measure_gif,
}
