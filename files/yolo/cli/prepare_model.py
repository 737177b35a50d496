"""The job that goes before the others: prepare the model of a run and select its engine."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence

from ..model.selection import add_arguments, answer, asked_by
from ..share.fsio import dumps


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
    add_arguments(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help='make nothing; print {"made": true} if something would be made'
    )
    args = parser.parse_args(argv)
    # Only here, so that --help and wrong arguments need no installed package.
    from ..model.selector import EngineSelector, NotMadeError

    request = asked_by(args)
    selector = EngineSelector(request, dry_run=args.dry_run)
    try:
        # What exporters print goes to stderr: stdout is this command's own answer.
        with contextlib.redirect_stdout(sys.stderr):
            selection, info = selector.select()
    except NotMadeError:
        print(dumps({"made": True}))
        return 0
    print(dumps(answer(request, selection, info, made=selector.made)))
    return 0
