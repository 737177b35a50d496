"""Read the directories of TIFF files: what each page says about its pixels, and where they are."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from ..share.errors import BadImage


class Tag(IntEnum):
    """Tags that are looked at here."""

    SUBFILE = 254
    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    ORIENTATION = 274
    SAMPLES = 277
    ROWS = 278
    MAX_VALUE = 281
    PLANAR = 284
    PREDICTOR = 317
    TILE_WIDTH = 322
    TILE_HEIGHT = 323
    SUB_DIRECTORIES = 330
    SAMPLE_FORMAT = 339


DATA = ((273, 279), (324, 325))
"""Tags with the offsets and the byte counts of strips, of tiles."""

#: Types of unsigned integers, and their codes in ``struct``.
_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}
_WANTED = frozenset((*Tag, *(tag for pair in DATA for tag in pair)))
_MAX_PAGES = 10_000


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
        return self.get(Tag.WIDTH, 0), self.get(Tag.HEIGHT, 0)

    @property
    def bits(self) -> tuple[int, ...]:
        """Bits of each sample."""
        return self.tags.get(Tag.BITS) or (1,)

    @property
    def samples(self) -> int:
        """Channels."""
        return self.get(Tag.SAMPLES, 1)

    @property
    def orientation(self) -> int:
        """As in EXIF, 1 to 8."""
        return self.get(Tag.ORIENTATION, 1)

    @property
    def max_value(self) -> int:
        """Largest value that a sample may have, where the file says so; else 0."""
        return self.get(Tag.MAX_VALUE, 0)

    @property
    def dtype(self) -> np.dtype | None:
        """Of its samples; None for those that are not read here."""
        kind = {1: "u", 3: "f"}.get(self.get(Tag.SAMPLE_FORMAT, 1))
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
        for offsets, counts in DATA:
            ends = [a + b for a, b in zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False)]
            if ends and max(ends) > len(data):
                raise _truncated(max(ends), data)
        if len(seen) == 1 and not (tags.get(Tag.WIDTH) and tags.get(Tag.HEIGHT)):
            raise BadImage("corrupt TIFF: its first page has no width or height")
        yield Page(order, tags)
        (directory,) = struct.unpack_from(order + word, data, position)


def _truncated(need: int, data: bytes) -> BadImage:
    return BadImage(f"truncated TIFF: its directory needs {need} bytes, the file has {len(data)}")
