"""Merge what a pass's jobs did, and compare the passes; on the submit host, as the job user."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..pool import throughput
from ..results import beside, compare, merge
from ..share.layout import PASSES
from ..share.request_file import read_request
from ..share.settings import run_at
from .messages import read_input, say


def main(argv: Sequence[str] | None = None) -> int:
    """Write the figures of a pass; after the last one of a comparison also ``compare.json``.

    After the last pass the result names what belongs beside its results, see ``results.beside``.

    Raises:
        YoloError: An image has neither a result nor a reason, or something on the share is damaged.
        OSError: The share can't be read or written.
    """
    parser = argparse.ArgumentParser(prog="python -m yolo finish", description=__doc__)
    parser.add_argument("--run-dir", type=Path, required=True, help="<share>/runs/<run_id>")
    parser.add_argument("--pass", dest="pass_name", choices=PASSES, required=True)
    parser.add_argument(
        "--from",
        dest="source",
        help="JSON with stage_seconds, machines (name and processors of each execute host), slots and, from the status "
        "of the submission, unfinished, reason, remedy; - for standard input",
    )
    args = parser.parse_args(argv)
    given = read_input(args.source) if args.source else {}
    run = run_at(args.run_dir)
    request = read_request(run)
    merged = merge.merge(
        run,
        args.pass_name,
        stage_seconds=given.get("stage_seconds"),
        prices=request["prices"],
        unfinished_jobs=given.get("unfinished") or {},
    )
    throughput.remember(run, merged.settings, merged.jobs)
    if error := merged.missing_error():
        raise error
    left = {"reason": given.get("reason"), "remedy": given.get("remedy")} if merged.unfinished else {}
    result = {"pass": args.pass_name, "images": merged.counts["images"], "unfinished": merged.unfinished, **left}
    if args.pass_name == request["passes"][-1]:
        identical = None
        if request["mode"] == "compare":
            cpus = dict(given.get("machines") or [])
            identical = compare.compare(run, given.get("slots") or None, cpus)["identical"]
        result["beside"] = beside.files(request["passes"], identical)
    say(result=result | {"changed": bool(given.get("worked"))})
    return 0
