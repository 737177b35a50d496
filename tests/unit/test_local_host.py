import io
import os
import subprocess
import tarfile
import time
from pathlib import Path

import local_host
import pytest
from ansible.module_utils.local_hosts import CommandError
from local_host import Host, kernel_arguments, seed_archive

# --- what a host is told at its first boot ---------------------------------------------------------------


def members(archive: bytes) -> dict[str, tuple[str, int, int, int]]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {m.name: (tar.extractfile(m).read().decode(), m.mode, m.uid, m.gid) for m in tar.getmembers()}


def test_files_arrive_with_their_contents_owners_and_modes():
    archive = seed_archive(
        {
            "etc/hosts": {"content": "127.0.0.1 localhost\n"},
            "etc/ssh/ssh_host_ed25519_key": {"content": "secret\n", "mode": "0600"},
            "home/admin/.ssh/authorized_keys": {"content": "Schlüssel\n", "mode": "0644", "uid": 1000},
            "empty": {"content": ""},
        }
    )
    assert members(archive) == {
        "empty": ("", 0o644, 0, 0),
        "etc/hosts": ("127.0.0.1 localhost\n", 0o644, 0, 0),
        "etc/ssh/ssh_host_ed25519_key": ("secret\n", 0o600, 0, 0),
        "home/admin/.ssh/authorized_keys": ("Schlüssel\n", 0o644, 1000, 1000),
    }


def test_long_and_foreign_names_arrive():
    name = "etc/" + "ordner-" * 30 + "ü"
    assert list(members(seed_archive({name: {"content": "x"}}))) == [name]


def test_the_same_files_make_the_same_archive():
    one = {"b": {"content": "1"}, "a": {"content": "2"}}
    other = {"a": {"content": "2"}, "b": {"content": "1"}}
    assert seed_archive(one) == seed_archive(other)


def test_the_archive_is_a_disk_of_whole_sectors():
    # The kernel refuses a block device that ends inside a sector.
    assert len(seed_archive({"a": {"content": "x" * 700}})) % 512 == 0


def test_the_kernel_gets_the_hosts_own_disk_network_and_name():
    arguments = kernel_arguments("local-execute1", "execute1", "tap-execute1", "2G")
    assert arguments[0] == "mem=2G"
    assert "ubd0=/host/disk.cow,/image/base.img" in arguments
    assert "vec0:transport=tap,ifname=tap-execute1,depth=128,gro=1" in arguments
    assert "systemd.hostname=execute1" in arguments
    # By this its processes are found.
    assert arguments.count("umid=local-execute1") == 1
    # The seed is read-only.
    assert "ubd1r=/host/seed.tar" in arguments
    assert "noreboot" in arguments


def test_a_disk_over_another_image_is_left_alone_with_what_to_do(tmp_path):
    (tmp_path / "disk.cow").write_text("blocks")
    (tmp_path / "image").write_text("/cache/image-old")
    with pytest.raises(CommandError, match=r"made over /cache/image-old, .* is now /cache/image-new: .*make down"):
        Host("local", "one", tmp_path, Machine().run).boot(Path("/cache/image-new"), "1G", {})
    assert (tmp_path / "disk.cow").read_text() == "blocks"
    assert (tmp_path / "image").read_text() == "/cache/image-old"


# --- its processes ---------------------------------------------------------------------------------------------


class Machine:
    """Answers `ip netns` for processes that really run."""

    def __init__(self, *processes: subprocess.Popen) -> None:
        self.processes = processes
        self.up = True
        self.ran: list[str] = []

    def run(self, arguments: list[str]) -> tuple[int, str, str]:
        match arguments:
            case ["ip", "netns", "list"]:
                return 0, "yolo-local (id: 1)\n" if self.up else "", ""
            case ["ip", "netns", "pids", "yolo-local"]:
                # Others live there too, for instance these tests.
                pids = [os.getpid(), *(p.pid for p in self.processes if p.poll() is None), 999_999_999]
                return 0, "".join(f"{pid}\n" for pid in pids), ""
        self.ran.append(" ".join(arguments))
        return 0, "", ""


@pytest.fixture
def start():
    """Start a process that looks like the kernel of a host."""
    started = []

    def begin(umid: str) -> subprocess.Popen:
        # The shell keeps the words after the first as its own arguments.
        words = ["/bin/sh", "-c", "read x", "linux.uml", "mem=1G", f"umid={umid}", "noreboot"]
        process = subprocess.Popen(words, stdin=subprocess.PIPE)
        started.append(process)
        # For a moment after its start a process has no command line yet.
        while not Path(f"/proc/{process.pid}/cmdline").read_bytes():
            time.sleep(0.001)
        return process

    yield begin
    for process in started:
        process.kill()
        process.stdin.close()
        process.wait()


def host(machine: Machine, tmp_path: Path, name: str = "execute1") -> Host:
    return Host("local", name, tmp_path / name, machine.run)


def test_a_hosts_processes_are_found_by_their_whole_mark(tmp_path, start):
    one, helper, longer = start("local-execute1"), start("local-execute1"), start("local-execute10")
    machine = Machine(one, helper, longer)
    assert host(machine, tmp_path).processes() == sorted([one.pid, helper.pid])
    assert host(machine, tmp_path, "execute10").processes() == [longer.pid]
    assert host(machine, tmp_path, "execute2").processes() == []


def test_without_the_clusters_network_there_is_no_host(tmp_path, start):
    machine = Machine(start("local-execute1"))
    machine.up = False
    assert host(machine, tmp_path).processes() == []


def test_removing_a_host_ends_its_processes_and_no_others(tmp_path, start):
    one, other = start("local-execute1"), start("local-execute2")
    machine = Machine(one, other)
    gone = host(machine, tmp_path)
    gone.directory.mkdir()
    (gone.directory / "disk.cow").touch()
    gone.remove()
    assert one.wait(timeout=5) == -9
    assert other.poll() is None
    assert machine.ran == ["ip -n yolo-local link delete tap-execute1"]
    assert not gone.directory.exists()
    gone.remove()  # a second time there is nothing to do


def test_a_process_that_does_not_end_is_named(tmp_path, start, monkeypatch):
    one = start("local-execute1")
    monkeypatch.setattr(local_host.os, "kill", lambda *_: None)
    with pytest.raises(CommandError, match=rf"processes \[{one.pid}\] did not end on SIGKILL"):
        host(Machine(one), tmp_path).remove(patience_seconds=0.2)
    monkeypatch.undo()


def test_a_tap_has_a_name_that_the_kernel_takes():
    # Names of hosts have at most eleven characters.
    for name in ("a", "abcdefghijk"):
        assert Host("c", name, Path(), lambda _: (0, "", "")).tap == f"tap-{name}"
        assert len(f"tap-{name}") <= 15


# --- booting ---------------------------------------------------------------------------------------------------


def test_a_host_that_stops_at_once_says_what_its_console_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    (tmp_path / "bin").mkdir()
    ip = tmp_path / "bin" / "ip"
    ip.write_text('#!/bin/sh\necho "started: $1 $2 $3"\necho "Kernel panic: no root" >&2\nexit 3\n')
    ip.chmod(0o755)
    made = host(Machine(), tmp_path)
    with pytest.raises(
        CommandError, match=r"stopped at once \(exit 3\); its console says: started: netns exec yolo-lo"
    ):
        made.boot(tmp_path / "image", "1G", {"etc/x": {"content": "y"}})
    assert "Kernel panic" in (made.directory / "console.log").read_text()
    assert members((made.directory / "seed.tar").read_bytes()) == {"etc/x": ("y", 0o644, 0, 0)}
    # The seed has the host's key.
    assert (made.directory / "seed.tar").stat().st_mode & 0o777 == 0o600
    assert made.directory.stat().st_mode & 0o777 == 0o700
