"""Draws the results for the project's README."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

LABELS = {
    "forward": "(a) forward passes only: the limit",
    "forward_hosts": "(a) the same inside the two execute hosts",
    "predict": "(b) yolo predict",
    "detect_py": "(b) detect.py of yolov5",
    "ray_data": "(c) Ray Data, two actors",
    "ours_1": "(d) ours, 1 execute host",
    "ours_2": "(e) ours, 2 execute hosts",
    "ours_2_int8": "(e) ours, 2 execute hosts, INT8",
}
"""What the candidates are called, in the order in which they are shown."""


def bars(results: Mapping[str, Any]) -> list[tuple[str, float, float, float]]:
    """Return label, median, and how far the range goes below and above it, of each candidate."""
    rows = []
    for name, label in LABELS.items():
        if name in results["images_per_second"]:
            found = results["images_per_second"][name]
            median = found["median"]
            rows.append((label, median, round(median - found["low"], 4), round(found["high"] - median, 4)))
    return rows


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Write the plot as SVG.

    Args:
        results: Content of the results' file.
        path: File to write.
    """
    import matplotlib

    matplotlib.use("svg")
    # The same file for the same figures.
    matplotlib.rcParams.update({"svg.hashsalt": "bench", "font.size": 10})
    from matplotlib import pyplot

    rows = bars(results)[::-1]
    figure, axes = pyplot.subplots(figsize=(8, 0.6 * len(rows) + 1.2), layout="constrained")
    medians = [row[1] for row in rows]
    errors = [[row[2] for row in rows], [row[3] for row in rows]]
    colours = ["#1f77b4" if row[0].startswith(("(d)", "(e)")) else "#9aa5b1" for row in rows]
    drawn = axes.barh([row[0] for row in rows], medians, xerr=errors, color=colours, capsize=3)
    axes.bar_label(drawn, [f"{value:.1f}" for value in medians], padding=6)
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    rounds, images, imgsz = (results["setup"][key] for key in ("rounds", "images", "imgsz"))
    axes.set_xlabel(f"images/s: median and range of {rounds} rounds, {images} images, {imgsz} px")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
