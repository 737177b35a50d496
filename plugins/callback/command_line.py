"""Ansible callback: a command line that would not do what it says ends in one line, before anything is done.

Ansible itself would go on: a limit or a tag that leaves nothing to do ends with exit code 0, a path with a blank
becomes a shorter path, and outside the project's folder its settings are not read. Beside the playbooks
(`playbooks/callback_plugins`) Ansible finds this file wherever it is called.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ansible import constants as C
from ansible import context
from ansible.errors import ExitCode
from ansible.parsing.splitter import split_args
from ansible.playbook.block import Block
from ansible.plugins.callback import CallbackBase
from ansible.utils.path import cleanup_tmp_file

DOCUMENTATION = """
name: command_line
type: aggregate
short_description: Stops a command line that would not do what it says
description:
  - Looks at C(-e), C(--limit), C(--tags), C(--skip-tags) and C(--start-at-task) before the first play.
  - Where the project's C(ansible.cfg) is not read, starts C(ansible-playbook) again with it.
author: the project
"""

PROJECT = Path(__file__).resolve().parents[2]
SETTINGS = PROJECT / "ansible.cfg"

STARTS_ANYWHERE = ("site.yml",)
"""Playbooks whose tasks do not need what the ones before them found."""

MOLECULE_TAGS = frozenset({"notest", "molecule-notest", "molecule-idempotence-notest"})
"""Molecule skips them in every playbook, whether there are any or not."""

SHOWN_HOSTS = 5


def split_value(option: str) -> str | None:
    """Return what is wrong with an ``-e`` whose value Ansible splits at a blank; None if nothing is.

    Args:
        option: What was given with ``-e``.
    """
    if not option.strip() or option[0] in "@[{/.":
        return None
    words = split_args(option)
    stray = next((number for number, word in enumerate(words) if "=" not in word), None)
    if stray is None:
        return None
    if stray == 0:
        return f"-e {option}: expected NAME=VALUE, a dictionary or @FILE; {words[0]} is none of them."
    end = next((number for number in range(stray, len(words)) if "=" in words[number]), len(words))
    name, _, value = words[stray - 1].partition("=")
    whole = " ".join([value, *words[stray:end]])
    return (
        f"-e {option}: Ansible splits this at the blank, {name} would be {value}. "
        f"Give the value as -e {shlex.quote(json.dumps({name: whole}, ensure_ascii=False))}"
    )


def unknown_tags(playbook: str, asked: Iterable[str], skipped: Iterable[str], known: Collection[str]) -> str | None:
    """Return what is wrong with ``--tags`` and ``--skip-tags``; None if nothing is.

    Args:
        playbook: Its name.
        asked: Tags to run.
        skipped: Tags not to run.
        known: Tags of the playbook's tasks.
    """
    # What Ansible itself tags `always` checks inputs and does nothing.
    own = set(known) - {"always", "never"}
    has = f"has the tags {', '.join(sorted(own))}" if own else "has no tags"
    runnable = {"all", "untagged"} | own | ({"tagged"} if own else set())
    skippable = {"always", "never"} | MOLECULE_TAGS | own | ({"tagged", "untagged"} if own else set())
    for option, tags, right in (("--tags", asked, runnable), ("--skip-tags", skipped, skippable)):
        if wrong := [tag for tag in tags if tag not in right]:
            return f"{option} {','.join(wrong)}: {playbook} {has}. Leave {option} out."
    return None


def left_out(playbook: str, limit: str, needed: Sequence[str], left: Collection[str]) -> str | None:
    """Return what is wrong with ``--limit``; None if nothing is.

    Args:
        playbook: Its name.
        limit: The limit.
        needed: Names of the hosts that the playbook's plays work on.
        left: Names of those that the limit leaves.
    """
    missing = [name for name in needed if name not in left]
    if not missing:
        return None
    more = f" and {len(missing) - SHOWN_HOSTS} more" if len(missing) > SHOWN_HOSTS else ""
    return (
        f"--limit {limit} leaves out {', '.join(missing[:SHOWN_HOSTS])}{more}: {playbook} needs all its hosts. "
        "Leave --limit out; a host that is to stay out is taken out of the inventory."
    )


def wrong_start(playbook: str, start: str, names: Iterable[str]) -> str | None:
    """Return what is wrong with ``--start-at-task``; None if nothing is.

    Args:
        playbook: Its name.
        start: Name or pattern of the task.
        names: Names of the playbook's tasks.
    """
    if playbook not in STARTS_ANYWHERE:
        return (
            f"--start-at-task {start}: the tasks of {playbook} need what those before them find. "
            "Leave --start-at-task out: what is done already is not done again."
        )
    if any(fnmatch.fnmatch(name, start) for name in names):
        return None
    return f"--start-at-task {start}: {playbook} has no such task. See ansible-playbook {playbook} --list-tasks"


def group_names(patterns: str | Iterable[str]) -> list[str]:
    """Return the names of groups and hosts in a play's ``hosts``."""
    patterns = [patterns] if isinstance(patterns, str) else patterns
    return [re.sub(r"\[[^]]*\]$", "", name.strip()) for pattern in patterns for name in re.split("[:,]", pattern)]


def tasks_of(plays: Iterable[Any]) -> list[Any]:
    """Return the tasks of plays, those aside that Ansible finds out about only when it gets there."""
    found = []

    def collect(block: Any) -> None:
        for item in [*block.block, *block.rescue, *block.always]:
            if isinstance(item, Block):
                collect(item)
            elif not item.implicit:
                found.append(item)

    for play in plays:
        for block in play.compile():
            collect(block)
    return found


class CallbackModule(CallbackBase):
    """Looks at the command line when the playbook is read, before its first play."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "command_line"

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """End here, start again or let the playbook run."""
        if not self._settings_in_force():
            self._start_again()
        if trouble := self._trouble(playbook):
            self._end(trouble)

    def _settings_in_force(self) -> bool:
        # Settings of the user's own may have been made from the project's: what it can't do without counts.
        return bool(C.CONFIG_FILE and Path(C.CONFIG_FILE).resolve() == SETTINGS) or any(
            Path(path).resolve() == PROJECT / "plugins/action" for path in C.DEFAULT_ACTION_PLUGIN_PATH
        )

    def _start_again(self) -> NoReturn:
        if "ANSIBLE_CONFIG" in os.environ:
            self._end(
                f"ANSIBLE_CONFIG is {os.environ['ANSIBLE_CONFIG']}, which is not made for this project: "
                f"unset it, or name {SETTINGS}"
            )
        self._display.display(f"Starting again with the settings in {SETTINGS}")
        sys.stdout.flush()
        # What Ansible would do at its end; and it keeps its own standard streams from the programs that it starts.
        cleanup_tmp_file(C.DEFAULT_LOCAL_TMP)
        for stream in range(3):
            os.set_inheritable(stream, True)
        again = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, again, os.environ | {"ANSIBLE_CONFIG": str(SETTINGS)})

    def _trouble(self, playbook: Any) -> str | None:
        asked = context.CLIARGS
        plays = playbook.get_plays()
        name = os.path.basename(playbook._file_name)
        for option in asked.get("extra_vars") or ():
            if trouble := split_value(str(option)):
                return trouble
        tasks = tasks_of(plays)
        known = {tag for item in (*plays, *tasks) for tag in item.tags}
        if trouble := unknown_tags(name, asked.get("tags") or (), asked.get("skip_tags") or (), known):
            return trouble
        if start := asked.get("start_at_task"):
            names = {text for task in tasks for text in (task.name, task.get_name()) if text}
            if trouble := wrong_start(name, start, names):
                return trouble
        if limit := asked.get("subset"):
            inventory = plays[0].get_variable_manager()._inventory
            needed: dict[str, None] = {}
            for group in (group for play in plays for group in group_names(play.hosts)):
                if group == "localhost":
                    needed[group] = None
                elif group in inventory.groups:
                    needed.update((host.name, None) for host in inventory.groups[group].get_hosts())
            left = {host.name for pattern in ("all", "localhost") for host in inventory.get_hosts(pattern)}
            return left_out(name, limit, list(needed), left)
        return None

    def _end(self, trouble: str) -> NoReturn:
        self._display.error(trouble, wrap_text=False)
        sys.exit(ExitCode.INVALID_CLI_OPTION)
