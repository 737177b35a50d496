"""run_inference.yml from the user's own folder and terminal: relative paths, an inventory elsewhere, Ctrl-C."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import subprocess
import time

from conftest import PLAIN, PROJECT, Cluster, command

WAITING = "running"
"""Stands in the line that shows how far a run is."""


def playbook(*arguments: object) -> list[str]:
    """Command line that runs run_inference.yml from wherever it is started."""
    return [command("ansible-playbook"), str(PROJECT / "run_inference.yml"), *map(str, arguments)]


def jobs(cluster: Cluster, run_id: str, *command_line: str) -> str:
    """What a command of HTCondor says of the run's jobs."""
    constraint = f'YoloRunId == "{run_id}"'
    return cluster.on("submit[0]", *command_line, "-constraint", constraint, "-af", "ClusterId", "JobStatus")


class Terminal:
    """A program in a terminal of its own."""

    def __init__(self, argv: list[str]) -> None:
        self.pid, self._screen = pty.fork()
        if self.pid == 0:
            os.chdir(PROJECT)
            os.execve(argv[0], argv, PLAIN)
        self.output = ""

    def read(self, until: str = "", seconds: float = 180) -> str:
        """Read until a text comes, or to the end."""
        deadline = time.monotonic() + seconds
        while not until or until not in self.output:
            ready, _, _ = select.select([self._screen], [], [], max(deadline - time.monotonic(), 0))
            assert ready, self.output
            try:
                self.output += os.read(self._screen, 4096).decode(errors="replace")
            except OSError:  # The program has closed its end.
                break
        return self.output

    def press(self, key: bytes) -> None:
        os.write(self._screen, key)

    def code(self) -> int:
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self._screen)
        return code


def check_last_word(output: str, run_id: str) -> list[str]:
    """Check what an interrupted run says at its end; return its last lines."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    assert output.count("Interrupted.") == 1
    assert "Traceback" not in output
    assert lines[-4].startswith(f"Interrupted. The jobs of run {run_id} go on: cluster ")
    return lines[-3:]


def test_ctrl_c_in_a_terminal_says_what_goes_on_and_how_to_resume_watch_and_cancel(cluster, samples):
    terminal = Terminal(cluster.arguments(samples, run_id="ctrl-c", chunk_size=1, conf=0.41))
    terminal.read(until=WAITING)
    terminal.press(b"\x03")
    output = terminal.read(seconds=30)
    assert terminal.code() == 99
    resume, watch, cancel = check_last_word(output, "ctrl-c")
    assert resume.endswith("the same command")
    assert jobs(cluster, "ctrl-c", "condor_q"), "the jobs go on"

    # What it says can be typed as it stands.
    number = re.search(r"cluster (\d+)", output)[1]
    typed = shlex.split(watch.partition("jobs:")[2])
    assert typed[-2:] == ["condor_q", number]
    said = subprocess.run(typed, text=True, capture_output=True)
    assert said.returncode == 0, said.stderr
    assert f"{number}." in said.stdout
    said = subprocess.run(shlex.split(cancel.partition("done:")[2]), text=True, capture_output=True)
    assert said.returncode == 0, said.stderr
    assert not jobs(cluster, "ctrl-c", "condor_q")

    again = cluster.infer(samples, run_id="ctrl-c", chunk_size=1, conf=0.41)
    assert again.code == 0
    assert again.metrics["counts"]["ok"] == 12
