"""HTCondor's queue as data: read what its commands print, and say in plain words what it means.

Nothing here runs a command; see ``watch.py`` for that.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import YoloError, one_line

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
    "RequestCpus",
    "RequestMemory",
    "RequestDisk",
    "Err",
    "Iwd",
)
"""Attributes of a job that the functions here look at."""

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
"""Attributes of a slot that :func:`explain_idle` looks at."""

_SPOOLING = 16
_AGAIN = "then run the same run_id again: only what is missing or failed is done"

Ad = Mapping[str, Any]
"""A ClassAd: attributes by name. Names of attributes are as HTCondor spells them."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What happened, and what to do about it; each in one line."""

    reason: str
    remedy: str


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


_ERRNO_PLACES = {
    6: ("the job's program", "its interpreter (the virtual environment) is installed there"),
    7: ("the job's output or error file", "the share is mounted there"),
    8: ("the job's input file", "the share is mounted there"),
    14: ("the job's working directory", "the share is mounted there"),
}

_HOLDS: dict[int, tuple[str, str]] = {
    0: ("HTCondor gave no code for it", "see the reason"),
    1: (
        "someone held it with condor_hold",
        "let it go on with condor_release {cluster}, or condor_rm {cluster}, " + _AGAIN,
    ),
    3: (
        "its own hold rule (periodic_hold or on_exit_hold) came true",
        "see what the job wrote: {err}; condor_rm {cluster}, " + _AGAIN,
    ),
    4: ("its credentials are not valid", "renew them, condor_release {cluster}"),
    5: (
        "a rule of the job can't be evaluated",
        "mend the submit file's periodic expressions, condor_rm {cluster}, " + _AGAIN,
    ),
    12: (
        "HTCondor failed to bring its output files back",
        "jobs here write to the share: the submit file must say should_transfer_files = NO; "
        "condor_rm {cluster}, " + _AGAIN,
    ),
    13: (
        "HTCondor failed to send its input files",
        "jobs here read from the share: the submit file must say should_transfer_files = NO; "
        "condor_rm {cluster}, " + _AGAIN,
    ),
    15: ("it was submitted on hold", "condor_release {cluster}"),
    16: ("its input files are being sent to the submit host", "wait: it goes on by itself"),
    21: (
        "the execute host's own rule (WANT_HOLD) put it on hold",
        "see WANT_HOLD in that host's configuration; condor_release {cluster}",
    ),
    22: (
        "the submit host can't write the job's event log",
        "the log must stand in a folder on the submit host's own disk that the job user may "
        "write to and that is not full; condor_release {cluster}",
    ),
    23: (
        "the submit host does not know the job user",
        "run site.yml: it makes that user with the same UID on all hosts; condor_release {cluster}",
    ),
    24: ("the submit host has no shadow for it", "install HTCondor again there (site.yml)"),
    26: (
        "the submit host's own rule (SYSTEM_PERIODIC_HOLD) put it on hold",
        "see condor_config_val SYSTEM_PERIODIC_HOLD on the submit host; condor_release {cluster}",
    ),
    27: (
        "a rule of the submit host (SYSTEM_PERIODIC_*) can't be evaluated",
        "see condor_config_val -dump SYSTEM_PERIODIC on the submit host; condor_release {cluster}",
    ),
    32: (
        "its input files are larger than MAX_TRANSFER_INPUT_MB",
        "jobs here read from the share: the submit file must say should_transfer_files = NO",
    ),
    33: (
        "its output files are larger than MAX_TRANSFER_OUTPUT_MB",
        "jobs here write to the share: the submit file must say should_transfer_files = NO",
    ),
    34: (
        "it used more memory than its slot has",
        "give each job more memory (request_memory, now {memory} MB) or take a smaller imgsz or "
        "model; condor_rm {cluster}, " + _AGAIN,
    ),
    35: (
        "its container image is not valid",
        "jobs here need no container: take container settings out of the submit file",
    ),
    45: ("the container runtime does not work there", "jobs here need no container"),
    46: (
        "it took longer than allowed_job_duration",
        "plan smaller chunks or allow more time; condor_rm {cluster}, " + _AGAIN,
    ),
    47: (
        "it ran longer than allowed_execute_duration",
        "see what it hung on: {err}; plan smaller chunks or allow more time; condor_rm {cluster}, " + _AGAIN,
    ),
}

_STARTD_HOLDS: dict[int, tuple[str, str]] = {
    101: ("it used more CPUs than its slot has", "ask for more (request_cpus)"),
    102: _HOLDS[34],
    103: ("it ran longer than the execute host allows", "plan smaller chunks"),
    104: (
        "it used more disk than its slot has",
        "ask for more (request_disk), or free the execute host's disk; condor_rm {cluster}, " + _AGAIN,
    ),
}
"""By the sub-codes that HTCondor's own HOLD_IF_*_EXCEEDED policies use."""

_OWNER = "the job user must have one UID on all hosts and own the share's folders: run site.yml"
_ERRNO_REMEDIES = {
    1: _OWNER,
    2: "check on that host that {place_is}: run site.yml",
    5: "look at that host's disk and mounts (dmesg)",
    8: "the program needs a #! line, or is made for another kind of CPU",
    13: _OWNER,
    26: "the program is being written to: wait and condor_release {cluster}",
    28: "free space on the share's disk",
    30: "that file system is mounted read-only: look at that host's dmesg",
    107: "the share's connection is lost there: mount it again (site.yml)",
    116: "the share's mount is stale there: mount it again (site.yml)",
    122: "the job user's quota is used up: raise it",
}


def explain_hold(ad: Ad) -> Explanation:
    """Say why a job is held and what to do.

    Args:
        ad: A job with ``HoldReasonCode``, ``HoldReasonSubCode`` and ``HoldReason``.
    """
    code = number(ad, "HoldReasonCode") or 0
    sub = number(ad, "HoldReasonSubCode") or 0
    values = {
        "cluster": number(ad, "ClusterId"),
        "memory": number(ad, "RequestMemory") or "?",
        "err": text(ad, "Err") or "its error file",
        "place_is": "",
    }
    if code in _ERRNO_PLACES:
        what, place_is = _ERRNO_PLACES[code]
        values["place_is"] = place_is
        problem = f" ({os.strerror(sub)})" if sub else ""
        reason = f"the host could not open {what}{problem}"
        if code == 6:
            reason = f"the execute host could not start {what}{problem}"
        fallback = "check on that host that {place_is}: run site.yml"
        remedy = _ERRNO_REMEDIES.get(sub, fallback) + "; then condor_release {cluster}"
    elif code == 21 and sub in _STARTD_HOLDS:
        reason, remedy = _STARTD_HOLDS[sub]
    elif code in _HOLDS:
        reason, remedy = _HOLDS[code]
    else:
        reason = f"HTCondor's hold code is {code}, sub-code {sub}"
        remedy = "see the hold codes in HTCondor's manual; condor_release {cluster} tries again"
    said = text(ad, "HoldReason")
    if said:
        reason += f". HTCondor says: {said}"
    return Explanation(
        f"job {job_id(ad)} is held: {reason}",
        remedy.format(**values),
    )


def explain_removed(ad: Ad) -> Explanation:
    """Say why a job was removed and what to do."""
    said = text(ad, "RemoveReason")
    if "condor_rm" in said:
        reason = "someone removed it with condor_rm"
    elif "PeriodicRemove" in said or "OnExitRemove" in said:
        reason = "a rule of the job removed it"
    elif "SYSTEM_PERIODIC_REMOVE" in said:
        reason = "a rule of the submit host (SYSTEM_PERIODIC_REMOVE) removed it"
    else:
        reason = "it was removed"
    if said:
        reason += f". HTCondor says: {said}"
    return Explanation(
        f"job {job_id(ad)} was removed: {reason}",
        "run the same run_id again: only what is missing or failed is done",
    )


def explain_exit(ad: Ad, tail: str = "") -> Explanation:
    """Say how a job failed and what to do.

    Args:
        ad: A completed job that :func:`failed_exit` finds fault with.
        tail: The last lines that it wrote to its error file.
    """
    reason = f"job {job_id(ad)} {failed_exit(ad)}"
    if host := text(ad, "LastRemoteHost"):
        reason += f" on {host}"
    if tail:
        reason += f". Its last words: {one_line(tail)}"
    where = text(ad, "Err") or "the job's error file"
    return Explanation(reason, f"see {where}; mend the cause, {_AGAIN}")


_RESOURCES = (
    ("RequestCpus", "TotalSlotCpus", "Cpus", "CPUs", "request_cpus"),
    ("RequestMemory", "TotalSlotMemory", "Memory", "MB of memory", "request_memory"),
    ("RequestDisk", "TotalSlotDisk", "Disk", "KB of disk", "request_disk"),
)


def explain_idle(ad: Ad, slots: Sequence[Ad]) -> Explanation:
    """Say why a job has not started and what to do.

    Args:
        ad: An idle job.
        slots: All slots of the pool, as ``condor_status -json`` prints them.
    """
    whole = [slot for slot in slots if slot.get("DynamicSlot") is not True]
    if not whole:
        return Explanation(
            "no execute host is in the pool",
            "see condor_status; run site.yml, which waits for all slots",
        )
    for request, total, free, unit, setting in _RESOURCES:
        wanted = number(ad, request)
        sizes = [number(slot, total) or number(slot, free) or 0 for slot in whole]
        if wanted is not None and wanted > max(sizes):
            return Explanation(
                f"each job asks for {wanted} {unit}, the largest slot has {max(sizes)}",
                f"lower {setting} in the job's settings or take larger execute hosts",
            )
    drained = [slot for slot in whole if text(slot, "State") == "Drained"]
    if len(drained) == len(whole):
        return Explanation(
            "all execute hosts are drained: they take no new jobs",
            "condor_drain -cancel on each host that shall work again",
        )
    if not any(_fits(ad, slot) for slot in whole if slot not in drained):
        return Explanation(
            f"all {len(whole)} execute hosts are busy with other jobs",
            "wait, or see condor_q -allusers for what else runs",
        )
    said = text(ad, "LastRejMatchReason")
    if said:
        return Explanation(
            f"its requirements match none of the {len(whole)} execute hosts. HTCondor says: {said}",
            f"condor_q -better-analyze {job_id(ad)} shows which requirement",
        )
    return Explanation("it waits for the next round of matchmaking", "wait some seconds")


def _fits(ad: Ad, slot: Ad) -> bool:
    if slot.get("PartitionableSlot") is not True and text(slot, "State") != "Unclaimed":
        return False
    return all((number(slot, free) or 0) >= (number(ad, request) or 0) for request, _, free, _, _ in _RESOURCES)
