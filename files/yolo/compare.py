"""Set a run's two legs against each other: how much faster, and are the detections the same?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from . import fsio, manifest
from .collect import read_records
from .errors import YoloError, run_cli
from .layout import Leg, Run
from .plan import run_at
from .records import Detection, Record

SHOWN = 20
"""Differences that are shown."""


@dataclass(slots=True)
class Differences:
    """What differs between the legs.

    Attributes:
        count: Images that differ.
        examples: The first of them: path, what differs, and both values.
    """

    count: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)


def difference(single: Record | None, parallel: Record | None) -> tuple[str, Any, Any] | None:
    """Return what differs first between two records of an image and both values, or None.

    Boxes, classes and scores must be equal to the last bit. Where both failed, the words may
    differ.
    """
    if single is None or parallel is None:
        return "no result", single is not None, parallel is not None
    if single.error is not None and parallel.error is not None:
        return None
    if single.error != parallel.error:
        return "failure", single.error, parallel.error
    size_single, size_parallel = (single.width, single.height), (parallel.width, parallel.height)
    if size_single != size_parallel:
        return "size", size_single, size_parallel
    for first, second in zip_longest(single.detections, parallel.detections):
        if first != second:
            return "detection", _plain(first), _plain(second)
    return None


def _plain(detection: Detection | None) -> list[float] | None:
    if detection is None:
        return None
    return [detection.class_id, detection.score, *detection.box]


def find_differences(run: Run, single: Leg, parallel: Leg) -> Differences:
    """Compare the records of all images.

    Raises:
        YoloError: The manifest is damaged.
        OSError: A file can't be read.
    """
    entries = [entry for entry in manifest.read(run.manifest) if entry.skip is None]
    found = Differences()
    pairs = zip(
        read_records(single, (entry.key for entry in entries)),
        read_records(parallel, (entry.key for entry in entries)),
        strict=True,
    )
    for entry, (first, second) in zip(entries, pairs, strict=True):
        result = difference(first, second)
        if result is None:
            continue
        found.count += 1
        if len(found.examples) < SHOWN:
            what, value_single, value_parallel = result
            found.examples.append(
                {
                    "path": entry.path,
                    "what": what,
                    "single": value_single,
                    "parallel": value_parallel,
                }
            )
    return found


def _read_metrics(leg: Leg) -> dict[str, Any]:
    try:
        metrics = fsio.read_json(leg.metrics_json)
        metrics["counts"]["images"], metrics["times"]["wall_seconds"], metrics["slots"]
    except FileNotFoundError:
        raise YoloError(
            f"the {leg.root.name} leg was not collected",
            leg.metrics_json,
            remedy="run with mode=compare, which does both legs",
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise YoloError(
            f"the {leg.root.name} leg's figures are damaged ({error})",
            leg.metrics_json,
            remedy="run yolo.collect on it again",
        ) from None
    return dict(metrics)


def _figures(metrics: dict[str, Any]) -> dict[str, Any]:
    counts, times = metrics["counts"], metrics["times"]
    return {
        "images": counts["images"],
        "ok": counts["ok"],
        "processed": counts["processed"],
        "detections": counts["detections"],
        "images_per_second": metrics["images_per_second"],
        "wall_seconds": times["wall_seconds"],
        "submit_to_start_seconds": times["submit_to_start_seconds"],
        "submit_to_end_seconds": times["submit_to_end_seconds"],
        "seconds": times["seconds"],
        "slots": len(metrics["slots"]),
        "threads": metrics["threads"],
        "cpu_models": metrics["cpu_models"],
    }


def compare(run: Run, slots: int | None = None) -> dict[str, Any]:
    """Compare the two legs of a run and write ``compare.json``.

    Args:
        run: The run; both legs must have been collected.
        slots: Slots of the pool; by default those that worked in the parallel leg.

    Returns:
        What the command prints: ``single`` and ``parallel`` figures, ``speed_up`` (ratio of
        images a second), ``efficiency`` (speed-up by slots), ``identical``, ``differences``.

    Raises:
        YoloError: A leg was not collected, or ``slots`` is below 1.
        OSError: A file can't be read or written.
    """
    if slots is not None and slots < 1:
        raise YoloError("no slots to compare by", slots, "a number above 0")
    single, parallel = run.leg("single"), run.leg("parallel")
    figures = {leg.root.name: _figures(_read_metrics(leg)) for leg in (single, parallel)}
    slots = slots or figures["parallel"]["slots"]
    rates = [figures[name]["images_per_second"] for name in ("single", "parallel")]
    speed_up = rates[1] / rates[0] if all(rates) else None
    found = find_differences(run, single, parallel)
    result = {
        "run_id": run.run_id,
        **figures,
        "slots": slots,
        "speed_up": None if speed_up is None else round(speed_up, 3),
        "efficiency": None if speed_up is None or not slots else round(speed_up / slots, 3),
        # A pass that only did the rest of a leg is no measure of the whole leg.
        "comparable": figures["single"]["processed"] == figures["parallel"]["processed"],
        "identical": found.count == 0,
        "images_that_differ": found.count,
        "differences": found.examples,
    }
    fsio.write_json(run.compare, result, indent=2, keep_equal=True)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Compare the legs and print the result as JSON."""
    parser = argparse.ArgumentParser(prog="yolo.compare", description=__doc__)
    parser.add_argument("--run-dir", type=Path, required=True, help="<share>/runs/<run_id>")
    parser.add_argument("--slots", type=int, help="slots of the pool; by default those used")
    args = parser.parse_args(argv)
    print(fsio.dumps(compare(run_at(args.run_dir), args.slots)))
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
