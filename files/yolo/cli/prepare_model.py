"""The job that goes before the others: prepare the model of a run and select its engine."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from ..model.asked import model_request
from ..model.selection import answer
from ..share.fsio import dumps
from ..share.settings import run_at


def main(argv: Sequence[str]) -> int:
    """Run the command; it prints one JSON object, see ``selection.answer``.

    Raises:
        YoloError: The weights cannot be used, or what was asked for cannot be had.
    """
    parser = argparse.ArgumentParser(
        prog="python -m yolo prepare-model",
        description="Prepare the model of a run on this host, unless it is there already, and select the engine and "
        "precision that its jobs compute with. Prints the answer as one JSON object.",
    )
    parser.add_argument("--run-dir", type=Path, required=True, help="<share>/runs/<run_id>")
    args = parser.parse_args(argv)
    # Only here, so that --help and wrong arguments need no installed package.
    from ..model.selector import EngineSelector

    request = model_request(run_at(args.run_dir))
    selector = EngineSelector(request)
    # What exporters print goes to stderr: stdout is this command's own answer.
    with contextlib.redirect_stdout(sys.stderr):
        selection, info = selector.select()
    print(dumps(answer(request, selection, info, made=selector.made)))
    return 0
