"""The chunks of a submission: one file of all their lines, in order, and where in it each chunk begins.

Not a file for each: on NFS ten thousand small files take the better part of a minute. A job looks its part up in the
index, whose lines are all of one length, and reads nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from .errors import YoloError
from .layout import CHUNKS, CHUNKS_INDEX, Pass, chunk_number
from .records import Entry

_WIDTH = 16
"""Bytes of a line of the index: an offset, zeros in front, and the newline."""


def write_chunks(folder: Path, lines: Iterable[bytes], sizes: Sequence[int]) -> None:
    """Write the chunks of a submission.

    Args:
        folder: The submission's.
        lines: Lines of the manifest.
        sizes: Lines of each chunk.

    Raises:
        OSError: A file can't be written.
    """
    remaining, offset, offsets = iter(lines), 0, [0]
    with open(folder / CHUNKS, "wb") as file:
        for size in sizes:
            for line in islice(remaining, size):
                file.write(line)
                offset += len(line)
            offsets.append(offset)
    with open(folder / CHUNKS_INDEX, "w", encoding="ascii") as file:
        file.writelines(f"{offset:0{_WIDTH - 1}d}\n" for offset in offsets)


def read_chunk(run_pass: Pass, submission: str, chunk: str) -> list[Entry]:
    """Return the images of a chunk.

    Raises:
        YoloError: There is no such chunk, or it is damaged.
        OSError: It can't be read.
    """
    ((_, entries),) = read_chunks(run_pass, submission, [chunk])
    return entries


def read_chunks(run_pass: Pass, submission: str, chunks: Iterable[str]) -> Iterator[tuple[str, list[Entry]]]:
    """Yield chunks of a submission by name, each with its images.

    Raises:
        YoloError: There is no such chunk, or it is damaged.
        OSError: It can't be read.
    """
    path, index_path = run_pass.chunks_file(submission), run_pass.chunks_index(submission)
    try:
        with open(path, "rb") as file, open(index_path, "rb", buffering=0) as index:
            for chunk in chunks:
                begin, end = _span(index.fileno(), chunk, index_path)
                file.seek(begin)
                yield chunk, _parse(file.read(end - begin), end - begin, chunk, path)
    except FileNotFoundError as error:
        raise YoloError("no such submission", error.filename, remedy="run the same run_id again") from None


def _span(index: int, chunk: str, path: Path) -> tuple[int, int]:
    words = os.pread(index, 2 * _WIDTH, chunk_number(chunk) * _WIDTH).split()
    if len(words) < 2:
        raise YoloError(f"no such chunk {chunk}", path, remedy="run the same run_id again")
    try:
        return int(words[0]), int(words[1])
    except ValueError:
        raise YoloError(
            "the index of the chunks is damaged", path, remedy="run the same run_id again: it is planned anew"
        ) from None


def _parse(text: bytes, size: int, chunk: str, path: Path) -> list[Entry]:
    try:
        if size < 0 or len(text) < size:
            raise ValueError(f"{len(text)} bytes, expected {size}")
        return [Entry.from_json(line) for line in text.splitlines()]
    except ValueError as error:
        raise YoloError(
            f"chunk {chunk} is damaged: {error}", path, remedy="run the same run_id again: it is planned anew"
        ) from None
