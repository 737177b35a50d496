"""HTCondor's commands: run, and asked about one cluster of jobs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..share.errors import YoloError
from . import ads
from .ads import Ad

Runner = Callable[[Sequence[str]], str]
"""Runs a command and returns its standard output; raises :class:`CommandFailed`."""


_COMMAND_SECONDS = 60


class CommandFailed(Exception):
    """A command of HTCondor did not succeed; the text is its last words."""


def run_command(command: Sequence[str]) -> str:
    """Run a command of HTCondor and return its standard output.

    Raises:
        CommandFailed: It failed or did not answer in a minute.
        YoloError: It is not installed.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_COMMAND_SECONDS)
    except FileNotFoundError:
        raise YoloError("HTCondor's commands are not here", command[0], remedy="run this on the submit host") from None
    except subprocess.TimeoutExpired:
        raise CommandFailed(f"{command[0]} gave no answer in {_COMMAND_SECONDS} s") from None
    if done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise CommandFailed(f"{command[0]}: {' '.join(words) or f'exit code {done.returncode}'}")
    return done.stdout


def condor_submit(path: Path, run: Runner, options: Sequence[str] = ()) -> int:
    """Submit a submit file and return the ClusterId of its jobs.

    Raises:
        CommandFailed: HTCondor does not take them.
        ValueError: It does not say their number.
    """
    # "12.0 - 12.3"
    return int(run(["condor_submit", "-terse", *options, str(path)]).split(".")[0])


class Jobs(Protocol):
    """Answers what is asked of one cluster of jobs; each method raises :class:`CommandFailed`."""

    @property
    def cluster(self) -> int:
        """ClusterId."""
        ...

    def queue(self) -> Sequence[Ad]:
        """Return the jobs in the queue."""
        ...

    def history(self, limit: int) -> Sequence[Ad]:
        """Return at most ``limit`` jobs that left the queue."""
        ...

    def is_making(self) -> bool:
        """Whether the schedd will make more of the jobs, as it does with large submissions."""
        ...

    def slots(self) -> Sequence[Ad]:
        """Return all slots of the pool."""
        ...


@dataclass(frozen=True, slots=True)
class Condor:
    """Asks HTCondor about one cluster of jobs.

    Attributes:
        cluster: ClusterId.
        schedd: Name of the submit host's schedd; None for the local one.
        run: Runs the commands.
    """

    cluster: int
    schedd: str | None = None
    run: Runner = run_command

    def queue(self) -> list[dict[str, Any]]:
        """Return the jobs in the queue."""
        return self._ask("condor_q", "-allusers")

    def history(self, limit: int) -> list[dict[str, Any]]:
        """Return at most ``limit`` jobs that left the queue.

        With the number of the cluster and a limit HTCondor reads no more of its history than it
        must.
        """
        return self._ask("condor_history", "-limit", str(limit))

    def is_making(self) -> bool:
        """Whether the schedd will make more of the jobs: their factory is there and is not paused."""
        name = ["-name", self.schedd] if self.schedd else []
        attributes = "ClusterId,ProcId,JobMaterializePaused"
        command = ["condor_q", *name, str(self.cluster), "-allusers", "-factory", "-json", "-attributes", attributes]
        return any(
            "ProcId" not in ad and not ads.number(ad, "JobMaterializePaused") for ad in ads.parse_ads(self.run(command))
        )

    def slots(self) -> list[dict[str, Any]]:
        """Return all slots of the pool."""
        attributes = ",".join(ads.SLOT_ATTRIBUTES)
        return ads.parse_ads(self.run(["condor_status", "-json", "-attributes", attributes]))

    def _ask(self, command: str, *options: str) -> list[dict[str, Any]]:
        name = ["-name", self.schedd] if self.schedd else []
        attributes = ",".join(ads.JOB_ATTRIBUTES)
        return ads.parse_ads(
            self.run([command, *name, str(self.cluster), *options, "-json", "-attributes", attributes])
        )
