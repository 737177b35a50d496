"""HTCondor's queue as data: read what its commands print, and say in plain words what it means.

Nothing here runs a command; see ``watch.py`` for that.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..share.errors import YoloError, one_line

IDLE, RUNNING, REMOVED, COMPLETED, HELD, TRANSFERRING, SUSPENDED = range(1, 8)
"""Values of ``JobStatus``."""

JOB_ATTRIBUTES = (
    "ClusterId",
    "ProcId",
    "JobStatus",
    "ExitCode",
    "ExitBySignal",
    "ExitSignal",
    "HoldReason",
    "HoldReasonCode",
    "HoldReasonSubCode",
    "RemoveReason",
    "JobStartDate",
    "NumJobStarts",
    "LastRemoteHost",
    "LastRejMatchReason",
    "EnteredCurrentStatus",
    "RequestCpus",
    "RequestMemory",
    "RequestDisk",
    "Err",
    "Iwd",
)
"""Attributes of a job that the functions here read."""

SLOT_ATTRIBUTES = (
    "Name",
    "Machine",
    "State",
    "Activity",
    "PartitionableSlot",
    "DynamicSlot",
    "Cpus",
    "Memory",
    "Disk",
    "TotalSlotCpus",
    "TotalSlotMemory",
    "TotalSlotDisk",
)
"""Attributes of a slot that :func:`explain_idle` reads."""

_SPOOLING = 16

Ad = Mapping[str, Any]
"""A ClassAd: attributes by name. Names of attributes are as HTCondor spells them."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Jobs by state. ``completed`` and ``removed`` have left the queue or are about to."""

    idle: int = 0
    running: int = 0
    held: int = 0
    removed: int = 0
    completed: int = 0

    @property
    def total(self) -> int:
        """All jobs."""
        return self.idle + self.running + self.held + self.removed + self.completed


def parse_ads(text: str) -> list[dict[str, Any]]:
    """Return the ClassAds in the output of a command's ``-json``.

    No ads at all is an empty list or an empty output, depending on the command; several
    schedds give several lists.

    Raises:
        YoloError: The text is not that.
    """
    decoder = json.JSONDecoder()
    ads: list[dict[str, Any]] = []
    rest = text.strip()
    while rest:
        try:
            value, end = decoder.raw_decode(rest)
        except ValueError as error:
            raise YoloError(
                f"can't read HTCondor's output ({error})",
                rest[:80],
                "JSON",
                "run the command by hand to see what it says",
            ) from None
        ads.extend(value if isinstance(value, list) else [value])
        rest = rest[end:].strip()
    return ads


def number(ad: Ad, name: str) -> int | None:
    """Return a whole number of a ClassAd; None when it is absent or an expression."""
    value = ad.get(name)
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def text(ad: Ad, name: str) -> str:
    """Return a text of a ClassAd in one line; empty when it is absent."""
    value = ad.get(name)
    return one_line(value.strip()) if isinstance(value, str) else ""


def job_id(ad: Ad) -> str:
    """Return ``cluster.proc``."""
    return f"{number(ad, 'ClusterId')}.{number(ad, 'ProcId')}"


def merge(queue: Iterable[Ad], history: Iterable[Ad]) -> dict[int, Ad]:
    """Return a cluster's jobs by ProcId.

    A job may be in both for a moment; then the history is right.
    """
    jobs: dict[int, Ad] = {}
    for ad in [*queue, *history]:
        proc = number(ad, "ProcId")
        if proc is not None:
            jobs[proc] = ad
    return jobs


def state(ad: Ad) -> str:
    """Return the field of :class:`Counts` that a job belongs to."""
    status = number(ad, "JobStatus")
    if status == HELD:
        return "idle" if number(ad, "HoldReasonCode") == _SPOOLING else "held"
    if status in (RUNNING, TRANSFERRING, SUSPENDED):
        return "running"
    if status == REMOVED:
        return "removed"
    return "completed" if status == COMPLETED else "idle"


def count(jobs: Iterable[Ad]) -> Counts:
    """Count jobs by state."""
    return Counts(**Counter(state(ad) for ad in jobs))


def failed_exit(ad: Ad) -> str | None:
    """Return how a completed job failed, or None if it did not (or is not completed)."""
    if state(ad) != "completed":
        return None
    if ad.get("ExitBySignal") is True:
        return f"was killed by signal {number(ad, 'ExitSignal')}"
    code = number(ad, "ExitCode")
    if code == 0:
        return None
    return "ended without an exit code" if code is None else f"ended with exit code {code}"
