"""Plan what a pass has not done yet and submit it; on the submit host, as the job user."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ..pool import submit
from ..pool.plan import plan_submission
from ..share.errors import YoloError
from ..share.layout import PASSES
from ..share.request_file import read_request
from ..share.settings import run_at
from .messages import read_input, say
from .status import follow_submission


def main(argv: Sequence[str] | None = None) -> int:
    """Submit one cluster of jobs, unless nothing is left to do.

    Jobs that an earlier call left in the queue are waited for first: their work is kept, and what they leave undone is
    planned anew.

    Raises:
        YoloError: HTCondor does not take the jobs, or those of the earlier call can't do their work.
        OSError: The share can't be read or written.
    """
    parser = argparse.ArgumentParser(prog="python -m yolo submit", description=__doc__)
    parser.add_argument("--run-dir", type=Path, required=True, help="<share>/runs/<run_id>")
    parser.add_argument("--pass", dest="pass_name", choices=PASSES, required=True)
    parser.add_argument("--slots", type=int, required=True, help="slots of the pool")
    parser.add_argument("--log-dir", type=Path, help="folder of HTCondor's event logs, on a local disk")
    parser.add_argument("--from", dest="source", help="JSON with the rendered submit_file, - for standard input")
    parser.add_argument("--dry-run", action="store_true", help="write and submit nothing, say what would be done")
    args = parser.parse_args(argv)
    given = read_input(args.source) if args.source else {}
    run = run_at(args.run_dir)
    run_pass = run.get_pass(args.pass_name)
    request = read_request(run)
    if not args.dry_run:
        if "submit_file" not in given or args.log_dir is None:
            raise YoloError("nothing to submit with", expected="--log-dir, and submit_file in the input")
        queued = submit.find_queued(run.run_id, args.pass_name)
        if queued is not None:
            log = submit.event_log(args.log_dir, run_pass, queued.submission)
            limit = request["job"]["time_limit"]
            status = follow_submission(run, run_pass, queued.submission, queued.cluster, log, limit)
            if status["failed"]:
                raise YoloError(status["msg"])
    planned = plan_submission(
        run,
        args.pass_name,
        max(args.slots, 1),
        request["chunk_size"] or None,
        single_chunk=args.pass_name == "single",
        dry_run=args.dry_run,
    )
    result = {**asdict(planned), "changed": planned.chunks > 0, "cluster": None}
    if planned.submission is not None:
        log = submit.event_log(args.log_dir, run_pass, planned.submission)
        log.parent.mkdir(parents=True, exist_ok=True)
        path = submit.write_submit_file(run_pass, planned.submission, given["submit_file"], log, planned.chunks)
        result |= submit.submit(run_pass, planned.submission, path) | {"log": str(log)}
    say(result=result)
    return 0
