"""What the hosts of a run cost: given by the user, or looked up by the type of EC2's instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_SPOT = "Some hosts are spot instances, which cost less than this."


def prices_of(given: float | None, hosts: Sequence[Mapping[str, Any]], table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the prices of a run's hosts, for ``results.cost``; empty if none are known.

    Args:
        given: Dollars an hour of all hosts together, as the user says; None if nothing is said.
        hosts: ``name``, ``role`` (manager, submit or execute), ``type``, ``region`` and ``spot`` of each; ``type`` is
            empty for a host that is no instance.
        table: ``date``, ``source`` and ``regions``: for each ``types``, dollars an hour by type.
    """
    if given is not None:
        return {"source": "price_per_hour, as given", "per_hour": given}
    if not any(host.get("type") for host in hosts):
        return {}
    prices = {}
    for host in hosts:
        types = (table.get("regions", {}).get(host.get("region")) or {}).get("types", {})
        kind = host.get("type") or None
        prices[host["name"]] = {"type": kind, "role": host["role"], "per_hour": types.get(kind)}
    return {
        "source": "roles/ec2/files/prices.yml, on demand, instances only",
        "date": table.get("date"),
        "hosts": prices,
        "note": _SPOT if any(host.get("spot") for host in hosts) else None,
    }
