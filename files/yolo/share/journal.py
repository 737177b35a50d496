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
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from .bounded_map import bounded_map
from .layout import Pass
from .records import Record, RecordHeader, parse_record

_NAME = re.compile(r"s(\d{3,})-c(\d{5,})-(\d+)\.jsonl")
_BATCH = 64  # records that one call reads: consecutive images are mostly in one journal
_LONGEST = 1 << 40  # bytes of a journal, at most


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
