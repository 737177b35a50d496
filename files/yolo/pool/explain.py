"""Why jobs do not run or ended badly, in plain words, and what to do about it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from ..share.errors import EXIT_UNSAID, one_line
from .ads import Ad, failed_exit, job_id, number, state, text

_RUN_AGAIN = "run the same run_id again: only what is missing or failed is done"


_OTHERS_GO_ON = "The other jobs go on; when they have ended, the same run_id does again what is missing"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What happened, and what to do about it; each in one line."""

    reason: str
    remedy: str


_ERRNO_PLACES = {
    6: ("the job's program", "its interpreter (the virtual environment) is installed there"),
    7: ("the job's output or error file", "the share is mounted there"),
    8: ("the job's input file", "the share is mounted there"),
    14: ("the job's working directory", "the share is mounted there"),
}


@dataclass(frozen=True, slots=True)
class _Hold:
    """What a hold code means.

    Attributes:
        reason: In plain words.
        mend: What to do before the job can go well; empty where there is nothing.
        release: Whether the same job can go on then; else only a new one has what is needed.
    """

    reason: str
    mend: str
    release: bool = False


_NO_TRANSFER = "jobs here use the share: the submit file must say should_transfer_files = NO"


_SMALLER = "take smaller chunks (-e chunk_size=IMAGES) or allow more time (-e time_limit=SECONDS)"


_HOLDS: dict[int, _Hold] = {
    0: _Hold("HTCondor gave no code for it", "see the reason", release=True),
    1: _Hold("someone held it with condor_hold", "", release=True),
    3: _Hold("its own hold rule (periodic_hold or on_exit_hold) came true", "see what the job wrote: {err}"),
    4: _Hold("its credentials are not valid", "renew them", release=True),
    5: _Hold("a rule of the job can't be evaluated", "mend the submit file's periodic expressions"),
    12: _Hold("HTCondor failed to bring its output files back", _NO_TRANSFER),
    13: _Hold("HTCondor failed to send its input files", _NO_TRANSFER),
    15: _Hold("it was submitted on hold", "", release=True),
    16: _Hold("its input files are being sent to the submit host", "wait: it goes on by itself"),
    21: _Hold(
        "the execute host's own rule (WANT_HOLD) put it on hold",
        "see WANT_HOLD in that host's configuration",
        release=True,
    ),
    22: _Hold(
        "the submit host can't write the job's event log",
        "the log must stand in a folder on the submit host's own disk that the job user may "
        "write to and that is not full",
        release=True,
    ),
    23: _Hold(
        "the job user does not exist on the submit host",
        "run site.yml: it makes that user with the same UID on all hosts",
        release=True,
    ),
    24: _Hold("the submit host has no shadow for it", "install HTCondor again there (site.yml)", release=True),
    26: _Hold(
        "the submit host's own rule (SYSTEM_PERIODIC_HOLD) put it on hold",
        "see condor_config_val SYSTEM_PERIODIC_HOLD on the submit host",
        release=True,
    ),
    27: _Hold(
        "a rule of the submit host (SYSTEM_PERIODIC_*) can't be evaluated",
        "see condor_config_val -dump SYSTEM_PERIODIC on the submit host",
        release=True,
    ),
    32: _Hold("its input files are larger than MAX_TRANSFER_INPUT_MB", _NO_TRANSFER),
    33: _Hold("its output files are larger than MAX_TRANSFER_OUTPUT_MB", _NO_TRANSFER),
    34: _Hold(
        "it used more memory than its slot has",
        "give each job more memory (-e inference_run_memory=..., now {memory} MB) or take a smaller imgsz or model",
    ),
    35: _Hold("its container image is not valid", "jobs here need no container: the submit file must name none"),
    45: _Hold("the container runtime does not work there", "jobs here need no container"),
    46: _Hold("it took longer than allowed_job_duration", _SMALLER),
    47: _Hold("it ran longer than allowed_execute_duration", "see what it hung on: {err}; " + _SMALLER),
}


_STARTD_HOLDS: dict[int, _Hold] = {
    101: _Hold("it used more CPUs than its slot has", "ask for more (-e cpus=...)"),
    102: _HOLDS[34],
    103: _Hold("it ran longer than the execute host allows", "take smaller chunks (-e chunk_size=IMAGES)"),
    104: _Hold(
        "it used more disk than its slot has",
        "ask for more (-e inference_run_disk=...), or free the execute host's disk",
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
    26: "wait until nothing writes to the program any more",
    28: "free space on the share's disk",
    30: "that file system is mounted read-only: look at that host's dmesg",
    107: "the share's connection is lost there: mount it again (site.yml)",
    116: "the share's mount is stale there: mount it again (site.yml)",
    122: "the job user's quota is used up: raise it",
}


def held_by_hand(ad: Ad) -> bool:
    """Return whether a job is held because someone wanted it so: no fault of the run."""
    return state(ad) == "held" and number(ad, "HoldReasonCode") in (1, 15)


def explain_hold(ad: Ad, gone: bool = False) -> Explanation:
    """Say why a job is held and what to do.

    Args:
        ad: A job with ``HoldReasonCode``, ``HoldReasonSubCode`` and ``HoldReason``.
        gone: Whether the job is about to be removed, so that nobody can release it any more.
    """
    code = number(ad, "HoldReasonCode") or 0
    sub = number(ad, "HoldReasonSubCode") or 0
    values = {
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
        hold = _Hold(reason, _ERRNO_REMEDIES.get(sub, "check on that host that {place_is}: run site.yml"), release=True)
    elif code == 21 and sub in _STARTD_HOLDS:
        hold = _STARTD_HOLDS[sub]
    elif code in _HOLDS:
        hold = _HOLDS[code]
    else:
        hold = _Hold(
            f"HTCondor's hold code is {code}, sub-code {sub}", "see the hold codes in HTCondor's manual", release=True
        )
    reason = hold.reason
    said = text(ad, "HoldReason")
    if said:
        reason += f". HTCondor says: {said}"
    mend = hold.mend.format(**values)
    if gone:
        after = f"then {_RUN_AGAIN}" if mend else _RUN_AGAIN
    elif hold.release:
        after = (
            f"{'then ' if mend else ''}condor_release {job_id(ad)} on the submit host lets it go on. {_OTHERS_GO_ON}"
        )
    else:
        after = _OTHERS_GO_ON
    return Explanation(
        f"job {job_id(ad)} {'was' if gone else 'is'} held: {reason}", f"{mend}; {after}" if mend else after
    )


def reason_for_images(ad: Ad, tail: str = "") -> str:
    """Say why the images of a job that ended badly have no result.

    Args:
        ad: A job that is held, was removed, or failed.
        tail: The last lines that it wrote to its error file.
    """
    if state(ad) == "held":
        reason = explain_hold(ad, gone=True).reason
    elif state(ad) == "removed":
        reason = explain_removed(ad).reason
    else:
        reason = explain_exit(ad, tail).reason
    return f"its job {reason.removeprefix(f'job {job_id(ad)} ')}"


def explain_removed(ad: Ad, gone: bool = True) -> Explanation:
    """Say why a job was removed and what to do.

    Args:
        ad: A removed job.
        gone: Whether no other job is left.
    """
    said = text(ad, "RemoveReason")
    if "condor_rm" in said:
        reason = "someone did it with condor_rm"
    elif "PeriodicRemove" in said or "OnExitRemove" in said:
        reason = "a rule of the job did it"
    elif "SYSTEM_PERIODIC_REMOVE" in said:
        reason = "a rule of the submit host (SYSTEM_PERIODIC_REMOVE) did it"
    else:
        reason = "HTCondor gave no reason for it"
    if said:
        reason += f". HTCondor says: {said}"
    return Explanation(
        f"job {job_id(ad)} was removed: {reason}",
        _RUN_AGAIN if gone else _OTHERS_GO_ON,
    )


def explain_exit(ad: Ad, tail: str = "", gone: bool = True) -> Explanation:
    """Say how a job failed and what to do.

    Args:
        ad: A completed job that :func:`failed_exit` finds fault with.
        tail: The last lines that it wrote to its error file.
        gone: Whether no other job is left.
    """
    reason = f"job {job_id(ad)} {failed_exit(ad)}"
    if host := text(ad, "LastRemoteHost"):
        reason += f" on {host}"
    if number(ad, "ExitCode") == EXIT_UNSAID:
        reason += ": it could not write to the share, which was full or gone"
    elif tail:
        reason += f". Its last words: {one_line(tail)}"
    where = text(ad, "Err") or "the job's error file"
    after = f"then {_RUN_AGAIN}" if gone else _OTHERS_GO_ON
    return Explanation(reason, f"see {where} and mend the cause; {after}")


_RESOURCES = (
    ("RequestCpus", "TotalSlotCpus", "Cpus", "{} CPUs", "cpus", "{}"),
    ("RequestMemory", "TotalSlotMemory", "Memory", "{} MB of memory", "inference_run_memory", "{}M"),
    ("RequestDisk", "TotalSlotDisk", "Disk", "{} KB of disk", "inference_run_disk", "{}K"),
)
"""Attribute of the job, of the whole slot, of what is free in it; how to say so much; the run's input and its form."""


def explain_too_large(ad: Ad, slots: Sequence[Ad]) -> Explanation | None:
    """Say which request of a job no slot of the pool can ever meet; None if one can, or if there is no slot.

    Args:
        ad: A job.
        slots: All slots of the pool, as ``condor_status -json`` prints them.
    """
    whole = _whole(slots)
    if not whole:
        return None
    for request, total, free, amount, setting, form in _RESOURCES:
        wanted = number(ad, request)
        largest = max(_size(slot, total, free) for slot in whole)
        if wanted is not None and wanted > largest:
            return Explanation(
                f"each job asks for {amount.format(wanted)}, the largest slot has {largest}",
                f"lower {setting} to {form.format(largest)} or less (-e {setting}={form.format(largest)}), "
                "or add larger execute hosts",
            )
    requests = [(number(ad, request) or 0, total, free) for request, total, free, *_ in _RESOURCES]
    if not any(all(_size(slot, total, free) >= wanted for wanted, total, free in requests) for slot in whole):
        asked = ", ".join(
            amount.format(wanted) for (wanted, *_), (_, _, _, amount, *_) in zip(requests, _RESOURCES, strict=True)
        )
        inputs = ", ".join(setting for *_, setting, _ in _RESOURCES)
        return Explanation(
            f"each job asks for {asked}; no slot has all of that", f"lower one of {inputs}, or add larger execute hosts"
        )
    return None


MATCHABLE = Explanation(
    "the jobs wait for the next round of matchmaking", "that takes some seconds; is the central manager busy?"
)
"""Why a job is idle that a free slot would take."""


def explain_idle(ad: Ad, slots: Sequence[Ad], ran: bool = False) -> Explanation:
    """Say why a job has not started and what to do.

    Args:
        ad: An idle job.
        slots: All slots of the pool, as ``condor_status -json`` prints them.
        ran: Whether one like it has run: what HTCondor says about its requirements is old then.
    """
    whole = _whole(slots)
    if not whole:
        return Explanation(
            "no execute host is in the pool",
            "are they up? site.yml mends the pool and waits for all of its slots; the jobs start by themselves then",
        )
    if too_large := explain_too_large(ad, slots):
        return too_large
    drained = [slot for slot in whole if text(slot, "State") == "Drained"]
    if len(drained) == len(whole):
        return Explanation(
            "all execute hosts are drained: they take no new jobs",
            "condor_drain -cancel HOST on the central manager for each that shall work again",
        )
    # What a job that has just ended leaves is claimed for the next one for a while.
    dynamic = [slot for slot in slots if slot.get("DynamicSlot") is True]
    busy = not dynamic or any(text(slot, "Activity") != "Idle" for slot in dynamic)
    if busy and not any(_fits(ad, slot) for slot in whole if slot not in drained):
        return Explanation(
            "all execute hosts are busy with other jobs"
            if len(whole) > 1
            else "the pool's only execute host is busy with other jobs",
            "the jobs start by themselves when these end; condor_q -allusers on the submit host lists them",
        )
    said = text(ad, "LastRejMatchReason")
    if said and not ran:
        return Explanation(
            f"the jobs' requirements match none of the execute hosts. HTCondor says: {said}",
            f"condor_q -better-analyze {job_id(ad)} on the submit host shows which requirement",
        )
    return MATCHABLE


def _whole(slots: Sequence[Ad]) -> list[Ad]:
    return [slot for slot in slots if slot.get("DynamicSlot") is not True]


def _size(slot: Ad, total: str, free: str) -> int:
    return number(slot, total) or number(slot, free) or 0


def _fits(ad: Ad, slot: Ad) -> bool:
    if slot.get("PartitionableSlot") is not True and text(slot, "State") != "Unclaimed":
        return False
    return all((number(slot, free) or 0) >= (number(ad, request) or 0) for request, _, free, *_ in _RESOURCES)
