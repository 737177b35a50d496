"""Make a run's model and select its engine; a job of the pool, before the others."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..model.asked import model_request
from ..model.prepare import stdout_to_stderr
from ..model.selection import answer
from ..model.selector import EngineSelector
from ..share.fsio import dumps
from ..share.settings import run_at


def main(argv: Sequence[str] | None = None) -> int:
    """Print what was selected, and whether anything was made for it.

    Raises:
        YoloError: What the run asks for cannot be had.
        OSError: The share can't be read or written.
    """
    parser = argparse.ArgumentParser(prog="python -m yolo select-engine", description=__doc__)
    parser.add_argument("--run-dir", type=Path, required=True, help="<share>/runs/<run_id>")
    args = parser.parse_args(argv)
    asked = model_request(run_at(args.run_dir))
    selector = EngineSelector(asked)
    # What libraries print must not stand among the answer.
    with stdout_to_stderr():
        selection, info = selector.choose()
    print(dumps(answer(asked, selection, info, made=selector.made)))
    return 0
