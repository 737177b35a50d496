"""Ansible strategy: `linear`, with one Python process kept on each host instead of a new one for each task.

The pool's roles are many small tasks, and a host with one slow processor needs longer to start Python than to do
them. Mitogen, from requirements.txt, keeps the process; without it this is Ansible's own `linear`, only slower.

All that the project does about Mitogen is here and in two variables of `inventory/group_vars/all/cluster.yml`;
`docs/decisions/0005-mitogen.md` has the figures and the way out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, MutableMapping
from typing import Any

from ansible.playbook.block import Block
from ansible.plugins import loader
from ansible.plugins.strategy.linear import StrategyModule as Linear

DOCUMENTATION = """
name: pooled
short_description: Linear, through Mitogen where it is installed and fits
description:
  - Runs tasks like the C(linear) strategy, in a Python process that stays on each host for the whole playbook.
  - Plays on the control node that ask AWS gain too, since each of its modules imports boto3 first.
  - Without Mitogen on the control node it is the C(linear) strategy itself, as for other plays there, and
    for plays that reboot hosts, wait for hosts that are not known yet, follow a command as it runs, or need no Python
    on the hosts.
author: the project
"""

NEW_CONNECTION = frozenset({"reboot", "wait_for_connection"})
"""Modules that need what Mitogen does not do: go on after a restart, and reach a host whose key is not known yet."""

NO_PYTHON = frozenset({"raw", "synchronize"})
"""Modules that leave a process on the host without work: ssh starts their commands."""

NOTICE = "Use of strategy plugins not included in ansible.builtin"


def flat(tasks: Iterable[Any]) -> Iterator[Any]:
    """Yield tasks and those of the blocks among them."""
    for task in tasks:
        if isinstance(task, Block):
            yield from flat([*task.block, *task.rescue, *task.always])
        else:
            yield task


AWS = "amazon.aws."

SOCKET_BYTES = 107
"""Of a Unix socket's path, at most."""


def needs_ssh(task: Any) -> bool:
    """Whether a task is for Ansible's own connection: a new one, one without Python, or one that passes on lines."""
    module = task.action.rpartition(".")[2]
    return module in NEW_CONNECTION | NO_PYTHON or (module == "yolo" and "code" in task.args)


def fits(play: Any) -> bool:
    """Whether Mitogen does a play; what its tasks include is not looked at."""
    hosts = play.hosts if isinstance(play.hosts, list) else [play.hosts]
    tasks = list(flat(play.compile()))
    if hosts == ["localhost"]:
        # Programs that tasks of other plays start and leave running would end with Mitogen's process.
        return any(task.action.startswith(AWS) for task in tasks)
    return not any(needs_ssh(task) for task in tasks)


def fit_socket(environment: MutableMapping[str, str]) -> None:
    """Have ssh open a connection for each task where the path of the socket of one to share would be too long.

    Ansible's path ends with a slash and ten digits, and ssh appends 17 bytes: in a deep home that is too long.

    Args:
        environment: Of this process and its workers, which Ansible's ssh plug-in reads.
    """
    folder = os.path.expanduser(environment.get("ANSIBLE_SSH_CONTROL_PATH_DIR", "~/.ansible/cp"))
    if len(os.fsencode(folder)) + 1 + 10 + 17 > SOCKET_BYTES:
        environment["ANSIBLE_SSH_CONTROL_PATH"] = "none"


class LoaderDisplay:
    """What the loader of plug-ins says, without what it says at each start of every strategy that is not Ansible's own.

    A user can do nothing about it; what we do when Ansible no longer takes one is written down.

    Args:
        display: Ansible's own.
    """

    def __init__(self, display: Any) -> None:
        self._display = display

    def __getattr__(self, name: str) -> Any:
        return getattr(self._display, name)

    def deprecated(self, msg: str, *arguments: Any, **options: Any) -> None:
        """Print all other notices."""
        if not msg.startswith(NOTICE):
            self._display.deprecated(msg, *arguments, **options)


# A test may load this twice.
if not isinstance(loader.display, LoaderDisplay):
    loader.display = LoaderDisplay(loader.display)

try:
    import ansible_mitogen.loaders
    import ansible_mitogen.strategy
except ImportError:
    _Linear, _Pooled = Linear, None
else:
    # Mitogen's own loader, so that Ansible's plug-in is wrapped once whoever asks for it.
    _Linear = ansible_mitogen.loaders.strategy_loader.get("linear", class_only=True)

    class _Pooled(ansible_mitogen.strategy.StrategyMixin, _Linear):
        """Linear over Mitogen's connections."""


class StrategyModule(_Pooled or _Linear):
    """Linear, over Mitogen's connections where they fit the play."""

    def run(self, iterator: Any, play_context: Any, result: int = 0) -> Any:
        """Run a play."""
        if _Pooled and fits(iterator._play):
            return super().run(iterator, play_context)
        fit_socket(os.environ)
        return _Linear.run(self, iterator, play_context)


__all__ = ["StrategyModule"]
