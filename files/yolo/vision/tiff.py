"""Read TIFF files: their directories, and the pixels of those kinds that OpenCV gets wrong.

OpenCV reads 8-bit grey and RGB right. It puts the values of planar 16-bit files in the wrong places, loses tiles of
16-bit grey, multiplies colours with their transparency and does not look at Deflate's checksums, all without an error.
The kinds that are read here are therefore put together in numpy, from segments (strips or tiles) whose decoded size is
checked; every other kind that OpenCV is not known to get right ends with its name.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from ..share.errors import BadImage
from .listening import listen

#: Types of unsigned integers, and their codes in ``struct``.
_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}
_SUBFILE, _SUB_DIRECTORIES = 254, 330
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_ORIENTATION, _SAMPLES, _ROWS, _MAX_VALUE, _PLANAR, _PREDICTOR = 274, 277, 278, 281, 284, 317
_TILE_WIDTH, _TILE_HEIGHT, _SAMPLE_FORMAT = 322, 323, 339
_DATA = ((273, 279), (324, 325))  # (offsets, byte counts) of strips, of tiles
_WANTED = frozenset(
    {
        *(_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _ORIENTATION, _SAMPLES, _ROWS),
        *(_SUBFILE, _SUB_DIRECTORIES, _MAX_VALUE, _PLANAR, _PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _SAMPLE_FORMAT),
        *(tag for pair in _DATA for tag in pair),
    }
)
_MAX_PAGES = 10_000

_NONE, _LZW, _JPEG, _DEFLATE, _OLD_DEFLATE, _PACKBITS = 1, 5, 7, 8, 32946, 32773
#: What OpenCV's libtiff decodes.
_OF_OPENCV = {_NONE, 2, 3, 4, _LZW, _JPEG, _DEFLATE, _OLD_DEFLATE, _PACKBITS}
_OF_OURS = {_NONE, _LZW, _DEFLATE, _OLD_DEFLATE, _PACKBITS}
_COMPRESSIONS = {
    6: "old-style JPEG",
    22610: "JPEG XR",
    33003: "JPEG 2000",
    33004: "JPEG 2000",
    33005: "JPEG 2000",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG (DNG)",
    34925: "LZMA",
    34933: "PNG",
    34934: "JPEG XR",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
#: Colour filter array and linear raw: what a camera's sensor saw.
_RAW = (32803, 34892)
_CONVERT = "convert it to JPEG or PNG"


@dataclass(frozen=True, slots=True)
class Page:
    """A page's directory.

    Attributes:
        order: Of the file's bytes, as in ``struct``.
        tags: Integers by tag, those that are looked at here.
    """

    order: str
    tags: dict[int, tuple[int, ...]]

    def get(self, tag: int, default: int) -> int:
        """Return a tag's first value."""
        values = self.tags.get(tag)
        return values[0] if values else default

    @property
    def size(self) -> tuple[int, int]:
        """Width, height."""
        return self.get(_WIDTH, 0), self.get(_HEIGHT, 0)

    @property
    def bits(self) -> tuple[int, ...]:
        """Bits of each sample."""
        return self.tags.get(_BITS) or (1,)

    @property
    def samples(self) -> int:
        """Channels."""
        return self.get(_SAMPLES, 1)

    @property
    def orientation(self) -> int:
        """As in EXIF, 1 to 8."""
        return self.get(_ORIENTATION, 1)

    @property
    def max_value(self) -> int:
        """Largest value that a sample may have, where the file says so; else 0."""
        return self.get(_MAX_VALUE, 0)

    @property
    def dtype(self) -> np.dtype | None:
        """Of its samples; None for those that are not read here."""
        kind = {1: "u", 3: "f"}.get(self.get(_SAMPLE_FORMAT, 1))
        if len({*self.bits}) != 1 or f"{kind}{self.bits[0]}" not in ("u8", "u16", "f32", "f64"):
            return None
        return np.dtype(f"{self.order}{kind}{self.bits[0] // 8}")


def measure(data: bytes) -> tuple[int, int]:
    """Walk the pages' directories; every strip and tile must lie inside the file."""
    return first_page(data).size


def first_page(data: bytes) -> Page:
    """Return the first page, after a look at all.

    Raises:
        BadImage: A directory or a segment lies outside the file, or there is no page.
    """
    try:
        pages = list(_pages(data))
    except (struct.error, OverflowError) as error:
        raise BadImage("truncated TIFF: it ends inside its header") from error
    if not pages:
        raise BadImage("corrupt TIFF: it has no page")
    return pages[0]


def _pages(data: bytes) -> Iterator[Page]:
    order = "<" if data[:2] == b"II" else ">"
    (magic,) = struct.unpack_from(order + "H", data, 2)
    big = magic == 43
    count_format, count_size, word, entry_size = ("Q", 8, "Q", 20) if big else ("H", 2, "I", 12)
    word_size = struct.calcsize(word)
    (directory,) = struct.unpack_from(order + word, data, 8 if big else 4)
    seen: set[int] = set()
    while directory and directory not in seen and len(seen) < _MAX_PAGES:
        seen.add(directory)
        (entries,) = struct.unpack_from(order + count_format, data, directory)
        tags: dict[int, tuple[int, ...]] = {}
        position = directory + count_size
        for _ in range(entries):
            tag, kind = struct.unpack_from(order + "HH", data, position)
            (count,) = struct.unpack_from(order + word, data, position + 4)
            if kind in _INTEGERS and tag in _WANTED:
                size = count * struct.calcsize("=" + _INTEGERS[kind])
                value = position + 4 + word_size
                if size > word_size:
                    (value,) = struct.unpack_from(order + word, data, value)
                if value + size > len(data):
                    raise _truncated(value + size, data)
                tags[tag] = struct.unpack_from(f"{order}{count}{_INTEGERS[kind]}", data, value)
            position += entry_size
        for offsets, counts in _DATA:
            ends = [a + b for a, b in zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False)]
            if ends and max(ends) > len(data):
                raise _truncated(max(ends), data)
        if len(seen) == 1 and not (tags.get(_WIDTH) and tags.get(_HEIGHT)):
            raise BadImage("corrupt TIFF: its first page has no width or height")
        yield Page(order, tags)
        (directory,) = struct.unpack_from(order + word, data, position)


def _truncated(need: int, data: bytes) -> BadImage:
    return BadImage(f"truncated TIFF: its directory needs {need} bytes, the file has {len(data)}")


def read_samples(data: bytes, page: Page) -> np.ndarray | None:
    """Read a page's pixels, if it is of a kind that is read here.

    Args:
        data: The file.
        page: Its first page.

    Returns:
        (height, width, 1 or 3): grey or RGB, in the file's own type of samples, not turned; None where OpenCV
        reads the page right.

    Raises:
        BadImage: Damaged, or of a kind that nothing here can read.
    """
    compression, photometric = page.get(_COMPRESSION, _NONE), page.get(_PHOTOMETRIC, _BLACK_IS_ZERO)
    if photometric in _RAW or (page.get(_SUBFILE, 0) & 1 and page.tags.get(_SUB_DIRECTORIES)):
        raise BadImage(
            f"unsupported TIFF: a camera's raw picture, of which only a small preview can be read; {_CONVERT}"
        )
    if compression not in _OF_OPENCV:
        name = _COMPRESSIONS.get(compression, f"unknown ({compression})")
        raise BadImage(f"unsupported TIFF: compression {name}; {_CONVERT}")
    colours = 3 if photometric == _RGB else 1
    if photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO) and page.samples > 2:
        raise BadImage(
            f"unsupported TIFF: {page.samples} channels, and nothing says which are red, green and blue; {_CONVERT}"
        )
    plain = photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB)
    if plain and page.dtype is not None and compression in _OF_OURS and page.get(_FILL_ORDER, 1) == 1:
        if page.samples < colours:
            raise BadImage(f"corrupt TIFF: RGB of {page.samples} channels")
        samples = _assemble(data, page, colours)
        if photometric == _WHITE_IS_ZERO:
            if samples.dtype.kind == "f":
                raise BadImage(f"unsupported TIFF: floating-point values in which white is zero; {_CONVERT}")
            return np.iinfo(samples.dtype).max - samples
        return samples
    if page.get(_SAMPLE_FORMAT, 1) not in (1, 4) or max(page.bits) > 8:
        kind = {2: "signed integers", 3: "floating-point numbers"}.get(page.get(_SAMPLE_FORMAT, 1), "numbers")
        raise BadImage(f"unsupported TIFF: samples are {kind} of {max(page.bits)} bits; {_CONVERT}")
    if (
        page.samples > 4
        or (page.samples == 2 and page.tags.get(_TILE_WIDTH))
        or (page.get(_PLANAR, 1) == 2 and page.samples not in (1, 3))
    ):
        raise BadImage(f"unsupported TIFF: {page.samples} channels in this layout; {_CONVERT}")
    if compression in (_DEFLATE, _OLD_DEFLATE, _PACKBITS):
        _check_segments(data, page)
    return None


@dataclass(frozen=True, slots=True)
class _Grid:
    """How a page's segments lie.

    Attributes:
        width: Pixels of a segment.
        height: Rows of a segment.
        across: Segments beside each other.
        down: Segments below each other.
        planes: 1, or one for each channel.
        samples: Channels in a segment.
        tiled: Whether segments are never cut at the picture's lower edge.
    """

    width: int
    height: int
    across: int
    down: int
    planes: int
    samples: int
    tiled: bool

    @classmethod
    def of(cls, page: Page) -> _Grid:
        """Return the grid of a page.

        Raises:
            BadImage: It says nonsense.
        """
        width, height = page.size
        tiled = bool(page.tags.get(_TILE_WIDTH))
        if tiled:
            across, down = page.get(_TILE_WIDTH, 0), page.get(_TILE_HEIGHT, 0)
        else:
            across, down = width, min(page.get(_ROWS, height), height)
        if across < 1 or down < 1 or across > 2 * width + 4096 or down > 2 * height + 4096:
            raise BadImage(f"corrupt TIFF: segments of {across}x{down} pixels")
        separate = page.get(_PLANAR, 1) == 2
        return cls(
            across,
            down,
            -(-width // across),
            -(-height // down),
            page.samples if separate else 1,
            1 if separate else page.samples,
            tiled,
        )

    def rows(self, row: int, height: int) -> int:
        """Rows that a segment in this row of segments has to hold."""
        return self.height if self.tiled else min(self.height, height - row * self.height)


def _segments(data: bytes, page: Page, grid: _Grid) -> list[memoryview]:
    offsets, counts = (page.tags.get(tag, ()) for tag in _DATA[grid.tiled])
    want = grid.across * grid.down * grid.planes
    if len(offsets) < want or len(counts) < want:
        raise BadImage(
            f"corrupt TIFF: {min(len(offsets), len(counts))} of the {want} {'tiles' if grid.tiled else 'strips'} "
            "that its size needs"
        )
    view = memoryview(data)
    return [view[offset : offset + count] for offset, count in zip(offsets[:want], counts[:want], strict=True)]


def _assemble(data: bytes, page: Page, colours: int) -> np.ndarray:
    """Return a page's first channels as (height, width, colours)."""
    grid, (width, height) = _Grid.of(page), page.size
    segments = _segments(data, page, grid)
    assert page.dtype is not None
    native = page.dtype.newbyteorder("=")
    out = np.empty((height, width, colours), native)
    predictor = page.get(_PREDICTOR, 1)
    for plane in range(min(grid.planes, colours)):
        for row in range(grid.down):
            rows = grid.rows(row, height)
            for column in range(grid.across):
                index = (plane * grid.down + row) * grid.across + column
                shape = (rows, grid.width, grid.samples)
                unpacked = _unpack(segments[index], page, grid, shape, f"{index + 1} of {len(segments)}")
                block = _undo_predictor(unpacked, shape, page.dtype, predictor)
                top, left = row * grid.height, column * grid.width
                part = block[: height - top, : width - left]
                target = slice(top, top + part.shape[0]), slice(left, left + part.shape[1])
                if grid.planes > 1:
                    out[(*target, plane)] = part[..., 0]
                else:
                    out[target] = part[..., :colours]
    return out


def _unpack(segment: memoryview, page: Page, grid: _Grid, shape: tuple[int, int, int], which: str) -> np.ndarray:
    """Return a segment's bytes, uint8 of exactly the size that its shape needs."""
    row_bytes = shape[1] * shape[2] * page.bits[0] // 8
    need, full = shape[0] * row_bytes, grid.height * row_bytes
    compression = page.get(_COMPRESSION, _NONE)
    if compression == _LZW:
        return _unpack_lzw(segment, row_bytes, shape[0], which)
    if compression in (_DEFLATE, _OLD_DEFLATE):
        raw = _inflate(segment, full, which)
    elif compression == _PACKBITS:
        raw = _unpack_bits(segment, full)
    else:
        raw = bytes(segment[:need])
    if len(raw) < need:
        raise BadImage(f"corrupt TIFF: segment {which} unfolds to {len(raw)} bytes, its pixels need {need}")
    if len(raw) > full:
        raise BadImage(f"corrupt TIFF: segment {which} unfolds to more than the {full} bytes of its pixels")
    return np.frombuffer(raw, np.uint8, need)


def _inflate(segment: memoryview, limit: int, which: str) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(segment, limit + 1)
    except zlib.error as error:
        raise BadImage(f"corrupt TIFF: Deflate data of segment {which}: {error}") from None
    if not unpacker.eof and len(raw) <= limit:
        raise BadImage(f"corrupt TIFF: Deflate data of segment {which} ends early")
    return raw


def _unpack_bits(segment: memoryview, limit: int) -> bytes:
    data, out, position, end = bytes(segment), bytearray(), 0, len(segment)
    while position < end and len(out) <= limit:
        code = data[position]
        if code < 128:
            out += data[position + 1 : position + 2 + code]
            position += 2 + code
        else:
            if code > 128:
                out += data[position + 1 : position + 2] * (257 - code)
            position += 2 if code > 128 else 1
    return bytes(out)


def _unpack_lzw(segment: memoryview, row_bytes: int, rows: int, which: str) -> np.ndarray:
    """Unpack LZW by OpenCV's libtiff: as an 8-bit grey picture, which it reads right."""
    entries = (
        (_WIDTH, 4, row_bytes),
        (_HEIGHT, 4, rows),
        (_BITS, 3, 8),
        (_COMPRESSION, 3, _LZW),
        (_PHOTOMETRIC, 3, _BLACK_IS_ZERO),
        (273, 4, 8),
        (_SAMPLES, 3, 1),
        (_ROWS, 4, rows),
        (279, 4, len(segment)),
    )
    pad = len(segment) % 2
    wrapped = b"".join(
        (
            b"II*\0" + struct.pack("<I", 8 + len(segment) + pad),
            segment,
            bytes(pad) + struct.pack("<H", len(entries)),
            *(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries),
            bytes(4),
        )
    )
    with listen() as heard:
        try:
            image = cv2.imdecode(np.frombuffer(wrapped, np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error:
            image = None
    if heard or image is None or image.shape != (rows, row_bytes) or image.dtype != np.uint8:
        raise BadImage(f"corrupt TIFF: LZW data of segment {which} cannot be unpacked to its {rows * row_bytes} bytes")
    return image.reshape(-1)


def _undo_predictor(raw: np.ndarray, shape: tuple[int, int, int], dtype: np.dtype, predictor: int) -> np.ndarray:
    native = dtype.newbyteorder("=")
    if predictor == 3 and dtype.kind == "f":
        rows, width, samples = shape
        size = dtype.itemsize
        difference = raw.reshape(rows, width * size, samples)
        planes = np.add.accumulate(difference, axis=1, dtype=np.uint8).reshape(rows, size, width * samples)
        values = np.ascontiguousarray(planes.transpose(0, 2, 1)).view(np.dtype(f">f{size}"))
        return values.reshape(shape).astype(native)
    if predictor not in (1, 2) or (predictor == 2 and dtype.kind == "f"):
        raise BadImage(f"unsupported TIFF: predictor {predictor} of {dtype.name} samples; {_CONVERT}")
    values = raw.view(dtype).reshape(shape).astype(native, copy=False)
    return np.add.accumulate(values, axis=1, dtype=native) if predictor == 2 else values


def _check_segments(data: bytes, page: Page) -> None:
    """Check sizes and checksums of segments that OpenCV will decode."""
    grid, (_, height) = _Grid.of(page), page.size
    row_bytes = (grid.width * grid.samples * max(page.bits) + 7) // 8
    # Of YCbCr with fewer colours than pixels the size is not known this simply.
    known = page.get(_PHOTOMETRIC, _BLACK_IS_ZERO) != 6
    segments = _segments(data, page, grid)
    for index, segment in enumerate(segments):
        which = f"{index + 1} of {len(segments)}"
        need = grid.rows(index // grid.across % grid.down, height) * row_bytes
        full = grid.height * row_bytes
        deflate = page.get(_COMPRESSION, _NONE) != _PACKBITS
        raw = _inflate(segment, full, which) if deflate else _unpack_bits(segment, full)
        if known and not need <= len(raw) <= full:
            raise BadImage(f"corrupt TIFF: segment {which} unfolds to {len(raw)} bytes, its pixels need {need}")
