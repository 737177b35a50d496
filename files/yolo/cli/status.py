"""How far a submission is, how fast, what stands still and why; on the submit host, as the job user."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..pool.backups import Backups
from ..pool.condor import Condor
from ..pool.follow import clean_up, follow
from ..pool.heartbeats import Heartbeats
from ..pool.plan import last_submission
from ..pool.status import Status, poll
from ..pool.tracker import EventLog, Tracker
from ..share.errors import YoloError
from ..share.layout import PASSES, Pass, Run
from ..share.request_file import read_request
from ..share.settings import run_at
from ..share.submitted import read_cluster
from .messages import say


def follow_submission(
    run: Run, run_pass: Pass, submission: str, cluster: int, log: Path, time_limit: float, most: float | None = None
) -> dict[str, Any]:
    """Show how a submission goes until its jobs have ended; return how it ended.

    Args:
        run: The run.
        run_pass: The pass.
        submission: Name of the submission.
        cluster: ClusterId of its jobs.
        log: Their event log.
        time_limit: Seconds after which the jobs are removed.
        most: Return after so many seconds in any case, with ``ended`` false.

    Returns:
        The last status, ``ended``, ``failed`` and, if it failed, ``msg``.
    """
    image_bytes = read_request(run)["image_bytes"]
    tracker = Tracker(Condor(cluster), lambda: EventLog(log))
    backups = Backups(run_pass, submission, tracker, lambda text: say(notice=text))
    heartbeats = Heartbeats(run_pass, submission)
    found = follow(
        lambda: backups.update(poll(run_pass, submission, tracker, image_bytes=image_bytes, heartbeats=heartbeats)),
        lambda line: say(line=line),
        lambda text: say(notice=text),
        time_limit,
        most,
    )
    if found is None:
        return {"ended": False, "failed": False, "changed": True}
    backups.close()
    clean_up(cluster, found)
    return _to_dict(run, run_pass, found)


def _to_dict(run: Run, run_pass: Pass, status: Status) -> dict[str, Any]:
    result = {**asdict(status), "ended": status.state != "waiting", "failed": status.state == "failed", "changed": True}
    if result["failed"]:
        result["msg"] = (
            f"Run {run.run_id} ({run_pass.root.name}) stopped: {status.reason}. Remedy: {status.remedy}. Images that "
            "are done are kept."
        )
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Print the status of a pass's newest submission; with ``--follow`` until its jobs have ended.

    Raises:
        YoloError: Nothing was submitted, or the submission is damaged.
        OSError: The share can't be read.
    """
    parser = argparse.ArgumentParser(prog="python -m yolo status", description=__doc__)
    parser.add_argument("--run-dir", type=Path, required=True, help="<share>/runs/<run_id>")
    parser.add_argument("--pass", dest="pass_name", choices=PASSES, required=True)
    parser.add_argument("--submission", help="by default the newest")
    parser.add_argument(
        "--cluster", type=int, help="ClusterId of its jobs; by default as noted when they were submitted"
    )
    parser.add_argument("--follow", action="store_true", help="go on until the jobs have ended, then tidy up the queue")
    parser.add_argument("--for", dest="most", type=float, help="follow for so many seconds at most")
    parser.add_argument("--time-limit", type=float, default=float("inf"), help="remove the jobs after so many seconds")
    parser.add_argument("--log", type=Path, help="the jobs' event log; without it the schedd is asked")
    args = parser.parse_args(argv)
    run = run_at(args.run_dir)
    run_pass = run.get_pass(args.pass_name)
    submission = args.submission or last_submission(run_pass)
    cluster = args.cluster or read_cluster(run_pass, submission)
    if submission is None or cluster is None:
        raise YoloError("nothing was submitted", run_pass.root, remedy="python -m yolo submit does that")
    if args.follow:
        log = args.log or Path("/nonexistent")
        say(result=follow_submission(run, run_pass, submission, cluster, log, args.time_limit, args.most))
    else:
        say(result=_to_dict(run, run_pass, poll(run_pass, submission, Condor(cluster))))
    return 0
