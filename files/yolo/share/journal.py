"""Journals: the records of a pass, a line for each image, a file for each attempt at a chunk.

Not a file for each image: on NFS a small file is a handful of round trips and of flushes of the
server's disk, a line appended to an open file hardly any; and planning and merging read a few
large files instead of one for each image.

The newest record of an image counts: of the later plan, then of the later attempt, then the later
line. A journal has one writer and only grows. What is not a whole line of JSON (the host lost
power, the share was full) is no record: its image is done again, by an attempt with a journal of
its own.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, nullcontext, suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Self

from .bounded_map import bounded_map
from .layout import Pass
from .records import Record, RecordHeader, parse_record

FLUSH_SECONDS = 1.0
"""A host that is lost takes the records of about so long with it."""

_NAME = re.compile(r"s(\d{3,})-c(\d{5,})-(\d+)\.jsonl")
_BATCH = 64  # records that one call reads: consecutive images are mostly in one journal
_LONGEST = 1 << 40  # bytes of a journal, at most


class Journal:
    """Takes the records of one attempt at a chunk.

    The file is made with the first record. One thread may use it.

    Args:
        run_pass: The pass.
        submission: Plan of the chunk.
        chunk: The chunk.

    Attributes:
        earlier: Journals of earlier attempts, oldest first.
    """

    def __init__(self, run_pass: Pass, submission: str, chunk: str) -> None:
        self._leg, self._plan, self._chunk = run_pass, submission, chunk
        self._file: int | None = None
        self._next_flush = 0.0
        self.earlier: list[Path] = []
        while (path := self._path(len(self.earlier) + 1)).exists():
            self.earlier.append(path)

    def _path(self, attempt: int) -> Path:
        return self._leg.records(self._plan, self._chunk, attempt)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._file is None:
            return
        # After an error: as well as it goes.
        with suppress(OSError) if error is not None else nullcontext():
            try:
                os.fsync(self._file)
            finally:
                os.close(self._file)

    def add(self, record: Record) -> None:
        """Append a record.

        The kernel has it then, and keeps it when the process dies; the share at the latest with the
        first record after :data:`FLUSH_SECONDS`, and at the end.

        Raises:
            OSError: The share does not take it; what of it is written is no record.
        """
        if self._file is None:
            self._file = self._create()
            self._next_flush = time.monotonic() + FLUSH_SECONDS
        line = memoryview(record.to_json().encode("ascii") + b"\n")
        while line:
            line = line[os.write(self._file, line) :]
        if time.monotonic() >= self._next_flush:
            os.fsync(self._file)
            self._next_flush = time.monotonic() + FLUSH_SECONDS

    def _create(self) -> int:
        attempt = len(self.earlier) + 1
        self._leg.records_dir.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                return os.open(self._path(attempt), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            except FileExistsError:
                # A lost host may still be at work on the chunk.
                attempt += 1


def journals(run_pass: Pass) -> list[Path]:
    """Return the journals of a pass, oldest first."""
    try:
        names = os.listdir(run_pass.records_dir)
    except FileNotFoundError:
        return []
    matches = [match for name in names if (match := _NAME.fullmatch(name))]
    matches.sort(key=lambda match: tuple(map(int, match.groups())))
    return [run_pass.records_dir / match[0] for match in matches]


def read_records(run_pass: Pass, keys: Iterable[str]) -> Iterator[Record | None]:
    """Yield the record of each key, in order; None where there is none.

    Raises:
        OSError: A journal can't be read.
    """
    paths = journals(run_pass)
    places: dict[bytes, int] = {}
    for number, found in enumerate(bounded_map(_places, paths)):
        for key, offset in found:
            places[key] = number * _LONGEST + offset

    def read(batch: list[str]) -> list[Record | None]:
        with ExitStack() as stack:
            files: dict[int, BinaryIO] = {}
            records: list[Record | None] = []
            for key in batch:
                if (place := places.get(bytes.fromhex(key))) is None:
                    records.append(None)
                    continue
                number, offset = divmod(place, _LONGEST)
                if number not in files:
                    files[number] = stack.enter_context(open(paths[number], "rb"))
                files[number].seek(offset)
                try:
                    records.append(Record.from_json(files[number].readline()))
                except ValueError:
                    records.append(None)
            return records

    remaining = iter(keys)
    for records in bounded_map(read, iter(lambda: list(islice(remaining, _BATCH)), [])):
        yield from records


def find_records(path: Path) -> Iterator[tuple[RecordHeader, int]]:
    """Yield what there is to know in short of each record of a journal, and the record's offset.

    Raises:
        OSError: The journal can't be read.
    """
    offset = 0
    with open(path, "rb") as file:
        for line in file:
            try:
                seen = parse_record(line)
            except ValueError:
                pass
            else:
                yield seen, offset
            offset += len(line)


def _places(path: Path) -> list[tuple[bytes, int]]:
    return [(bytes.fromhex(seen.key), offset) for seen, offset in find_records(path)]
