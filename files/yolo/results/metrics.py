"""``metrics.json``: the figures of a pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from .. import __version__
from ..share.records import JobReport
from . import classes, times
from .tally import Tally


def build(
    run_id: str,
    pass_name: str,
    settings: Mapping[str, Any],
    names: Sequence[str],
    tally: Tally,
    jobs: Sequence[JobReport],
    known: Mapping[str, float | None],
) -> dict[str, Any]:
    """Return the figures of a pass, but for its cost and its hosts' clocks.

    Args:
        run_id: The run.
        pass_name: One of ``layout.PASSES``.
        settings: The run's settings.
        names: Names of the model's classes.
        tally: What became of the files.
        jobs: Reports of the newest submission's jobs, on one clock.
        known: What is measured once, see :data:`times.MEASURED_ONCE`.
    """
    submitted = known["submitted"]
    took = times.measure(jobs, submitted) | {name: known[name] for name in ("stage_seconds", "merge_seconds")}
    wall = took["wall_seconds"]
    return {
        "run_id": run_id,
        "mode": settings.get("mode"),
        "pass": pass_name,
        "settings": dict(settings),
        "weights": {k: v for k, v in settings.items() if k.startswith("weights")},
        "counts": {
            "images": tally.files,
            "ok": tally.ok,
            "failed": tally.failed,
            "skipped": tally.skipped,
            "missing": len(tally.missing),
            "detections": tally.detections,
            "resumed": tally.resumed,
            "processed": tally.processed,
        },
        "detections_per_class": {classes.label(names, c): n for c, n in sorted(tally.per_class.items())},
        "categories": [{"id": i, "name": name} for i, name in zip(classes.category_ids(names), names, strict=True)],
        "failures": tally.failures,
        "warnings": tally.warnings,
        "missing": tally.missing,
        "times": {
            "submission": tally.submission,
            "covers": "the newest submission only: images that an earlier submission did are in counts.resumed, "
            "not in these times",
            **took,
        },
        "images_per_second": round(tally.processed / wall, 3) if wall else None,
        "slots": slots_of(jobs),
        "jobs": [{**asdict(job), "queue_seconds": times.queue_seconds(job, submitted)} for job in jobs],
        "latency_ms": tally.latencies.table(),
        "slowest": tally.latencies.slowest(),
        "threads": sorted({job.threads for job in jobs}),
        # One for the whole run: jobs are told which.
        "engines": [settings["engine"]] if jobs and settings.get("engine") else [],
        "precisions": [settings["precision"]] if jobs and settings.get("precision") else [],
        "cpu_models": sorted({job.cpu_model for job in jobs if job.cpu_model}),
        "versions": {"merge": [__version__], **versions_of(jobs)},
    }


def slots_of(jobs: Sequence[JobReport]) -> list[dict[str, Any]]:
    """Return a table of the slots that worked: jobs, images, busy seconds, images a second."""
    table: dict[tuple[str, str], dict[str, Any]] = {}
    for job in jobs:
        row = table.setdefault(
            (job.host, job.slot),
            {"host": job.host, "slot": job.slot, "jobs": 0, "images": 0, "busy_seconds": 0.0},
        )
        row["jobs"] += 1
        row["images"] += job.images
        row["busy_seconds"] += job.end - job.start
    for row in table.values():
        busy = row["busy_seconds"]
        row["busy_seconds"] = round(busy, 3)
        row["images_per_second"] = round(row["images"] / busy, 3) if busy > 0 else None
    return [table[key] for key in sorted(table)]


def versions_of(jobs: Sequence[JobReport]) -> dict[str, list[str]]:
    """Return the versions by name; more than one where the hosts differ."""
    found: dict[str, set[str]] = {}
    for job in jobs:
        for name, version in job.versions.items():
            found.setdefault(name, set()).add(version)
    return {name: sorted(found[name]) for name in sorted(found)}
