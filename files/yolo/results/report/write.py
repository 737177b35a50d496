"""Write ``report.html`` into a results folder, from the figures that lie there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...share import fsio
from ...share.errors import YoloError
from ...share.layout import Pass
from .. import table
from ..quality import write as quality
from . import page, view

NAME = "report.html"
"""Name of the report in the results folder."""

_METRICS = (
    "run_id", "mode", "pass", "settings", "counts", "detections_per_class", "failures", "missing", "times",
    "images_per_second", "slots", "jobs", "latency_ms", "slowest", "threads", "cpu_models", "versions", "cost",
)  # fmt: skip
_SCORED = ("images", "labels", "conf", "confidence", "map50", "map", "precision", "recall", "classes")
_COMPARED = ("single", "parallel", "slots", "speed_up", "efficiency", "comparable", "identical", "host", "amdahl")


def write(folder: Path) -> bool:
    """Write ``report.html`` of a results folder; return whether it is another one than before.

    Args:
        folder: Holds ``metrics.json``, ``metrics.csv`` and, of a run with mode=compare, ``compare.json``.

    Raises:
        YoloError: The figures are missing or damaged.
        OSError: A file can't be read or written.
    """
    files = Pass(folder)
    metrics = _read(files.metrics_json, _METRICS)
    compared = _read(folder / "compare.json", _COMPARED) if metrics["mode"] == "compare" else {}
    scored = _read(folder / quality.NAME, _SCORED) if (folder / quality.NAME).exists() else {}
    milliseconds = table.read_milliseconds(files.metrics_csv)
    content = page.render(view.build(metrics, compared, *milliseconds, scored)).encode()
    path = folder / NAME
    if path.is_file() and path.read_bytes() == content:
        return False
    fsio.write_bytes(path, content)
    return True


def _read(path: Path, needed: Sequence[str]) -> dict[str, Any]:
    try:
        value = fsio.read_json(path)
        if lacking := [name for name in needed if name not in value]:
            raise ValueError(f"without {', '.join(lacking)}")
    except FileNotFoundError:
        raise YoloError("no figures to report", path, remedy="give the folder results/<run_id> of a run") from None
    except (ValueError, TypeError) as error:
        raise YoloError(
            f"the figures are damaged or of an older version ({error})",
            path,
            remedy="run the same run_id again, which merges and pulls them anew",
        ) from None
    return dict(value)
