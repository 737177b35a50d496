"""Commands on the hosts of an inventory by ssh alone: to start Ansible for each takes longer than the command."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

# The end of a host that lost its power is noticed within this time.
_ALIVE = ("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=2")
_PATIENCE = 60.0
_NO_CONNECTION = 255

WAY_IN = {
    name: f"{{{{ {value} }}}}"
    for name, value in {
        "host": "inventory_hostname",
        "groups": "group_names",
        "address": "ansible_host | default(inventory_hostname)",
        "user": "ansible_user | default('')",
        "port": "ansible_port | default('')",
        "key": "ansible_ssh_private_key_file | default('')",
        "options": "ansible_ssh_common_args | default('')",
    }.items()
}
"""What a connection needs, as an argument of Ansible's module `debug` for each host."""


class Remote:
    """The hosts of an inventory.

    Args:
        sockets: Folder for the sockets of connections that stay open. Its path has to be short.
        ask: Returns WAY_IN of every host as the inventory has it now; called when a host is not known yet.
    """

    def __init__(self, sockets: Path, ask: Callable[[], list[dict]]) -> None:
        self._sockets = sockets
        self._ask = ask
        self._hosts: dict[str, dict] = {}

    def run(self, host: str, argv: Sequence[str], user: str, stdin: bytes = b"") -> str:
        """Run a command as a user; return what it prints.

        Args:
            host: A host's name, or a group's, whose first host is meant.
            argv: The command.
            user: Who runs it.
            stdin: What it reads.

        Raises:
            AssertionError: It failed, or the host did not answer for a minute.
        """
        command = [*self._ssh(host), shlex.join(["sudo", "-n", "-H", "-u", user, "--", *argv])]
        deadline = time.monotonic() + _PATIENCE
        while True:
            done = subprocess.run(command, input=stdin, capture_output=True)
            said, trouble = (text.decode(errors="surrogateescape") for text in (done.stdout, done.stderr))
            refused = "host key" in trouble.lower()
            if done.returncode != _NO_CONNECTION or said or refused or time.monotonic() > deadline:
                break
            time.sleep(1)
        assert done.returncode == 0, f"{host}: {argv}: {done.returncode}: {said}{trouble}"
        return said.strip()

    def close(self) -> None:
        """End the connections."""
        for name in self._hosts:
            subprocess.run([*self._ssh(name)[:-1], "-O", "exit", "host"], capture_output=True)
        shutil.rmtree(self._sockets)

    def _ssh(self, host: str) -> list[str]:
        way = self._find(host) or self._find(host, again=True)
        assert way, f"no host or group {host!r} in the inventory: {sorted(self._hosts)}"
        options = [*_ALIVE, "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "LogLevel=ERROR"]
        options += ["-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-o", f"ControlPath={self._sockets}/%C"]
        for flag, name in (("-i", "key"), ("-l", "user"), ("-p", "port")):
            if way[name]:
                options += [flag, str(way[name])]
        return ["ssh", *options, *shlex.split(way["options"]), way["address"]]

    def _find(self, host: str, again: bool = False) -> dict | None:
        if again:
            self._hosts = {way["host"]: way for way in self._ask()}
        if host in self._hosts:
            return self._hosts[host]
        group = host.removesuffix("[0]")
        return next((way for way in self._hosts.values() if group in way["groups"]), None)


def ways(output: str) -> list[dict]:
    """Return WAY_IN of each host from what `ansible all -m debug` with it as the message says as JSON."""
    tasks = [task for play in json.loads(output)["plays"] for task in play["tasks"]]
    return [result["msg"] for task in tasks for result in task["hosts"].values()]
