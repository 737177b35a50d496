"""How far the jobs of a submission are, as their heartbeats say."""

from __future__ import annotations

import os

from ..share.layout import Pass
from ..share.records import Progress
from .room import Work


class Heartbeats:
    """The heartbeats of a submission's jobs. Those of jobs that are through are read once.

    Args:
        run_pass: The pass.
        submission: The submission.
    """

    def __init__(self, run_pass: Pass, submission: str) -> None:
        self._folder, self._prefix = run_pass.progress_dir, f"{submission}-"
        self._through: dict[str, Progress] = {}

    def read(self, total: int, before: int = 0) -> Work:
        """Return the sum of the heartbeats; one that can't be read counts as none.

        Args:
            total: Images of the submission.
            before: Images that were done before it.
        """
        try:
            names = [name for name in os.listdir(self._folder) if name.startswith(self._prefix)]
        except FileNotFoundError:
            names = []
        done = failed = 0
        for name in names:
            beat = self._through.get(name) or self._read(name)
            if beat is not None:
                done += beat.done
                failed += beat.failed
        return Work(min(done, total), failed, total, before)

    def _read(self, name: str) -> Progress | None:
        try:
            with open(self._folder / name, "rb") as file:
                beat = Progress.from_json(file.read())
        except (OSError, ValueError):
            return None
        if beat.done >= beat.total:
            self._through[name] = beat
        return beat
