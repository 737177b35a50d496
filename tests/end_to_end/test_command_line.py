"""run_inference.yml from the user's own folder and terminal: relative paths, an inventory elsewhere, Ctrl-C."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shlex
import shutil
import signal
import subprocess
import time

from conftest import PLAIN, PROJECT, Outcome, command, files
from hard_cases import make_zip

WAITING = "running"
"""Stands in the line that shows how far a run is."""


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


def last_words(output: str, run_id: str) -> list[str]:
    """Check what an interrupted run says at its end; return how to resume, watch and cancel it."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    assert output.count("Interrupted.") == 1
    assert "Traceback" not in output
    assert lines[-4].startswith(f"Interrupted. The jobs of run {run_id} go on: cluster ")
    return lines[-3:]


def type_in(command_line: str) -> str:
    """Run a command as it stands in a message; return what it says."""
    said = subprocess.run(shlex.split(command_line), text=True, capture_output=True)
    assert said.returncode == 0, said.stderr
    return said.stdout


def test_ctrl_c_says_what_goes_on_and_how_to_resume_watch_and_cancel(cluster, samples):
    given = {"run_id": "ctrl-c", "chunk_size": 1, "conf": 0.41}
    terminal = Terminal(cluster.arguments(samples, **given))
    terminal.read(until=WAITING)
    terminal.press(b"\x03")
    output = terminal.read(seconds=30)
    assert terminal.code() == 99
    resume, watch, cancel = last_words(output, "ctrl-c")
    assert resume.endswith(": the same command")
    number = re.search(r"cluster (\d+)", output)[1]
    # What it says can be typed as it stands. The jobs go on until then.
    assert f" {number}." in type_in(watch.partition(": ")[2])
    type_in(cancel.partition(": ")[2])

    # The same command; this time without a terminal, as a supervisor sends it.
    again = cluster.start(samples, **given)
    for line in again.stdout:
        if WAITING in line:
            break
    os.killpg(again.pid, signal.SIGINT)
    output = again.communicate(timeout=30)[0]
    assert again.returncode == 99
    cancel = last_words(output, "ctrl-c")[2]
    assert f"cluster {number} " not in output, "what was cancelled is planned anew"
    type_in(cancel.partition(": ")[2])


def test_from_the_users_own_folder_with_an_inventory_there(cluster, samples, tmp_path):
    photos = sorted(samples.rglob("*.jpg"))[:2]
    images = make_zip(photos, tmp_path / "three photos.zip")
    home = tmp_path / "a new home"
    home.mkdir()
    shutil.copy(PROJECT / "files/demo/yolov5n-demo.pt", tmp_path / "w.pt")
    hosts = PROJECT / cluster.inventory
    shutil.copy(hosts / "local.yml" if hosts.is_dir() else hosts, tmp_path / "hosts.yml")
    given = {"images": images.name, "weights": "./w.pt", "results": "out", "run_id": "own-folder"}
    done = subprocess.run(
        [command("ansible-playbook"), "-i", "hosts.yml", PROJECT / "run_inference.yml", "-e", json.dumps(given)],
        cwd=tmp_path,
        env={name: value for name, value in PLAIN.items() if name != "ANSIBLE_CONFIG"} | {"HOME": str(home)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    print(done.stdout)
    assert done.returncode == 0
    assert f"in {images}" in done.stdout
    assert f"Results: {tmp_path}/out/own-folder " in done.stdout
    assert (tmp_path / "out/own-folder/results.zip").is_file()
    from_zip = Outcome(0, done.stdout, tmp_path / "out/own-folder")
    assert from_zip.metrics["counts"]["ok"] == 2
    assert files(from_zip.results / "images") == {f"in a zip/{photo.name}" for photo in photos}

    # One image alone, with the same weights from elsewhere: the same image has the same boxes, whichever way it came.
    alone = cluster.infer(photos[0], run_id="one", conf=from_zip.metrics["settings"]["conf"])
    assert alone.code == 0
    assert files(alone.results / "images") == {photos[0].name}
    expected = [item["bbox"] for item in from_zip.predictions if item["file_name"].endswith(photos[0].name)]
    assert [item["bbox"] for item in alone.predictions] == expected
    assert expected
