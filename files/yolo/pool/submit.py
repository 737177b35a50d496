"""Submit the jobs of a submission and note when; find those of an earlier call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..share import fsio
from ..share.clocks import share_clock
from ..share.errors import YoloError
from ..share.layout import Pass
from . import ads
from .condor import CommandFailed, Runner, condor_submit, run_command

RUN, PASS, SUBMISSION = "YoloRunId", "YoloPass", "YoloSubmission"
"""Attributes of the jobs: the run's name, and to which pass and submission they belong."""

BACKUP = "YoloBackup"
"""Attribute of a job that does again what another one of its submission does, see ``backups``."""

MOST_WAITING = 1000
"""HTCondor makes the jobs of a larger submission only as others start: at most so many wait or are held at a time."""


@dataclass(frozen=True, slots=True)
class Queued:
    """Jobs of a pass that are in the queue.

    Attributes:
        cluster: ClusterId.
        submission: Name of their submission.
    """

    cluster: int
    submission: str


def find_queued(run_id: str, pass_name: str, run: Runner = run_command) -> Queued | None:
    """Return the jobs of a pass that an earlier call submitted and nobody has waited for, or None.

    Raises:
        YoloError: HTCondor does not answer.
    """
    # Not what was removed and whose host does not answer, nor backups of it: both write to attempts of their own.
    constraint = f'{RUN} == "{run_id}" && {PASS} == "{pass_name}" && JobStatus != 3 && {BACKUP} =!= True'
    command = ["condor_q", "-allusers", "-constraint", constraint, "-json", "-attributes", f"ClusterId,{SUBMISSION}"]
    try:
        found = ads.parse_ads(run(command))
    except CommandFailed as error:
        raise YoloError(
            "HTCondor on the submit host does not answer",
            str(error),
            remedy="run site.yml: it mends and checks the pool",
        ) from None
    if not found:
        return None
    return Queued(int(found[0]["ClusterId"]), str(found[0][SUBMISSION]))


def event_log(log_dir: Path, run_pass: Pass, submission: str) -> Path:
    """Return the path of a submission's event log, on the submit host's own disk: HTCondor locks it."""
    return log_dir / f"{run_pass.root.parent.name}-{run_pass.root.name}-{submission}.log"


def write_submit_file(run_pass: Pass, submission: str, text: str, log: Path, jobs: int = 1) -> Path:
    """Write the submit file of a submission: what only planning determines, then the playbook's template.

    Args:
        run_pass: The pass.
        submission: Name of the submission.
        text: The rendered template; uses the macros ``submission``, ``event_log`` and ``chunks``.
        log: The event log.
        jobs: Chunks of the submission.

    Raises:
        OSError: It can't be written.
    """
    macros = {"submission": submission, "event_log": str(log), "chunks": str(run_pass.queue(submission))}
    if jobs > MOST_WAITING:
        macros["max_idle"] = str(MOST_WAITING)
    path = run_pass.submission_dir(submission) / "detect.sub"
    fsio.write_text(path, "".join(f"{name} = {value}\n" for name, value in macros.items()) + text)
    return path


def submit(
    run_pass: Pass, submission: str, submit_file: Path, run: Callable[[Sequence[str]], str] = run_command
) -> dict[str, Any]:
    """Submit one cluster of jobs.

    Args:
        run_pass: The pass.
        submission: Name of the submission.
        submit_file: For ``condor_submit``.
        run: Runs the command.

    Returns:
        ``cluster`` (ClusterId) and ``submitted``, seconds since the epoch by the share's clock; they also stand in
        ``Pass.submitted``.

    Raises:
        YoloError: HTCondor does not take the jobs.
        OSError: The share can't be written.
    """
    note = run_pass.submitted(submission)
    moment, _ = share_clock(lambda: fsio.write_json(note, {"submitted": None}), note)
    try:
        cluster = condor_submit(submit_file, run)
    except CommandFailed as error:
        raise YoloError(f"the jobs can't be submitted ({error})", submit_file) from None
    except ValueError:
        raise YoloError("condor_submit does not say the jobs' number", submit_file) from None
    found = {"cluster": cluster, "submitted": round(moment, 3)}
    fsio.write_json(note, found)
    return found
