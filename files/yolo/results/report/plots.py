"""The report's plots: figures in, one ``<svg>`` element out, see :func:`svg.render`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Shape
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from ...share.errors import one_line
from .svg import render

MAX_ROWS = 40
"""Slots, and bars of jobs, that a plot shows."""
MAX_BARS = 2000
"""Jobs that a timeline shows one by one; more are joined where they follow each other at once."""
MAX_CLASSES = 20
LABEL = 24  # letters of a name beside an axis

# Okabe and Ito's palette, which colour-blind people can tell apart; hatches help in print without colours.
COLOURS = {
    "stage": "#999999",
    "queue": "#f0e442",
    "start": "#e69f00",
    "read": "#56b4e9",
    "infer": "#0072b2",
    "draw": "#009e73",
    "write": "#cc79a7",
    "work": "#0072b2",
    "idle": "#e5e5e5",
    "merge": "#d55e00",
}
HATCHES = {"queue": "||", "start": "//", "read": "\\\\", "draw": "xx", "write": "++", "merge": "--"}
MEASURED, PREDICTED = "#0072b2", "#d55e00"


def short(name: object) -> str:
    """Return a name for a place where there is little room: one line, its middle left out if it is long."""
    text = one_line(name)
    return text if len(text) <= LABEL else f"{text[: LABEL // 2 - 1]}…{text[-LABEL // 2 :]}"


def _bar(axes: Axes, y: float, left: float, width: float, name: str, label: str | None = None) -> None:
    axes.barh(y, width, left=left, height=0.7, color=COLOURS[name], hatch=HATCHES.get(name), linewidth=0, label=label)


def _legend(figure: Figure, axes: Axes, columns: int = 4) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=7.5)


def sums(name: str, title: str, seconds: Mapping[str, float], axis: str) -> str:
    """Return one bar of stacked seconds.

    Args:
        name: See :func:`render`.
        title: What is summed.
        seconds: By the names in :data:`COLOURS`, in order.
        axis: What the seconds are.
    """

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        left = 0.0
        for part, value in seconds.items():
            _bar(axes, 0, left, value, part, f"{part} {value:.3g} s")
            left += value
        axes.set(xlabel=axis, yticks=[], xlim=(0, left or 1))
        axes.spines["left"].set_visible(False)
        _legend(figure, axes, 3)

    told = ", ".join(f"{part} {value:.3g} s" for part, value in seconds.items())
    return render(name, title, f"A bar of stacked parts: {told}.", 1.55, paint)


def job_bars(name: str, jobs: Sequence[Mapping[str, Any]], stages: Sequence[str]) -> str:
    """Return a stacked bar for each job, or for each group of jobs that followed each other if there are many.

    Args:
        name: See :func:`render`.
        jobs: The jobs' reports.
        stages: Names in their ``seconds``, in order.
    """
    groups = [list(group) for group in np.array_split(np.arange(len(jobs)), min(len(jobs), MAX_ROWS))]
    heights = {
        stage: [float(np.mean([jobs[i]["seconds"].get(stage, 0.0) for i in g])) for g in groups] for stage in stages
    }
    took = [float(np.mean([jobs[i]["end"] - jobs[i]["start"] for i in g])) for g in groups]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        bottom = np.zeros(len(groups))
        where = np.arange(len(groups))
        for stage in stages:
            axes.bar(
                where,
                heights[stage],
                0.8,
                bottom,
                color=COLOURS[stage],
                hatch=HATCHES.get(stage),
                linewidth=0,
                label=stage,
            )
            bottom += heights[stage]
        axes.scatter(where, took, marker="_", s=60, color="#1a1a1a", label="the job's own time", zorder=3)
        axes.set(ylabel="seconds of a job", ylim=(0, None))
        axes.set_xlabel(
            "jobs, in the order of their chunks" if len(groups) == len(jobs) else "groups of jobs: their means"
        )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True) if len(groups) == len(jobs) else NullLocator())
        _legend(figure, axes, 3)

    each = "each job" if len(groups) == len(jobs) else f"each of {len(groups)} groups of the {len(jobs)} jobs"
    return render(name, "Seconds of each job by stage", f"A stacked bar for {each}: {', '.join(stages)}.", 2.9, paint)


def joined(spans: Sequence[tuple[float, float]], gap: float) -> list[tuple[float, float]]:
    """Return spans of time, sorted, with those joined that are not more than ``gap`` apart."""
    out: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if out and start - out[-1][1] <= gap:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return out


def _boxes(axes: Axes, spans: Sequence[tuple[float, float, float]], colour: str) -> None:
    """Draw (row, from, to) as boxes, all of them as one shape: a page with thousands stays small."""
    if not spans:
        return
    corners = [
        corner
        for row, left, right in spans
        for corner in ((left, row - 0.35), (left, row + 0.35), (right, row + 0.35), (right, row - 0.35), (0.0, 0.0))
    ]
    codes = [Shape.MOVETO, Shape.LINETO, Shape.LINETO, Shape.LINETO, Shape.CLOSEPOLY] * len(spans)
    axes.add_patch(PathPatch(Shape(corners, codes), facecolor=colour, linewidth=0))


def timeline(name: str, jobs: Sequence[Mapping[str, Any]], zero: float) -> str:
    """Return what each slot did when: a row for each slot, a bar for each job, its start apart from its work.

    Args:
        name: See :func:`render`.
        jobs: The jobs' reports.
        zero: The moment that is 0 on the axis, epoch.
    """
    slots: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for job in jobs:
        slots.setdefault((job["host"], job["slot"]), []).append(job)
    keys = sorted(slots, key=lambda key: (max(job["end"] for job in slots[key]), key))
    if len(keys) > MAX_ROWS:
        # From the first that was done to the last.
        keys = [keys[round(i * (len(keys) - 1) / (MAX_ROWS - 1))] for i in range(MAX_ROWS)]
    keys = sorted(keys, reverse=True)
    shown = sum(len(slots[key]) for key in keys)
    end = max(job["end"] for job in jobs) - zero

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        starts, works = [], []
        for row, key in enumerate(keys):
            own = [(job["start"] - zero, job["end"] - zero, job["seconds"].get("start", 0.0)) for job in slots[key]]
            if shown > MAX_BARS:
                works += [(row, *span) for span in joined([(began, ended) for began, ended, _ in own], end / 500)]
                continue
            for began, ended, loading in own:
                ready = min(began + loading, ended)
                starts.append((row, began, ready))
                works.append((row, ready, ended))
        _boxes(axes, starts, COLOURS["start"])
        _boxes(axes, works, COLOURS["work"])
        if shown <= MAX_BARS:
            axes.bar(0, 0, color=COLOURS["start"], label="start: imports, loading the model")
        axes.bar(0, 0, color=COLOURS["work"], label="images")
        axes.set(xlim=(min(0.0, min(job["start"] for job in jobs) - zero), end), ylim=(-0.6, len(keys) - 0.4))
        axes.set_xlabel("seconds")
        axes.set_yticks(range(len(keys)), [f"{short(host.split('.')[0])} {short(slot)}" for host, slot in keys])
        axes.tick_params(axis="y", labelsize=7.5 if len(keys) <= 20 else 5.5, length=0)
        _legend(figure, axes, 2)

    what = f"{len(jobs)} jobs on {len(slots)} slots in {end:.3g} seconds"
    if len(keys) < len(slots):
        what += f"; {len(keys)} slots are shown"
    return render(
        name,
        "Timeline: what each slot did",
        f"A row for each slot, a bar for each job: {what}.",
        1.1 + 0.19 * len(keys),
        paint,
    )


def latency(
    name: str, total: Sequence[float], infer: Sequence[float], marks: Mapping[str, float], description: str
) -> str:
    """Return a histogram of what images took, with lines at the percentiles of the whole image.

    Args:
        name: See :func:`render`.
        total: Milliseconds of each image, all stages.
        infer: Milliseconds of the network and what belongs to it.
        marks: Percentiles of ``total`` by name, milliseconds.
        description: See :func:`render`.
    """

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        values = [np.asarray(v, dtype=float) for v in (total, infer)]
        low = max(min(float(v.min()) for v in values if v.size), 0.01)
        high = max(max(float(v.max()) for v in values if v.size), low * 1.5)
        bins = [float(edge) for edge in np.geomspace(low * 0.98, high * 1.02, 50)]
        axes.hist(np.maximum(values[0], low), bins, color=COLOURS["infer"], label="read + infer + draw + write")
        axes.hist(
            np.maximum(values[1], low), bins, histtype="step", color=PREDICTED, linestyle="--", label="infer alone"
        )
        axes.set_xscale("log")
        axes.set(xlabel="milliseconds of an image (steps grow in proportion)", ylabel="images")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if high > 8 * low else MaxNLocator(6, min_n_ticks=3))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        top = axes.get_ylim()[1]
        axes.set_ylim(0, top * 1.3)
        for step, (mark, value) in enumerate(marks.items()):
            axes.axvline(max(value, low), color="#1a1a1a", linewidth=0.8, linestyle=":")
            axes.text(max(value, low), top * (1.27 - 0.07 * step), f" {mark}", fontsize=7, va="top")
        _legend(figure, axes, 2)

    return render(name, "How long images took", description, 2.7, paint)


def classes(name: str, counts: Mapping[str, int]) -> str:
    """Return a bar for each class, the most frequent first; those beyond :data:`MAX_CLASSES` together.

    Args:
        name: See :func:`render`.
        counts: Detections by class.
    """
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rows = [(short(label), count) for label, count in ranked[:MAX_CLASSES]]
    if len(ranked) > MAX_CLASSES:
        rest = ranked[MAX_CLASSES:]
        rows.append((f"{len(rest)} more classes", sum(count for _, count in rest)))

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        where = range(len(rows))[::-1]
        bars = axes.barh(where, [count for _, count in rows], color=COLOURS["infer"], height=0.7)
        axes.bar_label(bars, padding=2, fontsize=7)
        axes.set_yticks(where, [label for label, _ in rows])
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("detections")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.margins(x=0.12, y=0.02)

    told = ", ".join(f"{label} {count}" for label, count in rows)
    return render(name, "Detections of each class", f"A bar for each class: {told}.", 0.7 + 0.2 * len(rows), paint)


def prediction(name: str, fit: Mapping[str, Any], slot_rate: float) -> str:
    """Return measured images a second, and those that Amdahl's law predicts for more execute hosts.

    Args:
        name: See :func:`render`.
        fit: ``amdahl`` of ``compare.json``, with predictions.
        slot_rate: Images a second of one slot.
    """
    per_host = fit["slots_per_host"]
    measured = [(point["slots"] / per_host, slot_rate * point["speed_up"]) for point in fit["points"]]
    rows = fit["predictions"]
    hosts = [row["hosts"] for row in rows]
    whole = [row["whole_run_images_per_second"] for row in rows]
    wide = [measured[0][0], max(measured[-1][0], *hosts)]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axvspan(measured[-1][0], wide[1] * 1.15, color="#f4f4f4", zorder=0)
        straight = [slot_rate * per_host * count for count in wide]
        axes.plot(wide, straight, color="#777777", linestyle=":", linewidth=1, label="in proportion to the hosts")
        rates = [row["images_per_second"] for row in rows]
        white: dict[str, Any] = {"markerfacecolor": "white", "linewidth": 1}
        axes.plot(hosts, rates, "--o", color=PREDICTED, label="PREDICTION by Amdahl's law, while jobs work", **white)
        axes.plot(hosts, whole, "-.s", color="#00805c", label="PREDICTION, with a run's fixed seconds", **white)
        axes.plot(*zip(*measured, strict=True), color=MEASURED, marker="o", label="measured")
        axes.text(wide[1] * 1.1, 0.02, "prediction", transform=axes.get_xaxis_transform(), ha="right", fontsize=7.5)
        axes.set(xscale="log", yscale="log", xlabel="execute hosts", ylabel="images/s")
        ticks = sorted({*(round(x, 3) for x, _ in measured), *hosts})
        axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
        _legend(figure, axes, 1)

    told = ", ".join(f"{row['hosts']} hosts {row['images_per_second']}" for row in rows)
    return render(
        name, "Measured and predicted images a second", f"Predicted, not measured: {told} images/s.", 3.5, paint
    )
