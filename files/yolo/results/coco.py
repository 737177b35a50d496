"""Predictions in COCO's results format."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from ..share import fsio
from ..share.records import Entry, Record


def image_ids(entries: Sequence[Entry]) -> list[int]:
    """Return the image id of each entry of a manifest.

    The number that an image is called, as in COCO, if all images are called by different
    numbers; else their positions in the manifest, from 1.
    """
    stems = [os.path.splitext(os.path.basename(e.path))[0] for e in entries if e.skip is None]
    if all(stem.isascii() and stem.isdigit() for stem in stems):
        numbers = [int(stem) for stem in stems]
        if len(set(numbers)) == len(numbers):
            remaining = iter(numbers)
            return [next(remaining) if e.skip is None else -1 for e in entries]
    return [e.index + 1 for e in entries]


class Predictions:
    """Writes the predictions of a pass, image by image, as one array.

    Args:
        file: Takes the JSON.
        categories: Category id of each class of the model.
    """

    def __init__(self, file: BinaryIO, categories: Sequence[int]) -> None:
        self._file, self._categories = file, categories
        self._separator = b"\n"
        file.write(b"[")

    def add(self, entry: Entry, record: Record, image_id: int) -> None:
        """Write the detections of an image."""
        for line in _lines(entry, record, image_id, self._categories):
            self._file.write(self._separator + line)
            self._separator = b",\n"

    def close(self) -> None:
        """End the array; the file stays open."""
        self._file.write(b"\n]\n")


def _lines(entry: Entry, record: Record, image_id: int, categories: Sequence[int]) -> Iterator[bytes]:
    for class_id, score, (x1, y1, x2, y2) in record.detections:
        yield fsio.dumps(
            {
                "image_id": image_id,
                "file_name": entry.path,
                "category_id": categories[class_id] if class_id < len(categories) else class_id,
                "bbox": [round(x1, 3), round(y1, 3), round(x2 - x1, 3), round(y2 - y1, 3)],
                "score": round(score, 5),
            }
        ).encode("ascii")
