"""How long a pass took, and how long its jobs waited for slots and its slots for jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..share import fsio
from ..share.layout import Pass
from ..share.records import STAGES, JobReport

MEASURED_ONCE = ("submitted", "stage_seconds", "merge_seconds")
"""What another merge of a finished pass does not measure again."""


def measure(jobs: Sequence[JobReport], submitted: float | None) -> dict[str, Any]:
    """Return the times of a pass.

    Args:
        jobs: Reports of the pass's jobs.
        submitted: When they were submitted, seconds since the epoch, if known.

    Returns:
        ``first_start`` and ``last_end`` (epoch), ``wall_seconds`` between them,
        ``submit_to_start_seconds``, ``submit_to_end_seconds`` (None if not known or if the
        hosts' clocks disagree), ``seconds``: sums over the jobs by stage; ``queue_seconds`` that jobs waited for slots,
        ``busy_seconds`` and ``idle_seconds`` of the slots.
    """
    first = min((job.start for job in jobs), default=None)
    last = max((job.end for job in jobs), default=None)

    def since_submitted(moment: float | None) -> float | None:
        if moment is None or submitted is None or moment < submitted:
            return None
        return round(moment - submitted, 3)

    stages = ("start", *STAGES)
    return {
        "submitted": submitted,
        "first_start": first,
        "last_end": last,
        "wall_seconds": None if first is None or last is None else round(last - first, 3),
        "submit_to_start_seconds": since_submitted(first),
        "submit_to_end_seconds": since_submitted(last),
        "seconds": {s: round(sum(job.seconds.get(s, 0.0) for job in jobs), 3) for s in stages},
        **_waits(jobs, submitted),
    }


def queue_seconds(job: JobReport, submitted: float | None) -> float | None:
    """Return how long a job waited from its submission to its start; None where that is not known."""
    return None if submitted is None or job.start < submitted else round(job.start - submitted, 3)


def _waits(jobs: Sequence[JobReport], submitted: float | None) -> dict[str, float | None]:
    waits = [queue_seconds(job, submitted) for job in jobs]
    busy = sum(job.end - job.start for job in jobs)
    slots = len({(job.host, job.slot) for job in jobs})
    wall = max(job.end for job in jobs) - min(job.start for job in jobs) if jobs else 0.0
    known = [wait for wait in waits if wait is not None]
    return {
        "queue_seconds": round(sum(known), 3) if jobs and len(known) == len(jobs) else None,
        "busy_seconds": round(busy, 3),
        "idle_seconds": round(max(slots * wall - busy, 0.0), 3),
    }


def pass_seconds(times: Mapping[str, Any]) -> float | None:
    """Return how long a pass kept its hosts: staging, from submission to the last image, merging.

    What is not known is left out; without any job it is None.
    """
    work = times["submit_to_end_seconds"] if times["submit_to_end_seconds"] is not None else times["wall_seconds"]
    if work is None:
        return None
    return round((times["stage_seconds"] or 0.0) + float(work) + (times["merge_seconds"] or 0.0), 3)


def read_earlier(run_pass: Pass, submission: str | None) -> dict[str, float]:
    """Return what is measured once, as the figures of an earlier merge of the same submission have it."""
    try:
        before = fsio.read_json(run_pass.metrics_json)["times"]
        if before["submission"] != submission:
            return {}
        kept = {name: before.get(name) for name in MEASURED_ONCE}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {name: value for name, value in kept.items() if isinstance(value, int | float)}
