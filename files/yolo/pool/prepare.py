"""Have the pool prepare a run's model, on whatever execute host is free.

The submit host runs this as the job user, with the standard library alone.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..model.info import is_prepared, load_info
from ..model.selection import ModelRequest, answer, check_limit, kept_selection
from ..share import fsio
from ..share.errors import EXIT_ERROR, YoloError
from ..share.layout import Run
from ..share.words import human_time
from . import ads
from .ads import Ad
from .condor import CommandFailed, Jobs, Runner, condor_submit, run_command
from .ended_badly import read_tail
from .explain import (
    MATCHABLE,
    Explanation,
    explain_exit,
    explain_hold,
    explain_idle,
    explain_removed,
    explain_too_large,
)
from .status import HISTORY_TRIES

RUN, ASKED = "YoloPrepares", "YoloAsked"
"""Attributes of the job: the run's name, and a digest of its submit file and of what the run wants."""

EXPLAIN_AFTER = 10
"""Seconds that the job may wait before it is said why."""

EMPTY_POOL = 240
"""Seconds that the job waits for a first execute host: one that is there reports within a minute or two."""


@dataclass(frozen=True, slots=True)
class Status:
    """What ``poll`` returns.

    Attributes:
        state: ``waiting``, ``done`` or ``failed``.
        line: How it stands, in one line for people.
        reason: Why it failed.
        remedy: What to do about it.
        notices: While it waits: what is wrong or does not move, and what to do about it.
        stuck: One of the notices if waiting longer does not mend it, unless the pool changes.
        answer: What ``prepare-model`` answered; None before it is done.
    """

    state: str
    line: str
    reason: str | None = None
    remedy: str | None = None
    notices: tuple[Explanation, ...] = ()
    stuck: Explanation | None = None
    answer: dict[str, Any] | None = None

    def give_up(self, found: Explanation) -> Status:
        """Return the status of a wait that ended for a reason."""
        return replace(self, state="failed", reason=found.reason, remedy=found.remedy)


def known(asked: ModelRequest) -> dict[str, Any] | None:
    """Return the answer of an earlier call for the same run and the same request, or None.

    Raises:
        YoloError: That choice is not allowed any more.
    """
    kept = kept_selection(asked)
    if kept is None:
        return None
    check_limit(asked, kept)
    return answer(asked, kept, load_info(kept.model_dir), made=False)


def would(asked: ModelRequest) -> dict[str, Any]:
    """Return what a check says of a run without a kept choice."""
    there = is_prepared(asked.weights.model)
    model = "the model is there" if there else "the model is not made yet"
    return {"made": True, "sentence": f"A real run would settle engine and precision by a job of the pool; {model}."}


def memory(asked: ModelRequest, given: str, largest: int) -> int | None:
    """Return the memory in MiB that the job needs, or None where that of a job that detects is enough.

    An export by torch took 350 MiB for weights of 5 MB and 1250 MiB for 50 MB (numbers of half precision). What is
    prepared already takes no more than a job that detects.

    Args:
        asked: What was asked for.
        given: What a job that detects gets, as HTCondor takes it.
        largest: Of the largest slot, MiB. Weights that may need more are tried there.
    """
    match = re.fullmatch(r"([0-9]+)(?:([KMGT])B?)?", given.strip(), re.IGNORECASE)
    light = is_prepared(asked.weights.model) and asked.precision != "int8" and asked.engine != "torch"
    if match is None or light:
        return None
    kib = int(match[1]) * 1024 ** "KMGT".index((match[2] or "M").upper())
    size = sum(path.stat().st_size for path in asked.weights.source.rglob("*") if path.is_file())
    need = min(400 + 20 * size // 2**20, largest)
    return need if need * 1024 > kib else None


def event_log(log_dir: Path, run: Run) -> Path:
    """Return the path of the job's event log, on the submit host's own disk: HTCondor locks it."""
    return log_dir / f"{run.run_id}-prepare.log"


def start(
    asked: ModelRequest, submit_file: str, log_dir: Path, mib: int | None = None, run: Runner = run_command
) -> int:
    """Submit the job, unless an earlier call that was cut off did; return its cluster.

    A queued job of this run that was asked something else is removed.

    Args:
        asked: What was asked for.
        submit_file: Text of the submit file; uses the macro ``event_log``.
        log_dir: Folder of its event log, on the submit host's own disk.
        mib: Memory for the job, MiB; None for what the submit file says.
        run: Runs the commands.

    Raises:
        YoloError: HTCondor does not take it.
        OSError: The share can't be written.
    """
    requested = [asked.kind, asked.engine, asked.precision, asked.imgsz, asked.threads, asked.limit, asked.decode]
    digest = hashlib.sha256(fsio.dumps([submit_file, *requested]).encode()).hexdigest()[:16]
    folder = asked.run.prepare_dir
    try:
        constraint = f'{RUN} == "{asked.run.run_id}"'
        queued = ads.parse_ads(
            run(["condor_q", "-constraint", constraint, "-json", "-attributes", f"ClusterId,JobStatus,{ASKED}"])
        )
        clusters = {int(ad["ClusterId"]): ad for ad in queued if ads.state(ad) in ("idle", "running")}
        same = sorted(cluster for cluster, ad in clusters.items() if ad.get(ASKED) == digest)
        for cluster in sorted({int(ad["ClusterId"]) for ad in queued} - set(same[:1])):
            run(["condor_rm", str(cluster)])
        if same:
            return same[0]
        for path in (folder, log_dir):
            path.mkdir(parents=True, exist_ok=True)
        path = folder / "prepare.sub"
        fsio.write_text(path, f"event_log = {event_log(log_dir, asked.run)}\n{submit_file}")
        more = ["-append", f'+{ASKED} = "{digest}"', *(["-append", f"request_memory = {mib}"] if mib else [])]
        return condor_submit(path, run, more)
    except (CommandFailed, ValueError) as error:
        raise YoloError(
            "the job that prepares the model can't be submitted", str(error), remedy="see condor_q on the submit host"
        ) from None


def poll(
    run_dir: Run,
    jobs: Jobs,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Status:
    """Poll the job once.

    A command of HTCondor that fails does not end the wait: a schedd that restarts comes back.

    Args:
        run_dir: The run.
        jobs: Answers what is asked of the job's cluster.
        now: The clock of the submit host, epoch seconds.
        sleep: Waits some seconds.

    Raises:
        YoloError: HTCondor is not installed.
    """
    try:
        ad, queued = _find(jobs, sleep)
    except CommandFailed as error:
        trouble = Explanation(str(error), "it is asked again")
        return Status("waiting", "preparing the model: HTCondor does not answer", notices=(trouble,))
    out, err = (run_dir.prepare_dir / f"{jobs.cluster}.{kind}" for kind in ("out", "err"))
    if ad is None or not queued:
        return ended(ad, jobs.cluster, read_answer(out), read_tail(err))
    state = ads.state(ad)
    if state == "held":
        # The command removes it.
        return _failed(explain_hold(ad, gone=True))
    since = ads.number(ad, "EnteredCurrentStatus")
    seconds = max(now() - since, 0) if since else 0.0
    if state != "idle":
        host = ads.text(ad, "LastRemoteHost").rpartition("@")[2]
        return Status("waiting", f"preparing the model on {host.split('.')[0] or 'an execute host'}{_for(seconds)}")
    try:
        return waiting(ad, jobs.slots(), seconds)
    except CommandFailed as error:
        trouble = Explanation(str(error), "is the central manager up? See condor_status")
        return Status("waiting", _idle_line(ad, seconds), notices=(trouble,))


def _find(jobs: Jobs, sleep: Callable[[float], None]) -> tuple[Ad | None, bool]:
    """Return the job, and whether it is in the queue; no job if it left no trace."""
    for attempt in range(HISTORY_TRIES):
        if attempt:
            sleep(1)
        if found := jobs.queue():
            # One that has ended may stay in the queue for a moment.
            return found[0], ads.state(found[0]) not in ("completed", "removed")
        if found := jobs.history(1):
            return found[0], False
    return None, False


def ended(ad: Ad | None, cluster: int, said: dict[str, Any] | None, tail: str) -> Status:
    """Say what came of a job that has left the queue.

    Args:
        ad: The job; None if it left no trace in HTCondor's history.
        cluster: Its cluster.
        said: What it answered, if anything.
        tail: The last lines of its error file, parted by `` | ``.
    """
    if ad is not None and ads.state(ad) == "removed":
        return _failed(explain_removed(ad))
    failed = ads.failed_exit(ad) if ad is not None else None
    if said is not None and failed is None:
        return Status("done", "the model is prepared", answer=said)
    last = tail.rpartition(" | ")[2]
    if ad is not None and ads.number(ad, "ExitCode") == EXIT_ERROR and last.startswith("error: "):
        return Status("failed", "the model can't be prepared", last.removeprefix("error: "))
    if ad is not None and failed is not None:
        return _failed(explain_exit(ad, tail))
    return Status(
        "failed",
        "the model can't be prepared",
        f"job {cluster}.0, which prepares the model, left no answer",
        "run the same command again: it submits another",
    )


def waiting(ad: Ad, slots: Sequence[Ad], seconds: float) -> Status:
    """Say how an idle job stands.

    Args:
        ad: The job.
        slots: All slots of the pool.
        seconds: How long it has been idle.
    """
    found = explain_idle(ad, slots)
    whole = [slot for slot in slots if slot.get("DynamicSlot") is not True]
    if not whole and seconds > EMPTY_POOL:
        return _failed(found)
    # Nobody can do anything about a slot that is free: its host answers late, or is lost and not missed yet.
    if seconds < EXPLAIN_AFTER or found == MATCHABLE:
        return Status("waiting", _idle_line(ad, seconds))
    stuck = explain_too_large(ad, slots)
    return Status("waiting", _idle_line(ad, seconds), notices=(found,), stuck=found if stuck else None)


def _idle_line(ad: Ad, seconds: float) -> str:
    lost = " again, the host that had it is lost" if ad.get("JobStartDate") else ""
    return f"preparing the model: waits for a slot{lost}{_for(seconds)}"


def _for(seconds: float) -> str:
    return f" for {human_time(seconds)}" if seconds >= EXPLAIN_AFTER else ""


def _failed(found: Explanation) -> Status:
    return Status("failed", "the model can't be prepared", found.reason, found.remedy)


def read_answer(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in the last line of a job's output, or None."""
    try:
        value = json.loads(path.read_bytes().splitlines()[-1])
    except (OSError, ValueError, IndexError):
        return None
    return value if isinstance(value, dict) else None


def remove(cluster: int, run: Runner = run_command) -> None:
    """Remove a job that failed: held, it would stand in the queue for ever, and the next call would wait for it."""
    with suppress(CommandFailed):
        run(["condor_rm", str(cluster)])
