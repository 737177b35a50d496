#!/usr/bin/python
"""Ansible module: the network of one local cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
module: local_network
short_description: The network of one local cluster
description:
  - Makes a network namespace with a bridge, a cable from it to the machine, and an nftables table that lets
    the hosts reach the outside through the machine and keeps new connections from elsewhere out.
  - Raises what the hosts need of the machine's kernel, and sets it back when the last cluster goes.
  - With O(state=absent) ends every process in the namespace and removes all of it, however much is there.
options:
  cluster: {description: Name of the cluster., type: str, required: true}
  subnet: {description: "The cluster's IPv4 subnet. Its first address is the machine's.", type: str}
  state: {description: Whether the network is there., type: str, choices: [present, absent], default: present}
"""
EXAMPLES = r"""
- name: The network of the cluster "local"
  local_network:
    cluster: local
    subnet: 10.93.0.0/24
"""
RETURN = r"""
namespace: {description: Name of the network namespace., type: str, returned: always}
"""

import contextlib
import ipaddress
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.local_hosts import (
    RUN_DIR,
    ClusterNames,
    CommandError,
    Runner,
    existing_namespaces,
    machine_runner,
    run_checked,
)


@dataclass(frozen=True)
class KernelSetting:
    """A number of the machine's kernel that local hosts need to be high enough.

    Attributes:
        path: Its file below /proc/sys.
        least: What the hosts need.
    """

    path: Path
    least: int

    @property
    def kept(self) -> Path:
        """Holds the number as it was, so that the last cluster to go sets it back."""
        return RUN_DIR / f"{self.path.name}-was"


KERNEL_SETTINGS = (
    KernelSetting(Path("/proc/sys/net/ipv4/ip_forward"), 1),
    # Each page of a guest's process may be a mapping of its own here; with the usual 65530 a process of some hundred
    # megabytes dies of a segmentation fault. The number is what Fedora and Ubuntu ship.
    KernelSetting(Path("/proc/sys/vm/max_map_count"), 1_048_576),
)


def firewall_rules(names: ClusterNames, subnet: ipaddress.IPv4Network) -> str:
    """The cluster's nftables table as `nft -f` reads it; replaces an older one in a single transaction."""
    return f"""\
table ip {names.firewall_table}
delete table ip {names.firewall_table}
table ip {names.firewall_table} {{
    chain outgoing {{
        type nat hook postrouting priority srcnat;
        ip saddr {subnet} oifname != "{names.machine_side}" masquerade
    }}
    chain forward {{
        type filter hook forward priority filter;
        # The machine's uplink may carry smaller packets than the cluster's network.
        iifname "{names.machine_side}" tcp flags syn tcp option maxseg size set rt mtu
        oifname "{names.machine_side}" ct state established,related accept
        oifname "{names.machine_side}" drop
    }}
}}
"""


class Network:
    """One cluster's network on this machine."""

    def __init__(self, cluster: str, run: Runner, check_mode: bool) -> None:
        self.names = ClusterNames(cluster)
        self.run = run
        self.check_mode = check_mode
        self.changed = False

    def _do(self, *arguments: str) -> None:
        self.changed = True
        if not self.check_mode:
            run_checked(self.run, *arguments)

    def _links(self, namespace: str | None = None) -> dict[str, dict]:
        prefix = ["ip", "-n", namespace] if namespace else ["ip"]
        code, out, _ = self.run([*prefix, "-json", "address", "show"])
        return {link["ifname"]: link for link in json.loads(out or "[]")} if code == 0 else {}

    def _refuse_foreign_route(self, subnet: ipaddress.IPv4Network) -> None:
        routes = json.loads(run_checked(self.run, "ip", "-json", "-4", "route", "show") or "[]")
        for route in routes:
            if route["dst"] == "default" or route.get("dev") == self.names.machine_side:
                continue
            if subnet.overlaps(ipaddress.ip_network(route["dst"], strict=False)):
                raise CommandError(
                    f"subnet {subnet} is in use on this machine already: {route['dst']} on {route.get('dev')}. "
                    "Expected a free one: set local_hosts_subnet to another private /24, such as 10.94.0.0/24"
                )

    def present(self, subnet: ipaddress.IPv4Network) -> None:
        """Make whatever is missing."""
        names = self.names
        self._refuse_foreign_route(subnet)
        if names.namespace not in existing_namespaces(self.run):
            self._do("ip", "netns", "add", names.namespace)
        links = self._links()
        gateway = f"{next(subnet.hosts())}/{subnet.prefixlen}"
        if names.machine_side not in links:
            self._do(
                "ip", "link", "add", names.machine_side, "type", "veth",
                "peer", "name", names.cluster_side, "netns", names.namespace,
            )  # fmt: skip
        addresses = {
            f"{a['local']}/{a['prefixlen']}"
            for a in links.get(names.machine_side, {}).get("addr_info", [])
            if a["family"] == "inet"
        }
        if addresses != {gateway}:
            self._do("ip", "address", "flush", "dev", names.machine_side)
            self._do("ip", "address", "add", gateway, "dev", names.machine_side)
        if "UP" not in links.get(names.machine_side, {}).get("flags", []):
            self._do("ip", "link", "set", names.machine_side, "up")

        inner = self._links(names.namespace)
        in_namespace = ("ip", "-n", names.namespace)
        if "bridge" not in inner:
            self._do(*in_namespace, "link", "add", "bridge", "type", "bridge")
        for link in ("lo", "bridge"):
            if "UP" not in inner.get(link, {}).get("flags", []):
                self._do(*in_namespace, "link", "set", link, "up")
        cable = inner.get(names.cluster_side, {})
        if cable.get("master") != "bridge" or "UP" not in cable.get("flags", []):
            self._do(*in_namespace, "link", "set", names.cluster_side, "master", "bridge", "up")

        self._firewall(subnet)
        for setting in KERNEL_SETTINGS:
            self._raise(setting)

    def _firewall(self, subnet: ipaddress.IPv4Network) -> None:
        wanted = firewall_rules(self.names, subnet)
        kept = RUN_DIR / f"{self.names.firewall_table}.nft"
        live, _, _ = self.run(["nft", "list", "table", "ip", self.names.firewall_table])
        if live == 0 and kept.exists() and kept.read_text() == wanted:
            return
        self.changed = True
        if not self.check_mode:
            RUN_DIR.mkdir(parents=True, exist_ok=True)
            kept.write_text(wanted)
            run_checked(self.run, "nft", "-f", str(kept))

    def _raise(self, setting: KernelSetting) -> None:
        before = setting.path.read_text()
        if int(before) >= setting.least:
            return
        self.changed = True
        if not self.check_mode:
            RUN_DIR.mkdir(parents=True, exist_ok=True)
            setting.kept.write_text(before)
            setting.path.write_text(f"{setting.least}\n")

    def absent(self) -> None:
        """Remove whatever is there, processes first."""
        names = self.names
        if names.namespace in existing_namespaces(self.run):
            self._end_processes()
            self._do("ip", "netns", "delete", names.namespace)
        # Gone with its namespace, unless an earlier attempt was killed between the two.
        if names.machine_side in self._links() and not self.check_mode:
            self.run(["ip", "link", "delete", names.machine_side])
        if self.run(["nft", "list", "table", "ip", names.firewall_table])[0] == 0:
            self._do("nft", "delete", "table", "ip", names.firewall_table)
        if self.check_mode:
            return
        (RUN_DIR / f"{names.firewall_table}.nft").unlink(missing_ok=True)
        if existing_namespaces(self.run):
            return
        for setting in KERNEL_SETTINGS:
            if setting.kept.exists():
                setting.path.write_text(setting.kept.read_text())
                setting.kept.unlink()

    def _processes(self) -> list[int]:
        return [int(pid) for pid in run_checked(self.run, "ip", "netns", "pids", self.names.namespace).split()]

    def _end_processes(self, patience_seconds: float = 20.0) -> None:
        """End every process of the namespace; its hosts are about to be thrown away, so no shutdown is waited for."""
        deadline = time.monotonic() + patience_seconds
        while pids := self._processes():
            self.changed = True
            if self.check_mode:
                return
            if time.monotonic() > deadline:
                raise CommandError(f"processes {pids} in namespace {self.names.namespace} did not end on SIGKILL")
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)


def main() -> None:
    """Ansible's entry point."""
    module = AnsibleModule(
        argument_spec={
            "cluster": {"type": "str", "required": True},
            "subnet": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ["subnet"])],
        supports_check_mode=True,
    )
    network = Network(module.params["cluster"], machine_runner(module), module.check_mode)
    try:
        if module.params["state"] == "present":
            network.present(ipaddress.IPv4Network(module.params["subnet"]))
        else:
            network.absent()
    except (CommandError, ValueError, OSError) as error:
        module.fail_json(msg=f"Failed to make the network of cluster {module.params['cluster']!r} "
                             f"{module.params['state']}: {error}")  # fmt: skip
    module.exit_json(changed=network.changed, namespace=network.names.namespace)


if __name__ == "__main__":
    main()
