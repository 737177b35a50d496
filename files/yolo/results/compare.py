"""Set a run's two passes against each other: how much faster, and are the detections the same?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ..share import fsio, manifest
from ..share.errors import YoloError, run_cli
from ..share.journal import read_records
from ..share.layout import Pass, Run
from ..share.records import Detection, Record
from ..share.settings import run_at
from . import amdahl

SHOWN = 20
"""Differences that are shown."""


@dataclass(slots=True)
class Differences:
    """What differs between the passes.

    Attributes:
        count: Images that differ.
        examples: The first of them: path, what differs, and both values.
    """

    count: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)


def difference(single: Record | None, parallel: Record | None) -> tuple[str, Any, Any] | None:
    """Return what differs first between two records of an image and both values, or None.

    Boxes, classes and scores must be equal to the last bit. Where both failed, the words may
    differ.
    """
    if single is None or parallel is None:
        return "no result", single is not None, parallel is not None
    if single.error is not None and parallel.error is not None:
        return None
    if single.error != parallel.error:
        return "failure", single.error, parallel.error
    size_single, size_parallel = (single.width, single.height), (parallel.width, parallel.height)
    if size_single != size_parallel:
        return "size", size_single, size_parallel
    for first, second in zip_longest(single.detections, parallel.detections):
        if first != second:
            return "detection", _plain(first), _plain(second)
    return None


def _plain(detection: Detection | None) -> list[float] | None:
    if detection is None:
        return None
    return [detection.class_id, detection.score, *detection.box]


def find_differences(run: Run, single: Pass, parallel: Pass) -> Differences:
    """Compare the records of all images.

    Raises:
        YoloError: The manifest is damaged.
        OSError: A file can't be read.
    """
    entries = [entry for entry in manifest.read(run.manifest) if entry.skip is None]
    found = Differences()
    pairs = zip(
        read_records(single, (entry.key for entry in entries)),
        read_records(parallel, (entry.key for entry in entries)),
        strict=True,
    )
    for entry, (first, second) in zip(entries, pairs, strict=True):
        result = difference(first, second)
        if result is None:
            continue
        found.count += 1
        if len(found.examples) < SHOWN:
            what, value_single, value_parallel = result
            found.examples.append(
                {
                    "path": entry.path,
                    "what": what,
                    "single": value_single,
                    "parallel": value_parallel,
                }
            )
    return found


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


def hosts_of(jobs: Sequence[dict[str, Any]], cpus: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return what each host of a pass did with all of its slots together.

    Args:
        jobs: The jobs' reports, as in ``metrics.json``.
        cpus: Processors of hosts, where they are known.

    Returns:
        By name: ``host slots used_cpus cpus images seconds images_per_second``. Its seconds go from the start of its
        first job to the end of its last one.
    """
    by_host: dict[str, list[dict[str, Any]]] = {}
    for job in jobs:
        by_host.setdefault(job["host"], []).append(job)
    rows = []
    for host in sorted(by_host):
        own = by_host[host]
        slots = {job["slot"]: job["cpus"] for job in own}
        images = sum(job["images"] for job in own)
        seconds = max(job["end"] for job in own) - min(job["start"] for job in own)
        rows.append(
            {
                "host": host,
                "slots": len(slots),
                "used_cpus": sum(slots.values()),
                "cpus": cpus.get(host),
                "images": images,
                "seconds": round(seconds, 3),
                "images_per_second": round(images / seconds, 3) if seconds > 0 else None,
            }
        )
    return rows


def against_a_host(
    hosts: Sequence[dict[str, Any]], pool_hosts: int, single_rate: float | None, parallel_rate: float | None
) -> dict[str, Any]:
    """Set the parallel pass against one whole host with all its processors.

    No pass runs on a whole host and nothing else: the figure is the nearest that was measured, and ``basis`` names it.

    Args:
        hosts: As :func:`hosts_of` returns them for the parallel pass.
        pool_hosts: Execute hosts of the pool, which that pass could have used.
        single_rate: Images a second of the single pass, on one slot.
        parallel_rate: Images a second of the parallel pass.

    Returns:
        ``hosts`` (their number), ``basis`` (``single pass``, ``parallel pass`` or None), ``why`` in words,
        ``images_per_second`` of one host, ``speed_up``, ``efficiency`` (by hosts), ``by_host``.
    """
    cpus = [host["cpus"] for host in hosts]
    idle = [host["host"] for host in hosts if host["cpus"] and host["used_cpus"] < host["cpus"]]
    rates = [host["images_per_second"] for host in hosts if host["images_per_second"]]
    basis, rate = None, None
    if hosts and all(count == 1 for count in cpus):
        basis, rate = "single pass", single_rate
        why = "each execute host has one processor: the single pass's one slot is a whole host"
    elif not rates or len(rates) < len(hosts):
        why = "not known: no job says what a host did"
    elif None in cpus:
        why = "not known: how many processors the hosts have was not given"
    elif idle:
        why = f"not known: jobs did not use all processors of {', '.join(idle)}"
    else:
        basis, rate = "parallel pass", sum(rates) / len(rates)
        why = (
            "the mean of what each execute host did with all its processors during the parallel pass, while the others "
            "worked too: what sharing the pool and the share costs is in it, so only idle time and imbalance show"
        )
    ratio = parallel_rate / rate if rate and parallel_rate else None
    return {
        "hosts": pool_hosts,
        "basis": basis,
        "why": why,
        "images_per_second": None if rate is None else round(rate, 3),
        "speed_up": None if ratio is None else round(ratio, 3),
        "efficiency": None if ratio is None else round(ratio / pool_hosts, 3),
        "by_host": list(hosts),
    }


def predict(
    figures: Mapping[str, Any], slots: int, hosts: int, speed_up: float | None, comparable: bool
) -> dict[str, Any]:
    """Fit Amdahl's law to the two passes and predict more execute hosts.

    Args:
        figures: Figures of the parallel pass, see :func:`compare`.
        slots: Slots that the speed-up was measured with.
        hosts: Execute hosts that had them.
        speed_up: Over one slot.
        comparable: Whether both passes did as many images.

    Returns:
        ``points`` (slots and speed-up, measured), ``serial_fraction`` as fitted and ``serial_fraction_used`` within 0
        to 1, ``fixed_seconds`` and what they are made of, ``predictions``, ``note``; ``why`` if there is none.
    """
    if not comparable:
        return _no_prediction("the passes did not do the same images")
    if speed_up is None or not hosts:
        return _no_prediction("a pass has no images/s")
    serial = amdahl.serial_fraction([(slots, speed_up)])
    if serial is None:
        return _no_prediction("the parallel pass had one slot too")
    fixed = {
        "stage": figures["stage_seconds"],
        "submit_to_start": figures["submit_to_start_seconds"],
        "merge": figures["merge_seconds"],
    }
    seconds = sum(value for value in fixed.values() if value is not None)
    return {
        "points": [{"slots": 1, "speed_up": 1.0}, {"slots": slots, "speed_up": round(speed_up, 3)}],
        "serial_fraction": round(serial, 4),
        "serial_fraction_used": round(min(max(serial, 0.0), 1.0), 4),
        "fixed_seconds": {**fixed, "sum": round(seconds, 3)},
        "slots_per_host": round(slots / hosts, 3),
        "predictions": amdahl.predict(
            serial=serial,
            slot_rate=figures["images_per_second"] / speed_up,
            slots_per_host=slots / hosts,
            images=figures["processed"],
            fixed_seconds=seconds,
        ),
        "note": (
            "Predictions, not measurements: two points determine the fit, each measured once, and what grows with the "
            "number of hosts (network, NFS, scheduling) is known to it only as far as these two show."
            + (
                " More slots were faster than in proportion, which is noise or cache: no serial part is assumed, and "
                "the prediction is an upper bound."
                if serial < 0
                else ""
            )
        ),
        "why": None,
    }


def _no_prediction(why: str) -> dict[str, Any]:
    return {"points": [], "serial_fraction": None, "predictions": [], "why": why}


def compare(run: Run, slots: int | None = None, cpus: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Compare the two passes of a run and write ``compare.json``.

    Args:
        run: The run; both passes must have been merged.
        slots: Slots of the pool; by default those that worked in the parallel pass.
        cpus: Processors of the execute hosts by name, where they are known.

    Returns:
        What the command prints: ``single`` and ``parallel`` figures, ``speed_up`` (ratio of
        images a second), ``efficiency`` (speed-up by slots), ``host`` (see :func:`against_a_host`), ``amdahl`` (see
        :func:`predict`), ``identical``, ``differences``.

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
        "amdahl": predict(figures["parallel"], slots, pool_hosts, speed_up, comparable),
        "identical": found.count == 0,
        "images_that_differ": found.count,
        "differences": found.examples,
    }
    fsio.write_json(run.compare, result, indent=2, keep_equal=True)
    return result


def parse_cpus(text: str) -> tuple[str, int]:
    """Split ``NAME=PROCESSORS``.

    Raises:
        argparse.ArgumentTypeError: It has another form.
    """
    name, _, count = text.partition("=")
    if not name or not count.isascii() or not count.isdigit() or int(count) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAME=PROCESSORS, e.g. execute1=2")
    return name, int(count)


def main(argv: Sequence[str] | None = None) -> int:
    """Compare the passes and print the result as JSON."""
    parser = argparse.ArgumentParser(prog="yolo.results.compare", description=__doc__)
    parser.add_argument("--run-dir", type=Path, required=True, help="<share>/runs/<run_id>")
    parser.add_argument("--slots", type=int, help="slots of the pool; by default those used")
    parser.add_argument(
        "--host-cpus", action="append", default=[], type=parse_cpus, help="NAME=PROCESSORS of an execute host, repeated"
    )
    args = parser.parse_args(argv)
    print(fsio.dumps(compare(run_at(args.run_dir), args.slots, dict(args.host_cpus))))
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
