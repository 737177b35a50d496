"""What the tests of EC2 share: running playbooks, and looking at the API with boto3, not with the project's code."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field

from conftest import PLAIN, PROJECT, command

# What the playbooks go by; boto3 itself reads AWS_DEFAULT_REGION only.
REGION = os.environ.get("AWS_REGION", "")
ALIVE = ["pending", "running", "stopping", "stopped"]


@dataclass(frozen=True)
class Playbooks:
    """Runs playbooks with an inventory, inputs and an environment.

    Attributes:
        inventory: Folder or file.
        inputs: What each of them is given with -e.
        environment: Set, or with None unset, on top of the test's own.
    """

    inventory: str
    inputs: dict[str, object]
    environment: dict[str, str | None] = field(default_factory=dict)

    def start(self, playbook: str, *options: str, **inputs: object) -> subprocess.Popen[str]:
        """Start one and do not wait."""
        environment = PLAIN | self.environment
        return subprocess.Popen(
            [
                *(command("ansible-playbook"), "-i", self.inventory, playbook, *options),
                *("-e", json.dumps(self.inputs | inputs)),
            ],
            cwd=PROJECT,
            env={name: value for name, value in environment.items() if value is not None},
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, playbook: str, *options: str, **inputs: object) -> str:
        """Run one; return what it says, in one line. It must not fail."""
        code, said = self._finish(playbook, *options, **inputs)
        assert code == 0, f"{playbook} failed"
        return " ".join(said.split())

    def refused(self, playbook: str, *options: str, **inputs: object) -> str:
        """Run one that must fail; return what it says, in one line."""
        code, said = self._finish(playbook, *options, **inputs)
        assert code != 0, f"{playbook} went through"
        assert "Traceback" not in said
        return " ".join(said.split())

    def _finish(self, playbook: str, *options: str, **inputs: object) -> tuple[int, str]:
        running = self.start(playbook, *options, **inputs)
        said, _ = running.communicate()
        print(said)
        return running.returncode, said


def tags(thing: dict) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in thing.get("Tags", ())}


def tagged(name: str) -> list[dict]:
    """The filter that finds what belongs to a cluster."""
    return [{"Name": "tag:condor-yolo-cluster", "Values": [name]}]


def instances(ec2, name: str) -> dict[str, dict]:
    """A cluster's instances that are not ended, by the names of their nodes."""
    filters = [*tagged(name), {"Name": "instance-state-name", "Values": ALIVE}]
    found = [i for r in ec2.describe_instances(Filters=filters)["Reservations"] for i in r["Instances"]]
    by_node = {tags(i)["condor-yolo-node"]: i for i in found}
    assert len(by_node) == len(found), "a node is there twice"
    return by_node


def leftovers(ec2, name: str) -> dict[str, list]:
    """Everything that carries a cluster's tag, by kind."""
    by_tag = tagged(name)
    found = {
        "instances": list(instances(ec2, name)),
        "volumes": ec2.describe_volumes(Filters=by_tag)["Volumes"],
        "interfaces": ec2.describe_network_interfaces(Filters=by_tag)["NetworkInterfaces"],
        "addresses": ec2.describe_addresses(Filters=by_tag)["Addresses"],
        "security groups": ec2.describe_security_groups(Filters=by_tag)["SecurityGroups"],
        "key pairs": ec2.describe_key_pairs(Filters=by_tag)["KeyPairs"],
        "subnets": ec2.describe_subnets(Filters=by_tag)["Subnets"],
        "route tables": ec2.describe_route_tables(Filters=by_tag)["RouteTables"],
        "gateways": ec2.describe_internet_gateways(Filters=by_tag)["InternetGateways"],
        "VPCs": ec2.describe_vpcs(Filters=by_tag)["Vpcs"],
        "launch templates": [
            t for t in ec2.describe_launch_templates()["LaunchTemplates"] if t["LaunchTemplateName"] == f"{name}-spot"
        ],
    }
    return {kind: things for kind, things in found.items() if things}
