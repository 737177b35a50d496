"""Figures of repeated measurements: order of the rounds, medians, ranges, ratios. Pure functions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TypedDict


class Summary(TypedDict):
    """Median and range of some values, and how many there are."""

    median: float
    low: float
    high: float
    count: int


def rounds(names: Sequence[str], count: int) -> list[list[str]]:
    """Return the order of each round.

    Every other round runs backwards, so that a machine that gets slower or faster favours nobody.

    Raises:
        ValueError: ``count`` is below 1.
    """
    if count < 1:
        raise ValueError(f"rounds: {count}; expected 1 or more")
    return [list(names) if number % 2 == 0 else list(reversed(names)) for number in range(count)]


def summary(values: Sequence[float]) -> Summary:
    """Return the median and the range.

    Raises:
        ValueError: There are no values.
    """
    if not values:
        raise ValueError("no values to summarise")
    return Summary(
        median=round(statistics.median(values), 4),
        low=round(min(values), 4),
        high=round(max(values), 4),
        count=len(values),
    )


def ratio(above: Sequence[float], below: Sequence[float]) -> Summary:
    """Return the ratio of two candidates, each round by itself.

    Rounds are taken apart because the machine's speed differs more between rounds than within one.
    """
    return summary([one / other for one, other in zip(above, below, strict=True)])


def growth(points: Mapping[int, float]) -> float | None:
    """Return the exponent by which seconds grow with a size: 1 is linear, 2 quadratic.

    The slope of log(seconds) over log(size) by least squares; None with fewer than two sizes.

    Args:
        points: Seconds by size.
    """
    usable = {size: seconds for size, seconds in points.items() if size > 0 and seconds > 0}
    if len(usable) < 2:
        return None
    xs, ys = [math.log(size) for size in usable], [math.log(seconds) for seconds in usable.values()]
    return round(statistics.linear_regression(xs, ys).slope, 3)
