"""One poll of the execute hosts that the pool has; a wait loop on the submit host calls this until there is one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..share.words import plural
from . import ads
from .condor import CommandFailed, Runner, run_command

SETTLED = 60
"""Seconds after its start by which the central manager lists every host that is up: with reports each 20 s, 41."""

_ATTRIBUTES = "Machine,TotalSlotCpus,TotalSlotMemory"


@dataclass(frozen=True, slots=True)
class Status:
    """What the command prints.

    Attributes:
        state: ``waiting`` for a first host, or for the others while the central manager has just started; or ``done``.
        line: That in one line for people.
        machines: Full name and processors of each execute host.
        memory: Of the largest slot, MiB.
        reason: Why there is none, as far as HTCondor says; None otherwise.
        remedy: What to do about it.
    """

    state: str
    line: str
    machines: list[tuple[str, int]] = field(default_factory=list)
    memory: int = 0
    reason: str | None = None
    remedy: str | None = None


def poll(expected: int, run: Runner = run_command, now: Callable[[], float] = time.time) -> Status:
    """Query the central manager for the pool's execute hosts.

    Args:
        expected: How many there should be.
        run: Runs the commands.
        now: The clock, epoch seconds.

    Raises:
        YoloError: HTCondor is not installed.
    """
    try:
        command = ["condor_status", "-constraint", "PartitionableSlot", "-json", "-attributes", _ATTRIBUTES]
        slots = ads.parse_ads(run(command))
        young = len(slots) < expected and _just_started(run, now)
    except CommandFailed as error:
        return Status(
            "waiting",
            "waiting for the central manager",
            reason=str(error),
            remedy="it is asked again; is the central manager up?",
        )
    if not slots:
        return Status(
            "waiting", "waiting for the execute hosts: one that is up reports to the central manager within a minute"
        )
    status = found(slots)
    if young:
        line = f"waiting for the execute hosts: {len(slots)} of {expected} have reported to the central manager"
        return replace(status, state="waiting", line=line)
    return status


def _just_started(run: Runner, now: Callable[[], float]) -> bool:
    # The negotiator starts with the collector, whose own ad comes and goes.
    command = ["condor_status", "-negotiator", "-json", "-attributes", "DaemonStartTime"]
    started = [ads.number(ad, "DaemonStartTime") or 0 for ad in ads.parse_ads(run(command))]
    return not started or now() - max(started) < SETTLED


def found(slots: Sequence[dict[str, Any]]) -> Status:
    """Return the status of a pool that has slots."""
    machines = sorted((ads.text(ad, "Machine"), ads.number(ad, "TotalSlotCpus") or 0) for ad in slots)
    cpus = sum(count for _, count in machines)
    line = f"{plural(len(machines), 'execute host')} with {plural(cpus, 'processor')} in the pool"
    return Status("done", line, machines, max(ads.number(ad, "TotalSlotMemory") or 0 for ad in slots))
