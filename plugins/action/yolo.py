"""Ansible action: run a command of the package yolo and show how it goes.

Ansible prints nothing while a task runs. This action starts the command once, on the control node or on a host, and
passes on what it says, a JSON object a line: `line` is shown in place of the one before it, `notice` stays, `result` is
the task's. The command goes on by itself where the connection ends: it is started again then.
"""

from __future__ import annotations

import base64
import ctypes
import io
import json
import multiprocessing
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ansible import context
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible.utils.vars import load_extra_vars

display = Display()

PROJECT = Path(__file__).resolve().parents[2]

TERMINAL = "TERMINAL_WIDTH"
"""Set by the callback `stages` where the screen is one: this process has none. Its columns."""

_PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>

SECONDS_BETWEEN_LINES = (5.0, 300.0)
"""In a log, how long after the one before a changed line is printed: at first, and at most; each time twice as long."""

SECONDS_AWAY = 600.0
"""The host may be out of reach for so long: to boot, say. Its jobs go on meanwhile, or start again after it."""

SECONDS_BETWEEN_TRIES = 2.0

SECONDS_OF_A_PART = 10
"""Of a wait, where what a command says only comes when it ends."""

CUT_OFF = (126, 127, 137, 143, 255)
"""Exit codes of a shell, of sudo or of ssh that could not start the command, or of a host that goes down."""


@contextmanager
def ctrl_c_later() -> Iterator[None]:
    """Put Ctrl-C off until the end of the block.

    What a worker shows goes to Ansible's first process through a queue with a lock. A worker that ends while it holds
    that lock, as Ctrl-C makes it, leaves the first process waiting for ever.
    """
    came: list[Any] = []
    handler = signal.signal(signal.SIGINT, lambda *arguments: came.append(arguments))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if came:
            signal.raise_signal(signal.SIGINT)


def end_with_the_playbook() -> None:
    """Have this worker killed when Ansible's first process is: nobody would take its result, and it would stay."""
    first = multiprocessing.parent_process()
    if first is None:
        return
    # Linux only; elsewhere it stays.
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # It may have been killed before that.
    if os.getppid() != first.pid:
        os.kill(os.getpid(), signal.SIGKILL)


class MovingLine:
    """Shows the newest of many lines.

    Args:
        show: Takes a text and whether a newline follows it.
        columns: Of the terminal; 0 where there is none, and each line stays.
        clock: Seconds of a monotonic clock.
    """

    def __init__(
        self, show: Callable[[str, bool], None], columns: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._show, self._columns, self._clock = show, columns, clock
        self._last = self._printed = ""
        self._due, self._pause = float("-inf"), SECONDS_BETWEEN_LINES[0]

    def update(self, line: str) -> None:
        """Show a line in place of the one before."""
        if self._columns:
            # A line that is wrapped could not be taken back. The cursor stays at its start, so that whatever comes next
            # takes its place.
            line = line[: self._columns - 1]
            if line != self._last:
                self._show(f"\r\x1b[K{line}\r", False)
        elif line != self._printed and self._clock() >= self._due:
            self._print(line)
        self._last = line

    def tell(self, text: str) -> None:
        """Show a text that stays, above the line."""
        self._show(f"\r\x1b[K{text}" if self._columns else text, True)
        self._last = ""

    def finish(self) -> None:
        """Leave the last line where it is."""
        if self._columns and self._last:
            self._show(f"\r\x1b[K{self._last}", True)
        elif self._last and self._last != self._printed:
            self._print(self._last)
        self._last = ""

    def _print(self, line: str) -> None:
        self._show(line, True)
        self._printed, self._due = line, self._clock() + self._pause
        self._pause = min(self._pause * 2, SECONDS_BETWEEN_LINES[1])


Take = Callable[[bytes], dict[str, Any] | None]
"""Takes a line that the command prints; returns the message in it."""


SENT = ("cli", "request", "share")
"""Parts of the package that are sent to a host which runs a command before the share has the code."""

RUN_SENT = """\
import base64, runpy, sys, tempfile
with tempfile.NamedTemporaryFile(suffix=".zip") as code:
    code.write(base64.b64decode(sys.stdin.buffer.readline()))
    code.flush()
    sys.path.insert(0, code.name)
    runpy.run_module("yolo", run_name="__main__", alter_sys=True)
"""
"""Runs the package that is the first line of standard input; the command reads the others. It leaves no file."""


def pack_code(package: Path) -> bytes:
    """Return a zip of the package that a host needs, on one line."""
    packed = io.BytesIO()
    files = [*package.glob("*.py"), *(file for part in SENT for file in (package / part).rglob("*.py"))]
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, f"yolo/{file.relative_to(package)}")
    return base64.b64encode(packed.getvalue()) + b"\n"


def read_kept(path: Path) -> Any:
    """Return what :func:`write_kept` wrote; an empty object if there is none."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}


def write_kept(path: Path, value: Any) -> None:
    """Write a JSON value so that a reader never sees half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        json.dump(value, file)
    os.replace(file.name, path)


class Away(Exception):
    """The host has not answered for so long that the wait is given up."""


class Ended(Exception):
    """The command ended without a result.

    Args:
        code: Exit code; below 0 the signal that ended it.
        complaint: What it said on standard error.

    Attributes:
        error: The command's own error, if it is one.
        cut_off: Whether the connection or the host ended it, not the command itself.
    """

    def __init__(self, code: int, complaint: str) -> None:
        found = re.search(r"^error: (.*)", complaint, re.MULTILINE | re.DOTALL)
        super().__init__(complaint.strip() or f"the command ended with exit code {code} and without a result")
        self.cut_off = code in CUT_OFF or code < 0
        self.error = found[1].strip() if found and not self.cut_off else ""


def stream(
    argv: Sequence[str | bytes], given: bytes, take: Take, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run a command, take what it prints as it prints it, and return its result.

    Raises:
        Ended: It ended without one.
    """
    # A file, not a pipe: with -vvv ssh says more than a pipe holds.
    with tempfile.TemporaryFile() as complaint:
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaint, env=environment
        )
        assert process.stdin is not None and process.stdout is not None
        try:
            with suppress(BrokenPipeError):
                process.stdin.write(given)
                process.stdin.close()
            result = None
            for said in process.stdout:
                result = (take(said) or {}).get("result", result)
            code = process.wait()
        finally:
            process.kill()
            process.wait()
        complaint.seek(0)
        return checked(result, code, complaint.read().decode("utf-8", "replace"))


def checked(result: dict[str, Any] | None, code: int, complaint: str) -> dict[str, Any]:
    """Return a command's result.

    Raises:
        Ended: There is none, or the command failed.
    """
    if code != 0 or result is None:
        raise Ended(code, complaint)
    return result


class Outage:
    """Tells when a host stops to answer and when it answers again: it may boot, or wait for the share.

    Args:
        tell: Shows a text.
        host: The host's name.
        clock: Seconds of a monotonic clock.
    """

    def __init__(self, tell: Callable[[str], None], host: str, clock: Callable[[], float]) -> None:
        self._tell, self._host, self._clock = tell, host, clock
        self._since: float | None = None

    def begins(self, why: str, reached: bool) -> bool:
        """Take that the command has ended without a result; return whether there was none for too long.

        Args:
            why: What was said instead.
            reached: Whether the host itself answered.
        """
        if self._since is None:
            self._since = self._clock()
            what = "can't say how the run is" if reached else "does not answer"
            self._tell(
                f"NOTE: {self._host} {what}. Its jobs go on as far as they can, and it is asked again for "
                f"{SECONDS_AWAY / 60:.0f} minutes. It said: {why.splitlines()[-1] if why else 'nothing'}"
            )
        return self._clock() - self._since > SECONDS_AWAY

    def ends(self) -> None:
        """Take that the host answers."""
        if self._since is not None:
            self._since = None
            self._tell(f"NOTE: {self._host} answers again")


class ActionModule(ActionBase):
    """`yolo: {command: status, arguments: [...], input: {...}, code: PATH}`.

    `code` is the zip of the package on the host; without it the command runs on the control node, with the
    project's. With `sent` it runs on the host with the project's package, which is sent along and leaves no file.
    `input` is a JSON object for its standard input. `waits` says that the command only waits, so that it is started
    again whatever ended it, and that it takes `--for SECONDS`. `time_limit` is passed on as `--time-limit`, less what
    was spent before it was started again. `extra_variables` puts the names on the user's command line into `input`.
    `kept` is a file of the control node for a long answer: what the command's result calls `kept` is written there, in
    place of being returned, and goes into `input` the next time.

    The result holds the command's `result`; `changed`, and `msg` if it failed. `away` is true where the host has not
    answered for so long that the wait was given up, though its jobs may go on.
    """

    TRANSFERS_FILES = False
    _requires_connection = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the command; see the class."""
        end_with_the_playbook()
        result = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            {
                "command": {"type": "str", "required": True},
                "arguments": {"type": "list", "elements": "str", "default": []},
                "input": {"type": "dict", "default": {}},
                "code": {"type": "str", "default": ""},
                "sent": {"type": "bool", "default": False},
                "kept": {"type": "path"},
                "waits": {"type": "bool", "default": False},
                "time_limit": {"type": "int"},
                "extra_variables": {"type": "bool", "default": False},
            }
        )
        given = dict(arguments["input"])
        if arguments["extra_variables"]:
            given |= {"named": sorted(extra_variables()), "prefixes": sorted(prefixes()), "here": os.getcwd()}
        kept = Path(arguments["kept"]) if arguments["kept"] else None
        if kept is not None:
            given["kept"] = read_kept(kept)
        line = MovingLine(self._show, int(os.environ.get(TERMINAL) or 0))
        try:
            found = self._run(arguments, json.dumps(given).encode(), line, task_vars or {})
        except Away as error:
            return result | {"failed": True, "away": True, "changed": True, "msg": str(error)}
        finally:
            line.finish()
        if kept is not None:
            write_kept(kept, found.pop("kept"))
        result |= {"result": found, "changed": bool(found.get("changed")), "away": False}
        if found.get("failed"):
            result |= {"failed": True, "msg": found["msg"]}
        return result

    def _run(
        self, arguments: dict[str, Any], given: bytes, line: MovingLine, task_vars: dict[str, Any]
    ) -> dict[str, Any]:
        host = task_vars.get("inventory_hostname", "the host")
        outage = Outage(line.tell, host, time.monotonic)
        seen: list[bool] = []
        began = time.monotonic()

        def take(said: bytes) -> dict[str, Any] | None:
            message = self._take(said, line)
            if message is not None:
                seen.append(True)
                outage.ends()
            return message

        while True:
            spent = time.monotonic() - began
            try:
                found = self._start(arguments, given, take, spent)
            except Ended as end:
                # What never worked is no outage.
                if not arguments["code"] or not (end.cut_off or (seen and (arguments["waits"] or not end.error))):
                    # Not `from end`: Ansible would say it twice.
                    raise AnsibleActionFail(end.error or str(end)) from None
                if outage.begins(str(end), not end.cut_off):
                    raise Away(
                        f"{host} has given no status of the run for {SECONDS_AWAY / 60:.0f} minutes: {end}. Remedy: "
                        "mend it, then run the same run_id again: it waits for the jobs that are left, and does what "
                        "is missing"
                    ) from end
                # All commands on a host may be run again: they go on where they were.
                time.sleep(SECONDS_BETWEEN_TRIES)
                continue
            if found.get("ended", True):
                return found

    def _start(self, arguments: dict[str, Any], given: bytes, take: Take, spent: float) -> dict[str, Any]:
        """Run the command once and return its result.

        Raises:
            Ended: It ended without one.
        """
        command = [arguments["command"], *arguments["arguments"]]
        if given != b"{}":
            command += ["--from", "-"]
        if arguments["time_limit"] is not None:
            command += ["--time-limit", str(max(arguments["time_limit"] - spent, 0))]
        if arguments["sent"]:
            given = pack_code(PROJECT / "files" / "yolo") + given
            shell = shlex.join(["python3", "-I", "-c", RUN_SENT, *command])
        elif arguments["code"]:
            path = f"PYTHONPATH={arguments['code']}"
            shell = shlex.join(["env", path, "PYTHONDONTWRITEBYTECODE=1", "python3", "-m", "yolo", *command])
        else:
            environment = os.environ | {"PYTHONPATH": str(PROJECT / "files"), "PYTHONDONTWRITEBYTECODE": "1"}
            return stream([sys.executable, "-m", "yolo", *command], given, take, environment)
        argv = self._ssh(shell)
        if argv is not None:
            return stream(argv, given, take)
        if arguments["waits"]:
            shell += f" --for {SECONDS_OF_A_PART}"
        return self._at_once(shell, given, take)

    def _ssh(self, command: str) -> list[bytes] | None:
        """Return the command line that runs a command on the host, or None where a password must be typed."""
        connection, become = self._connection, self._connection.become
        # Other ways to a host do not show their command line.
        if not hasattr(connection, "_build_command") or connection.get_option("password"):
            return None
        if become is not None:
            if become.get_option("become_pass"):
                return None
            command = become.build_become_command(command, connection._shell)
        host = connection.get_option("host") or self._play_context.remote_addr
        argv: list[bytes] = connection._build_command(connection.get_option("ssh_executable"), "ssh", host, command)
        return argv

    def _at_once(self, shell: str, given: bytes, take: Take) -> dict[str, Any]:
        try:
            answer = self._low_level_execute_command(shell, in_data=given)
        except AnsibleError as error:
            with suppress(Exception):
                self._connection.reset()
            raise Ended(255, " ".join(str(error).split())) from error
        result = None
        for said in answer["stdout_lines"]:
            result = (take(said.encode()) or {}).get("result", result)
        return checked(result, answer["rc"], answer["stderr"])

    def _take(self, said: bytes, line: MovingLine) -> dict[str, Any] | None:
        """Show what the command says and return it; None for what it did not say, such as a login's greeting."""
        try:
            message = json.loads(said)
            if "line" in message:
                line.update(message["line"])
            elif "notice" in message:
                line.tell(f"NOTE: {message['notice']}")
            return dict(message)
        except (ValueError, TypeError):
            return None

    def _show(self, text: str, newline: bool) -> None:
        with ctrl_c_later():
            display.display(text, newline=newline)


def extra_variables() -> set[str]:
    """Return the names of the variables on the command line."""
    if not context.CLIARGS.get("extra_vars"):
        return set()
    return set(load_extra_vars(DataLoader()))


def prefixes() -> set[str]:
    """Return what names of the project's other variables begin with: the roles', the cluster's own, and Ansible's."""
    roles = {path.name for path in (PROJECT / "roles").iterdir() if path.is_dir()}
    return {f"{name}_" for name in roles | {"cluster", "ansible", "molecule"}}
