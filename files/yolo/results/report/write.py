"""Write ``report.html`` into a results folder, from the figures that lie there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...share import fsio
from ...share.layout import Pass
from .. import table
from ..figures import Figures
from . import page, view

NAME = "report.html"
"""Name of the report in the results folder."""


def write(figures: Figures, scored: Mapping[str, Any] | None = None) -> bool:
    """Write ``report.html`` of a results folder; return whether it is another one than before.

    Args:
        figures: Of the folder, which also holds ``metrics.csv``.
        scored: ``quality.json``; None if there were no labels.

    Raises:
        YoloError: The table of images is damaged.
        OSError: A file can't be read or written.
    """
    milliseconds = table.read_milliseconds(Pass(figures.folder).metrics_csv)
    content = page.render(view.build(figures.metrics, figures.compared, *milliseconds, scored))
    return fsio.update_bytes(figures.folder / NAME, content.encode())
