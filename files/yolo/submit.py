"""Submit the jobs of a plan and note when. Runs on the submit host as the job user."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import fsio
from .clocks import share_clock
from .errors import YoloError, run_cli
from .layout import LEGS, Leg
from .plan import run_at
from .watch import CommandFailed, run_command


def submit(leg: Leg, plan: str, submit_file: Path, run: Callable[[Sequence[str]], str] = run_command) -> dict[str, Any]:
    """Submit one cluster of jobs.

    Args:
        leg: The leg.
        plan: Its plan.
        submit_file: For ``condor_submit``.
        run: Runs the command.

    Returns:
        ``cluster`` (ClusterId) and ``submitted``, seconds since the epoch by the share's clock; they also stand in
        ``leg.submission(plan)``.

    Raises:
        YoloError: HTCondor does not take the jobs.
        OSError: The share can't be written.
    """
    note = leg.submission(plan)
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


def read_submitted(leg: Leg, plan: str | None) -> float | None:
    """Return when a plan's jobs were submitted, by the share's clock; None where that is not known."""
    try:
        return None if plan is None else float(fsio.read_json(leg.submission(plan))["submitted"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def main(argv: Sequence[str] | None = None) -> int:
    """Submit and print as JSON what came of it."""
    parser = argparse.ArgumentParser(prog="yolo.submit", description=__doc__)
    parser.add_argument("--run-dir", type=Path, required=True, help="<share>/runs/<run_id>")
    parser.add_argument("--leg", choices=LEGS, required=True)
    parser.add_argument("--plan", required=True)
    parser.add_argument("submit_file", type=Path)
    args = parser.parse_args(argv)
    print(fsio.dumps(submit(run_at(args.run_dir).leg(args.leg), args.plan, args.submit_file)))
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
