"""Ansible action: look at a run until it has ended, with a line that moves.

Ansible prints nothing while a task runs, and `until` prints a retry as if it were a failure. This action asks the
host for the run's status again and again and shows it: in a terminal one line that is rewritten, elsewhere a new line
now and then.
"""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import re
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()

_PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>

SECONDS_BETWEEN_LINES = 5.0
"""In a log, how often a changed line is printed."""

SECONDS_TO_STAY = 5.0
"""What is gone sooner is not worth telling."""

SECONDS_TO_RETURN = 60.0
"""What comes back sooner was told already."""

SECONDS_STUCK = 30.0
"""Jobs that fit no host are given up after so long: the host that they fit may be about to come back."""

SECONDS_AWAY = 600.0
"""The host may be out of reach for so long: to boot, say. Its jobs go on meanwhile, or start again after it."""


@contextmanager
def ctrl_c_later() -> Iterator[None]:
    """Put Ctrl-C off until the end of the block.

    What a worker shows goes to Ansible's first process through a queue with a lock. A worker that ends while it holds
    that lock, as Ctrl-C makes it, leaves the first process waiting for ever.
    """
    came = []
    handler = signal.signal(signal.SIGINT, lambda *arguments: came.append(arguments))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if came:
            signal.raise_signal(signal.SIGINT)


def end_with_the_playbook() -> None:
    """Have this worker killed when Ansible's first process is: nobody would take its result, and it would stay."""
    if multiprocessing.parent_process() is None:
        return
    # Linux only; elsewhere it stays.
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class MovingLine:
    """Shows the newest of many lines.

    Args:
        show: Takes a text and whether a newline follows it.
        terminal: Whether a carriage return goes back to the start of the line.
        clock: Seconds of a monotonic clock.
    """

    def __init__(
        self,
        show: Callable[[str, bool], None],
        terminal: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._show = show
        self._terminal = terminal
        self._clock = clock
        self._last = ""
        self._printed_at = float("-inf")

    def update(self, line: str) -> None:
        """Show a line in place of the one before."""
        if self._terminal:
            self._show("\r" + line.ljust(len(self._last)), False)
            self._last = line
        elif line != self._last and self._clock() - self._printed_at >= SECONDS_BETWEEN_LINES:
            self._show(line, True)
            self._last = line
            self._printed_at = self._clock()

    def tell(self, text: str) -> None:
        """Show a text that stays, above the line."""
        if self._terminal:
            self._show("\r" + text.ljust(len(self._last)), True)
            self._last = ""
        else:
            self._show(text, True)

    def finish(self, line: str) -> None:
        """Show the last line and leave it there."""
        if self._terminal:
            self._show("\r" + line.ljust(len(self._last)), True)
        elif line != self._last:
            self._show(line, True)


class Notices:
    """Tells each thing once: when it has stayed for a while, and again only when it was gone for a while.

    Args:
        tell: Shows a text.
        clock: Seconds of a monotonic clock.
    """

    def __init__(self, tell: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._tell = tell
        self._clock = clock
        self._first: dict[str, float] = {}
        self._newest: dict[str, float] = {}
        self._told: set[str] = set()

    def update(self, notices: Iterable[dict[str, Any]]) -> None:
        """Take what is wrong now: `reason` and `remedy` of each thing."""
        now = self._clock()
        for notice in notices:
            # Only a figure changes in them from look to look.
            key = re.sub(r"[0-9.]+", "", notice["reason"])
            if now - self._newest.get(key, now) > SECONDS_TO_RETURN:
                self._told.discard(key)
                del self._first[key]
            self._newest[key] = now
            if now - self._first.setdefault(key, now) >= SECONDS_TO_STAY and key not in self._told:
                self._told.add(key)
                self._tell(f"NOTE: {notice['reason']}. What to do: {notice['remedy']}")


class NoAnswer(Exception):
    """The host gave no status.

    Args:
        why: What it said instead, or why it could not be reached.
        reached: Whether the host itself answered.
    """

    def __init__(self, why: str, reached: bool) -> None:
        super().__init__(why)
        self.reached = reached


class Outage:
    """Tells when a host stops to answer and when it answers again: it may boot, or wait for the share.

    Args:
        tell: Shows a text.
        host: The host's name.
        clock: Seconds of a monotonic clock.
    """

    def __init__(self, tell: Callable[[str], None], host: str, clock: Callable[[], float]) -> None:
        self._tell = tell
        self._host = host
        self._clock = clock
        self._since: float | None = None

    @property
    def lasts(self) -> bool:
        """Whether the host did not answer the last time."""
        return self._since is not None

    def update(self, error: NoAnswer | None) -> bool:
        """Take whether it answers now; return whether it has not for too long."""
        if error is None:
            if self._since is not None:
                self._since = None
                self._tell(f"NOTE: {self._host} answers again")
            return False
        if self._since is None:
            self._since = self._clock()
            what = "can't say how the run is" if error.reached else "does not answer"
            self._tell(
                f"NOTE: {self._host} {what}. Its jobs go on as far as they can, and it is asked again for "
                f"{SECONDS_AWAY / 60:.0f} minutes. It said: {str(error).splitlines()[-1]}"
            )
        return self._clock() - self._since > SECONDS_AWAY


class ActionModule(ActionBase):
    """`watch_run: {command: [...], time_limit: 3600, every: 1}`.

    The command prints a status as JSON: `state` (waiting, done, failed), `line`, `reason`, `remedy`, `notices` (each
    with a reason and a remedy), `stuck` (null, or one of them that waiting does not mend).

    Besides `status` the result has `away`: the host has not answered for so long that the wait was given up, though
    its jobs may go on.
    """

    TRANSFERS_FILES = False
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Wait; the result holds the last status."""
        end_with_the_playbook()
        result = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            {
                "command": {"type": "list", "elements": "str", "required": True},
                "time_limit": {"type": "int", "required": True},
                "every": {"type": "float", "default": 1.0},
            }
        )
        line = MovingLine(self._show, sys.stdout.isatty())
        # Not `display.warning`: Ansible keeps those until the task has ended.
        notices = Notices(line.tell, time.monotonic)
        host = (task_vars or {}).get("inventory_hostname", "the submit host")
        outage = Outage(line.tell, host, time.monotonic)
        deadline = time.monotonic() + arguments["time_limit"]
        status: dict[str, Any] = {"state": "waiting", "line": ""}
        seen = False
        moved = time.monotonic()
        while True:
            try:
                status = self._look(arguments["command"], task_vars)
            except NoAnswer as error:
                # What never worked is no outage.
                if error.reached and not seen:
                    raise AnsibleActionFail(f"Failed to see the run's status {error}") from error
                if outage.update(error):
                    minutes = f"{SECONDS_AWAY / 60:.0f} minutes"
                    msg = (
                        f"{host} has given no status of the run for {minutes}: {error}. Remedy: mend it, then run the "
                        "same run_id again: it waits for the jobs that are left, and does what is missing"
                    )
                    result.update(changed=True, failed=True, away=True, status=status, msg=msg)
                    return result
            else:
                outage.update(None)
                seen = True
                if status["state"] != "waiting":
                    line.finish(status["line"])
                    break
                line.update(status["line"])
                notices.update(status.get("notices") or ([status] if status.get("reason") else []))
                stuck = status.get("stuck")
                if not stuck:
                    moved = time.monotonic()
                elif time.monotonic() - moved >= SECONDS_STUCK:
                    line.finish(status["line"])
                    status |= {"state": "failed", "reason": stuck["reason"], "remedy": stuck["remedy"]}
                    break
            if time.monotonic() > deadline:
                line.finish(status["line"])
                status["state"] = "failed"
                status["reason"] = f"the run has not ended after {arguments['time_limit']} s"
                status["remedy"] = (
                    "what is done is kept: run the same run_id again, with a larger -e time_limit=SECONDS"
                )
                break
            time.sleep(arguments["every"])
        result.update(changed=True, away=outage.lasts, status=status)
        if status["state"] == "failed":
            result.update(failed=True, msg=f"{status['reason']}. Remedy: {status['remedy']}")
        return result

    def _show(self, text: str, newline: bool) -> None:
        with ctrl_c_later():
            display.display(text, newline=newline)

    def _look(self, command: list[str], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        self._drop()
        try:
            # By module and not by shell: the job user has no login shell.
            answer = self._execute_module("ansible.builtin.command", {"argv": command}, task_vars=task_vars)
        except Exception as error:
            # Mitogen has errors of its own for a connection that ends while something waits for it.
            if not (isinstance(error, AnsibleError) or type(error).__module__.startswith("mitogen.")):
                raise
            self._drop()
            with suppress(Exception):
                type(self._connection).reset(self._connection)
            why = " ".join(str(error).split())
            why = "the connection ended" if why.startswith("Mitogen was disconnected") else why
            raise NoAnswer(why, reached=False) from error
        said = answer.get("stdout", "")
        if answer.get("rc") != 0:
            why = answer.get("stderr") or said or answer.get("msg", "")
            raise NoAnswer(f"(exit {answer.get('rc')}): {why.strip()}", reached=True)
        try:
            return json.loads(said.strip().splitlines()[-1])
        except (IndexError, ValueError) as error:
            raise NoAnswer(f"({error}); it was: {said[:300]!r}", reached=True) from error

    def _drop(self) -> None:
        """Have Mitogen look whether the connection is still there: it goes on with one that ended meanwhile."""
        if hasattr(self._connection, "context"):
            self._connection.context = None
            # It resets one that ends, and warns of not finding it any more.
            self._connection.reset = lambda: None
