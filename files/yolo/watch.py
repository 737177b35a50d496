"""One look at a running leg: how far it is, and whether something stopped it.

A wait loop calls this on the submit host, as the job user, until the state is not ``waiting``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from . import fsio, queue
from .errors import YoloError, run_cli
from .layout import LEGS, Leg, chunk_name
from .plan import last_plan, run_at
from .queue import Ad, Explanation
from .records import JobReport, Progress

Runner = Callable[[Sequence[str]], str]
"""Runs a command and returns its standard output; raises :class:`CommandFailed`."""

HISTORY_TRIES = 5
"""Looks at the history for jobs that left the queue, a second apart, before they count as lost."""

_COMMAND_SECONDS = 60
_TAIL_BYTES = 4096
_TAIL_LINES = 5


class CommandFailed(Exception):
    """A command of HTCondor did not succeed; the text is its last words."""


@dataclass(frozen=True, slots=True)
class Work:
    """Images of a plan.

    Attributes:
        done: Finished, failed ones included.
        failed: Failed ones.
        total: All of the plan.
        before: Images that had a good result before this plan.
    """

    done: int
    failed: int
    total: int
    before: int = 0


@dataclass(frozen=True, slots=True)
class Status:
    """What the command prints.

    Attributes:
        state: ``waiting``; ``done``: every job completed with exit code 0; ``failed``.
        images_done: Images of this plan that are finished, failed ones included.
        images_total: Images of this plan.
        failed: Images of this plan that failed.
        rate: Images a second since the first job began; None until there is one.
        eta_seconds: Time left at that rate; None until there is a rate.
        idle: Jobs that wait.
        running: Jobs that run.
        held: Jobs on hold.
        removed: Jobs that were removed.
        completed: Jobs that ended by themselves.
        line: All that in one line for people.
        reason: Why it failed or does not move; None if nothing is wrong.
        remedy: What to do about it.
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
        attributes = ",".join(queue.SLOT_ATTRIBUTES)
        return queue.parse_ads(self.run(["condor_status", "-json", "-attributes", attributes]))

    def _ask(self, command: str, *options: str) -> list[dict[str, object]]:
        name = ["-name", self.schedd] if self.schedd else []
        attributes = ",".join(queue.JOB_ATTRIBUTES)
        return queue.parse_ads(
            self.run([command, *name, str(self.cluster), *options, "-json", "-attributes", attributes])
        )


def look(
    leg: Leg,
    plan: str,
    condor: Condor,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Status:
    """Look at the jobs of a plan once.

    A command of HTCondor that fails does not end the wait: a schedd that restarts comes back.

    Args:
        leg: The leg.
        plan: Its plan.
        condor: Asks about the plan's cluster.
        now: The clock of the submit host.
        sleep: Waits some seconds.

    Raises:
        YoloError: The plan is damaged or HTCondor is not installed.
        OSError: The share can't be read.
    """
    try:
        summary = fsio.read_json(leg.plan_summary(plan))
        chunks, images = int(summary["chunks"]), int(summary["images"])
        before = int(summary["done_before"])
    except (ValueError, KeyError, TypeError) as error:
        raise YoloError(f"the plan is damaged ({error})", leg.plan_summary(plan)) from None
    try:
        jobs, lost = _jobs(leg, plan, chunks, condor, sleep)
    except CommandFailed as error:
        status = Status("waiting", 0, images, 0)
        status = _with_work(status, read_work(leg, plan, images, before), None)
        line = f"{status.line}  HTCondor does not answer"
        return replace(status, line=line, reason=str(error), remedy="it is asked again")
    counts = queue.count(jobs.values())
    # Jobs that are in neither list while others are queued: not made yet, or on their way out.
    idle = counts.idle + (0 if lost else chunks - counts.total)
    started = [t for t in (queue.number(ad, "JobStartDate") for ad in jobs.values()) if t]
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
    status = _with_work(status, read_work(leg, plan, images, before), seconds)
    trouble = _trouble(leg, plan, jobs)
    if trouble is None and lost:
        trouble = Explanation(
            f"{lost} of {chunks} jobs left the queue without a trace in HTCondor's history",
            "see the error files in the run's logs folder; run the same run_id again: only what "
            "is missing or failed is done",
        )
    if trouble is not None:
        return replace(status, state="failed", reason=trouble.reason, remedy=trouble.remedy)
    if counts.completed == chunks:
        return replace(status, state="done", eta_seconds=0.0)
    if counts.running == 0 and counts.idle > 0:
        waits = _why_idle(jobs, condor)
        if waits is not None:
            return replace(status, reason=waits.reason, remedy=waits.remedy)
    return status


def _jobs(
    leg: Leg, plan: str, chunks: int, condor: Condor, sleep: Callable[[float], None]
) -> tuple[dict[int, Ad], int]:
    """Return the jobs by ProcId, and how many of them left no trace."""
    for attempt in range(HISTORY_TRIES):
        if attempt:
            sleep(1)
        queued = condor.queue()
        left = chunks - len(queued)
        history = condor.history(left) if left > 0 else []
        jobs = queue.merge(queued, history)
        if queued or len(jobs) >= chunks:
            return jobs, 0
    # The history is rotated at some size. A job's own report is as good.
    # Listed once: looking for each report that is not there would be a round trip on NFS.
    reports = set(os.listdir(leg.jobs_dir)) if leg.jobs_dir.is_dir() else set()
    for proc in range(chunks):
        report = leg.job(plan, chunk_name(proc))
        if proc not in jobs and report.name in reports and _is_report(report):
            ids = {"ClusterId": condor.cluster, "ProcId": proc}
            jobs[proc] = {**ids, "JobStatus": queue.COMPLETED, "ExitCode": 0}
    return jobs, chunks - len(jobs)


def _is_report(path: Path) -> bool:
    try:
        JobReport.from_json(path.read_bytes())
    except (OSError, ValueError):
        return False
    return True


def read_work(leg: Leg, plan: str, total: int, before: int = 0) -> Work:
    """Sum the heartbeats of a plan's jobs; one that can't be read counts as none."""
    done = failed = 0
    try:
        with os.scandir(leg.progress_dir) as scan:
            paths = [item.path for item in scan if item.name.startswith(f"{plan}-")]
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
        before: Images that had a good result before this pass.
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
        parts.append(f"{_plural(status.failed, 'image')} failed")
    return "  ".join(parts)


def human_time(seconds: float) -> str:
    """Return a time as people say it: ``22 s``, ``5 min``, ``2 h 10 min``."""
    if seconds < 90:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _trouble(leg: Leg, plan: str, jobs: dict[int, Ad]) -> Explanation | None:
    held = [ad for ad in jobs.values() if queue.state(ad) == "held"]
    removed = [ad for ad in jobs.values() if queue.state(ad) == "removed"]
    crashed = [ad for ad in jobs.values() if queue.failed_exit(ad)]
    # A removed job may be what someone did about the held or failed ones: those come first.
    if held:
        found, others = queue.explain_hold(held[0]), len(held) - 1
    elif crashed:
        tail = read_tail(_error_file(leg, plan, crashed[0]))
        found, others = queue.explain_exit(crashed[0], tail), len(crashed) - 1
    elif removed:
        found, others = queue.explain_removed(removed[0]), len(removed) - 1
    else:
        return None
    if others:
        found = replace(found, reason=f"{found.reason} (and {_plural(others, 'more job')} like it)")
    return found


def _error_file(leg: Leg, plan: str, ad: Ad) -> Path:
    if err := ad.get("Err"):
        return Path(str(ad.get("Iwd") or "/")) / str(err)
    return leg.stderr(plan, chunk_name(queue.number(ad, "ProcId") or 0))


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


def _why_idle(jobs: dict[int, Ad], condor: Condor) -> Explanation | None:
    idle = next(ad for ad in jobs.values() if queue.state(ad) == "idle")
    try:
        slots = condor.slots()
    except CommandFailed as error:
        return Explanation(str(error), "is the central manager up? See condor_status")
    return queue.explain_idle(idle, slots)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the status of a leg's newest plan as JSON."""
    parser = argparse.ArgumentParser(prog="yolo.watch", description=__doc__)
    parser.add_argument("--run-dir", type=Path, required=True, help="<share>/runs/<run_id>")
    parser.add_argument("--leg", choices=LEGS, required=True)
    parser.add_argument("--cluster", type=int, required=True, help="ClusterId of its jobs")
    parser.add_argument("--plan", help="plan of that cluster; the newest one by default")
    parser.add_argument("--schedd-name", help="schedd to ask; the local one by default")
    args = parser.parse_args(argv)
    leg = run_at(args.run_dir).leg(args.leg)
    plan = args.plan or last_plan(leg)
    if plan is None:
        raise YoloError("nothing is planned", leg.root, remedy="run yolo.plan first")
    print(fsio.dumps(asdict(look(leg, plan, Condor(args.cluster, args.schedd_name)))))
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
