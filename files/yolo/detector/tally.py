"""Count a job's images and times, and show on the share how far it is."""

from __future__ import annotations

import time
from pathlib import Path

from ..share import fsio
from ..share.records import Progress, Record

HEARTBEAT_SECONDS = 1.0


class Tally:
    """Counts what is done, sums times and keeps the heartbeat.

    Args:
        path: Heartbeat file.
        total: Images of the chunk.
        host: Execute host.
    """

    def __init__(self, path: Path, total: int, host: str) -> None:
        self._path, self._total, self._host = path, total, host
        self._next_beat = 0.0
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
        """Write the heartbeat if the last one is old enough, or ``now``."""
        clock = time.monotonic()
        if now or clock >= self._next_beat:
            self._next_beat = clock + HEARTBEAT_SECONDS
            progress = Progress(self.done, self._total, self.failed, self._host, time.time())
            fsio.write_text(self._path, progress.to_json())
