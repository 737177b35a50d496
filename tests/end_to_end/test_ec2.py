"""What EC2 is asked for, and what happens when it refuses, in this order, against an API without machines behind it.

The cluster `test-ec2` is made already: molecule's scenario `ec2` does that.
"""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

import boto3
import pytest
import yaml
from aws import REGION, Playbooks, instances, leftovers, tagged, tags
from conftest import PLAIN, PROJECT, command

NAME = os.environ.get("CLUSTER_NAME", "")
HALF = f"{NAME}-half"
ENDPOINT = os.environ.get("AWS_ENDPOINT_URL", "")
INPUTS = yaml.safe_load((PROJECT / "molecule/ec2/inputs.yml").read_text())
POLICY = json.loads((PROJECT / "files/ec2/policy.json").read_text())
PROVISION = "playbooks/provision.yml"
TEARDOWN = "playbooks/teardown.yml"


@contextmanager
def trouble(daemons: Path, **actions: dict) -> Iterator[None]:
    """Let actions of the API go wrong meanwhile; see tests/ec2/aws_server.py."""
    file = daemons / "trouble.json"
    file.write_text(json.dumps(actions))
    try:
        yield
    finally:
        file.unlink()


@contextmanager
def authorization() -> Iterator[None]:
    """Let the API check keys, signatures and policies meanwhile."""

    def after(calls: str) -> None:
        asked = urllib.request.Request(f"{ENDPOINT}/moto-api/reset-auth", data=calls.encode(), method="POST")
        asked.add_header("Content-Type", "text/plain")
        urllib.request.urlopen(asked, timeout=10).close()

    after("0")
    try:
        yield
    finally:
        after("inf")


def new_user(name: str, policy: dict | None) -> dict[str, str]:
    """Make a user that may do what a policy says, or nothing; return the environment with its keys."""
    iam = boto3.client("iam", region_name=REGION)
    iam.create_user(UserName=name)
    if policy:
        iam.put_user_policy(UserName=name, PolicyName="test", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def test_instances_are_what_was_asked_for(ec2):
    found = instances(ec2, NAME)
    assert sorted(found) == ["execute1", "execute2", "manager1", "submit1"]
    assert {node: i["InstanceType"] for node, i in found.items()} == {
        "manager1": "m6i.large",
        "submit1": "c6i.large",
        "execute1": "c6i.large",
        "execute2": "c6i.large",
    }
    disks = {}
    for node, instance in found.items():
        # The newest of Debian's own; a newer one of the same name is someone else's.
        assert instance["ImageId"] == "ami-0000000000000d132"
        assert instance["MetadataOptions"]["HttpTokens"] == "required"
        assert (instance.get("InstanceLifecycle") == "spot") == node.startswith("execute")
        assert (
            tags(instance).items()
            >= {
                "condor-yolo-cluster": NAME,
                "condor-yolo-role": node.rstrip("12"),
                "Name": f"{NAME}-{node}",
                "project": "detection",
            }.items()
        )
        [mapping] = instance["BlockDeviceMappings"]
        assert mapping["Ebs"]["DeleteOnTermination"]
        [disk] = ec2.describe_volumes(VolumeIds=[mapping["Ebs"]["VolumeId"]])["Volumes"]
        assert disk["Encrypted"]
        assert disk["VolumeType"] == "gp3"
        disks[node] = disk["Size"]
        behaviour = ec2.describe_instance_attribute(
            InstanceId=instance["InstanceId"], Attribute="instanceInitiatedShutdownBehavior"
        )
        assert behaviour["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate"
    assert disks == {"manager1": 100, "submit1": 16, "execute1": 16, "execute2": 16}


def test_security_groups_open_three_ports_only(ec2):
    groups = {g["GroupName"]: g for g in ec2.describe_security_groups(Filters=tagged(NAME))["SecurityGroups"]}
    ids = {name.removeprefix(f"{NAME}-"): group["GroupId"] for name, group in groups.items()}

    def opened(name: str) -> set[tuple]:
        return {
            (rule["IpProtocol"], rule["FromPort"], rule["ToPort"], source)
            for rule in groups[f"{NAME}-{name}"]["IpPermissions"]
            for source in [r["CidrIp"] for r in rule["IpRanges"]] + [p["GroupId"] for p in rule["UserIdGroupPairs"]]
        }

    ssh = ("tcp", 22, 22, INPUTS["ec2_ssh_from"])
    assert opened("hosts") == {ssh, ("tcp", 9618, 9618, ids["hosts"])}
    assert opened("manager") == {("tcp", 2049, 2049, ids["hosts"])}
    assert opened("submit") == {ssh}
    assert all(not rule["Ipv6Ranges"] for group in groups.values() for rule in group["IpPermissions"])
    in_groups = {node: {g["GroupName"] for g in i["SecurityGroups"]} for node, i in instances(ec2, NAME).items()}
    assert in_groups == {
        "manager1": {f"{NAME}-hosts", f"{NAME}-manager"},
        "submit1": {f"{NAME}-hosts", f"{NAME}-submit"},
        "execute1": {f"{NAME}-hosts"},
        "execute2": {f"{NAME}-hosts"},
    }


NO_KEYS = {name: None for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")} | {
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    "AWS_CONFIG_FILE": "/nonexistent",
}


@pytest.mark.parametrize(
    ("inputs", "environment", "said"),
    [
        (
            {
                "ec2_ssh_from": "0.0.0.0/0",
                "ec2_execute_type": "t3.large",
                "ec2_execute_count": 0,
                "ec2_manager_disk": 4,
                "ec2_vpc_id": "vpc-1",
                "ec2_tags": {"Name": "mine"},
            },
            {},
            [
                "ec2_ssh_from is '0.0.0.0/0': expected",
                "not burstable",
                "ec2_execute_count is '0': expected a number from 1 to 200",
                "expected GiB, from 8",
                "expected a VPC and one of its subnets",
                "expected a dictionary without Name",
            ],
        ),
        (
            {"cluster_name": "", "ec2_ssh_from": "::/0"},
            {},
            [
                "cluster_name is '': expected lower-case letters, digits and hyphens",
                "ec2_ssh_from is '::/0': expected",
            ],
        ),
        ({}, NO_KEYS, ["no AWS credentials"]),
        ({}, {"AWS_REGION": "us-east-9"}, ["ec2_region is 'us-east-9', which account"]),
        ({"ec2_image_name": "debian-99-*"}, {}, ["No image 'debian-99-*' of owner 136693071363"]),
    ],
)
def test_all_wrong_inputs_are_named_before_anything_is_made(ec2, playbooks: Playbooks, inputs, environment, said):
    asked = Playbooks(playbooks.inventory, INPUTS, {"CLUSTER_NAME": HALF} | environment)
    refused = asked.refused(PROVISION, **inputs)
    assert [words for words in said if words not in refused] == []
    assert leftovers(ec2, HALF) == {}


def test_cost_is_said_first_and_nothing_is_made_without_a_yes(ec2, playbooks: Playbooks):
    asked = Playbooks(playbooks.inventory, INPUTS, {"CLUSTER_NAME": HALF})
    refused = asked.refused(PROVISION, ec2_confirm=False)
    assert "3 x c6i.large (submit1, execute1, execute2)" in refused
    assert "148 GiB of gp3" in refused
    assert "end themselves after 8 hours" in refused
    assert "Nothing was made, since the answer was not yes" in refused
    assert "What was made" not in refused
    assert leftovers(ec2, HALF) == {}


def test_a_name_that_another_cluster_has_is_refused(ec2, playbooks: Playbooks):
    name = f"{NAME}-taken"
    asked = Playbooks(playbooks.inventory, INPUTS, {"CLUSTER_NAME": name})
    ec2.create_key_pair(
        KeyName=name,
        TagSpecifications=[
            {"ResourceType": "key-pair", "Tags": [{"Key": "condor-yolo-cluster", "Value": name}]},
        ],
    )
    assert f"The name {name} is taken" in asked.refused(PROVISION)
    assert list(leftovers(ec2, name)) == ["key pairs"]
    ec2.delete_key_pair(KeyName=name)


def test_a_cluster_of_an_earlier_version_is_left_alone(ec2, playbooks: Playbooks):
    manager = instances(ec2, NAME)["manager1"]["InstanceId"]

    def name_it(name: str) -> None:
        ec2.create_tags(Resources=[manager], Tags=[{"Key": "condor-yolo-node", "Value": name}])

    name_it("manager")
    try:
        refused = playbooks.refused("playbooks/scale.yml", execute_count=2)
        assert "earlier version of the playbooks: manager; expected manager1 and submit1" in refused
        assert sorted(instances(ec2, NAME)) == ["execute1", "execute2", "manager", "submit1"]
    finally:
        name_it("manager1")


def test_a_closed_port_22_is_named_with_what_to_look_at(playbooks: Playbooks):
    refused = playbooks.refused(PROVISION)
    assert "does not answer on port 22" in refused
    assert "Is ec2_ssh_from still this machine's address" in refused


def test_no_cluster_and_two_clusters_are_told_apart(playbooks: Playbooks, tmp_path: Path):
    none = Playbooks(playbooks.inventory, INPUTS, {"CLUSTER_NAME": "nobody"})
    refused = none.refused("site.yml")
    assert "There is no cluster" in refused
    assert "playbooks/provision.yml" in refused
    local = tmp_path / "local.yml"
    local.write_text("local_cluster: {children: {manager: {hosts: {manager1: {ansible_host: 127.0.0.1}}}}}\n")
    refused = playbooks.refused("site.yml", "-i", str(local))
    assert "There are two clusters" in refused
    assert "inventory/aws_ec2.yml" in refused


def test_keys_and_permissions_that_are_refused_are_told_apart(ec2, playbooks: Playbooks):
    nobody = new_user("nobody", None)
    unknown = {"AWS_ACCESS_KEY_ID": "AKIA0000000000000000", "AWS_SECRET_ACCESS_KEY": "x"}
    with authorization():
        for keys, said in ((unknown, "AWS does not know these credentials"), (nobody, "files/ec2/policy.json")):
            asked = Playbooks(playbooks.inventory, INPUTS, {"CLUSTER_NAME": HALF} | keys)
            assert said in asked.refused(PROVISION)
    assert leftovers(ec2, HALF) == {}


@pytest.fixture(scope="module")
def permitted(playbooks: Playbooks) -> Playbooks:
    """As a user who may do what the documented policy allows and no more, for a cluster of its own."""
    # The API here evaluates neither resources nor conditions (it would refuse): a test below looks at those.
    without = [{"Effect": s["Effect"], "Action": s["Action"], "Resource": "*"} for s in POLICY["Statement"]]
    keys = new_user("permitted", POLICY | {"Statement": without})
    return Playbooks(playbooks.inventory, INPUTS, {"CLUSTER_NAME": HALF} | keys)


def test_a_run_that_died_half_way_goes_on(ec2, permitted: Playbooks, daemons: Path):
    refusal = {"after": 2, "code": "VcpuLimitExceeded", "message": "You have requested more vCPU capacity"}
    with authorization(), trouble(daemons, RunInstances=refusal):
        refused = permitted.refused(PROVISION)
    assert "an AWS quota is used up" in refused
    assert "the same command goes on from here" in refused
    first = {node: i["InstanceId"] for node, i in instances(ec2, HALF).items()}
    assert len(first) == 2
    with authorization():
        # All but that no one is at home: it ends at the closed port.
        assert "does not answer on port 22" in permitted.refused(PROVISION)
    second = {node: i["InstanceId"] for node, i in instances(ec2, HALF).items()}
    assert sorted(second) == ["execute1", "execute2", "manager1", "submit1"]
    assert second.items() >= first.items()


def test_the_end_is_moved_in_the_tags(ec2, permitted: Playbooks):
    before = {tags(i)["condor-yolo-ends"] for i in instances(ec2, HALF).values()}
    with authorization():
        assert "does not answer on port 22" in permitted.refused("playbooks/extend.yml", ec2_ttl_hours=20)
    after = {tags(i)["condor-yolo-ends"] for i in instances(ec2, HALF).values()}
    assert len(before) == len(after) == 1
    assert min(after) > min(before)


def test_teardown_that_leaves_something_fails_with_a_list(ec2, permitted: Playbooks, daemons: Path):
    mark = [{"Key": "condor-yolo-cluster", "Value": HALF}]

    def spec(kind: str) -> list[dict]:
        return [{"ResourceType": kind, "Tags": mark}]

    # As if left by a run that died, or by hand: no instance takes these with it.
    [subnet] = ec2.describe_subnets(Filters=tagged(HALF))["Subnets"]
    ec2.create_volume(AvailabilityZone=f"{REGION}a", Size=8, TagSpecifications=spec("volume"))
    ec2.create_network_interface(SubnetId=subnet["SubnetId"], TagSpecifications=spec("network-interface"))
    address = ec2.allocate_address(Domain="vpc", TagSpecifications=spec("elastic-ip"))["AllocationId"]
    # AWS says that it is released, and it is not.
    with authorization(), trouble(daemons, ReleaseAddress={}):
        refused = permitted.refused(TEARDOWN)
    assert f"and perhaps billed: address {address}" in refused
    assert list(leftovers(ec2, HALF)) == ["addresses"]
    with authorization():
        said = permitted.run(TEARDOWN)
    assert f"condor-yolo-cluster={HALF} any more" in said
    assert leftovers(ec2, HALF) == {}


def test_teardown_of_a_half_made_network_leaves_nothing(ec2, permitted: Playbooks, daemons: Path):
    with trouble(daemons, CreateRouteTable={"code": "UnauthorizedOperation", "message": "You are not authorized"}):
        assert "AWS permission refused" in permitted.refused(PROVISION)
    assert {"VPCs", "subnets", "gateways"} <= set(leftovers(ec2, HALF))
    permitted.run(TEARDOWN)
    assert leftovers(ec2, HALF) == {}
    # The other cluster was not touched.
    assert len(instances(ec2, NAME)) == 4


def test_policy_allows_what_is_used_and_no_more(daemons: Path):
    asked = (daemons / "actions").read_text().split("\n")
    used = {line.split()[0] for line in asked if line}
    # What the tests themselves ask for, with keys of their own.
    used -= {action for action in used if action.startswith("iam:") and action != "iam:ListAccountAliases"}
    used -= {"ec2:CreateKeyPair", "ec2:CreateVolume", "ec2:CreateNetworkInterface", "ec2:AllocateAddress"}
    allowed = {action for s in POLICY["Statement"] for action in s["Action"] if not action.startswith("s3:")}
    # EC2 itself asks at the first spot instance of an account; hosts that were stopped; leftovers that are attached.
    extra = {
        *("sts:GetCallerIdentity", "iam:CreateServiceLinkedRole", "ec2:StartInstances"),
        *("ec2:DetachNetworkInterface", "ec2:DisassociateAddress"),
    }
    assert used - allowed - {"sts:GetCallerIdentity"} == set()
    assert allowed - used - extra == set()


def test_policy_is_limited_to_what_carries_the_tag():
    looks = ("Describe", "Get", "List")
    tags_by_action = {}
    for statement in POLICY["Statement"]:
        condition = json.dumps(statement.get("Condition", {}))
        for action in statement["Action"]:
            tags_by_action.setdefault(action, []).append("condor-yolo-cluster" in condition)
    for action, limited in tags_by_action.items():
        service, _, verb = action.partition(":")
        if service == "ec2" and not verb.startswith(looks):
            assert any(limited), f"{action} may be done to anything"
    assert not any(fnmatchcase("ec2:RunInstances", a) for s in POLICY["Statement"] for a in s["Action"] if "*" in a)


def test_images_and_results_pass_with_the_policy(permitted: Playbooks, tmp_path: Path):
    s3 = boto3.client("s3", region_name=REGION)
    s3.create_bucket(Bucket="photos-of-the-test")
    s3.put_object(Bucket="photos-of-the-test", Key="in/a b.jpg", Body=b"not a picture")
    environment = {k: v for k, v in (PLAIN | permitted.environment).items() if v is not None}
    with authorization():
        for source, target in (("s3://photos-of-the-test/in", "."), (".", "s3://photos-of-the-test/out")):
            subprocess.run(
                [command("aws"), "--region", REGION, "s3", "sync", "--delete", source, target],
                cwd=tmp_path,
                env=environment,
                check=True,
            )
    assert s3.get_object(Bucket="photos-of-the-test", Key="out/a b.jpg")["Body"].read() == b"not a picture"


def test_teardown_needs_no_local_state(ec2, playbooks: Playbooks, tmp_path: Path):
    elsewhere = Playbooks(playbooks.inventory, INPUTS, {"HOME": str(tmp_path)})
    said = elsewhere.run(TEARDOWN)
    assert f"condor-yolo-cluster={NAME} any more" in said
    assert leftovers(ec2, NAME) == {}
