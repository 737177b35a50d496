"""What is told while a run waits: each thing once, when it has lasted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from .explain import Explanation

SECONDS_TO_STAY = 5.0
"""What is gone sooner is not worth telling."""

SECONDS_TO_RETURN = 60.0
"""What comes back sooner was told already."""


class Notices:
    """Tells each thing once: when it has stayed for a while, and again only when it was gone for a while.

    Args:
        tell: Takes a text.
        clock: Seconds of a monotonic clock.
    """

    def __init__(self, tell: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._tell, self._clock = tell, clock
        self._first: dict[str, float] = {}
        self._newest: dict[str, float] = {}
        self._told: set[str] = set()

    def update(self, notices: Iterable[Explanation]) -> None:
        """Take what is wrong now."""
        now = self._clock()
        for notice in notices:
            # Only a figure changes in them from poll to poll.
            key = re.sub(r"[0-9.]+", "", notice.reason)
            if now - self._newest.get(key, now) > SECONDS_TO_RETURN:
                self._told.discard(key)
                del self._first[key]
            self._newest[key] = now
            if now - self._first.setdefault(key, now) >= SECONDS_TO_STAY and key not in self._told:
                self._told.add(key)
                self._tell(f"{notice.reason}. What to do: {notice.remedy}")
