"""Find the command that was asked for and run it.

Each command is a module of this package with a function ``main`` that takes its arguments. Only the one that is asked
for is imported: a job must start quickly, and a host has only what its own commands need.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from ..share.errors import EXIT_ERROR, run_cli

COMMANDS = {
    "request": "control node: check what a user asks of a run, list its images, find its weights",
    "list": "central manager: list the images of a folder that lies on the share",
    "prepare": "submit host: have the pool prepare the model, write the run's settings",
    "submit": "submit host: plan what a pass has not done yet and submit it",
    "status": "submit host: how far a submission is, how fast, what stands still and why",
    "finish": "submit host: merge what a pass's jobs did, compare the passes",
    "publish": "control node: write the report, pack the results, sum them up",
    "prepare-model": "execute host: the job before the others, make a run's model and select its engine",
    "detect": "execute host: the job, detect objects in the images of one chunk",
}
"""Commands, in the order of a run, and what they do. A command's module is called as the command, with underscores."""


def run(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return the exit code.

    Args:
        argv: The arguments; by default those of this process.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else EXIT_ERROR
    command, *rest = arguments
    if command not in COMMANDS:
        print(f"error: no such command: {command}; expected one of {', '.join(COMMANDS)}", file=sys.stderr)
        return EXIT_ERROR
    module = importlib.import_module(f".{command.replace('-', '_')}", __package__)
    return run_cli(lambda _: module.main(rest))


def usage() -> str:
    """Return the list of commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        ["usage: python -m yolo COMMAND [arguments]", "", *lines, "", "COMMAND --help lists its arguments."]
    )
