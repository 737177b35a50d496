"""What the local_hosts modules share: the names of a cluster's parts, and running commands on the machine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

NAMESPACE_PREFIX = "yolo-"
RUN_DIR = Path("/run/yolo-local-hosts")

# (arguments) -> (return code, standard output, standard error), as AnsibleModule.run_command gives it.
Runner = Callable[[list[str]], tuple[int, str, str]]


@dataclass(frozen=True)
class ClusterNames:
    """Names of the parts of one local cluster, all derived from its own name.

    Interface names hold at most 15 characters (IFNAMSIZ), so they carry a digest of the cluster's name.
    """

    cluster: str

    @property
    def _digest(self) -> str:
        return hashlib.sha256(self.cluster.encode()).hexdigest()[:8]

    @property
    def namespace(self) -> str:
        """Network namespace in which all the cluster's hosts run."""
        return NAMESPACE_PREFIX + self.cluster

    @property
    def machine_side(self) -> str:
        """The machine's end of the cable into the namespace."""
        return f"yl{self._digest}m"

    @property
    def cluster_side(self) -> str:
        """The namespace's end of that cable."""
        return f"yl{self._digest}c"

    @property
    def firewall_table(self) -> str:
        """The nftables table with the cluster's rules."""
        return f"yolo_local_{self._digest}"


class CommandError(Exception):
    """A command of the machine failed; the text says which, and what it said."""


NOT_INSTALLED = 127
"""Exit code of a program that the machine does not have, as in a shell."""


def machine_runner(module: AnsibleModule) -> Runner:
    """Return what runs a command on the machine, as root's PATH finds it; :data:`NOT_INSTALLED` where it finds none."""

    def run(arguments: list[str]) -> tuple[int, str, str]:
        program = module.get_bin_path(arguments[0])
        if program is None:
            return NOT_INSTALLED, "", f"{arguments[0]} is not installed"
        return module.run_command([program, *arguments[1:]])

    return run


def run_checked(run: Runner, *arguments: str) -> str:
    """Run a command and return its output.

    Raises:
        CommandError: when it exits with anything but 0.
    """
    code, out, err = run(list(arguments))
    if code != 0:
        raise CommandError(f"Failed to run `{' '.join(arguments)}` (exit {code}): {(err or out).strip()}")
    return out


def existing_namespaces(run: Runner) -> set[str]:
    """Names of all network namespaces of local clusters on this machine."""
    code, out, err = run(["ip", "netns", "list"])
    if code == NOT_INSTALLED:
        return set()
    if code != 0:
        raise CommandError(f"Failed to list the network namespaces (exit {code}): {err.strip()}")
    return {line.split()[0] for line in out.splitlines() if line.startswith(NAMESPACE_PREFIX)}


def write_whole(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file under a temporary name, then rename it, so that nobody sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    os.replace(temporary, path)
