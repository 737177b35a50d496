"""How long single images took: percentiles, and the slowest of them."""

from __future__ import annotations

import heapq
import statistics
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from ..share.records import STAGES

PERCENTILES = (50, 90, 95, 99)
"""What is named of a distribution, beside its mean and its maximum."""

SLOWEST = 10
"""Images that are named as the slowest."""


def total_ms(times: Mapping[str, float]) -> float:
    """Return what one image took: the sum of its stages, milliseconds.

    A stage of one image may run beside another stage of the next one. This is the time from the first byte read to the
    last byte written only if nothing waited in between, and never more than that.
    """
    return round(sum(times.get(f"{stage}_ms", 0.0) for stage in STAGES), 3)


def percentiles(values: Sequence[float]) -> dict[str, float] | None:
    """Return ``p50 p90 p95 p99 mean max`` and ``count`` of some times, or None if there are none.

    Between two values percentiles are interpolated linearly: definition 7 of Hyndman and Fan, "Sample quantiles in
    statistical packages", The American Statistician 50 (1996), which is numpy's default too.

    Args:
        values: Milliseconds, in any order.
    """
    if not values:
        return None
    # Before Python 3.13 there are no quantiles of one value.
    cuts = statistics.quantiles(values if len(values) > 1 else [*values, *values], n=100, method="inclusive")
    named = {f"p{p}": round(cuts[p - 1], 3) for p in PERCENTILES}
    mean = round(statistics.fmean(values), 3)
    return {"count": len(values), **named, "mean": mean, "max": round(max(values), 3)}


class Latencies:
    """Collects the times of a pass's images while they go by. A million images take 40 MB."""

    def __init__(self) -> None:
        self._values = {name: array("d") for name in ("total", *STAGES)}
        # Smallest first; of equal ones the image that came later goes first, so that the choice is always the same.
        self._slowest: list[tuple[float, int, dict[str, Any]]] = []

    def add(self, times: Mapping[str, float], image: Mapping[str, Any]) -> None:
        """Count an image.

        Args:
            times: ``<stage>_ms`` of its record; a stage that did not run is absent.
            image: What to say about it if it is one of the slowest.
        """
        if not times:
            return
        total = total_ms(times)
        order = -len(self._values["total"])
        self._values["total"].append(total)
        for stage in STAGES:
            if (value := times.get(f"{stage}_ms")) is not None:
                self._values[stage].append(value)
        row = {**image, "total_ms": total, **{f"{stage}_ms": times.get(f"{stage}_ms") for stage in STAGES}}
        if len(self._slowest) < SLOWEST:
            heapq.heappush(self._slowest, (total, order, row))
        else:
            heapq.heappushpop(self._slowest, (total, order, row))

    def table(self) -> dict[str, dict[str, float] | None]:
        """Return :func:`percentiles` of ``total`` and of each stage."""
        return {name: percentiles(values) for name, values in self._values.items()}

    def slowest(self) -> list[dict[str, Any]]:
        """Return the slowest images, the slowest one first."""
        return [row for *_, row in sorted(self._slowest, key=lambda item: (-item[0], -item[1]))]
