"""Write the report of a results folder, pack results.zip, and summarise the run.

Runs on the control node, on a folder that was pulled from the share: results/<run_id>.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from ..results import archive, summary
from ..results.figures import read_figures
from ..results.quality import write as quality
from ..share.errors import YoloError
from .messages import say


def main(argv: Sequence[str] | None = None) -> int:
    """Publish a results folder and print the summary."""
    parser = argparse.ArgumentParser(prog="python -m yolo publish", description=__doc__)
    parser.add_argument("folder", type=Path, help="results/<run_id>")
    parser.add_argument("--nothing-done", action="store_true", help="say that nothing was left to do in this run")
    parser.add_argument("--json", action="store_true", help="print one object, the result: changed, summary (lines)")
    parser.add_argument(
        "--labels", type=Path, help="score the detections: a folder of YOLO label files, or a COCO JSON"
    )
    args = parser.parse_args(argv)
    changed, lines = publish(args.folder, args.nothing_done, args.labels)
    if args.json:
        say(result={"changed": changed, "summary": lines})
    else:
        print("\n".join(lines))
    return 0


def publish(folder: Path, nothing_done: bool = False, labels: Path | None = None) -> tuple[bool, list[str]]:
    """Write ``report.html``, ``results.zip`` and, with labels, ``quality.json`` into a results folder.

    Args:
        folder: Holds the figures, and images and labels if there are any.
        nothing_done: Whether nothing was left to do when the run was started again.
        labels: What the detections are scored against; None if there is nothing.

    Returns:
        Whether a file is another one than before, and the summary's lines.

    Raises:
        YoloError: The folder or its figures are missing or damaged, or a library that the report needs is.
        OSError: A file can't be read or written, e.g. the disk is full.
    """
    folder = Path(os.path.abspath(folder))
    try:
        from ..results.report import write
    except ModuleNotFoundError as error:
        raise YoloError(
            "a library that the report needs is not installed", error.name, remedy="use the project's .venv/bin/python"
        ) from None
    figures = read_figures(folder)
    rescored, scored = quality.update(figures, labels)
    reported = write.write(figures, scored)
    # The zip holds the report.
    packed = archive.pack(folder)
    return rescored or reported or packed, summary.lines(figures, scored, nothing_done)
