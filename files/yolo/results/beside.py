"""What a results folder holds of a run's other passes, beside the results of the last one."""

from __future__ import annotations

from collections.abc import Sequence

from ..share.layout import FLOAT

OTHERS = (FLOAT, "single")
"""Passes that the last one may be compared with."""


def predictions(pass_name: str) -> str:
    """Return the name of another pass's detections."""
    return f"predictions-{pass_name}.json"


def table(pass_name: str) -> str:
    """Return the name of another pass's table of images."""
    return f"metrics-{pass_name}.csv"


def files(passes: Sequence[str], identical: bool | None) -> dict[str, str | None]:
    """Return where each such file is from, relative to the run's folder; None where this run has none.

    Args:
        passes: Of the run.
        identical: Whether the detections of the single pass are those of the last one; None if they were not compared.
    """
    found: dict[str, str | None] = {
        "compare.json": None if identical is None else "compare.json",
        "metrics-single.json": None if identical is None else "single/metrics.json",
    }
    for name in OTHERS:
        # What is identical is not sent twice.
        needed = name in passes[:-1] and not (name == "single" and identical)
        found[predictions(name)] = f"{name}/predictions.json" if needed else None
        found[table(name)] = f"{name}/metrics.csv" if needed else None
    return found
