"""One poll of a running pass: how far it is, and whether something stopped it.

A wait loop calls this on the submit host, as the job user, until the state is not ``waiting``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..share import fsio
from ..share.errors import YoloError
from ..share.journal import read_reports
from ..share.layout import Pass, chunk_number
from ..share.words import human_time, plural
from . import ads
from .ads import Ad
from .condor import CommandFailed, Jobs
from .ended_badly import explain_first, explain_kinds, unfinished_reasons
from .explain import Explanation, explain_exit, explain_idle, explain_too_large, held_by_hand
from .heartbeats import Heartbeats
from .room import FULL_BYTES, Work, explain_room, free_bytes_of
from .submit import MOST_WAITING

HISTORY_TRIES = 5
"""Polls of the history for jobs that left the queue, a second apart, before they count as lost."""

SYSTEMATIC = 3
"""So many jobs that end badly before one ends well are no accident."""


@dataclass(frozen=True, slots=True)
class Status:
    """What the command prints.

    Attributes:
        state: ``waiting``; ``done``: no job is left that may still do its work; ``failed``: stop, and hand
            nothing back.
        images_done: Images of this submission that are finished, failed ones included.
        images_total: Images of this submission.
        failed: Images of this submission that failed.
        rate: Images a second since the first job began; None until there is one.
        eta_seconds: Time left at that rate; None until there is a rate.
        idle: Jobs that wait.
        running: Jobs that run.
        held: Jobs on hold.
        removed: Jobs that were removed.
        completed: Jobs that ended by themselves.
        line: All that in one line for people.
        reason: Why it failed, or is done without all jobs; None if nothing is wrong.
        remedy: What to do about it.
        notices: While it waits: what is wrong or does not move, and what to do about it.
        stuck: One of the notices if waiting longer does not mend it, unless the pool changes.
        unfinished: When it is done: why jobs did not end well, by ``<submission>-<chunk>``.
        done_before: Images that had a good result before this submission.
    """

    state: str
    images_done: int
    images_total: int
    failed: int
    rate: float | None = None
    eta_seconds: float | None = None
    idle: int = 0
    running: int = 0
    held: int = 0
    removed: int = 0
    completed: int = 0
    line: str = ""
    reason: str | None = None
    remedy: str | None = None
    notices: tuple[Explanation, ...] = ()
    stuck: Explanation | None = None
    unfinished: dict[str, str] = field(default_factory=dict)
    done_before: int = 0

    def give_up(self, found: Explanation) -> Status:
        """Return the status of a wait that ended for a reason."""
        return replace(self, state="failed", reason=found.reason, remedy=found.remedy)


def poll(
    run_pass: Pass,
    submission: str,
    condor: Jobs,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
    image_bytes: int = 0,
    free_bytes: Callable[[Path], int] | None = None,
    heartbeats: Heartbeats | None = None,
) -> Status:
    """Poll the jobs of a submission once.

    Jobs that are held, were removed or failed do not stop the others: only when no other is left, or
    when none went well, the wait ends. A command of HTCondor that fails does not end it either: a schedd
    that restarts comes back.

    Args:
        run_pass: The pass.
        submission: Its submission.
        condor: Asks about the submission's cluster.
        now: The clock of the submit host.
        sleep: Waits some seconds.
        image_bytes: About how large the annotated copy of an image is; 0 if there is none.
        free_bytes: How many bytes the file system of a path has free for the job user.
        heartbeats: Those of the submission; who polls again and again keeps them, so that few are read each time.

    Raises:
        YoloError: The submission is damaged or HTCondor is not installed.
        OSError: The share can't be read.
    """
    try:
        summary = fsio.read_json(run_pass.submission_summary(submission))
        chunks, images = int(summary["chunks"]), int(summary["images"])
        before = int(summary["done_before"])
    except (ValueError, KeyError, TypeError) as error:
        raise YoloError(f"the submission is damaged ({error})", run_pass.submission_summary(submission)) from None
    free = (free_bytes or free_bytes_of)(run_pass.root)
    heartbeats = heartbeats or Heartbeats(run_pass, submission)
    try:
        jobs, lost = _jobs(run_pass, submission, chunks, condor, sleep)
    except CommandFailed as error:
        work = heartbeats.read(images, before)
        status = _with_work(Status("waiting", 0, images, 0), work, None)
        room = explain_room(run_pass, free, work, image_bytes)
        silent = Explanation(str(error), "HTCondor is asked again until it answers; its jobs may run meanwhile")
        notices = (room, silent) if room else (silent,)
        return replace(status, line=f"{status.line}  HTCondor does not answer", notices=notices)
    counts = ads.count(jobs.values())
    # Jobs that are in neither list while others are queued: not made yet, or on their way out.
    idle = counts.idle + (0 if lost else chunks - counts.total)
    started = [t for t in (ads.number(ad, "JobStartDate") for ad in jobs.values()) if t]
    seconds = max(now() - min(started), 1.0) if started else None
    status = Status(
        "waiting",
        0,
        images,
        0,
        idle=idle,
        running=counts.running,
        held=counts.held,
        removed=counts.removed,
        completed=counts.completed,
    )
    # After the queue: what a job did before it left is then counted.
    work = heartbeats.read(images, before)
    status = _with_work(status, work, seconds)
    room = explain_room(run_pass, free, work, image_bytes)
    bad = [ad for ad in jobs.values() if ads.state(ad) in ("held", "removed") or ads.failed_exit(ad)]
    good = counts.completed - sum(1 for ad in bad if ads.failed_exit(ad))
    # Held jobs count among those that may wait: no more are made.
    stalled = counts.running + counts.idle == 0 and counts.held >= MOST_WAITING
    stopped = stalled or _stopped(bad, good, status)
    # What a job wrote about its end may not have found room either.
    died = next((ad for ad in bad if ads.failed_exit(ad)), None)
    if free < FULL_BYTES and room and died:
        reason = f"{room.reason}; {explain_exit(died).reason}"
        return replace(status, state="failed", reason=reason, remedy=room.remedy)
    if bad and stopped:
        found = explain_first(run_pass, submission, bad, gone=True)
        if not good:
            return replace(status, state="failed", reason=found.reason, remedy=found.remedy)
        reasons = unfinished_reasons(run_pass, submission, jobs, chunks if lost or stalled else 0)
        return replace(status, state="done", reason=found.reason, remedy=found.remedy, unfinished=reasons)
    if lost:
        reason = f"{lost} of {chunks} jobs left the queue without a trace in HTCondor's history"
        remedy = (
            "see the error files in the run's logs folder; run the same run_id again: only what is missing or failed "
            "is done"
        )
        reasons = unfinished_reasons(run_pass, submission, jobs, chunks)
        return replace(
            status, state="done" if good else "failed", reason=reason, remedy=remedy, unfinished=reasons if good else {}
        )
    if counts.completed == chunks:
        return replace(status, state="done", eta_seconds=0.0)
    troubles = [room] if room else []
    troubles += explain_kinds(run_pass, submission, bad)
    stuck = None
    if counts.running == 0 and counts.idle > 0:
        waits, stuck = _why_idle(jobs, condor)
        troubles.append(waits)
    return replace(status, notices=tuple(troubles), stuck=stuck)


def _stopped(bad: Sequence[Ad], good: int, status: Status) -> bool:
    """Return whether nothing good is to be expected any more."""
    if status.running + status.idle == 0:
        return True
    # What someone holds or removes says nothing about the others.
    faults = sum(1 for ad in bad if ads.state(ad) != "removed" and not held_by_hand(ad))
    return good == 0 and faults >= SYSTEMATIC and faults > status.running


def _jobs(
    run_pass: Pass, submission: str, chunks: int, condor: Jobs, sleep: Callable[[float], None]
) -> tuple[dict[int, Ad], int]:
    """Return the jobs by ProcId, and how many of them left no trace."""
    for attempt in range(HISTORY_TRIES):
        if attempt:
            sleep(1)
        queued = condor.queue()
        left = chunks - len(queued)
        history = condor.history(left) if left > 0 else []
        jobs = ads.merge(queued, history)
        if queued or len(jobs) >= chunks or condor.is_making():
            return jobs, 0
    # The history is rotated at some size. A job's own report is as good.
    for report in read_reports(run_pass, submission):
        proc = chunk_number(report.chunk)
        if proc not in jobs and proc < chunks:
            ids = {"ClusterId": condor.cluster, "ProcId": proc}
            jobs[proc] = {**ids, "JobStatus": ads.COMPLETED, "ExitCode": 0}
    return jobs, chunks - len(jobs)


def _with_work(status: Status, work: Work, seconds: float | None) -> Status:
    rate = work.done / seconds if seconds and work.done else None
    eta = (work.total - work.done) / rate if rate else None
    status = replace(
        status,
        images_done=work.done,
        failed=work.failed,
        rate=None if rate is None else round(rate, 3),
        eta_seconds=None if eta is None else round(eta, 1),
        done_before=work.before,
    )
    return replace(status, line=human_line(status))


def human_line(status: Status) -> str:
    """Return a status in one line for people."""
    parts = [f"{status.images_done}/{status.images_total} images"]
    if status.done_before:
        parts[0] += f" (and {status.done_before} done before)"
    if status.rate is not None:
        parts.append(f"{status.rate:.1f} images/s")
    if status.eta_seconds is not None:
        parts.append(f"about {human_time(status.eta_seconds)} left")
    parts += [f"{status.running} running", f"{status.idle} idle", f"{status.held} held"]
    if status.removed:
        parts.append(f"{status.removed} removed")
    if status.failed:
        parts.append(f"{plural(status.failed, 'image')} failed")
    return "  ".join(parts)


def _why_idle(jobs: dict[int, Ad], condor: Jobs) -> tuple[Explanation, Explanation | None]:
    """Return why no job runs, and the same again if that is so for good."""
    idle = next(ad for ad in jobs.values() if ads.state(ad) == "idle")
    try:
        slots = condor.slots()
    except CommandFailed as error:
        return Explanation(str(error), "is the central manager up? See condor_status on the submit host"), None
    ran = any(ads.number(ad, "JobStartDate") for ad in jobs.values())
    return explain_idle(idle, slots, ran), explain_too_large(idle, slots)
