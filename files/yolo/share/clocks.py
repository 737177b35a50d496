"""Times of hosts whose clocks need not agree.

A job reports its beginning by its host's clock, how long it took by a clock that never jumps, and how far its host's
clock was ahead of the share's: the date of a file that it just wrote there, which the server gave. So all jobs of a
pass can be put on one clock, and clocks that disagree or jump are named.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .records import JobReport

TOLERANCE = 2.0
"""Seconds by which clocks may differ without a word; NTP keeps them within some milliseconds."""


def share_clock(write: Callable[[], object], path: Path) -> tuple[float, float]:
    """Return the time by the share's clock and by this host's, at the same moment, in seconds since the epoch.

    Args:
        write: Writes a file on the share.
        path: That file.

    Raises:
        OSError: It can't be written.
    """
    before = time.time()
    write()
    after = time.time()
    # A file system's dates go by ticks of 4 ms or so.
    return os.stat(path).st_mtime, (before + after) / 2


@dataclass(frozen=True, slots=True)
class Aligned:
    """The jobs of a pass on one clock.

    Attributes:
        jobs: Their reports, with ``start`` and ``end`` by that clock.
        reference: Whose clock it is: ``share`` or ``hosts``.
        ahead: Seconds by which the clock of each host is ahead of the share's; by name.
        notes: What does not agree, a sentence each.
    """

    jobs: list[JobReport]
    reference: str
    ahead: dict[str, float]
    notes: list[str]


def align(jobs: Sequence[JobReport]) -> Aligned:
    """Put the jobs of a pass on one clock: the share's, unless that is the one that jumped."""
    if not jobs or any(job.clock_ahead is None for job in jobs):
        return Aligned(list(jobs), "hosts", {}, [])
    by_share = [_earlier(job, job.clock_ahead or 0.0) for job in jobs]
    by_host: dict[str, list[JobReport]] = {}
    for job in sorted(jobs, key=lambda job: job.host):
        by_host.setdefault(job.host, []).append(job)
    ahead = {host: round(statistics.median(job.clock_ahead or 0.0 for job in own), 3) for host, own in by_host.items()}
    jumps = {host: jump for host, own in by_host.items() if (jump := _jump(own)) > TOLERANCE}
    candidates = [("share", by_share)]
    if jumps:
        # Either a host's clock jumped or the share's did. A jump makes a pass too long, or too short for its work.
        candidates.append(("hosts", list(jobs)))
    reference, chosen = min(candidates, key=lambda item: _implausible(item[1]))
    return Aligned(chosen, reference, ahead, _notes(ahead, jumps, reference))


def _earlier(job: JobReport, seconds: float) -> JobReport:
    return replace(job, start=round(job.start - seconds, 3), end=round(job.end - seconds, 3))


def _jump(jobs: Sequence[JobReport]) -> float:
    offsets = [job.clock_ahead or 0.0 for job in jobs]
    return max(max(offsets) - min(offsets), *(abs(job.clock_jump) for job in jobs))


def _implausible(jobs: Sequence[JobReport]) -> tuple[bool, float]:
    busy: dict[tuple[str, str], float] = {}
    for job in jobs:
        busy[job.host, job.slot] = busy.get((job.host, job.slot), 0.0) + job.end - job.start
    wall = max(job.end for job in jobs) - min(job.start for job in jobs)
    return wall < max(busy.values()) - TOLERANCE, wall


def _notes(ahead: dict[str, float], jumps: dict[str, float], reference: str) -> list[str]:
    remedy = "Set the hosts' clocks: timedatectl, or an NTP service"
    notes = [
        f"the clock of {host} jumped by {jump:.0f} s during the pass, or the share's did. Times are by the clocks that "
        f"agree ({reference}). {remedy}."
        for host, jump in jumps.items()
    ]
    notes += [
        f"the clock of {host} is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} the share's. "
        f"Times are by the share's clock. {remedy}."
        for host, seconds in ahead.items()
        if abs(seconds) > TOLERANCE and host not in jumps
    ]
    return notes
