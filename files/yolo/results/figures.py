"""The figures of a results folder, as they were pulled from the share: read once, for all that show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..share import fsio
from ..share.errors import YoloError
from ..share.layout import Pass

_METRICS = (
    "run_id", "mode", "pass", "settings", "counts", "detections_per_class", "categories", "failures", "missing",
    "times", "images_per_second", "slots", "jobs", "latency_ms", "slowest", "threads", "cpu_models", "versions", "cost",
)  # fmt: skip
_COMPARED = ("single", "parallel", "slots", "speed_up", "efficiency", "comparable", "identical", "host", "amdahl")


@dataclass(frozen=True, slots=True)
class Figures:
    """What a results folder says.

    Attributes:
        folder: The folder.
        metrics: ``metrics.json``.
        compared: ``compare.json``; empty if the run had one pass.
    """

    folder: Path
    metrics: dict[str, Any]
    compared: dict[str, Any]


def read_figures(folder: Path) -> Figures:
    """Read the figures of a results folder.

    Args:
        folder: Holds ``metrics.json`` and, of a run with mode=compare, ``compare.json``.

    Raises:
        YoloError: The figures are missing or damaged.
        OSError: A file can't be read.
    """
    metrics = _read(Pass(folder).metrics_json, _METRICS)
    compared = _read(folder / "compare.json", _COMPARED) if metrics["mode"] == "compare" else {}
    return Figures(folder, metrics, compared)


def damaged(path: Path, reason: object) -> YoloError:
    """Return the error of figures that can't be used."""
    return YoloError(
        f"the figures are damaged or of an older version ({reason})",
        path,
        remedy="run the same run_id again, which merges and pulls them anew",
    )


def _read(path: Path, needed: Sequence[str]) -> dict[str, Any]:
    try:
        value = fsio.read_json(path)
        if lacking := [name for name in needed if name not in value]:
            raise ValueError(f"without {', '.join(lacking)}")
    except FileNotFoundError:
        raise YoloError("no figures to report", path, remedy="give the folder results/<run_id> of a run") from None
    except (ValueError, TypeError) as error:
        raise damaged(path, error) from None
    return dict(value)
