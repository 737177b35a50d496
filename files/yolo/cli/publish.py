"""Unpack what was pulled into a results folder, write its report, pack results.zip, and summarise the run.

Runs on the control node, on a folder that was pulled from the share: results/<run_id>.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from ..results import archive, summary, unpack
from ..results.figures import read_figures
from ..results.quality import write as quality
from ..share.containers import read_contents
from ..share.errors import YoloError
from ..share.layout import CONTENTS
from ..share.words import plural
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
    parser.add_argument("--zip-only", action="store_true", help="leave images and labels in results.zip alone")
    parser.add_argument(
        "--list-needed",
        action="store_true",
        help=f"only write {unpack.NEEDED}, the containers that are still to be pulled",
    )
    args = parser.parse_args(argv)
    if args.list_needed:
        say(result={"changed": False, "needed": len(unpack.list_needed(args.folder, args.zip_only))})
        return 0
    changed, lines = publish(args.folder, args.nothing_done, args.labels, args.zip_only)
    if args.json:
        say(result={"changed": changed, "summary": lines})
    else:
        print("\n".join(lines))
    return 0


def publish(
    folder: Path, nothing_done: bool = False, labels: Path | None = None, zip_only: bool = False
) -> tuple[bool, list[str]]:
    """Write images, labels, ``report.html``, ``results.zip`` and, with labels, ``quality.json`` into a results folder.

    Args:
        folder: Holds the figures and what was pulled; published before, it holds images and labels.
        nothing_done: Whether nothing was left to do when the run was started again.
        labels: What the detections are scored against; None if there is nothing.
        zip_only: Whether images and labels are to stand in ``results.zip`` alone.

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
    pulled = (folder / CONTENTS).exists()
    apart = unpack.unpack(folder, read_contents(folder / CONTENTS), zip_only) if pulled else {}
    figures = read_figures(folder)
    rescored, scored = quality.update(figures, labels)
    reported = write.write(figures, scored)
    # The zip holds the report.
    packed = archive.pack(folder, apart)
    if pulled:
        unpack.remove_leftovers(folder, zip_only)
    lines = summary.lines(figures, scored, nothing_done)
    if not zip_only and (long := sum(not unpack.fits(stored) for stored in apart.values())):
        lines.insert(-1, f"In results.zip alone, since their names are too long for a file: {plural(long, 'file')}.")
    return rescored or reported or packed, lines
