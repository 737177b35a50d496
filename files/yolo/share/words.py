"""Times and numbers as people say them."""

from __future__ import annotations


def human_time(seconds: float) -> str:
    """Return a time as people say it: ``22 s``, ``5 min``, ``2 h 10 min``."""
    if seconds < 90:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def plural(count: int, one: str, many: str = "") -> str:
    """Return a number and what it counts: ``1 job``, ``2,000 jobs``."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
