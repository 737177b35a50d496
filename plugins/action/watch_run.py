"""Ansible action: look at a run until it has ended, with a line that moves.

Ansible prints nothing while a task runs, and `until` prints a retry as if it were a failure. This action asks the
host for the run's status again and again and shows it: in a terminal one line that is rewritten, elsewhere a new line
now and then.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()

SECONDS_BETWEEN_LINES = 5.0
"""In a log, how often a changed line is printed."""


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

    def finish(self, line: str) -> None:
        """Show the last line and leave it there."""
        if self._terminal:
            self._show("\r" + line.ljust(len(self._last)), True)
        elif line != self._last:
            self._show(line, True)


class ActionModule(ActionBase):
    """`watch_run: {command: [...], time_limit: 3600, every: 1}`.

    The command prints a status as JSON: `state` (waiting, done, failed), `line`, `reason`, `remedy`.
    """

    TRANSFERS_FILES = False
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Wait; the result holds the last status."""
        result = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            {
                "command": {"type": "list", "elements": "str", "required": True},
                "time_limit": {"type": "int", "required": True},
                "every": {"type": "float", "default": 1.0},
            }
        )
        line = MovingLine(self._show, sys.stdout.isatty())
        deadline = time.monotonic() + arguments["time_limit"]
        warned = None
        while True:
            status = self._look(arguments["command"], task_vars)
            if status["state"] != "waiting":
                line.finish(status["line"])
                break
            line.update(status["line"])
            if status.get("reason") and status["reason"] != warned:
                warned = status["reason"]
                with ctrl_c_later():
                    display.warning(f"{warned}; {status.get('remedy') or ''}")
            if time.monotonic() > deadline:
                line.finish(status["line"])
                status["state"] = "failed"
                status["reason"] = f"the run has not ended after {arguments['time_limit']} s"
                status["remedy"] = (
                    "what is done is kept: run the same run_id again, with a larger -e time_limit=SECONDS"
                )
                break
            time.sleep(arguments["every"])
        result.update(changed=True, status=status)
        if status["state"] == "failed":
            result.update(failed=True, msg=f"{status['reason']}. Remedy: {status['remedy']}")
        return result

    def _show(self, text: str, newline: bool) -> None:
        with ctrl_c_later():
            display.display(text, newline=newline)

    def _look(self, command: list[str], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        # By module and not by shell: the job user has no login shell.
        answer = self._execute_module("ansible.builtin.command", {"argv": command}, task_vars=task_vars)
        said = answer.get("stdout", "")
        if answer.get("rc") != 0:
            why = answer.get("stderr") or said or answer.get("msg", "")
            raise AnsibleActionFail(f"Failed to see the run's status (exit {answer.get('rc')}): {why.strip()}")
        try:
            return json.loads(said.strip().splitlines()[-1])
        except (IndexError, ValueError) as error:
            raise AnsibleActionFail(f"Failed to read the run's status: {error}; it was: {said[:300]!r}") from error
