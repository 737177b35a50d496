"""Count a job's images and times, and show on the share how far it is."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ..share.records import Progress, Record

HEARTBEAT_SECONDS = 2.0

_LENGTH = 256
"""Bytes that a heartbeat fills at least: the next one must cover it."""


class Tally:
    """Counts what is done, sums times and keeps the heartbeat.

    The heartbeat is written in place: one call to the NFS server, where a new file that takes its name is six. A reader
    that comes in between may see no heartbeat, which counts as none.

    Args:
        path: Heartbeat file.
        total: Images of the chunk.
        host: Execute host.
    """

    def __init__(self, path: Path, total: int, host: str) -> None:
        self._path, self._total, self._host = path, total, host
        self._next_beat = 0.0
        self._file: int | None = None
        self.done = 0
        self.failed = 0
        self.seconds = dict.fromkeys(("start", "read", "infer", "draw", "write"), 0.0)

    def add(self, record: Record | None) -> None:
        """Count an image; ``None`` for one that an earlier attempt had done."""
        self.done += 1
        if record is not None:
            self.failed += record.error is not None
            for name, value in record.times.items():
                self.seconds[name.removesuffix("_ms")] += value / 1000
        self.beat()

    def beat(self, *, now: bool = False) -> None:
        """Write the heartbeat if the last one is old enough, or ``now``.

        Raises:
            OSError: The share does not take it.
        """
        clock = time.monotonic()
        if not now and clock < self._next_beat:
            return
        self._next_beat = clock + HEARTBEAT_SECONDS
        progress = Progress(self.done, self._total, self.failed, self._host, time.time())
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_SYNC | os.O_CLOEXEC, 0o644)
        os.pwrite(self._file, progress.to_json().encode("ascii").ljust(_LENGTH), 0)

    def close(self) -> None:
        """Give the heartbeat's file up."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
