"""What a run and the pool do when a host, or the room on its disk, is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from conftest import Cluster
from power import Power

SLOTS = ["condor_status", "-constraint", "PartitionableSlot", "-af", "Machine"]
LOGS = "/var/log/condor"


def until(what: str, seconds: float, found: Callable[[], bool]) -> float:
    """Wait until something is found; return after how many seconds."""
    began = time.monotonic()
    while not found():
        assert time.monotonic() - began < seconds, f"{what}: not in {seconds} s"
        time.sleep(1)
    return time.monotonic() - began


def answers(cluster: Cluster, host: str, *argv: str) -> str:
    """What a command on a host prints; empty while it fails."""
    try:
        return cluster.on(host, *argv)
    except AssertionError:
        return ""


def machines(cluster: Cluster) -> set[str]:
    """Short names of the execute hosts that the manager knows, asked for on the manager."""
    return {name.split(".")[0] for name in answers(cluster, "manager", *SLOTS).split()}


# --- the manager's disk --------------------------------------------------------------------------------------


@pytest.fixture
def full_share(cluster: Cluster) -> Iterator[str]:
    """The share, filled by the job user until there is no space left; yields what the last write over NFS said."""
    fillers = ["/srv/share/filler", "/srv/share/filler-nfs"]
    try:
        free = int(cluster.on("manager", "df", "--output=avail", "-B1", "/srv/share").split()[-1])
        cluster.on("manager", "fallocate", "-l", str(free - 30_000_000), fillers[0])
        write = f"dd if=/dev/zero of={fillers[1]} bs=1M 2>&1; true"
        yield cluster.on("submit", "sh", "-c", write, user="yolo")
    finally:
        cluster.on("manager", "rm", "-f", *fillers)


def test_htcondor_writes_its_logs_while_the_share_is_full(cluster, full_share):
    assert "No space left on device" in full_share
    # Nor does the job user get at what is kept back when it writes on the manager itself, as rsync does; HTCondor does.
    assert "No space left on device" in write(cluster, "yolo", "/srv/share/filler-on-manager")
    assert "No space left on device" not in write(cluster, "condor", f"{LOGS}/filler")
    daemons = cluster.on("manager", "pgrep", "condor_")
    look = f"cat {LOGS}/CollectorLog* | wc -c; condor_status -constraint PartitionableSlot -af Name | wc -l; sleep 15"
    seen = cluster.on("manager", "sh", "-c", "; ".join([look] * 4)).split()
    sizes = [int(size) for size in seen[::2]]
    assert seen[1::2] == ["2"] * 4, "the collector answers"
    assert sizes == sorted(set(sizes)), "it writes its log"
    assert cluster.on("manager", "pgrep", "condor_") == daemons, "no daemon ended"


def write(cluster: Cluster, user: str, path: str) -> str:
    """Let a user write 8 MiB on the manager and remove it again; returns what that says."""
    dd = f"sudo -u {user} dd if=/dev/zero of={path} bs=1M count=8 conv=fsync 2>&1; rm -f {path}"
    return cluster.on("manager", "sh", "-c", dd)
