"""Read the boxes of HEIC and AVIF files (ISO base media): the picture's size, and how it is to be turned."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from ..share.errors import BadImage

_MAX_BOXES = 10_000


def measure(data: bytes) -> tuple[int, int]:
    """Return width and height of the primary picture as it is stored, or of the largest in the file.

    Raises:
        BadImage: A box lies outside the file, or none gives a size.
    """
    return _primary(data)[0]


def turn(image: np.ndarray, data: bytes) -> np.ndarray:
    """Turn and mirror pixels as the primary picture's properties say."""
    for kind, value in _primary(data)[1]:
        if kind == b"irot":
            image = np.rot90(image, value & 3)
        elif value & 1:
            image = image[:, ::-1]
        else:
            image = image[::-1]
    return image


def _primary(data: bytes) -> tuple[tuple[int, int], list[tuple[bytes, int]]]:
    """Return the primary picture's size and its turns, in their order."""
    for kind, start, end in _boxes(data, 0, len(data)):
        if end > len(data):
            raise BadImage(f"truncated HEIF: its {kind.decode('latin-1')} box needs {end} bytes, it has {len(data)}")
        if kind == b"meta":
            return _read_meta(data, start + 4, end)
    raise BadImage("truncated HEIF: it has no picture's description")


def _read_meta(data: bytes, start: int, end: int) -> tuple[tuple[int, int], list[tuple[bytes, int]]]:
    primary = 0
    properties: list[tuple[bytes, int, int]] = []
    uses: dict[int, list[int]] = {}
    for kind, inner, stop in _boxes(data, start, end):
        if kind == b"pitm":
            (primary,) = struct.unpack_from(">H" if data[inner] == 0 else ">I", data, inner + 4)
        elif kind == b"iprp":
            for part, first, last in _boxes(data, inner, stop):
                if part == b"ipco":
                    properties = list(_boxes(data, first, last))
                elif part == b"ipma":
                    uses |= _read_uses(data, first)
    sizes = [struct.unpack_from(">II", data, first + 4) for kind, first, _ in properties if kind == b"ispe"]
    if not sizes:
        raise BadImage("truncated HEIF: it does not say its size")
    size, turns = max(sizes), []
    for index in uses.get(primary, ()):
        if not 0 < index <= len(properties):
            continue
        kind, first, _ = properties[index - 1]
        if kind == b"ispe":
            size = struct.unpack_from(">II", data, first + 4)
        elif kind in (b"irot", b"imir"):
            turns.append((kind, data[first]))
    return size, turns


def _read_uses(data: bytes, start: int) -> dict[int, list[int]]:
    """Return the properties of each picture, counted from 1, of an item property association box."""
    version, wide = data[start], data[start + 3] & 1
    (count,) = struct.unpack_from(">I", data, start + 4)
    position, uses = start + 8, {}
    for _ in range(min(count, _MAX_BOXES)):
        item, length = (">H", 2) if version < 1 else (">I", 4)
        (number,) = struct.unpack_from(item, data, position)
        many = data[position + length]
        position += length + 1
        if wide:
            found = [value & 0x7FFF for value in struct.unpack_from(f">{many}H", data, position)]
        else:
            found = [value & 0x7F for value in data[position : position + many]]
        position += many * (2 if wide else 1)
        uses[number] = found
    return uses


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start of the content and end of each box."""
    for _ in range(_MAX_BOXES):
        if start + 8 > end:
            return
        size, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, start + 8)
            head = 16
        stop = end if size == 0 else start + size
        if stop < start + head:
            raise BadImage("corrupt HEIF: a box of no length")
        yield kind, start + head, stop
        start = stop
