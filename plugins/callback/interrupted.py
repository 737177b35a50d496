"""Ansible callback: when a playbook is cut off, says what goes on without it.

A task that waits for something that does not need the playbook says so in its variable `when_interrupted`. Ctrl-C
ends Ansible at once, without a task that could still say something, and the worker that waits has no terminal: only the
first process can, as its last word.
"""

from __future__ import annotations

import atexit
from typing import Any

from ansible.plugins.callback import CallbackBase
from ansible.template import Templar

DOCUMENTATION = """
name: interrupted
type: aggregate
short_description: Says what goes on when a playbook is cut off
description:
  - Prints the variable C(when_interrupted) of a task when Ansible ends while that task runs.
author: the project
"""

VARIABLE = "when_interrupted"


class CallbackModule(CallbackBase):
    """Holds the last word of the task that runs, as long as it runs."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "interrupted"

    def __init__(self) -> None:
        super().__init__()
        self._play: Any = None
        self._word = ""
        # Before Mitogen, which then ends first: what it may print comes before this.
        atexit.register(self._say)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Remember the play, whose variables a task sees."""
        self._play = play

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """Take a task's word while its variables are at hand."""
        if VARIABLE in task.vars:
            variables = task.get_variable_manager().get_vars(play=self._play, host=host, task=task)
            self._word = Templar(loader=task.get_loader(), variables=variables).template(task.vars[VARIABLE])

    def v2_runner_on_ok(self, result: Any) -> None:
        """The task has ended."""
        self._word = ""

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """The task has ended."""
        self._word = ""

    v2_runner_on_unreachable = v2_runner_on_ok

    def _say(self) -> None:
        if self._word:
            self._display.display(f"\n{self._word.rstrip()}", stderr=True)
