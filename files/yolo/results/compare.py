"""Set a run's two passes against each other: how much faster, and are the detections the same?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..share import fsio
from ..share.errors import YoloError
from ..share.layout import Pass, Run
from . import amdahl
from .differences import find_differences
from .whole_host import against_a_host, hosts_of


def _read_metrics(run_pass: Pass) -> dict[str, Any]:
    try:
        metrics = fsio.read_json(run_pass.metrics_json)
        metrics["counts"]["images"], metrics["times"]["wall_seconds"], metrics["slots"]
    except FileNotFoundError:
        raise YoloError(
            f"the {run_pass.root.name} pass was not merged",
            f"run {run_pass.root.parent.name}",
            remedy="run with mode=compare, which does both passes",
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise YoloError(
            f"the {run_pass.root.name} pass's figures are damaged ({error})",
            f"run {run_pass.root.parent.name}",
            remedy="run the same run_id again, which merges it anew",
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
        "stage_seconds": times.get("stage_seconds"),
        "merge_seconds": times.get("merge_seconds"),
        "cost": metrics.get("cost"),
        "slots": len(metrics["slots"]),
        "threads": metrics["threads"],
        "cpu_models": metrics["cpu_models"],
    }


def compare(run: Run, slots: int | None = None, cpus: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Compare the two passes of a run and write ``compare.json``.

    Args:
        run: The run; both passes must have been merged.
        slots: Slots of the pool; by default those that worked in the parallel pass.
        cpus: Processors of the execute hosts by name, where they are known.

    Returns:
        What the command prints: ``single`` and ``parallel`` figures, ``speed_up`` (ratio of
        images a second), ``efficiency`` (speed-up by slots), ``host`` (see ``whole_host``), ``amdahl`` (see
        ``amdahl.fit``), ``identical``, ``differences``.

    Raises:
        YoloError: A pass was not merged, or ``slots`` is below 1.
        OSError: A file can't be read or written.
    """
    if slots is not None and slots < 1:
        raise YoloError("no slots to compare by", slots, "a number above 0")
    single, parallel = run.get_pass("single"), run.get_pass("parallel")
    metrics = {run_pass.root.name: _read_metrics(run_pass) for run_pass in (single, parallel)}
    figures = {name: _figures(value) for name, value in metrics.items()}
    slots = slots or figures["parallel"]["slots"]
    rates = [figures[name]["images_per_second"] for name in ("single", "parallel")]
    speed_up = rates[1] / rates[0] if all(rates) else None
    found = find_differences(run, single, parallel)
    # A pass that only did the rest of a pass is no measure of the whole pass.
    comparable = figures["single"]["processed"] == figures["parallel"]["processed"]
    hosts = hosts_of(metrics["parallel"].get("jobs", ()), cpus or {})
    pool_hosts = len(cpus) if cpus else len(hosts)
    result = {
        "run_id": run.run_id,
        **figures,
        "slots": slots,
        "speed_up": None if speed_up is None else round(speed_up, 3),
        "efficiency": None if speed_up is None or not slots else round(speed_up / slots, 3),
        "comparable": comparable,
        "host": against_a_host(hosts, pool_hosts, *rates),
        "amdahl": amdahl.fit(figures["parallel"], slots, pool_hosts, speed_up, comparable),
        "identical": found.count == 0,
        "images_that_differ": found.count,
        "differences": found.examples,
    }
    fsio.write_json(run.compare, result, indent=2, keep_equal=True)
    return result
