"""The view of a run's time: the pass, its slots and jobs, and single images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...share.records import STAGES
from . import plots
from .parts import Cell, Plot, Table, number, table

SLOTS = 50
"""Slots that a table names."""

JOBS = 20
"""Jobs that a table names."""

_MARKS = ("p50", "p90", "p95", "p99", "max")


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time went.

    Attributes:
        pass_plot: The pass by the clock.
        slots_plot: The slots' time, summed.
        jobs_plot: Stages of each job.
        timeline: What each slot did when.
        since_submission: Whether the timeline begins with the submission, else with the first start of a job.
        slots_drawn: Slots in the timeline.
        slots_in_all: Slots that worked.
        bars_joined: Whether the timeline joins jobs.
        seconds: The same as numbers.
        jobs: The longest jobs.
        slots: The slots.
    """

    pass_plot: Plot
    slots_plot: Plot
    jobs_plot: Plot
    timeline: Plot
    since_submission: bool
    slots_drawn: int
    slots_in_all: int
    bars_joined: bool
    seconds: Table
    jobs: Table
    slots: Table


@dataclass(frozen=True, slots=True)
class PerImage:
    """How long single images took; ``percentiles`` are of all stages, in words."""

    plot: Plot
    percentiles: str
    stages: Table


def view_timing(metrics: Mapping[str, Any]) -> Timing | None:
    """Return where the time went; None if no job has ended."""
    times, jobs = metrics["times"], metrics["jobs"]
    if not jobs:
        return None
    by_clock = {
        "stage": times.get("stage_seconds"),
        "queue": times["submit_to_start_seconds"],
        "work": times["wall_seconds"],
        "merge": times.get("merge_seconds"),
    }
    of_slots = {**times["seconds"], "idle": times.get("idle_seconds")}
    since_submission = times["submit_to_start_seconds"] is not None
    zero = times["submitted"] if since_submission else times["first_start"]
    slots = len(metrics["slots"])
    rows: list[tuple[Cell, ...]] = [(f"{name} (elapsed)", value) for name, value in by_clock.items()]
    rows += [(f"{name} (summed over slots)", value) for name, value in of_slots.items()]
    rows.append(("the jobs' own time (summed over jobs)", times.get("busy_seconds")))
    rows.append(("waiting in the queue (summed over jobs)", times.get("queue_seconds")))
    return Timing(
        pass_plot=Plot(
            "Elapsed time of the pass",
            plots.sums("run", "Elapsed time of the pass", _known(by_clock), "seconds elapsed"),
        ),
        slots_plot=Plot(
            "Time of all slots, summed",
            plots.sums("slots", "Time of all slots, summed", _known(of_slots), "seconds, summed over the slots"),
        ),
        jobs_plot=Plot("Stages of each job", plots.job_bars("jobs", jobs, ("start", *STAGES))),
        timeline=Plot("Timeline of each slot", plots.timeline("timeline", jobs, zero)),
        since_submission=since_submission,
        slots_drawn=min(slots, plots.MAX_ROWS),
        slots_in_all=slots,
        bars_joined=len(jobs) > plots.MAX_BARS,
        seconds=table("Seconds", ("what", "seconds"), rows),
        jobs=_jobs(jobs),
        slots=table(
            "Slots",
            ("slot", "jobs", "images", "busy seconds", "images/s while busy"),
            [
                (f"{s['host']} {s['slot']}", s["jobs"], s["images"], s["busy_seconds"], s["images_per_second"])
                for s in metrics["slots"]
            ],
            limit=SLOTS,
        ),
    )


def _known(seconds: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in seconds.items() if value is not None}


def _jobs(jobs: Sequence[Mapping[str, Any]]) -> Table:
    stages = ("start", *STAGES)
    ranked = sorted(jobs, key=lambda job: (job["start"] - job["end"], job["chunk"]))
    rows = [
        (
            f"{job['submission']}-{job['chunk']}",
            job["host"],
            job["slot"],
            job["images"],
            job.get("queue_seconds"),
            *(job["seconds"].get(stage) for stage in stages),
            round(job["end"] - job["start"], 3),
        )
        for job in ranked
    ]
    cut = f" ({JOBS} of {len(jobs):,})" if len(jobs) > JOBS else ""
    head = ("job", "host", "slot", "images", "queue", *stages, "in all")
    return table(f"Jobs, longest first{cut}, seconds", head, rows, limit=JOBS)


def view_per_image(metrics: Mapping[str, Any], total: Sequence[float], infer: Sequence[float]) -> PerImage | None:
    """Return how long single images took; None if no image has times.

    Args:
        metrics: ``metrics.json``.
        total: Milliseconds of each image, all stages.
        infer: Milliseconds of each image, ``infer``.
    """
    found = metrics.get("latency_ms") or {}
    whole = found.get("total")
    if not whole or not total:
        return None
    told = "; ".join(f"{name} {number(whole[name], ' ms')}" for name in _MARKS)
    marks = {name: whole[name] for name in _MARKS}
    svg = plots.latency("latency", total, infer, marks, f"A histogram of {len(total)} images. {told}.")
    rows: list[tuple[Cell, ...]] = [
        (stage, *(value[name] for name in ("count", "mean", *_MARKS))) if value else (stage, 0, *[None] * 6)
        for stage, value in found.items()
    ]
    return PerImage(
        plot=Plot("Distribution of the time per image", svg),
        percentiles=told,
        stages=table("Milliseconds of an image", ("stage", "images", "mean", *_MARKS), rows),
    )
