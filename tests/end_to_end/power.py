"""Power of local hosts: a test cuts it and gives it back, as a cable would."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]


def local_cluster() -> str:
    """Name of the local cluster that the tests run on: LOCAL_CLUSTER, else the scenario's, else `make up`'s."""
    scenario = os.environ.get("MOLECULE_SCENARIO_NAME", "")
    return os.environ.get("LOCAL_CLUSTER") or (f"test-{scenario.replace('_', '-')}" if scenario else "local")


@dataclass
class Power:
    """One local host's power.

    Attributes:
        host: The host's name.
        cluster: Its cluster's name.
    """

    host: str
    cluster: str = field(default_factory=local_cluster)

    def __post_init__(self) -> None:
        self.namespace = f"yolo-{self.cluster}"
        self._mark = f"umid={self.cluster}-{self.host}"
        self._start: list[str] | None = None

    def _processes(self) -> dict[int, list[str]]:
        """Command lines of the host's processes: the kernel, its helpers, and the shell that starts it again."""
        pids = subprocess.run(
            [*AS_ROOT, "ip", "netns", "pids", self.namespace], check=True, text=True, capture_output=True
        ).stdout
        found = {}
        for pid in map(int, pids.split()):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
                if self._mark in words:
                    found[pid] = words
        return found

    def cut(self) -> None:
        """Cut the power: what is not on the disk is lost."""
        while processes := self._processes():
            shell = next((words for words in processes.values() if words[:2] == ["sh", "-c"]), None)
            self._start = shell or self._start
            subprocess.run([*AS_ROOT, "kill", "-KILL", *map(str, processes)], check=False, capture_output=True)
            time.sleep(0.1)

    def restore(self) -> None:
        """Give the power back, if it was cut: the host boots from its disk."""
        if self._start is None or self._processes():
            return
        console = Path("/var/lib/yolo-local-hosts", self.cluster, self.host, "console.log")
        subprocess.Popen(
            [*AS_ROOT, "sh", "-c", 'exec >> "$1" 2>&1; shift; exec "$@"', "power", str(console),
             "ip", "netns", "exec", self.namespace, "unshare", "--mount", "--propagation", "private", *self._start],
            stdin=subprocess.DEVNULL, start_new_session=True, cwd="/",
        )  # fmt: skip
