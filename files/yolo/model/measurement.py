"""Measure how fast engines are on this host."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from importlib import metadata

import numpy as np

from ..vision.letterbox import PADDING
from .engines import Engine

_WARM_UP, _ROUNDS, _SECONDS = 2, (5, 30), 2.0

#: Of two engines that are equally fast, up to this, the first is taken: noise must not decide.
_MARGIN = 0.03


def measure(engines: dict[str, Engine], size: tuple[int, int]) -> dict[str, float]:
    """Time engines on one input, in turns, so that a busy moment hits all of them.

    Args:
        engines: By name.
        size: (height, width) of the input.

    Returns:
        Median milliseconds of a forward pass, by name.
    """
    grey = np.full((1, 3, *size), PADDING / 255, np.float32)
    for engine in engines.values():
        for _ in range(_WARM_UP):
            engine.infer(grey)
    times: dict[str, list[float]] = {name: [] for name in engines}
    end = time.perf_counter() + _SECONDS
    low, high = _ROUNDS
    for turn in range(high):
        if turn >= low and time.perf_counter() > end:
            break
        for name, engine in engines.items():
            start = time.perf_counter()
            engine.infer(grey)
            times[name].append((time.perf_counter() - start) * 1000)
    return {name: round(statistics.median(values), 2) for name, values in times.items()}


def fastest(ms: dict[str, float]) -> str:
    """Return the fastest engine, or the first of those that are as fast up to a margin."""
    limit = min(ms.values()) * (1 + _MARGIN)
    return next(name for name, value in ms.items() if value <= limit)


def engine_versions(engines: Sequence[str]) -> dict[str, str]:
    """Return installed versions without importing anything; empty for what is not there."""
    found = {}
    for name in engines:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = ""
    return found
