"""The whole path on EC2, in this order, through an API on the loopback with a local host behind each instance.

The hosts are made already: molecule's scenario `ec2_cluster` does that.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest
import yaml
from aws import REGION, Playbooks, instances, leftovers, tags
from conftest import PLAIN, PROJECT, Cluster, Outcome, command, make_samples

NAME = os.environ.get("CLUSTER_NAME", "")
BUCKET = "photos-of-the-test"
EXECUTE_HOSTS = ("execute1", "execute2", "execute3")
# What the scenario made the hosts with.
INPUTS = yaml.safe_load((PROJECT / "molecule/ec2_cluster/converge.yml").read_text())[0]["vars"]


@pytest.fixture(scope="module")
def s3():
    return boto3.client("s3", region_name=REGION)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_samples(tmp_path_factory.mktemp("samples"), 24)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_samples(tmp_path_factory.mktemp("many"), 160)


def pool(cluster: Cluster) -> set[str]:
    """Names of the execute hosts that offer a slot."""
    said = cluster.on("submit", "condor_status", "-constraint", "PartitionableSlot", "-autoformat", "Machine")
    return {line.partition(".")[0] for line in said.splitlines()}


def hosts_that_worked(images: list[dict[str, str]]) -> set[str]:
    return {image["host"].partition(".")[0] for image in images}


def wait_until(condition, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(1)


def test_inventory_finds_the_hosts_by_their_tags(cluster: Cluster):
    listed = subprocess.run(
        [command("ansible-inventory"), "-i", cluster.inventory, "--list"],
        cwd=PROJECT,
        env=PLAIN,
        capture_output=True,
        check=True,
        text=True,
    )
    groups = json.loads(listed.stdout)
    assert groups["manager"]["hosts"] == ["manager1"]
    assert groups["submit"]["hosts"] == ["submit1"]
    assert sorted(groups["execute"]["hosts"]) == ["execute1", "execute2"]


def test_hosts_keys_are_checked(cluster: Cluster):
    known = Path(f"~/.local/state/condor-yolo/{NAME}/known_hosts").expanduser()
    kept = known.read_bytes()
    lines = [line.split() for line in kept.decode().splitlines()]
    # Another host's key under each address: as if someone had taken the addresses over.
    swapped = [[*line[:-1], other[-1]] for line, other in zip(lines, lines[1:] + lines[:1], strict=True)]
    # Without the connections that are open.
    anew = Cluster(cluster.inventory, cluster.results)
    try:
        known.write_text("".join(f"{' '.join(line)}\n" for line in swapped))
        with pytest.raises(AssertionError, match=r"(?i)mismatching host key|host key verification failed"):
            anew.on("execute2", "true")
    finally:
        known.write_bytes(kept)
        anew.close()
    assert cluster.on("execute2", "uname", "-n")


def test_hosts_end_themselves_before_any_playbook_reached_them(cluster: Cluster, ec2):
    for node, instance in instances(ec2, NAME).items():
        ends = tags(instance)["condor-yolo-ends"]
        shown = cluster.on(
            node, "systemctl", "show", "--timestamp=utc", "-P", "NextElapseUSecRealtime", "cluster-ttl.timer"
        )
        assert ends in shown
        left = datetime.fromisoformat(f"{ends}+00:00") - datetime.now(UTC)
        assert 7 * 3600 < left.total_seconds() <= 8 * 3600
        said = ec2.describe_instance_attribute(
            InstanceId=instance["InstanceId"], Attribute="instanceInitiatedShutdownBehavior"
        )
        assert said["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate"


def test_site_makes_them_a_pool(cluster: Cluster, playbooks: Playbooks):
    playbooks.run("site.yml")
    assert pool(cluster) == {"execute1", "execute2"}


def test_images_come_from_s3_and_results_go_there(cluster: Cluster, s3, photos: Path):
    s3.create_bucket(Bucket=BUCKET)
    keys = {}
    for photo in sorted(photos.rglob("*.jpg")):
        key = f"in/{photo.relative_to(photos).as_posix()}"
        s3.upload_file(str(photo), BUCKET, key)
        keys[key.removeprefix("in/")] = photo
    done = cluster.infer(f"s3://{BUCKET}/in", run_id="s3", results_to=f"s3://{BUCKET}/out")
    assert done.code == 0
    assert {image["path"] for image in done.images} == set(keys)
    there = {o["Key"]: o["Size"] for o in s3.list_objects_v2(Bucket=BUCKET, Prefix="out/s3/")["Contents"]}
    here = {
        f"out/s3/{path.relative_to(done.results).as_posix()}": path.stat().st_size
        for path in done.results.rglob("*")
        if path.is_file() and path.name != ".contents.jsonl"
    }
    assert there == here
    assert len(here) > 2 * len(keys)


def test_scale_out_adds_a_host_that_works(cluster: Cluster, playbooks: Playbooks, photos: Path):
    said = playbooks.run("playbooks/scale.yml", execute_count=3)
    assert "join: execute3" in said
    assert pool(cluster) == {"execute1", "execute2", "execute3"}


def test_a_spot_instance_that_goes_loses_nothing(cluster: Cluster, ec2, many: Path, daemons: Path):
    notice = daemons / f"spot-instance-action.{instances(ec2, NAME)['execute3']['PrivateIpAddress']}"
    run = cluster.start(many, run_id="spot", chunk_size=8, save_images=False)
    working = 'regexp("execute3", RemoteHost)'
    wait_until(lambda: cluster.on("submit", "condor_q", "-all", "-const", working, "-af", "ProcId"), 180, "a job there")
    notice.write_text('{"action": "terminate", "time": "2026-11-24T12:00:00Z"}')
    wait_until(lambda: "execute3" not in pool(cluster), 30, "the host gave its jobs back")
    said, _ = run.communicate()
    print(said)
    assert run.returncode == 0
    images = Outcome(0, said, cluster.results / "spot").images
    assert len(images) == 160
    assert {image["status"] for image in images} == {"ok"}
    assert {"execute1", "execute2"} <= hosts_that_worked(images)
    notice.unlink()
    # In place of the instance that EC2 would give back.
    cluster.on("execute3", "systemctl", "start", "condor.service", "spot-watcher.service")
    wait_until(lambda: "execute3" in pool(cluster), 60, "the host is back")


def test_scale_in_during_a_run_loses_nothing(cluster: Cluster, playbooks: Playbooks, ec2, many: Path):
    ids = {node: instance["InstanceId"] for node, instance in instances(ec2, NAME).items()}
    run = cluster.start(many, run_id="shrink", chunk_size=16, save_images=False)
    # Stopped in the middle of a chunk, each host has one when it is told to leave, and work is left when it has left.
    stop = "until pkill -STOP -f '[-]m yolo detect'; do sleep 0.1; done"
    with ThreadPoolExecutor(3) as beside:
        list(beside.map(lambda host: cluster.on(host, "timeout", "180", "sh", "-c", stop), EXECUTE_HOSTS))
        scale = beside.submit(playbooks.run, "playbooks/scale.yml", execute_count=1)
        asked = 'PartitionableSlot && State == "Drained"'
        wait_until(
            lambda: len(cluster.on("submit", "condor_status", "-const", asked, "-af", "Machine").splitlines()) == 2,
            180,
            "both hosts were told to leave",
        )
        assert pool(cluster) == set(EXECUTE_HOSTS), "they wait for their jobs"
        for host in ("execute2", "execute3"):
            cluster.on(host, "pkill", "-CONT", "-f", "[-]m yolo detect")
        wait_until(lambda: pool(cluster) == {"execute1"}, 300, "the hosts left")
        assert run.poll() is None
        cluster.on("execute1", "pkill", "-CONT", "-f", "[-]m yolo detect")
        said = scale.result()
    assert "decommission: execute2, execute3" in said
    output, _ = run.communicate()
    print(output)
    assert run.returncode == 0
    images = Outcome(0, output, cluster.results / "shrink").images
    assert {image["status"] for image in images} == {"ok"}
    assert len(images) == 160
    assert hosts_that_worked(images) == set(EXECUTE_HOSTS)
    starts = cluster.on("submit", "condor_history", "-const", 'YoloRunId == "shrink"', "-af", "NumJobStarts")
    assert set(starts.splitlines()) == {"1"}
    left = {node: instance["InstanceId"] for node, instance in instances(ec2, NAME).items()}
    assert left == {node: ids[node] for node in ("manager1", "submit1", "execute1")}
    assert pool(cluster) == {"execute1"}
    assert "execute2" not in cluster.on("manager", "exportfs", "-v") + cluster.on(
        "manager", "ls", "/etc/condor/issued.d"
    )


def test_the_end_can_be_moved(cluster: Cluster, playbooks: Playbooks, ec2):
    playbooks.run("playbooks/extend.yml", ec2_ttl_hours=20)
    ends = {tags(instance)["condor-yolo-ends"] for instance in instances(ec2, NAME).values()}
    assert len(ends) == 1
    left = datetime.fromisoformat(f"{min(ends)}+00:00") - datetime.now(UTC)
    assert 19 * 3600 < left.total_seconds() <= 20 * 3600
    for node in instances(ec2, NAME):
        shown = cluster.on(
            node, "systemctl", "show", "--timestamp=utc", "-P", "NextElapseUSecRealtime", "cluster-ttl.timer"
        )
        assert min(ends) in shown


def test_hosts_behind_a_bastion_are_reached_through_it(cluster: Cluster, playbooks: Playbooks, ec2):
    addresses = {node: instance["PrivateIpAddress"] for node, instance in instances(ec2, NAME).items()}
    playbooks.run("playbooks/provision.yml", ec2_reach="bastion")
    came_from = subprocess.run(
        [
            command("ansible"),
            *("-i", cluster.inventory, "execute1", "-m", "ansible.builtin.shell"),
            *("-a", "set -- $SSH_CONNECTION; echo from=$1", "-e", "ec2_reach=bastion"),
        ],
        cwd=PROJECT,
        env=PLAIN | {"ANSIBLE_STRATEGY": "ansible.builtin.linear", "ANSIBLE_SSH_ARGS": "-o ControlMaster=no"},
        capture_output=True,
        text=True,
    )
    assert f"from={addresses['submit1']}" in came_from.stdout, came_from.stdout + came_from.stderr
    groups = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [f"{NAME}-hosts"]}])
    ssh = [rule for rule in groups["SecurityGroups"][0]["IpPermissions"] if rule["FromPort"] == 22]
    assert [rule["IpRanges"] for rule in ssh] == [[]]


def test_teardown_leaves_nothing(cluster: Cluster, playbooks: Playbooks, ec2):
    said = playbooks.run("playbooks/teardown.yml")
    assert f"condor-yolo-cluster={NAME} any more" in said
    assert leftovers(ec2, NAME) == {}
    assert not Path(f"~/.local/state/condor-yolo/{NAME}").expanduser().exists()
