"""Runs one molecule scenario; reports its times, or what failed and the command that repeats it.

    .ci/scenario.py NAME

All that molecule and Ansible say goes to a log. The virtual environment's programs have to be on PATH.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
LOGS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "condor-yolo" / "tests"
# What the tests of these scenarios need is made by the scenario alone.
ONLY_WHOLE = ("ec2", "ec2_cluster", "local_hosts", "bare")
LAST_LINES = 40
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# The second way where the environment says CI.
_STEP = re.compile(r"➜ (\w+): Executing|> (\w+)\] Executing")
_PYTEST = re.compile(r"^\s*(?:FAILED|ERROR) (tests/end_to_end/(test_\w+\.py)::(\w+))")
_ORIGIN = re.compile(r"Origin: \S*/molecule/(\w+)/(\w+\.yml)")
_TROUBLE = re.compile(r"^(?:\[ERROR\]|fatal:|failed:)")


def failed_tests(lines: list[str]) -> list[str]:
    """Return the end-to-end tests that failed, as pytest's arguments, each once."""
    found = [match[1] for line in lines if (match := _PYTEST.match(line))]
    return list(dict.fromkeys(found))


def repeat(scenario: str, lines: list[str]) -> list[str]:
    """Return the commands that repeat what failed and no more than that.

    Args:
        scenario: The scenario's name.
        lines: Its output, without colours.
    """
    origins = [match[1] for line in lines if (match := _ORIGIN.search(line))]
    tests = failed_tests(lines)
    if scenario not in ONLY_WHOLE and tests:
        return [
            "make up && .venv/bin/ansible-playbook site.yml",
            *(f"LOCAL_CLUSTER=local .venv/bin/python -m pytest {test}" for test in tests),
            "make down",
        ]
    roles = [origin for origin in origins if (PROJECT / "molecule" / origin / "molecule.yml").exists()]
    return [f"make molecule-{(roles or [scenario])[-1]}"]


def summary(lines: list[str]) -> list[str]:
    """Return the lines that say what failed: the tests, else the last task with an error, at most LAST_LINES."""
    if tests := failed_tests(lines):
        return [f"failed: {test}" for test in tests]
    troubles = [number for number, line in enumerate(lines) if _TROUBLE.match(line)]
    if not troubles:
        return lines[-LAST_LINES:]
    # From the task's own line on.
    tasks = [number for number in range(troubles[-1]) if lines[number].startswith("TASK [")]
    return lines[tasks[-1] if tasks else troubles[-1] :][:LAST_LINES]


def main() -> int:
    """Run it; return molecule's exit code."""
    scenario = sys.argv[1]
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{scenario}.log"
    print(f"{scenario}: runs, log in {log}", flush=True)
    began = last = time.monotonic()
    steps: list[tuple[str, float]] = []
    lines: list[str] = []
    command = ["molecule", "test", "--no-command-borders", "--scenario-name", scenario]
    with (
        log.open("w") as file,
        subprocess.Popen(
            command, cwd=PROJECT, encoding="utf-8", errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as running,
    ):
        assert running.stdout is not None
        for line in running.stdout:
            text = _COLOUR.sub("", line.rstrip("\n"))
            file.write(f"{text}\n")
            file.flush()
            lines.append(text)
            if match := _STEP.search(text):
                if steps:
                    steps[-1] = (steps[-1][0], time.monotonic() - last)
                last = time.monotonic()
                steps.append((match[1] or match[2], 0.0))
    if steps:
        steps[-1] = (steps[-1][0], time.monotonic() - last)
    spent = ", ".join(f"{name} {seconds:.0f}" for name, seconds in steps)
    took = f"{time.monotonic() - began:.0f} s ({spent})"
    if running.returncode == 0:
        print(f"{scenario}: passed in {took}", flush=True)
        return 0
    said = ["", *summary(lines), "", f"{scenario}: FAILED after {took}", f"Log: {log}", "To repeat just that:"]
    said += [f"  {line}" for line in repeat(scenario, lines)]
    print(*said, sep="\n", flush=True)
    # For the end of make, where the other scenarios' lines come in between.
    (LOGS / "failed").mkdir(exist_ok=True)
    (LOGS / "failed" / scenario).write_text("\n".join([*said, ""]))
    return running.returncode


if __name__ == "__main__":
    sys.exit(main())
