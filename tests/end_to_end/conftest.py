"""Runs the playbooks against a cluster that is up, as a user would.

`CLUSTER_INVENTORY` names its inventory, by default the project's own; molecule's scenarios give theirs.
"""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from remote import WAY_IN, Remote, ways
from shared_data import SHARED

if TYPE_CHECKING:
    from aws import Playbooks

PROJECT = Path(__file__).resolve().parents[2]


# Molecule asks for colours, which would stand in what the tests read, and for Ansible's own output.
PLAIN = os.environ | {
    "ANSIBLE_FORCE_COLOR": "false",
    "ANSIBLE_NOCOLOR": "true",
    "ANSIBLE_STDOUT_CALLBACK": "stages",
}


def command(program: str) -> str:
    """Path of a program of the virtual environment that runs the tests."""
    return str(Path(sys.executable).with_name(program))


@dataclass(frozen=True)
class Outcome:
    """What a call of run_inference.yml came to."""

    code: int
    output: str
    results: Path

    @property
    def metrics(self) -> dict:
        return json.loads((self.results / "metrics.json").read_bytes())

    @property
    def images(self) -> list[dict[str, str]]:
        """A row of metrics.csv for each image."""
        with (self.results / "metrics.csv").open(newline="", errors="surrogateescape") as file:
            return list(csv.DictReader(file))

    @property
    def predictions(self) -> list[dict]:
        return json.loads((self.results / "predictions.json").read_bytes())


class Cluster:
    """A cluster that is up.

    Args:
        inventory: Folder or file of its inventory.
        results: Where results go.
    """

    def __init__(self, inventory: str, results: Path) -> None:
        self.inventory = inventory
        self.results = results
        # A socket's path may have 104 characters.
        self._remote = Remote(Path(tempfile.mkdtemp(prefix="ssh-")), self._ways)

    def arguments(self, images: Path | str, **inputs: object) -> list[str]:
        """Command line of a run over ``images``; ``inputs`` are what a user gives with -e."""
        given = {"images": str(images), "results": str(self.results), **inputs}
        playbook = [command("ansible-playbook"), "-i", self.inventory, "run_inference.yml"]
        return [*playbook, "-e", json.dumps(given)]

    def infer(self, images: Path | str, *options: str, **inputs: object) -> Outcome:
        """Run over ``images`` and wait; ``options`` are ansible-playbook's."""
        done = subprocess.run(
            [*self.arguments(images, **inputs), *options],
            cwd=PROJECT,
            env=PLAIN,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        print(done.stdout)
        return Outcome(done.returncode, done.stdout, self.results / str(inputs.get("run_id", "")))

    def start(self, images: Path | str, **inputs: object) -> subprocess.Popen[str]:
        """Start a run over ``images`` and do not wait."""
        return subprocess.Popen(
            self.arguments(images, **inputs),
            cwd=PROJECT,
            env=PLAIN,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def on(self, host: str, *argv: str, user: str = "root") -> str:
        """Run a command on a host and return what it prints; fails when it fails."""
        return self._remote.run(host, argv, user)

    def send(self, host: str, source: Path, path: str) -> None:
        """Copy a file to a host."""
        self._remote.run(host, ("install", "-m", "0644", "/dev/stdin", path), "root", source.read_bytes())

    def close(self) -> None:
        """End the connections to the hosts."""
        self._remote.close()

    def _ways(self) -> list[dict[str, Any]]:
        asked = ["-m", "ansible.builtin.debug", "-a", json.dumps({"msg": WAY_IN})]
        done = subprocess.run(
            [command("ansible"), "-i", self.inventory, "all", *asked],
            cwd=PROJECT,
            env=PLAIN | {"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1"},
            text=True,
            capture_output=True,
        )
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        return ways(done.stdout)


def changes(output: str) -> dict[str, int]:
    """Return how much a playbook changed, by host, from the recap that its output ends with."""
    found = re.findall(r"^(\S+) +: ok=\d+ +changed=(\d+) ", output, re.MULTILINE)
    assert found, "no recap: nothing says that nothing was changed"
    return {host: int(count) for host, count in found}


def files(folder: Path) -> set[str]:
    """Relative paths of the files in a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def make_samples(out: Path, count: int) -> Path:
    """Make the demo's sample images and return their folder."""
    subprocess.run([sys.executable, PROJECT / "files/demo/samples.py", "--out", out, "--count", str(count)], check=True)
    return out / "images"


def shared(path: str) -> Path:
    """A file or folder of test data that is no part of the project; skips the test where it is absent."""
    found = SHARED / path
    if not found.exists():
        pytest.skip(f"test data beside the project is absent: ../shared/{path}")
    return found


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(os.environ.get("CLUSTER_INVENTORY", "inventory"), tmp_path_factory.mktemp("results"))
    yield cluster
    cluster.close()


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images."""
    return make_samples(tmp_path_factory.mktemp("samples"), 12)


@pytest.fixture(scope="session")
def ec2() -> Any:
    """boto3's client of the scenario's API."""
    return boto3.client("ec2", region_name=os.environ["AWS_REGION"])


@pytest.fixture(scope="module")
def playbooks(request: pytest.FixtureRequest) -> Playbooks:
    """Runs playbooks with the scenario's inputs, which the test module has as INPUTS."""
    from aws import Playbooks

    return Playbooks(os.environ.get("CLUSTER_INVENTORY", "inventory"), request.module.INPUTS)


@pytest.fixture(scope="session")
def daemons() -> Path:
    """Folder of what stands for AWS: what it was asked for, how it shall fail, notices of spot instances."""
    return Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "daemons"
