"""How fast one whole execute host is, with all its processors, and what the pool is against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


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
