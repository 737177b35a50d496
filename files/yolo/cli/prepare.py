"""Have the pool prepare a run's model and write the run's settings; on the submit host, as the job user."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..model.asked import model_request
from ..model.info import load_info
from ..model.selection import ModelRequest, read_object
from ..pool import hosts, prepare
from ..pool.condor import Condor
from ..pool.explain import Explanation
from ..pool.follow import follow
from ..pool.notices import Notices
from ..pool.run_settings import run_settings
from ..pool.tracker import EventLog, Tracker
from ..share import fsio
from ..share.errors import YoloError
from ..share.request_file import read_request
from ..share.settings import run_at
from . import messages
from .messages import say

SECONDS_FOR_HOSTS = 180.0
"""A central manager that has just started lists its execute hosts after one or two of their reports: many times the
longest wait that was measured. A host that is lost is not waited for."""

SECONDS_BETWEEN_READS = 0.25
"""The job's event log is read so often: it is short."""

_SECONDS_BETWEEN_POLLS = 1.0


def main(argv: Sequence[str] | None = None) -> int:
    """Write ``run.json``; print the execute hosts of the pool, and what the jobs compute with and why.

    A run that goes on keeps its selection. Anything else is settled by a job of the pool.

    Raises:
        YoloError: The pool has no execute host, or the weights can't be used.
        OSError: The share can't be read or written.
    """
    parser = argparse.ArgumentParser(prog="python -m yolo prepare", description=__doc__)
    parser.add_argument("--run-dir", type=Path, required=True, help="<share>/runs/<run_id>")
    parser.add_argument("--expected", default="", help="names of the execute hosts, with commas")
    parser.add_argument("--log-dir", type=Path, help="folder of HTCondor's event logs, on a local disk")
    parser.add_argument("--from", dest="source", help="JSON with the rendered submit_file, - for standard input")
    parser.add_argument("--dry-run", action="store_true", help="submit nothing, say what is known")
    args = parser.parse_args(argv)
    given = messages.read_input(args.source) if args.source else {}
    run = run_at(args.run_dir)
    request = read_request(run)
    pool = find_hosts([name for name in args.expected.split(",") if name])
    slots = sum(cpus // request["job"]["cpus"] for _, cpus in pool.machines)
    result: dict[str, Any] = {"machines": pool.machines, "slots": slots}
    asked = model_request(run, request)
    answer = prepare.known(asked)
    if answer is None and args.dry_run:
        say(result=result | prepare.would(asked) | {"changed": True})
        return 0
    if answer is None:
        if "submit_file" not in given or args.log_dir is None:
            raise YoloError("nothing to submit with", expected="--log-dir, and submit_file in the input")
        mib = prepare.memory(asked, request["job"]["memory"], pool.memory)
        cluster = prepare.start(asked, given["submit_file"], args.log_dir, mib)
        log = prepare.event_log(args.log_dir, run)
        answer = wait_for_job(asked, cluster, log, request["job"]["time_limit"])
    info = load_info(answer["model"])
    settings = run_settings(request, answer, info.names)
    wanted = request["settings"]
    for limit in info.limits(conf=wanted["conf"], iou=wanted["iou"], max_det=wanted["max_det"]):
        say(notice=f"the weights suppress boxes themselves, so a setting has no effect: {limit}")
    changed = settings != read_object(run.settings)
    if changed and not args.dry_run:
        fsio.write_json(run.settings, settings, indent=1)
    say(result=result | {"sentence": answer["sentence"], "changed": bool(answer["made"] or changed)})
    return 0


def find_hosts(expected: Sequence[str]) -> hosts.Status:
    """Wait for the pool's execute hosts, and say so; return those that it has.

    Raises:
        YoloError: There is none.
    """
    notices = Notices(lambda text: say(notice=text), time.monotonic)
    end = time.monotonic() + SECONDS_FOR_HOSTS
    waited = False
    while True:
        found = hosts.poll(len(expected))
        if found.state != "done":
            say(line=found.line)
        elif waited:
            # What a wait ended with stays.
            say(notice=found.line)
        if found.state == "done" or time.monotonic() > end:
            break
        waited = True
        if found.reason is not None and found.remedy is not None:
            notices.update([Explanation(found.reason, found.remedy)])
        time.sleep(_SECONDS_BETWEEN_POLLS)
    if not found.machines:
        raise YoloError(
            f"the pool has had no execute host for {SECONDS_FOR_HOSTS:.0f} s",
            found.reason,
            ", ".join(expected) or None,
            "are they and the central manager up? `ansible-playbook site.yml` mends and checks the pool",
        )
    return found


def wait_for_job(asked: ModelRequest, cluster: int, log: Path, time_limit: float) -> dict[str, Any]:
    """Show how the job that prepares the model goes until it has ended; return its answer.

    Raises:
        YoloError: It failed, or took too long. It is removed then.
    """
    jobs = Tracker(Condor(cluster), lambda: EventLog(log))
    status = follow(
        lambda: prepare.poll(asked.run, jobs),
        lambda line: say(line=line),
        lambda text: say(notice=text),
        time_limit,
        between=SECONDS_BETWEEN_READS,
    )
    if status is not None and status.answer is not None:
        return status.answer
    prepare.remove(cluster)
    assert status is not None, "follow() has no time limit of its own here"
    raise YoloError(f"{status.reason}. Remedy: {status.remedy}" if status.remedy else str(status.reason))
