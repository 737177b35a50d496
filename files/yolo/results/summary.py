"""What a run came to, in a few lines for the terminal, from the figures in its results folder.

Runs on the control node. Names of files may hold anything: each is shown in one line, with what can't be printed
escaped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..share import fsio
from ..share.errors import YoloError, one_line, run_cli

FAILURES = 20
"""Failures that are named."""

CLASSES = 8
"""Classes that are named, the most frequent first."""


def lines(metrics: Mapping[str, Any], compared: Mapping[str, Any], folder: str) -> Iterator[str]:
    """Yield the lines.

    Args:
        metrics: ``metrics.json``.
        compared: ``compare.json``; empty if the run had one pass.
        folder: Where the results are.
    """
    counts = metrics["counts"]
    yield (
        f"Run {metrics['run_id']}: {counts['ok']} of {counts['images']} images done, {counts['failed']} failed, "
        f"{counts['skipped']} can't be images."
    )
    if counts["processed"]:
        yield (
            f"This submission: {counts['processed']} images in {metrics['times']['wall_seconds']} s on "
            f"{len(metrics['slots'])} slots, {metrics['images_per_second']} images/s."
        )
    else:
        yield "This submission: nothing was left to do."
    for note in metrics.get("notes", ()):
        yield f"Note: {note}"
    classes = sorted(metrics["detections_per_class"].items(), key=lambda item: (-item[1], item[0]))
    named = ", ".join(f"{count} {name}" for name, count in classes[:CLASSES])
    others = sum(count for _, count in classes[CLASSES:])
    more = f", {others} of {len(classes) - CLASSES} other classes" if others else ""
    yield f"{counts['detections']} detections: {named or 'none'}{more}"
    failures = metrics["failures"]
    for failure in failures[:FAILURES]:
        yield f"  {failure['status']}: {failure['path']}: {failure['reason']}"
    if len(failures) > FAILURES:
        yield f"  ... and {len(failures) - FAILURES} more in metrics.json"
    if compared:
        yield from _comparison(compared)
    yield f"Results: {folder} (report.html, images/, labels/, predictions.json, metrics.json, metrics.csv, results.zip)"


def _comparison(compared: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"One slot: {compared['single']['images_per_second']} images/s. {compared['slots']} slots: "
        f"{compared['parallel']['images_per_second']} images/s."
    )
    unfair = "" if compared["comparable"] else (
        " The two passes did not do the same images: start a new run_id for figures that compare."
    )  # fmt: skip
    yield f"Speed-up {compared['speed_up']}, efficiency {compared['efficiency']}.{unfair}"
    if compared["identical"]:
        yield "The detections of both are identical."
    else:
        count = compared["images_that_differ"]
        yield f"The detections of both are NOT identical: {count} images differ, see compare.json."


def render(folder: Path) -> str:
    """Return the text for a results folder.

    Raises:
        YoloError: Its figures are damaged.
        OSError: They can't be read.
    """
    try:
        metrics = fsio.read_json(folder / "metrics.json")
        compared = fsio.read_json(folder / "compare.json") if metrics["mode"] == "compare" else {}
        return "\n".join(map(one_line, lines(metrics, compared, str(folder))))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise YoloError(
            f"the figures are damaged or of an older version ({type(error).__name__}: {error})",
            folder,
            remedy="run the same run_id again, which merges and pulls them anew",
        ) from None


def main(argv: Sequence[str] | None = None) -> int:
    """Print the text."""
    parser = argparse.ArgumentParser(prog="yolo.results.summary", description=__doc__)
    parser.add_argument("folder", type=Path, help="results/<run_id>")
    print(render(parser.parse_args(argv).folder))
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
