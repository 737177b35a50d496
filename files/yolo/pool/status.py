"""One look at a running pass: how far it is, and whether something stopped it.

A wait loop calls this on the submit host, as the job user, until the state is not ``waiting``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ..share import fsio
from ..share.errors import YoloError, run_cli
from ..share.layout import PASSES, Pass, chunk_name
from ..share.records import JobReport, Progress
from ..share.settings import run_at
from . import ads
from .ads import Ad, Explanation
from .plan import last_submission

Runner = Callable[[Sequence[str]], str]
"""Runs a command and returns its standard output; raises :class:`CommandFailed`."""

HISTORY_TRIES = 5
"""Looks at the history for jobs that left the queue, a second apart, before they count as lost."""

SYSTEMATIC = 3
"""So many jobs that end badly before one ends well are no accident."""

SMALL_FILES_BYTES = 8192
"""What an image takes on the share beside its annotated copy: its label file's block and its record."""

FULL_BYTES = 16 << 20
"""A share with less room than this is full: the next image may not fit."""

_MIB = 1 << 20
_COMMAND_SECONDS = 60
_TAIL_BYTES = 4096
_TAIL_LINES = 5


class CommandFailed(Exception):
    """A command of HTCondor did not succeed; the text is its last words."""


@dataclass(frozen=True, slots=True)
class Work:
    """Images of a submission.

    Attributes:
        done: Finished, failed ones included.
        failed: Failed ones.
        total: All of the submission.
        before: Images that had a good result before this submission.
    """

    done: int
    failed: int
    total: int
    before: int = 0


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


def run_command(command: Sequence[str]) -> str:
    """Run a command of HTCondor and return its standard output.

    Raises:
        CommandFailed: It failed or did not answer in a minute.
        YoloError: It is not installed.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_COMMAND_SECONDS)
    except FileNotFoundError:
        raise YoloError("HTCondor's commands are not here", command[0], remedy="run this on the submit host") from None
    except subprocess.TimeoutExpired:
        raise CommandFailed(f"{command[0]} gave no answer in {_COMMAND_SECONDS} s") from None
    if done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise CommandFailed(f"{command[0]}: {' '.join(words) or f'exit code {done.returncode}'}")
    return done.stdout


@dataclass(frozen=True, slots=True)
class Condor:
    """Asks HTCondor about one cluster of jobs.

    Attributes:
        cluster: ClusterId.
        schedd: Name of the submit host's schedd; None for the local one.
        run: Runs the commands.
    """

    cluster: int
    schedd: str | None = None
    run: Runner = run_command

    def queue(self) -> list[dict[str, object]]:
        """Return the jobs in the queue."""
        return self._ask("condor_q", "-allusers")

    def history(self, limit: int) -> list[dict[str, object]]:
        """Return at most ``limit`` jobs that left the queue.

        With the number of the cluster and a limit HTCondor reads no more of its history than it
        must.
        """
        return self._ask("condor_history", "-limit", str(limit))

    def slots(self) -> list[dict[str, object]]:
        """Return all slots of the pool."""
        attributes = ",".join(ads.SLOT_ATTRIBUTES)
        return ads.parse_ads(self.run(["condor_status", "-json", "-attributes", attributes]))

    def _ask(self, command: str, *options: str) -> list[dict[str, object]]:
        name = ["-name", self.schedd] if self.schedd else []
        attributes = ",".join(ads.JOB_ATTRIBUTES)
        return ads.parse_ads(
            self.run([command, *name, str(self.cluster), *options, "-json", "-attributes", attributes])
        )


def poll(
    run_pass: Pass,
    submission: str,
    condor: Condor,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
    image_bytes: int = 0,
    free_bytes: Callable[[Path], int] | None = None,
) -> Status:
    """Look at the jobs of a submission once.

    Jobs that are held, were removed or failed do not stop the others: only when no other is left, or
    when none went well, the wait ends. A command of HTCondor that fails does not end it either: a schedd
    that restarts comes back.

    Args:
        run_pass: The pass.
        submission: Its plan.
        condor: Asks about the submission's cluster.
        now: The clock of the submit host.
        sleep: Waits some seconds.
        image_bytes: About how large the annotated copy of an image is; 0 if there is none.
        free_bytes: How many bytes the file system of a path has free for the job user.

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
    try:
        jobs, lost = _jobs(run_pass, submission, chunks, condor, sleep)
    except CommandFailed as error:
        work = read_work(run_pass, submission, images, before)
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
    work = read_work(run_pass, submission, images, before)
    status = _with_work(status, work, seconds)
    room = explain_room(run_pass, free, work, image_bytes)
    bad = [ad for ad in jobs.values() if ads.state(ad) in ("held", "removed") or ads.failed_exit(ad)]
    good = counts.completed - sum(1 for ad in bad if ads.failed_exit(ad))
    stopped = _stopped(bad, good, status)
    # What a job wrote about its end may not have found room either.
    died = next((ad for ad in bad if ads.failed_exit(ad)), None)
    if free < FULL_BYTES and room and died:
        reason = f"{room.reason}; {ads.explain_exit(died).reason}"
        return replace(status, state="failed", reason=reason, remedy=room.remedy)
    if bad and stopped:
        found = _trouble(run_pass, submission, bad, gone=True)
        if not good:
            return replace(status, state="failed", reason=found.reason, remedy=found.remedy)
        reasons = _reasons(run_pass, submission, jobs, chunks if lost else 0)
        return replace(status, state="done", reason=found.reason, remedy=found.remedy, unfinished=reasons)
    if lost:
        reason = f"{lost} of {chunks} jobs left the queue without a trace in HTCondor's history"
        remedy = (
            "see the error files in the run's logs folder; run the same run_id again: only what is missing or failed "
            "is done"
        )
        reasons = _reasons(run_pass, submission, jobs, chunks)
        return replace(
            status, state="done" if good else "failed", reason=reason, remedy=remedy, unfinished=reasons if good else {}
        )
    if counts.completed == chunks:
        return replace(status, state="done", eta_seconds=0.0)
    notices = [room] if room else []
    notices += _troubles(run_pass, submission, bad)
    stuck = None
    if counts.running == 0 and counts.idle > 0:
        waits, stuck = _why_idle(jobs, condor)
        notices.append(waits)
    return replace(status, notices=tuple(notices), stuck=stuck)


def _stopped(bad: Sequence[Ad], good: int, status: Status) -> bool:
    """Return whether nothing good is to be expected any more."""
    if status.running + status.idle == 0:
        return True
    # What someone holds or removes says nothing about the others.
    faults = sum(1 for ad in bad if ads.state(ad) != "removed" and not ads.held_by_hand(ad))
    return good == 0 and faults >= SYSTEMATIC and faults > status.running


def free_bytes_of(path: Path) -> int:
    """Return how many bytes a file system has free for who asks.

    Raises:
        OSError: The path can't be reached.
    """
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def explain_room(run_pass: Pass, free: int, work: Work, image_bytes: int) -> Explanation | None:
    """Say that the share is full, or too full for what is left; None if it is not.

    Args:
        run_pass: The pass.
        free: Bytes that are free on the share.
        work: How far the submission is.
        image_bytes: About how large the annotated copy of an image is; 0 if there is none.
    """
    left = work.total - work.done
    needed = left * (image_bytes + SMALL_FILES_BYTES)
    if not left or free >= max(needed, FULL_BYTES):
        return None
    share = run_pass.root.parents[2]
    what = "the share is full" if free < FULL_BYTES else "the share will be full before the run ends"
    wanted = "1 image that is left needs" if left == 1 else f"{left} images that are left need"
    missing = max(needed, FULL_BYTES) - free
    return Explanation(
        f"{what}: {share} has {free / _MIB:.1f} MiB free, the {wanted} about {needed / _MIB:.1f} MiB",
        f"free at least {missing / _MIB:.1f} MiB there (old runs in {share}/runs, old images in {share}/inputs) or "
        "enlarge its disk; what is done is kept, and the same run_id does what is missing",
    )


def _jobs(
    run_pass: Pass, submission: str, chunks: int, condor: Condor, sleep: Callable[[float], None]
) -> tuple[dict[int, Ad], int]:
    """Return the jobs by ProcId, and how many of them left no trace."""
    for attempt in range(HISTORY_TRIES):
        if attempt:
            sleep(1)
        queued = condor.queue()
        left = chunks - len(queued)
        history = condor.history(left) if left > 0 else []
        jobs = ads.merge(queued, history)
        if queued or len(jobs) >= chunks:
            return jobs, 0
    # The history is rotated at some size. A job's own report is as good.
    # Listed once: looking for each report that is not there would be a round trip on NFS.
    reports = set(os.listdir(run_pass.jobs_dir)) if run_pass.jobs_dir.is_dir() else set()
    for proc in range(chunks):
        report = run_pass.job(submission, chunk_name(proc))
        if proc not in jobs and report.name in reports and _is_report(report):
            ids = {"ClusterId": condor.cluster, "ProcId": proc}
            jobs[proc] = {**ids, "JobStatus": ads.COMPLETED, "ExitCode": 0}
    return jobs, chunks - len(jobs)


def _is_report(path: Path) -> bool:
    try:
        JobReport.from_json(path.read_bytes())
    except (OSError, ValueError):
        return False
    return True


def read_work(run_pass: Pass, submission: str, total: int, before: int = 0) -> Work:
    """Sum the heartbeats of a submission's jobs; one that can't be read counts as none."""
    done = failed = 0
    try:
        with os.scandir(run_pass.progress_dir) as scan:
            paths = [item.path for item in scan if item.name.startswith(f"{submission}-")]
    except FileNotFoundError:
        paths = []
    for path in paths:
        try:
            with open(path, "rb") as file:
                beat = Progress.from_json(file.read())
        except (OSError, ValueError):
            continue
        done += beat.done
        failed += beat.failed
    return Work(min(done, total), failed, total, before)


def _with_work(status: Status, work: Work, seconds: float | None) -> Status:
    rate = work.done / seconds if seconds and work.done else None
    eta = (work.total - work.done) / rate if rate else None
    status = replace(
        status,
        images_done=work.done,
        failed=work.failed,
        rate=None if rate is None else round(rate, 3),
        eta_seconds=None if eta is None else round(eta, 1),
    )
    return replace(status, line=human_line(status, work.before))


def human_line(status: Status, before: int = 0) -> str:
    """Return a status in one line for people.

    Args:
        status: The status.
        before: Images that had a good result before this submission.
    """
    parts = [f"{status.images_done}/{status.images_total} images"]
    if before:
        parts[0] += f" (and {before} done before)"
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


def human_time(seconds: float) -> str:
    """Return a time as people say it: ``22 s``, ``5 min``, ``2 h 10 min``."""
    if seconds < 90:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def plural(number: int, noun: str) -> str:
    """Return a number of things: ``1 job``, ``2 jobs``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _explain(run_pass: Pass, submission: str, ad: Ad, gone: bool) -> Explanation:
    if ads.state(ad) == "held":
        return ads.explain_hold(ad, gone)
    if ads.state(ad) == "removed":
        return ads.explain_removed(ad, gone)
    return ads.explain_exit(ad, read_tail(_error_file(run_pass, submission, ad)), gone)


def _kinds(bad: Iterable[Ad]) -> list[list[Ad]]:
    """Return jobs that ended badly, those of the same cause together, what calls for help most first."""
    # A removed job may be what someone did about the held or failed ones: those come first.
    order = ("held", "completed", "removed")
    kinds: dict[tuple[int, int], list[Ad]] = {}
    for ad in bad:
        code = ads.number(ad, "HoldReasonCode") or 0 if ads.state(ad) == "held" else 0
        kinds.setdefault((order.index(ads.state(ad)), code), []).append(ad)
    return [kinds[key] for key in sorted(kinds)]


def _troubles(run_pass: Pass, submission: str, bad: Iterable[Ad]) -> list[Explanation]:
    return [_explain(run_pass, submission, ads[0], gone=False) for ads in _kinds(bad)]


def _trouble(run_pass: Pass, submission: str, bad: Sequence[Ad], gone: bool) -> Explanation:
    ads = _kinds(bad)[0]
    found = _explain(run_pass, submission, ads[0], gone)
    parts = []
    if len(ads) > 1:
        parts.append(f"{plural(len(ads) - 1, 'more job')} like it")
    if len(bad) > len(ads):
        parts.append(f"{plural(len(bad) - len(ads), 'job')} that ended badly for other reasons")
    if parts:
        found = replace(found, reason=f"{found.reason} (and {' and '.join(parts)})")
    return found


def _reasons(run_pass: Pass, submission: str, jobs: Mapping[int, Ad], chunks: int) -> dict[str, str]:
    """Return why jobs have not ended well, by ``<submission>-<chunk>``; of ``chunks`` jobs the lost ones too."""
    reasons = {}
    for proc in sorted({*jobs, *range(chunks)}):
        ad = jobs.get(proc)
        if ad is None:
            reason = "its job left the queue without a trace in HTCondor's history"
        elif ads.state(ad) in ("held", "removed"):
            reason = ads.reason_for_images(ad)
        elif ads.failed_exit(ad):
            reason = ads.reason_for_images(ad, read_tail(_error_file(run_pass, submission, ad)))
        else:
            continue
        reasons[f"{submission}-{chunk_name(proc)}"] = reason
    return reasons


def _error_file(run_pass: Pass, submission: str, ad: Ad) -> Path:
    if err := ad.get("Err"):
        return Path(str(ad.get("Iwd") or "/")) / str(err)
    return run_pass.stderr(submission, chunk_name(ads.number(ad, "ProcId") or 0))


def read_tail(path: Path) -> str:
    """Return the last lines of a text file, parted by `` | ``; empty if it can't be read."""
    try:
        with open(path, "rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - _TAIL_BYTES, 0))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-_TAIL_LINES:])


def _why_idle(jobs: dict[int, Ad], condor: Condor) -> tuple[Explanation, Explanation | None]:
    """Return why no job runs, and the same again if that is so for good."""
    idle = next(ad for ad in jobs.values() if ads.state(ad) == "idle")
    try:
        slots = condor.slots()
    except CommandFailed as error:
        return Explanation(str(error), "is the central manager up? See condor_status on the submit host"), None
    ran = any(ads.number(ad, "JobStartDate") for ad in jobs.values())
    return ads.explain_idle(idle, slots, ran), ads.explain_too_large(idle, slots)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the status of a pass's newest submission as JSON."""
    parser = argparse.ArgumentParser(prog="yolo.pool.status", description=__doc__)
    parser.add_argument("--run-dir", type=Path, required=True, help="<share>/runs/<run_id>")
    parser.add_argument("--pass", dest="pass_name", choices=PASSES, required=True)
    parser.add_argument("--cluster", type=int, required=True, help="ClusterId of its jobs")
    parser.add_argument("--submission", help="plan of that cluster; the newest one by default")
    parser.add_argument("--image-bytes", type=int, default=0, help="about how large an annotated image is")
    parser.add_argument("--schedd-name", help="schedd to ask; the local one by default")
    args = parser.parse_args(argv)
    run_pass = run_at(args.run_dir).get_pass(args.pass_name)
    submission = args.submission or last_submission(run_pass)
    if submission is None:
        raise YoloError("nothing is planned", run_pass.root, remedy="run yolo.pool.plan first")
    status = poll(run_pass, submission, Condor(args.cluster, args.schedd_name), image_bytes=args.image_bytes)
    print(fsio.dumps(asdict(status)))
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
