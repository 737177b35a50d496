import ipaddress
import json
import os
import subprocess

import local_network
import pytest
from ansible.module_utils.local_hosts import ClusterNames, CommandError, machine_runner
from local_network import KernelSetting, Network, firewall_rules

SUBNET = ipaddress.IPv4Network("10.93.0.0/24")
NAMES = ClusterNames("local")


class Machine:
    """Network namespaces, links, addresses and tables of a machine, as `ip` and `nft` show and change them."""

    def __init__(self) -> None:
        self.spaces: dict[str, dict[str, dict]] = {"": {"eth0": self.link("192.0.2.7/24", up=True)}}
        self.routes = [{"dst": "default", "dev": "eth0"}, {"dst": "192.0.2.0/24", "dev": "eth0"}]
        self.tables: set[str] = set()
        self.processes: list[int] = []
        self.ran: list[str] = []

    @staticmethod
    def link(*addresses: str, up: bool = False) -> dict:
        return {"addresses": list(addresses), "up": up, "master": None}

    def run(self, arguments: list[str]) -> tuple[int, str, str]:
        words = list(arguments)
        space = ""
        if words[:2] == ["ip", "-n"]:
            space = words[2]
            words = ["ip", *words[3:]]
        match words:
            case ["ip", "netns", "list"]:
                return 0, "".join(f"{name} (id: 0)\n" for name in self.spaces if name), ""
            case ["ip", "netns", "pids", _]:
                return 0, "".join(f"{pid}\n" for pid in self.processes), ""
            case ["ip", "-json", "address", "show"]:
                return (0, self.show(space), "") if space in self.spaces else (1, "", "no such namespace")
            case ["ip", "-json", "-4", "route", "show"]:
                return 0, json.dumps(self.routes), ""
            case ["nft", "list", "table", "ip", table]:
                return (0, "", "") if table in self.tables else (1, "", "No such file")
        self.ran.append(" ".join(arguments))
        match words:
            case ["ip", "netns", "add", name]:
                self.spaces[name] = {"lo": self.link()}
            case ["ip", "netns", "delete", name]:
                del self.spaces[name]
                self.spaces[""].pop(NAMES.machine_side, None)
            case ["ip", "link", "add", one, "type", "veth", "peer", "name", other, "netns", name]:
                self.spaces[""][one] = self.link()
                self.spaces[name][other] = self.link()
            case ["ip", "link", "add", "bridge", "type", "bridge"]:
                self.spaces[space]["bridge"] = self.link()
            case ["ip", "link", "set", name, "up"]:
                self.spaces[space][name]["up"] = True
            case ["ip", "link", "set", name, "master", master, "up"]:
                self.spaces[space][name] |= {"up": True, "master": master}
            case ["ip", "link", "delete", name]:
                del self.spaces[space][name]
            case ["ip", "address", "flush", "dev", name]:
                self.spaces[space][name]["addresses"] = []
            case ["ip", "address", "add", address, "dev", name]:
                self.spaces[space][name]["addresses"].append(address)
                self.routes.append({"dst": str(ipaddress.ip_interface(address).network), "dev": name})
            case ["nft", "-f", path]:
                with open(path) as file:
                    self.tables |= {line.split()[2] for line in file if line.startswith("table")}
            case ["nft", "delete", "table", "ip", table]:
                self.tables.remove(table)
            case _:
                return 1, "", f"not understood: {arguments}"
        return 0, "", ""

    def show(self, space: str) -> str:
        shown = []
        for name, link in self.spaces[space].items():
            addresses = [address.split("/") for address in link["addresses"]]
            shown.append(
                {
                    "ifname": name,
                    "flags": ["BROADCAST"] + ["UP"] * link["up"],
                    "addr_info": [{"family": "inet", "local": a, "prefixlen": int(n)} for a, n in addresses]
                    + [{"family": "inet6", "local": "fe80::1", "prefixlen": 64}],
                }
                | ({"master": link["master"]} if link["master"] else {})
            )
        return json.dumps(shown)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    monkeypatch.setattr(local_network, "RUN_DIR", tmp_path / "run")
    settings = (KernelSetting(tmp_path / "ip_forward", 1), KernelSetting(tmp_path / "max_map_count", 1_048_576))
    monkeypatch.setattr(local_network, "KERNEL_SETTINGS", settings)
    (tmp_path / "ip_forward").write_text("0\n")
    (tmp_path / "max_map_count").write_text("65530\n")
    return Machine()


def network(machine: Machine, cluster: str = "local", check_mode: bool = False) -> Network:
    return Network(cluster, machine.run, check_mode)


def present(machine: Machine, **more) -> Network:
    made = network(machine, **more)
    made.present(SUBNET)
    return made


def test_from_nothing_to_a_network(machine, tmp_path):
    assert present(machine).changed
    inner, outer = machine.spaces["yolo-local"], machine.spaces[""]
    assert outer[NAMES.machine_side] == {"addresses": ["10.93.0.1/24"], "up": True, "master": None}
    assert inner[NAMES.cluster_side] == {"addresses": [], "up": True, "master": "bridge"}
    assert inner["bridge"]["up"]
    assert inner["lo"]["up"]
    assert machine.tables == {NAMES.firewall_table}
    assert (tmp_path / "ip_forward").read_text() == "1\n"


def test_a_second_time_nothing_changes(machine):
    present(machine)
    machine.ran.clear()
    assert not present(machine).changed
    assert machine.ran == []


def test_check_mode_changes_nothing_and_says_that_it_would(machine, tmp_path):
    before = json.dumps(machine.spaces)
    assert present(machine, check_mode=True).changed
    assert machine.ran == []
    assert json.dumps(machine.spaces) == before
    assert (tmp_path / "ip_forward").read_text() == "0\n"
    assert not (tmp_path / "run").exists()


def take_down(machine: Machine) -> None:
    machine.spaces[""][NAMES.machine_side]["up"] = False


def another_address(machine: Machine) -> None:
    machine.spaces[""][NAMES.machine_side]["addresses"] = ["10.93.0.1/16", "10.93.0.1/24"]


def no_bridge(machine: Machine) -> None:
    machine.spaces["yolo-local"].pop("bridge")


def unplug(machine: Machine) -> None:
    machine.spaces["yolo-local"][NAMES.cluster_side]["master"] = None


def loopback_down(machine: Machine) -> None:
    machine.spaces["yolo-local"]["lo"]["up"] = False


def no_firewall(machine: Machine) -> None:
    machine.tables.clear()


@pytest.mark.parametrize("spoil", [take_down, another_address, no_bridge, unplug, loopback_down, no_firewall])
def test_what_is_missing_is_mended(machine, spoil):
    present(machine)
    whole = json.dumps(machine.spaces), set(machine.tables)
    spoil(machine)
    assert present(machine).changed
    mended = {name: dict(sorted(links.items())) for name, links in machine.spaces.items()}
    expected = {name: dict(sorted(links.items())) for name, links in json.loads(whole[0]).items()}
    assert (mended, machine.tables) == (expected, whole[1])
    assert not present(machine).changed


def test_rules_that_changed_are_loaded_again(machine):
    present(machine)
    (local_network.RUN_DIR / f"{NAMES.firewall_table}.nft").write_text("older rules")
    machine.ran.clear()
    assert present(machine).changed
    assert machine.ran == [f"nft -f {local_network.RUN_DIR / NAMES.firewall_table}.nft"]


@pytest.mark.parametrize("route", ["10.93.0.0/25", "10.0.0.0/8", "10.93.0.77"])
def test_a_subnet_that_the_machine_uses_already_is_refused(machine, route):
    machine.routes.append({"dst": route, "dev": "tun0"})
    with pytest.raises(
        CommandError, match=rf"10\.93\.0\.0/24 is in use on this machine already: {route} on tun0\. Exp"
    ):
        present(machine)
    assert machine.ran == []


def test_a_subnet_beside_others_is_no_conflict(machine):
    machine.routes += [{"dst": "10.93.1.0/24", "dev": "tun0"}, {"dst": "10.92.0.0/16", "dev": "tun1"}]
    assert present(machine).changed


def test_down_again_nothing_is_left(machine, tmp_path):
    before = json.dumps(machine.spaces)
    present(machine)
    gone = network(machine)
    gone.absent()
    assert gone.changed
    assert (json.dumps(machine.spaces), machine.tables) == (before, set())
    assert (tmp_path / "ip_forward").read_text() == "0\n"
    assert os.listdir(tmp_path / "run") == []
    again = network(machine)
    machine.ran.clear()
    again.absent()
    assert not again.changed
    assert machine.ran == []


def test_a_machine_that_never_had_hosts_needs_no_programs_to_take_them_down(machine):
    class Bare:
        """Stands for an AnsibleModule on a machine without `ip` and `nft`."""

        def get_bin_path(self, _):
            return None

    gone = Network("local", machine_runner(Bare()), check_mode=False)
    gone.absent()
    assert not gone.changed
    with pytest.raises(CommandError, match="ip is not installed"):
        gone.present(SUBNET)


def test_check_mode_leaves_the_network_up(machine, tmp_path):
    present(machine)
    machine.ran.clear()
    checked = network(machine, check_mode=True)
    checked.absent()
    assert checked.changed
    assert machine.ran == []
    assert (tmp_path / "ip_forward").read_text() == "1\n"


def test_the_end_of_a_cable_that_was_left_is_removed(machine):
    present(machine)
    del machine.spaces["yolo-local"]
    network(machine).absent()
    assert NAMES.machine_side not in machine.spaces[""]


def test_forwarding_stays_on_while_another_cluster_needs_it(machine, tmp_path):
    present(machine)
    machine.spaces["yolo-other"] = {}
    network(machine).absent()
    assert (tmp_path / "ip_forward").read_text() == "1\n"
    assert (tmp_path / "max_map_count").read_text() == "1048576\n"
    network(machine, "other").absent()
    assert (tmp_path / "ip_forward").read_text() == "0\n"
    assert (tmp_path / "max_map_count").read_text() == "65530\n"


def test_forwarding_that_was_on_before_stays_on(machine, tmp_path):
    (tmp_path / "ip_forward").write_text("1\n")
    (tmp_path / "max_map_count").write_text("2000000\n")
    present(machine)
    assert (tmp_path / "max_map_count").read_text() == "2000000\n"
    network(machine).absent()
    assert (tmp_path / "ip_forward").read_text() == "1\n"
    assert (tmp_path / "max_map_count").read_text() == "2000000\n"


def test_processes_in_the_namespace_are_ended_first(machine):
    present(machine)
    with subprocess.Popen(["sleep", "60"]) as process:
        run = machine.run

        def see(arguments):
            machine.processes = [process.pid] if process.poll() is None else []
            return run(arguments)

        machine.run = see
        network(machine).absent()
        assert process.wait(timeout=5) == -9
    assert "yolo-local" not in machine.spaces


def test_processes_that_do_not_end_are_named(machine):
    present(machine)
    with subprocess.Popen(["true"]) as process:
        process.wait()
        machine.processes = [process.pid]  # gone, but still listed
        stuck = network(machine)
        with pytest.raises(CommandError, match=rf"processes \[{process.pid}\] in namespace yolo-local did not end"):
            stuck._end_processes(patience_seconds=0.2)


def test_the_rules_let_out_what_is_the_clusters_and_nothing_in():
    rules = firewall_rules(NAMES, SUBNET)
    # Replaced in one transaction: made if missing, then deleted, then made anew.
    table = f"table ip {NAMES.firewall_table}"
    assert rules.splitlines()[:3] == [table, f"delete {table}", f"{table} {{"]
    assert f'ip saddr 10.93.0.0/24 oifname != "{NAMES.machine_side}" masquerade' in rules
    accept = rules.index(f'oifname "{NAMES.machine_side}" ct state established,related accept')
    assert accept < rules.index(f'oifname "{NAMES.machine_side}" drop')
    assert rules.count("{") == rules.count("}")
