"""Puts a local host behind every instance that the API shows as running, as EC2 has a machine behind it.

    python follow.py --cluster NAME --state DIR

Asks the API (``AWS_ENDPOINT_URL``) every second. Where the set of running instances of the cluster has changed, it
runs hosts.yml, which boots a local host for each of them with the instance's private address, key and user data, and
ends those of instances that are gone. A host that has powered itself off ends, or stops, its instance, as the instance
was made to.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import boto3

HERE = Path(__file__).parent
TAG = "condor-yolo-cluster"
SETTLED_SECONDS = 4.0


def host_name(instance_id: str) -> str:
    """Return the local host's name: at most 11 characters, different for each instance."""
    return f"i{instance_id[-8:]}"


def running(ec2, cluster: str) -> list[dict]:
    """Return what hosts.yml needs to know of each running instance, in the order of their ids."""
    filters = [
        {"Name": f"tag:{TAG}", "Values": [cluster]},
        {"Name": "instance-state-name", "Values": ["running"]},
    ]
    pages = ec2.get_paginator("describe_instances").paginate(Filters=filters)
    found = [i for page in pages for r in page["Reservations"] for i in r["Instances"]]
    keys = ec2.describe_key_pairs(IncludePublicKey=True)["KeyPairs"]
    public = {key["KeyName"]: key["PublicKey"] for key in keys}
    hosts = []
    for instance in sorted(found, key=lambda i: i["InstanceId"]):
        data = ec2.describe_instance_attribute(InstanceId=instance["InstanceId"], Attribute="userData")
        hosts.append(
            {
                "name": host_name(instance["InstanceId"]),
                "address": instance["PrivateIpAddress"],
                "instance_id": instance["InstanceId"],
                "key": public[instance["KeyName"]].strip(),
                "user_data": base64.b64decode(data["UserData"].get("Value", "")).decode(),
            }
        )
    return hosts


def is_off(name: str, local_cluster: str) -> bool:
    """Whether no process of the local host is there."""
    pattern = f"[u]mid={local_cluster}-{name}"
    return subprocess.run(["pgrep", "-f", pattern], stdout=subprocess.DEVNULL, check=False).returncode == 1


def end_instance(ec2, instance_id: str) -> None:
    """Do what EC2 does when a host shuts itself down."""
    asked = ec2.describe_instance_attribute(InstanceId=instance_id, Attribute="instanceInitiatedShutdownBehavior")
    ends = asked["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate"
    print(f"{instance_id} is off: {'terminating' if ends else 'stopping'} it", flush=True)
    (ec2.terminate_instances if ends else ec2.stop_instances)(InstanceIds=[instance_id])


def main() -> None:
    """Follow until killed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cluster", required=True, help="the cluster's name at the API")
    parser.add_argument("--local-cluster", required=True, help="name of the local hosts' cluster")
    parser.add_argument("--subnet", required=True, help="the instances' subnet")
    parser.add_argument("--state", type=Path, required=True)
    args = parser.parse_args()
    args.state.mkdir(parents=True, exist_ok=True)
    ec2 = boto3.client("ec2", region_name=os.environ["AWS_REGION"])
    booted: list[dict] = []
    seen: list[dict] = []
    since = time.monotonic()
    while True:
        for host in booted:
            if is_off(host["name"], args.local_cluster):
                end_instance(ec2, host["instance_id"])
        wanted = running(ec2, args.cluster)
        if wanted != seen:
            seen, since = wanted, time.monotonic()
        # Instances come one after the other; their hosts boot side by side.
        if wanted != booted and time.monotonic() - since >= SETTLED_SECONDS:
            print("instances:", ", ".join(f"{h['instance_id']} {h['address']}" for h in wanted) or "none", flush=True)
            asked = {
                "local_hosts_cluster": args.local_cluster,
                "local_hosts_subnet": args.subnet,
                "local_hosts_inventory": str(args.state / "local.yml"),
                "local_hosts_state": "present" if wanted else "absent",
                "local_hosts_list": [
                    {"name": host["name"], "address": host["address"], "groups": ["all_hosts"]} for host in wanted
                ],
                "instances": wanted,
            }
            (args.state / "hosts.json").write_text(json.dumps(asked))
            command = [
                Path(sys.executable).with_name("ansible-playbook"),
                *("-i", "localhost,", HERE / "hosts.yml", "-e", f"@{args.state / 'hosts.json'}"),
            ]
            # A connection that it keeps would serve the playbooks under test too, past their check of the host's key.
            environment = os.environ | {"ANSIBLE_SSH_ARGS": "-o ControlMaster=no"}
            done = subprocess.run(command, stdin=subprocess.DEVNULL, env=environment, check=False)
            if done.returncode == 0:
                booted = wanted
        time.sleep(1)


if __name__ == "__main__":
    main()
