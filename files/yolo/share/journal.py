"""Journals: the records of a pass, a line for each image, a file for each attempt at a chunk.

The last line of one whose job came to its end is the job's report.

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
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

from .bounded_map import batched_map, bounded_map
from .layout import Pass
from .records import JobReport, Record, RecordHeader, parse_record

_NAME = re.compile(r"s(\d{3,})-c(\d{5,})-(\d+)\.jsonl")
_BATCH = 64  # records that one call reads: consecutive images are mostly in one journal
_LONGEST = 1 << 40  # bytes of a journal, at most
_SMALL = 64 << 10  # bytes of a journal that is kept in memory
_KEPT_BYTES = 64 << 20  # of all journals; where one or all are larger, records are read again when they are asked for
_REPORT = b'{"submission":'


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
    return Journals(run_pass).records(keys)


def read_reports(run_pass: Pass, submission: str) -> list[JobReport]:
    """Return the reports of a submission's jobs.

    Raises:
        OSError: A journal can't be read.
    """
    paths = [path for path in journals(run_pass) if path.name.startswith(f"{submission}-")]
    return _newest(report for found in batched_map(_scan, paths) for report in found.reports)


class Journals:
    """The journals of a pass, each of them read once; large ones a second time where a record is asked for.

    Args:
        run_pass: The pass.

    Attributes:
        reports: What the jobs wrote about themselves, by submission and chunk.

    Raises:
        OSError: A journal can't be read.
    """

    def __init__(self, run_pass: Pass) -> None:
        self._paths = journals(run_pass)
        self._places: dict[bytes, int] = {}
        kept: dict[bytes, bytes] | None = {}
        room = _KEPT_BYTES
        reports: list[JobReport] = []
        for number, found in enumerate(batched_map(_scan, self._paths)):
            reports += found.reports
            for key, offset in found.records:
                self._places[key] = number * _LONGEST + offset
            if kept is not None and found.lines is not None:
                kept.update(zip((key for key, _ in found.records), found.lines, strict=True))
                room -= sum(map(len, found.lines))
            if found.lines is None or room < 0:
                kept = None
        self._kept = kept
        self.reports = _newest(reports)

    def records(self, keys: Iterable[str]) -> Iterator[Record | None]:
        """Yield the record of each key, in order; None where there is none.

        Raises:
            OSError: A journal can't be read.
        """
        if (kept := self._kept) is not None:
            for key in keys:
                line = kept.get(bytes.fromhex(key))
                yield None if line is None else _parse(line)
            return
        remaining = iter(keys)
        for records in bounded_map(self._read, iter(lambda: list(islice(remaining, _BATCH)), [])):
            yield from records

    def _read(self, batch: list[str]) -> list[Record | None]:
        with ExitStack() as stack:
            files: dict[int, BinaryIO] = {}
            records: list[Record | None] = []
            for key in batch:
                if (place := self._places.get(bytes.fromhex(key))) is None:
                    records.append(None)
                    continue
                number, offset = divmod(place, _LONGEST)
                if number not in files:
                    files[number] = stack.enter_context(open(self._paths[number], "rb"))
                files[number].seek(offset)
                records.append(_parse(files[number].readline()))
            return records


def find_records(path: Path) -> Iterator[RecordHeader]:
    """Yield what there is to know in short of each record of a journal.

    Raises:
        OSError: The journal can't be read.
    """
    with open(path, "rb") as file:
        for line in file:
            if not line.startswith(_REPORT):
                with suppress(ValueError):
                    yield parse_record(line)


def has_report(path: Path) -> bool:
    """Whether the job that wrote a journal came to its end.

    Raises:
        OSError: The journal can't be read.
    """
    return bool(_scan(path).reports)


class _Journal(NamedTuple):
    """What is in a journal.

    Attributes:
        records: Key and offset of each record.
        reports: The job's report, if it came to its end.
        lines: The records; None if the journal is large.
    """

    records: list[tuple[bytes, int]]
    reports: list[JobReport]
    lines: list[bytes] | None


def _scan(path: Path) -> _Journal:
    records: list[tuple[bytes, int]] = []
    reports: list[JobReport] = []
    lines: list[bytes] = []
    offset = 0
    with open(path, "rb") as file:
        for line in file:
            with suppress(ValueError):
                if line.startswith(_REPORT):
                    reports.append(JobReport.from_json(line))
                else:
                    records.append((bytes.fromhex(parse_record(line).key), offset))
                    if offset < _SMALL:
                        lines.append(line)
            offset += len(line)
    return _Journal(records, reports, lines if len(lines) == len(records) else None)


def _parse(line: bytes) -> Record | None:
    try:
        return Record.from_json(line)
    except ValueError:
        return None


def _newest(reports: Iterable[JobReport]) -> list[JobReport]:
    """Return the newest report of each chunk, from reports in the order of their journals."""
    return list({(report.submission, report.chunk): report for report in reports}.values())
