"""Follow jobs until they have ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, Self, TypeVar

from .condor import CommandFailed, Runner, run_command
from .explain import Explanation
from .notices import Notices
from .status import Status

SECONDS_BETWEEN_POLLS = 1.0

SECONDS_STUCK = 30.0
"""Jobs that fit no host are given up after so long: the host that they fit may be about to come back."""


class Waited(Protocol):
    """How jobs stand: those of a submission, or the one that prepares the model."""

    @property
    def state(self) -> str:
        """``waiting``, ``done`` or ``failed``."""
        ...

    @property
    def line(self) -> str:
        """How they stand, in one line for people."""
        ...

    @property
    def notices(self) -> tuple[Explanation, ...]:
        """What is wrong or does not move, and what to do about it."""
        ...

    @property
    def stuck(self) -> Explanation | None:
        """One of the notices if waiting longer does not mend it, unless the pool changes."""
        ...

    def give_up(self, found: Explanation) -> Self:
        """Return the status of a wait that ended for a reason."""
        ...


AnyStatus = TypeVar("AnyStatus", bound=Waited)


def follow(
    poll: Callable[[], AnyStatus],
    show: Callable[[str], None],
    tell: Callable[[str], None],
    time_limit: float,
    most: float | None = None,
    between: float = SECONDS_BETWEEN_POLLS,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> AnyStatus | None:
    """Poll until no job is left that may still do its work.

    Args:
        poll: Returns the status.
        show: Takes a line that replaces the one before.
        tell: Takes a text that stays: what is wrong, and what to do about it.
        time_limit: Seconds after which the wait is given up.
        most: Return None after so many seconds if it has not ended.
        between: Seconds between two polls.
        clock: Seconds of a monotonic clock.
        sleep: Waits some seconds.

    Raises:
        YoloError: From ``poll``.
        OSError: From ``poll``.
    """
    notices = Notices(tell, clock)
    began = moved = clock()
    while True:
        status = poll()
        show(status.line)
        if status.state != "waiting":
            return status
        notices.update(status.notices)
        now = clock()
        if not status.stuck:
            moved = now
        elif now - moved >= SECONDS_STUCK:
            return status.give_up(status.stuck)
        if now - began > time_limit:
            return status.give_up(
                Explanation(
                    f"the run has not ended after {time_limit:g} s",
                    "what is done is kept: run the same run_id again, with a larger -e time_limit=SECONDS",
                )
            )
        if most is not None and now - began >= most:
            return None
        sleep(between)


def clean_up(cluster: int, status: Status, run: Runner = run_command) -> None:
    """Remove what would stand in the queue for ever: all jobs of a wait that failed, held ones of one that is done.

    The next run of the same name would wait for them.
    """
    command = ["condor_rm", str(cluster)]
    # Those that are held may keep others from being made: then all go.
    if status.state == "done" and not status.idle:
        if not status.held:
            return
        command = ["condor_rm", "-constraint", f"ClusterId == {cluster} && JobStatus == 5"]
    try:
        run(command)
    except CommandFailed:
        # They are found, and reported, by the next run.
        return
