"""Follow a submission until its jobs have ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from .condor import CommandFailed, Runner, run_command
from .notices import Notices
from .status import Status

SECONDS_BETWEEN_POLLS = 1.0

SECONDS_STUCK = 30.0
"""Jobs that fit no host are given up after so long: the host that they fit may be about to come back."""


def follow(
    poll: Callable[[], Status],
    show: Callable[[str], None],
    tell: Callable[[str], None],
    time_limit: float,
    most: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Status | None:
    """Poll until no job is left that may still do its work.

    Args:
        poll: Returns the status.
        show: Takes a line that replaces the one before.
        tell: Takes a text that stays: what is wrong, and what to do about it.
        time_limit: Seconds after which the wait is given up.
        most: Return None after so many seconds if it has not ended.
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
            return replace(status, state="failed", reason=status.stuck.reason, remedy=status.stuck.remedy)
        if now - began > time_limit:
            return replace(
                status,
                state="failed",
                reason=f"the run has not ended after {time_limit:g} s",
                remedy="what is done is kept: run the same run_id again, with a larger -e time_limit=SECONDS",
            )
        if most is not None and now - began >= most:
            return None
        sleep(SECONDS_BETWEEN_POLLS)


def clean_up(cluster: int, status: Status, run: Runner = run_command) -> None:
    """Remove what would stand in the queue for ever: all jobs of a wait that failed, held ones of one that is done.

    The next run of the same name would wait for them.
    """
    command = ["condor_rm", str(cluster)]
    if status.state == "done":
        if not status.held:
            return
        command = ["condor_rm", "-constraint", f"ClusterId == {cluster} && JobStatus == 5"]
    try:
        run(command)
    except CommandFailed:
        # They are found, and reported, by the next run.
        return
