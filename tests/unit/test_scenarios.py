"""Molecule's scenarios: every role has one of its own, and CI runs its tests on shared hosts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import scenario
import yaml

PROJECT = Path(__file__).resolve().parents[2]
MOLECULE = PROJECT / "molecule"
ROLES = sorted(path.name for path in (PROJECT / "roles").iterdir())


def suite() -> list[str]:
    """Scenarios that `make test` and `make test-ec2` run, which CI runs."""
    lines = re.findall(r"^SUITE(?:_EC2)? := (.*)$", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert len(lines) == 2
    return " ".join(lines).split()


def test_ci_runs_both():
    assert (PROJECT / ".ci/run").read_text().endswith("\nmake test\nmake test-ec2\n")


def imported(playbook: Path) -> set[Path]:
    """A playbook and all that it imports."""
    found = {playbook}
    for play in yaml.safe_load(playbook.read_text()):
        if name := play.get("ansible.builtin.import_playbook"):
            found |= imported((playbook.parent / name).resolve())
    return found


@pytest.mark.parametrize("role", ROLES)
def test_each_role_has_a_scenario_of_its_own(role):
    assert (MOLECULE / role / "molecule.yml").is_file()


def end_to_end(playbook: Path) -> list[str]:
    """The end-to-end tests that a playbook runs."""
    found = []
    for play in yaml.safe_load(playbook.read_text()):
        tests = play.get("vars", {}).get("tests", []) if "ansible.builtin.import_playbook" in play else []
        found += [tests] if isinstance(tests, str) else tests
    return found


def run_by_ci() -> set[Path]:
    """Playbooks of the steps that test something."""
    steps = [MOLECULE / scenario / f"{step}.yml" for scenario in suite() for step in ("prepare", "verify")]
    return {playbook for step in steps if step.exists() for playbook in imported(step)}


@pytest.mark.parametrize("role", ROLES)
def test_each_roles_tests_are_in_ci(role):
    verify = MOLECULE / role / "verify.yml"
    run = run_by_ci()
    tests = set(end_to_end(verify))
    assert verify in run or (tests and tests <= {test for playbook in run for test in end_to_end(playbook)})


def test_every_end_to_end_test_is_in_ci():
    run = {test for scenario in suite() for test in end_to_end(MOLECULE / scenario / "verify.yml")}
    assert run == {path.name for path in (PROJECT / "tests" / "end_to_end").glob("test_*.py")}


def test_a_failed_test_is_named_with_the_command_that_repeats_it():
    said = [
        "    FAILED tests/end_to_end/test_wait.py::test_a_share - AssertionError: ...",
        "[ERROR]: Task failed: Action failed: Assertion failed",
        "Origin: /x/molecule/shared/end_to_end.yml:26:7",
    ]
    assert scenario.summary(said) == ["failed: tests/end_to_end/test_wait.py::test_a_share"]
    assert any(
        "pytest tests/end_to_end/test_wait.py::test_a_share" in line for line in scenario.repeat("cluster", said)
    )
    # Its cluster is made by the scenario alone.
    assert scenario.repeat("ec2_cluster", said) == ["make molecule-ec2_cluster"]


def test_a_roles_test_that_failed_on_shared_hosts_is_repeated_in_the_roles_own_scenario():
    said = [
        "CRITICAL what molecule always says",
        "TASK [Fine]",
        "ok: [execute1]",
        "TASK [Read the current mount] ****",
        "[ERROR]: Task failed: Module failed",
        "Origin: /x/molecule/nfs_client/verify.yml:55:7",
        "fatal: [execute1]: FAILED! => ",
        "    msg: 'no mount'",
    ]
    assert scenario.summary(said)[:2] == ["TASK [Read the current mount] ****", "[ERROR]: Task failed: Module failed"]
    assert scenario.summary(said)[-1] == "    msg: 'no mount'"
    assert scenario.repeat("cluster", said) == ["make molecule-nfs_client"]


def test_without_a_word_the_scenario_itself_is_repeated():
    assert scenario.summary(["one", "two"]) == ["one", "two"]
    assert scenario.repeat("cluster", ["one", "two"]) == ["make molecule-cluster"]
