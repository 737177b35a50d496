"""What a pass cost: the hosts' price for the time that it kept them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from ..share.errors import YoloError

_EXPECTED = '{"source": TEXT, "per_hour": DOLLARS} or {"source": TEXT, "hosts": {NAME: {"per_hour": DOLLARS}}}'


def parse(text: str) -> dict[str, Any]:
    """Return the prices that the playbook gives on a command line; empty if none are known.

    Args:
        text: JSON: empty object, or ``source`` and either ``per_hour`` of all hosts together, or ``hosts``: by name the
            ``type``, the ``role`` and ``per_hour``, null where the price is not known. US dollars.

    Raises:
        YoloError: It is something else.
    """
    try:
        value = json.loads(text)
        if not value:
            return {}
        prices = [value["per_hour"]] if "per_hour" in value else [host["per_hour"] for host in value["hosts"].values()]
        known = [float(price) for price in prices if price is not None]
        if not isinstance(value["source"], str) or not all(math.isfinite(p) and p >= 0 for p in known):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise YoloError("prices can't be read", text[:200], _EXPECTED) from None
    return dict(value)


def of_pass(prices: Mapping[str, Any], seconds: float | None, images: int, one_slot: bool) -> dict[str, Any] | None:
    """Return what a pass cost, or None where no price is known.

    Args:
        prices: As :func:`parse` returns them.
        seconds: How long the pass kept its hosts.
        images: Images that it did.
        one_slot: Whether one slot did all of it: then one execute host would have been enough, and is counted.

    Returns:
        ``dollars_per_hour``, ``seconds``, ``dollars``, ``dollars_per_1000_images`` (None without images or time),
        ``hosts`` that are counted, ``source``, ``date`` and ``unknown``, the hosts without a known price: with such
        ones nothing is summed.
    """
    if not prices:
        return None
    if "per_hour" in prices:
        hosts, hourly = None, None if one_slot else float(prices["per_hour"])
        unknown = ["one execute host alone: only the price of all hosts together was given"] if one_slot else []
    else:
        table = dict(prices["hosts"])
        if one_slot:
            execute = sorted(name for name, host in table.items() if host.get("role") == "execute")
            for name in execute[1:]:
                del table[name]
        hosts = sorted(table)
        unknown = [name for name in hosts if table[name]["per_hour"] is None]
        hourly = None if unknown else sum(float(host["per_hour"]) for host in table.values())
    dollars = None if hourly is None or seconds is None else hourly * seconds / 3600
    return {
        "dollars_per_hour": None if hourly is None else round(hourly, 5),
        "seconds": seconds,
        "dollars": None if dollars is None else round(dollars, 6),
        "dollars_per_1000_images": None if dollars is None or not images else round(dollars / images * 1000, 6),
        "hosts": hosts,
        "unknown": unknown,
        "source": prices["source"],
        "date": prices.get("date"),
        "note": prices.get("note"),
        "covers": "the pass's own time, from staging to merged figures; not the time that hosts boot or stand idle",
    }
