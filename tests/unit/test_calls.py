"""Calls of ansible-playbook that end before the first host: no cluster is needed, each takes some two seconds.

Nothing here may do harm where what it tests is broken: without hosts and credentials the playbooks change nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]

INVENTORY = """
all:
  vars: {variables}
  children:
    manager: {{hosts: {{manager: {{ansible_host: 192.0.2.1}}}}}}
    submit: {{hosts: {{submit: {{ansible_host: 192.0.2.2}}}}}}
    execute: {{hosts: {{execute1: {{ansible_host: 192.0.2.3}}, execute2: {{ansible_host: 192.0.2.4}}}}}}
"""


class Caller:
    """Calls playbooks from a folder of its own, with an inventory there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        self.inventory()

    def inventory(self, variables: str = "{}") -> None:
        (self.folder / "hosts.yml").write_text(INVENTORY.format(variables=variables))

    def __call__(self, playbook: str, *options: str, where: Path | None = None) -> str:
        """Call a playbook that fails; return what it says."""
        done = subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "-i", self.folder / "hosts.yml", playbook, *options],
            cwd=where or self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert done.returncode != 0, done.stdout
        assert "Traceback" not in done.stdout
        return done.stdout


@pytest.fixture
def call(tmp_path):
    return Caller(tmp_path)


@pytest.mark.parametrize(
    ("playbook", "options", "said"),
    [
        (
            "run_inference.yml",
            "--limit execute1",
            "--limit execute1 leaves out localhost, manager, submit: ",
        ),
        ("site.yml", "--limit execute", "--limit execute leaves out localhost, manager, submit: site.yml"),
        ("playbooks/teardown.yml", "--limit all", "--limit all leaves out localhost: teardown.yml"),
        ("run_inference.yml", "--tags report", "--tags report: run_inference.yml has no tags"),
        ("site.yml", "--tags pyton", "--tags pyton: site.yml has the tags python"),
        ("playbooks/provision.yml", "--start-at-task Foo", "--start-at-task Foo: the tasks of provision.yml"),
    ],
)
def test_what_would_do_nothing_is_one_error_before_the_first_play(call, playbook, options, said):
    option, value = options.split()
    output = call(playbook, option, value, where=PROJECT)
    assert f"[ERROR]: {said}" in output
    assert "PLAY [" not in output


@pytest.mark.parametrize("playbook", ["run_inference.yml", "playbooks/scale.yml"])
def test_a_path_that_ansible_would_split_is_refused(call, playbook):
    output = call(playbook, "-e", "images=/x/with space", where=PROJECT)
    assert """Give the value as -e '{"images": "/x/with space"}'""" in output
    assert "PLAY [" not in output


def test_from_another_folder_with_an_inventory_there_relative_paths_are_meant_from_there(call):
    call.environment["HOME"] = str(call.folder / "home")
    output = call(str(PROJECT / "run_inference.yml"), "-e", "images=photos")
    assert f"ERROR: no such images: {call.folder}/photos;" in output
    images = call.folder / "home" / "photos"
    images.mkdir(parents=True)
    (images / "a.jpg").write_bytes(b"\xff\xd8\xff begins like a JPEG")
    output = call(str(PROJECT / "run_inference.yml"), "-e", '{"images": "~/photos"}', "-e", "weights=./w.pt")
    assert f"no such weights: {call.folder}/w.pt;" in output


def test_so_are_those_of_a_role_that_looks_for_files_where_it_stands(call):
    wheels = ["-e", "yolo_venv_torch_source=wheels", "-e", "yolo_venv_torch_wheels=wheels"]
    (call.folder / "role.yml").write_text(
        "[{hosts: localhost, connection: local, gather_facts: false,"
        " tasks: [{ansible.builtin.include_role: {name: yolo_venv, tasks_from: validate}}]}]"
    )
    call.environment["ANSIBLE_CONFIG"] = str(PROJECT / "ansible.cfg")
    assert f"yolo_venv_torch_wheels is '{call.folder}/wheels'" in call("role.yml", *wheels)


@pytest.mark.parametrize("where", ["in the inventory", "beside it"])
def test_an_inventory_elsewhere_outranks_the_projects_variables(call, where):
    if where == "in the inventory":
        call.inventory("{cluster_share: not/absolute}")
    else:
        (call.folder / "group_vars").mkdir()
        (call.folder / "group_vars" / "all.yml").write_text("cluster_share: not/absolute\n")
    output = call("site.yml", where=PROJECT)
    assert "cluster_share is 'not/absolute': expected an absolute path" in output


def test_a_checkout_that_anyone_may_write_to_has_its_settings_too(call):
    """As on a mounted disk of Windows or of a virtual machine's host."""
    checkout = call.folder / "checkout"
    checkout.mkdir()
    checkout.chmod(0o777)
    for path in PROJECT.iterdir():
        (checkout / path.name).symlink_to(path)
    output = call("run_inference.yml", "-e", "images=photos", where=checkout)
    assert f"Starting again with the settings in {PROJECT}/ansible.cfg" in output
    assert f"ERROR: no such images: {checkout}/photos;" in output


def test_settings_of_another_project_are_named(call):
    (call.folder / "other.cfg").write_text("[defaults]\n")
    call.environment["ANSIBLE_CONFIG"] = str(call.folder / "other.cfg")
    output = call(str(PROJECT / "site.yml"))
    assert f"ANSIBLE_CONFIG is {call.folder}/other.cfg, which is not made for this project" in output
    assert "PLAY [" not in output
