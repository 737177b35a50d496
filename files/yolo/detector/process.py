"""The process of a job: when it began, how its host's clock went, and whether it was asked to end."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Clock:
    """When the job began and how its host's clock stands.

    Attributes:
        started: When the process began, epoch seconds of this host.
        began: The same moment on the clock that nobody sets, see ``time.monotonic``.
    """

    started: float
    began: float

    @classmethod
    def of_process(cls) -> Clock:
        """Return the clock of this process."""
        age = process_age()
        return cls(time.time() - age, time.monotonic() - age)

    def seconds(self) -> float:
        """Seconds since the process began."""
        return time.monotonic() - self.began

    def jump(self) -> float:
        """Seconds by which the host's clock was set since the process began."""
        return time.time() - (self.started + self.seconds())


def process_age() -> float:
    """Return the seconds since this process began: before Python and its imports."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[19])  # starttime, the 22nd field; two stand before the parenthesis
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        return max(uptime - ticks / os.sysconf("SC_CLK_TCK"), 0.0)
    except (OSError, ValueError, IndexError):
        return time.process_time()


class Termination:
    """Turns SIGTERM into a flag, so that the image in work is finished and written.

    Attributes:
        requested: Whether the signal came.
    """

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> Self:
        self._old = signal.signal(signal.SIGTERM, self._request)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._old)

    def _request(self, *_: object) -> None:
        self.requested = True
