"""Unpack the segments (strips or tiles) of a TIFF page, and put them together."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import cv2
import numpy as np

from ..share.errors import BadImage
from .listening import listen
from .tiff_pages import DATA, Page, Tag

NONE, LZW, DEFLATE, OLD_DEFLATE, PACKBITS = 1, 5, 8, 32946, 32773
"""Compressions that are unpacked here."""

BLACK_IS_ZERO, YCBCR = 1, 6
"""Photometric interpretations that matter for that."""

CONVERT = "convert it to JPEG or PNG"
"""What to do with a file of a kind that nothing here can read."""


@dataclass(frozen=True, slots=True)
class Grid:
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
    def of(cls, page: Page) -> Grid:
        """Return the grid of a page.

        Raises:
            BadImage: It says nonsense.
        """
        width, height = page.size
        tiled = bool(page.tags.get(Tag.TILE_WIDTH))
        if tiled:
            across, down = page.get(Tag.TILE_WIDTH, 0), page.get(Tag.TILE_HEIGHT, 0)
        else:
            across, down = width, min(page.get(Tag.ROWS, height), height)
        if across < 1 or down < 1 or across > 2 * width + 4096 or down > 2 * height + 4096:
            raise BadImage(f"corrupt TIFF: segments of {across}x{down} pixels")
        separate = page.get(Tag.PLANAR, 1) == 2
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


def _segments(data: bytes, page: Page, grid: Grid) -> list[memoryview]:
    offsets, counts = (page.tags.get(tag, ()) for tag in DATA[grid.tiled])
    want = grid.across * grid.down * grid.planes
    if len(offsets) < want or len(counts) < want:
        raise BadImage(
            f"corrupt TIFF: {min(len(offsets), len(counts))} of the {want} {'tiles' if grid.tiled else 'strips'} "
            "that its size needs"
        )
    view = memoryview(data)
    return [view[offset : offset + count] for offset, count in zip(offsets[:want], counts[:want], strict=True)]


def assemble(data: bytes, page: Page, colours: int) -> np.ndarray:
    """Return a page's first channels as (height, width, colours)."""
    grid, (width, height) = Grid.of(page), page.size
    segments = _segments(data, page, grid)
    assert page.dtype is not None
    native = page.dtype.newbyteorder("=")
    out = np.empty((height, width, colours), native)
    predictor = page.get(Tag.PREDICTOR, 1)
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


def _unpack(segment: memoryview, page: Page, grid: Grid, shape: tuple[int, int, int], which: str) -> np.ndarray:
    """Return a segment's bytes, uint8 of exactly the size that its shape needs."""
    row_bytes = shape[1] * shape[2] * page.bits[0] // 8
    need, full = shape[0] * row_bytes, grid.height * row_bytes
    compression = page.get(Tag.COMPRESSION, NONE)
    if compression == LZW:
        return _unpack_lzw(segment, row_bytes, shape[0], which)
    if compression in (DEFLATE, OLD_DEFLATE):
        raw = _inflate(segment, full, which)
    elif compression == PACKBITS:
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
        (Tag.WIDTH, 4, row_bytes),
        (Tag.HEIGHT, 4, rows),
        (Tag.BITS, 3, 8),
        (Tag.COMPRESSION, 3, LZW),
        (Tag.PHOTOMETRIC, 3, BLACK_IS_ZERO),
        (273, 4, 8),
        (Tag.SAMPLES, 3, 1),
        (Tag.ROWS, 4, rows),
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
        raise BadImage(f"unsupported TIFF: predictor {predictor} of {dtype.name} samples; {CONVERT}")
    values = raw.view(dtype).reshape(shape).astype(native, copy=False)
    return np.add.accumulate(values, axis=1, dtype=native) if predictor == 2 else values


def check_segments(data: bytes, page: Page) -> None:
    """Check sizes and checksums of segments that OpenCV will decode."""
    grid, (_, height) = Grid.of(page), page.size
    row_bytes = (grid.width * grid.samples * max(page.bits) + 7) // 8
    # Of YCbCr with fewer colours than pixels the size is not known this simply.
    known = page.get(Tag.PHOTOMETRIC, BLACK_IS_ZERO) != YCBCR
    segments = _segments(data, page, grid)
    for index, segment in enumerate(segments):
        which = f"{index + 1} of {len(segments)}"
        need = grid.rows(index // grid.across % grid.down, height) * row_bytes
        full = grid.height * row_bytes
        deflate = page.get(Tag.COMPRESSION, NONE) != PACKBITS
        raw = _inflate(segment, full, which) if deflate else _unpack_bits(segment, full)
        if known and not need <= len(raw) <= full:
            raise BadImage(f"corrupt TIFF: segment {which} unfolds to {len(raw)} bytes, its pixels need {need}")
