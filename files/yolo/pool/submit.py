"""Submit the jobs of a submission and note when. Runs on the submit host as the job user."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..share import fsio
from ..share.clocks import share_clock
from ..share.errors import YoloError, run_cli
from ..share.layout import PASSES, Pass
from ..share.settings import run_at
from .status import CommandFailed, run_command


def submit(
    run_pass: Pass, submission: str, submit_file: Path, run: Callable[[Sequence[str]], str] = run_command
) -> dict[str, Any]:
    """Submit one cluster of jobs.

    Args:
        run_pass: The pass.
        submission: Its plan.
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
        cluster = int(run(["condor_submit", "-terse", str(submit_file)]).split(".")[0])
    except CommandFailed as error:
        raise YoloError(f"the jobs can't be submitted ({error})", submit_file) from None
    except ValueError:
        raise YoloError("condor_submit does not say the jobs' number", submit_file) from None
    found = {"cluster": cluster, "submitted": round(moment, 3)}
    fsio.write_json(note, found)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Submit and print as JSON what came of it."""
    parser = argparse.ArgumentParser(prog="yolo.pool.submit", description=__doc__)
    parser.add_argument("--run-dir", type=Path, required=True, help="<share>/runs/<run_id>")
    parser.add_argument("--pass", dest="pass_name", choices=PASSES, required=True)
    parser.add_argument("--submission", required=True)
    parser.add_argument("submit_file", type=Path)
    args = parser.parse_args(argv)
    print(fsio.dumps(submit(run_at(args.run_dir).get_pass(args.pass_name), args.submission, args.submit_file)))
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
