r"""Ansible's output on the screen: each stage with its time, messages as plain text, a failure once.

A stage is a play. With `-v` the output is Ansible's own, with the slowest tasks at the end. Written here since the
callbacks that Ansible and its collections bring print every task or none, and a failure always as YAML.

What roles may use:

- The message of an `ansible.builtin.debug` task and the `success_msg` of an `assert` are printed as they are, once,
  without host and task. With the variable `print_last: true` of that task the message is printed when the playbook has
  ended, after the recap, or just before a failure.
- Warnings are printed. What modules call deprecated is printed with `-v` only: users can't act on it.
- A failure is printed once. One inside a `block` with a `rescue` is printed only if the `rescue` ends with another one
  that does not repeat it.

The line that moves, for action plugins:

- Ansible's workers have no terminal. This callback tells them of it in the environment variable `TERMINAL_WIDTH`: the
  number of columns, or unset where a line can't be rewritten (no terminal, or `TERM=dumb`).
- With it, rewrite the line with `display.display(f"\r\x1b[K{text}\r", newline=False)`, the text shorter than the
  width. It leaves the cursor at the start of the line, so that whatever is printed next takes its place.
- Text that stays is `display.display(f"\r\x1b[K{text}")`; without `TERMINAL_WIDTH`, `display.display(text)`.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ansible import constants as C
from ansible.playbook.block import Block
from ansible.plugins.callback import CallbackBase
from ansible.plugins.callback.default import CallbackModule as DefaultCallback
from ansible.utils.display import Display
from ansible.utils.fqcn import add_internal_fqcns

DOCUMENTATION = """
name: stages
type: stdout
short_description: Each stage with its time, messages as plain text, a failure once
description:
  - Prints a line for each play when it ends, the messages of C(ansible.builtin.debug), warnings and failures.
  - With C(-v) prints what C(ansible.builtin.default) prints, and the slowest tasks at the end.
  - With C(--check) and C(--diff) also names each task that changes something.
author: the project
extends_documentation_fragment:
  - default_callback
  - result_format_callback
"""

TERMINAL_WIDTH = "TERMINAL_WIDTH"
"""Environment variable that tells workers that the output is a terminal, and its columns."""

SHORT_STAGE = 1.0
"""A stage that took less, in seconds, and had nothing to say is not printed."""

SLOWEST_TASKS = 20
"""With `-v`, so many tasks are listed with their times."""

OUTPUT_LINES = 10
"""Of a command that failed, so many lines of its output are printed."""

_ERASE = "\r\x1b[K"
_PREFIXES = ("Task failed: ", "Action failed: ", "Module failed: ", "Failed to connect to the host via ssh: ")
_FAIL = frozenset(add_internal_fqcns(("fail",)))
_ASSERT = frozenset(add_internal_fqcns(("assert",)))
# Their messages are written for users; so are those of our own commands.
_AUTHORED = _FAIL | _ASSERT | frozenset((*add_internal_fqcns(("validate_argument_spec",)), "yolo"))


def terminal_width(stream: Any, environment: Mapping[str, str]) -> int | None:
    """Return the columns of the terminal that a stream is; None if a line of it can't be rewritten."""
    if not stream.isatty() or environment.get("TERM", "dumb") == "dumb":
        return None
    return shutil.get_terminal_size().columns


def moving_line(text: str, width: int) -> str:
    """Return what shows a text in place of the line before, cut to the terminal's width."""
    one = " ".join(text.split())
    return f"{_ERASE}{one if len(one) < width else one[: width - 2] + '…'}\r"


def duration(seconds: float) -> str:
    """Return a duration in words: `0.4 s`, `14 s`, `2 min 5 s`, `1 h 0 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def plain(message: object) -> str:
    """Return a message without what Ansible puts before it; a list of lines becomes a text."""
    if isinstance(message, Sequence) and not isinstance(message, str):
        message = "\n".join(str(line) for line in message)
    text = str(message).strip()
    while prefix := next((prefix for prefix in _PREFIXES if text.startswith(prefix)), None):
        text = text[len(prefix) :]
    return text


def last_lines(text: object, count: int = OUTPUT_LINES) -> str:
    """Return the last lines of a program's output, indented."""
    lines = str(text or "").strip().splitlines()
    return "".join(f"\n    {line}" for line in lines[-count:])


def reason(result: Mapping[str, Any]) -> str:
    """Return why a task failed, from its result or that of one item of its loop."""
    if "censored" in result:
        return "its output is hidden, since it may hold a secret"
    message = plain(result.get("msg", ""))
    if "rc" in result and message in ("non-zero return code", ""):
        command = result.get("cmd", "")
        command = command if isinstance(command, str) else " ".join(str(word) for word in command)
        message = f"{command or 'the command'} ended with exit code {result['rc']}"
    details = result.get("module_stderr") or result.get("stderr") or (result.get("stdout") if "rc" in result else "")
    # Some modules repeat it in their message.
    if details and (str(details).strip() not in message or "rc" in result):
        message += last_lines(details)
    return message or "it gave no reason"


def failures(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield why a task failed: of a loop, a reason for each item that did."""
    items = result.get("results")
    failed = [item for item in items if isinstance(item, dict) and item.get("failed")] if items else []
    for item in failed or [result]:
        yield reason(item)


def part_of_block(task: Any) -> str:
    """Return which part of the nearest block with a `rescue` a task is in: `block`, `rescue`, or nothing."""
    child, parent = task, task._parent
    while parent is not None:
        if isinstance(parent, Block) and parent.rescue:
            for part in ("block", "rescue"):
                if any(item._uuid == child._uuid for item in getattr(parent, part)):
                    return part
        child, parent = parent, parent._parent
    return ""


class Stages(CallbackBase):
    """The output without `-v`."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "stages"
    # Ansible takes it from the class's name, and finds the options by it.
    plugin_type = "callback"

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._stage = ""
        self._stage_began = clock()
        self._stage_spoke = False
        self._stage_failed = False
        self._last: list[str] = []
        self._printed: set[tuple[str, str]] = set()
        self._told: dict[str, str] = {}
        self._rescued: dict[str, str] = {}
        self._width = terminal_width(sys.stdout, os.environ)
        share_width(self._width)
        # So that a reader at a pipe gets each line at once. A flush() of ours lacks Display's lock: when another
        # thread writes what workers say, it corrupts the stream, and Python may crash.
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(line_buffering=True)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """End the stage before, begin the next."""
        self._end_stage()
        self._stage = play.get_name().strip()
        self._stage_began = self._clock()

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Show on a terminal what is being done."""
        self._told.clear()
        # Whoever asks the user something needs the line.
        if self._width and task.action not in add_internal_fqcns(("pause",)):
            share_width(terminal_width(sys.stdout, os.environ))
            text = f"{self._stage}: {task.get_name().strip()}"
            self._display.display(moving_line(text, self._width), newline=False, screen_only=True)

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        """Show a handler like a task."""
        self.v2_playbook_on_task_start(task, False)

    def v2_runner_on_ok(self, result: Any) -> None:
        """Print what a task reports, and with --check or --diff that it changes something."""
        self._warn(result)
        if result.task.action in C._ACTION_DEBUG:
            for item in result.result.get("results", [result.result]):
                self._report(result.task, item)
        elif result.task.action in _ASSERT and "success_msg" in result.task.args:
            self._report(result.task, {"msg": result.result.get("msg", "")})
        elif result.result.get("changed") and (result.task.check_mode or result.task.diff):
            would = "would change" if result.task.check_mode else "changed"
            self._say(f"{would}: {self.host_label(result)}: {result.task.get_name().strip()}", C.COLOR_CHANGED)

    def v2_runner_on_skipped(self, result: Any) -> None:
        """Print the warnings of a task that was skipped."""
        self._warn(result)

    def v2_on_file_diff(self, result: Any) -> None:
        """With --diff, print what changes in a file."""
        for item in result.result.get("results", [result.result]):
            if item.get("changed") and item.get("diff") and (diff := self._get_diff(item["diff"])):
                self._say(diff.rstrip())

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Print a failure, unless it is ignored or a `rescue` deals with it."""
        if ignore_errors:
            return
        self._warn(result)
        host, task = self.host_label(result), result.task
        text = "\n".join(dict.fromkeys(failures(result.result)))
        if task.action not in _AUTHORED:
            text = f"{task.get_name().strip()}: {text}"
        part = part_of_block(task)
        if part == "block":
            self._rescued[host] = text
            return
        before = self._rescued.pop(host, "") if part == "rescue" else ""
        if before and task.action not in _FAIL:
            self._fail(host, before)
        self._fail(host, text)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Print that a host can't be reached."""
        if result.task.ignore_unreachable:
            return
        # Before it stands what ssh had to say on the way.
        why = reason(result.result).splitlines()[-1]
        self._fail(self.host_label(result), f"can't be reached: {plain(why)}", always_host=True)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Print the recap and what a playbook ends with."""
        self._end_stage()
        hosts = sorted(stats.processed)
        if not hosts:
            self._say("No host matched: nothing was done.")
        width = max(map(len, hosts), default=0)
        for host in hosts:
            count = stats.summarize(host)
            bad = count["failures"] or count["unreachable"]
            text = (
                f"{host:<{width}} : ok={count['ok']} changed={count['changed']} unreachable={count['unreachable']} "
                f"failed={count['failures']}"
            )
            self._say(text, C.COLOR_ERROR if bad else C.COLOR_CHANGED if count["changed"] else C.COLOR_OK)
        self._say_last()

    def _say(self, text: str, color: str | None = None, stderr: bool = False) -> None:
        if self._width:
            self._display.display(_ERASE, newline=False, screen_only=True)
        self._display.display(text, color=color, stderr=stderr)

    def _say_last(self) -> None:
        for text in self._last:
            self._say(text)
        self._last.clear()

    def _report(self, task: Any, item: Mapping[str, Any]) -> None:
        if item.get("skipped"):
            return
        if "msg" in item:
            text = plain(item["msg"])
        else:
            text = "\n".join(f"{name}: {value}" for name, value in item.items() if not is_internal(name))
        # Several hosts may say the same.
        if not text or (task._uuid, text) in self._printed:
            return
        self._printed.add((task._uuid, text))
        if task.vars.get("print_last"):
            self._last.append(text)
        else:
            self._stage_spoke = True
            self._say(text)

    def _fail(self, host: str, text: str, always_host: bool = False) -> None:
        self._stage_failed = True
        self._say_last()
        if text in self._told:
            self._say(f"The same on {host}.", C.COLOR_ERROR, self.get_option("display_failed_stderr"))
            return
        self._told[text] = host
        where = "" if host == "localhost" and not always_host else f" on {host}"
        self._say(f"ERROR{where}: {text}", C.COLOR_ERROR, self.get_option("display_failed_stderr"))

    def _warn(self, result: Any) -> None:
        # What a module calls deprecated is for those who change the roles: -v prints it, and molecule.
        result.result.pop("deprecations", None)
        if self._width and result.result.get("warnings"):
            self._display.display(_ERASE, newline=False, screen_only=True)
        self._handle_warnings(result.result)

    def _end_stage(self) -> None:
        seconds = self._clock() - self._stage_began
        if self._stage and (self._stage_spoke or self._stage_failed or seconds >= SHORT_STAGE):
            self._say(f"{duration(seconds):>10}  {self._stage}{' (failed)' if self._stage_failed else ''}")
        elif self._width:
            self._display.display(_ERASE, newline=False, screen_only=True)
        self._stage, self._stage_spoke, self._stage_failed = "", False, False


def is_internal(name: str) -> bool:
    """Whether a key of a result of `debug` is Ansible's own."""
    return name.startswith("_") or name in ("changed", "failed", "skipped", "failed_when_result", "ansible_loop_var")


def share_width(width: int | None) -> None:
    """Tell the workers, which are forked later, of the terminal."""
    if width:
        os.environ[TERMINAL_WIDTH] = str(width)
    else:
        os.environ.pop(TERMINAL_WIDTH, None)


class FullOutput(DefaultCallback):
    """The output with `-v`: Ansible's own, and the slowest tasks."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "stages"
    # Ansible takes it from the class's name, and finds the options by it.
    plugin_type = "callback"

    def __init__(self) -> None:
        super().__init__()
        self._seconds: list[tuple[float, str]] = []
        self._running: tuple[float, str] | None = None
        share_width(terminal_width(sys.stdout, os.environ))

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Take the time."""
        self._take_time(task.get_name().strip())
        super().v2_playbook_on_task_start(task, is_conditional)

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        """Take the time."""
        self._take_time(task.get_name().strip())
        super().v2_playbook_on_handler_task_start(task)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Print the slowest tasks before Ansible's recap."""
        self._take_time("")
        self._display.banner("SLOWEST TASKS")
        for seconds, name in sorted(self._seconds, reverse=True)[:SLOWEST_TASKS]:
            self._display.display(f"{seconds:8.2f} s  {name}")
        super().v2_playbook_on_stats(stats)

    def _take_time(self, name: str) -> None:
        now = time.monotonic()
        if self._running:
            began, before = self._running
            self._seconds.append((now - began, before))
        self._running = (now, name) if name else None


CallbackModule = FullOutput if Display().verbosity else Stages
