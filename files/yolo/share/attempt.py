"""An attempt at a chunk: its files go into a container, then its records into a journal.

A record is only written once the share's disk has the files that it names: what a record names is whole, also after a
power cut, since the share may take what two files are given in any order.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Self

from .containers import Container
from .journal import has_report
from .layout import Pass, container_name
from .records import JobReport, Record, Span

FLUSH_SECONDS = 2.0
"""A host that is lost, or a process that dies, takes the records of about so long with it."""


class Attempt:
    """Takes the results of one attempt at a chunk.

    Both files are made with the first result. One thread may use it.

    Args:
        run_pass: The pass.
        submission: Submission of the chunk.
        chunk: The chunk.

    Attributes:
        earlier: Journals of earlier attempts, oldest first.
        flush_seconds: Records wait for so long at most; 0 to have each at once.
        container: Name of the container; empty before the first result.
    """

    def __init__(self, run_pass: Pass, submission: str, chunk: str) -> None:
        self._pass, self._submission, self._chunk = run_pass, submission, chunk
        self._journal: int | None = None
        self._files: Container | None = None
        self._lines: list[bytes] = []
        self._next_flush = 0.0
        self._flushing = 0.0
        self._failed = False
        self.flush_seconds = FLUSH_SECONDS
        self.container = ""
        self.earlier: list[Path] = []
        while (path := self._path(len(self.earlier) + 1)).exists():
            self.earlier.append(path)

    def _path(self, attempt: int) -> Path:
        return self._pass.records(self._submission, self._chunk, attempt)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._journal is None:
            return
        # After an error: as well as it goes.
        with suppress(OSError) if error is not None else nullcontext():
            try:
                self.seal()
            finally:
                os.close(self._journal)

    def seal(self) -> None:
        """Have the share take all that was given, and end the container; only a report may follow.

        Raises:
            OSError: The share does not take it.
        """
        files, flushed = self._files, False
        try:
            self._flush()
            flushed = True
        finally:
            if files is not None:
                self._files = None
                with nullcontext() if flushed else suppress(OSError):
                    files.close()

    def report(self, report: JobReport) -> None:
        """Write the job's report as the last line of the journal, after :meth:`seal`.

        Where this attempt found nothing to do and an earlier one has a report, that one stays.

        Raises:
            OSError: The share does not take it.
        """
        if self._journal is None and any(map(has_report, self.earlier)):
            return
        # Closing the journal has the share take it.
        _write(self._open(), report.to_json().encode("ascii") + b"\n")

    def store(self, files: Sequence[tuple[str, bytes]], written: int) -> list[Span]:
        """Put files into the container; return where each stands in it.

        Args:
            files: Path relative to the results folder, and content, of each.
            written: Their date, seconds since the epoch.

        Raises:
            OSError: The share does not take them.
        """
        self._open()
        if self._files is None:
            self._files = Container(self._pass.container(self.container))
        try:
            return self._files.add(files, written)
        except OSError:
            self._failed = True
            raise

    def add(self, record: Record) -> None:
        """Take a record, whose files are stored; the share has it at the latest with the next one after the wait.

        Raises:
            OSError: The share does not take what waits.
        """
        self._open()
        self._lines.append(record.to_json().encode("ascii") + b"\n")
        if time.monotonic() >= self._next_flush:
            self._flush()

    def take_flush_seconds(self) -> float:
        """Return how long flushing took since the last call."""
        seconds, self._flushing = self._flushing, 0.0
        return seconds

    def _flush(self) -> None:
        # NFS tells once that it lost what it had taken: after that nothing may be named that was not flushed before.
        if not self._lines or self._journal is None or self._failed:
            return
        began = time.monotonic()
        if self._files is not None:
            self._failed = True
            self._files.flush()
            self._failed = False
        lines = b"".join(self._lines)
        self._lines.clear()
        _write(self._journal, lines)
        os.fsync(self._journal)
        ended = time.monotonic()
        self._flushing += ended - began
        self._next_flush = ended + self.flush_seconds

    def _open(self) -> int:
        if self._journal is not None:
            return self._journal
        attempt = len(self.earlier) + 1
        self._pass.records_dir.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                self._journal = os.open(self._path(attempt), flags, 0o644)
                break
            except FileExistsError:
                # A lost host may still be at work on the chunk.
                attempt += 1
        self.container = container_name(self._submission, self._chunk, attempt)
        self._next_flush = time.monotonic() + self.flush_seconds
        return self._journal


def _write(file: int, data: bytes) -> None:
    remaining = memoryview(data)
    while remaining:
        remaining = remaining[os.write(file, remaining) :]
