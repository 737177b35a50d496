"""Prints what a run of mode=compare came to: one slot against all, as a table, and where its report is."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def table(compared: Mapping[str, Any]) -> list[str]:
    """Return the lines of the table.

    Args:
        compared: What stands in ``compare.json``.

    Raises:
        KeyError: A figure is absent.
    """
    one, all_slots = compared["single"], compared["parallel"]
    rows = [
        ("images", one["ok"], all_slots["ok"]),
        ("seconds", one["wall_seconds"], all_slots["wall_seconds"]),
        ("images/s", one["images_per_second"], all_slots["images_per_second"]),
        ("speed-up", 1, compared["speed_up"]),
        ("efficiency", 1, compared["efficiency"]),
    ]
    slots = compared["slots"]
    header = ("", "one slot", f"{slots} slot{'' if slots == 1 else 's'}")
    cells = [header, *((name, *map(_text, values)) for name, *values in rows)]
    lines = [f"{name:<10}  {first:>10}  {second:>10}" for name, first, second in cells]
    differ = compared["images_that_differ"]
    same = "identical" if compared["identical"] else f"NOT identical in {differ} image{'' if differ == 1 else 's'}"
    lines.append(f"detections: {same}")
    if not compared["comparable"]:
        lines.append("The two passes did not do the same images: start a new run_id for times that compare.")
    return lines


def _text(value: float | None) -> str:
    return "not known" if value is None else f"{value:,.10g}"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table of a results folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="results folder of the run, with compare.json")
    folder: Path = parser.parse_args(argv).results
    try:
        lines = table(json.loads((folder / "compare.json").read_text()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        remedy = "run `make compare` again"
        print(f"error: no comparison in {folder} ({error!r}); {remedy}", file=sys.stderr)
        return 1
    print("\n".join(["", *lines, f"report: {folder / 'report.html'}"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
