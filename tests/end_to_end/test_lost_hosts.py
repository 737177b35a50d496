"""What a run and the pool do when a host, or the room on its disk, is lost."""

from __future__ import annotations

import json
import re
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator

import pytest
from conftest import PROJECT, Cluster
from power import Power
from test_wait import end, read_until

SLOTS = ["condor_status", "-constraint", "PartitionableSlot", "-af", "Machine"]
LOGS = "/var/log/condor"
NEWLINE = "\\n"


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
    # The master's: theirs have a child for a moment now and then.
    daemons = ("sh", "-c", "pgrep -P $(systemctl show -P MainPID condor)")
    before = cluster.on("manager", *daemons)
    poll = f"cat {LOGS}/CollectorLog* | wc -c; condor_status -constraint PartitionableSlot -af Name | wc -l; sleep 6"
    seen = cluster.on("manager", "sh", "-c", "; ".join([poll] * 4)).split()
    sizes = [int(size) for size in seen[::2]]
    assert seen[1::2] == ["2"] * 4, "the collector answers"
    assert sizes == sorted(set(sizes)), "it writes its log"
    assert cluster.on("manager", *daemons) == before, "no daemon ended"


def write(cluster: Cluster, user: str, path: str) -> str:
    """Let a user write 8 MiB on the manager and remove it again; returns what that says."""
    dd = f"sudo -u {user} dd if=/dev/zero of={path} bs=1M count=8 conv=fsync 2>&1; rm -f {path}"
    return cluster.on("manager", "sh", "-c", dd)


# --- hosts that are lost -------------------------------------------------------------------------------------


@pytest.fixture
def power(cluster: Cluster) -> Iterator[Callable[[str], Power]]:
    """Cuts the power of a host; it is back, and the pool whole, after the test."""
    cut: list[Power] = []

    def off(host: str) -> Power:
        cut.append(Power(host))
        cut[-1].cut()
        return cut[-1]

    until("the pool is whole before the test", 120, lambda: machines(cluster) == {"execute1", "execute2"})
    yield off
    for host in cut:
        host.restore()
    until("the pool is whole again", 240, lambda: machines(cluster) == {"execute1", "execute2"})


def test_a_dead_execute_host_stops_no_run(cluster, samples, power):
    # The manager does not know yet: the host's slot is offered to the run's jobs for up to a minute.
    power("execute1")
    began = time.monotonic()
    outcome = cluster.infer(samples, run_id="lost-before", save_images=False)
    print("lost before:", time.monotonic() - began)
    assert outcome.code == 0
    assert outcome.metrics["counts"]["ok"] == 12
    assert {slot["host"].split(".")[0] for slot in outcome.metrics["slots"]} == {"execute2"}
    assert time.monotonic() - began < 180


def test_what_a_host_had_in_work_when_it_died_is_done_elsewhere(cluster, samples, power, tmp_path):
    # So many and so large that the first chunks last for some seconds.
    images = tmp_path / "photos"
    for number in range(6):
        shutil.copytree(samples, images / f"{number:02}")
    run = cluster.start(images, run_id="lost-in-work", save_images=False, imgsz=960)
    output = read_until(run, "running")
    beats = ("sh", "-c", "ls /srv/share/runs/lost-in-work/parallel/progress | wc -l")
    until("both hosts are at work", 60, lambda: int(answers(cluster, "manager", *beats) or 0) >= 2)
    power("execute2")
    began = time.monotonic()
    outcome = end(run, cluster.results / "lost-in-work")
    print("lost in work:", time.monotonic() - began)
    assert outcome.code == 0
    assert "NOTE: execute2 has finished no image for" in output + outcome.output
    assert outcome.metrics["counts"] | {"ok": 72, "failed": 0, "missing": 0} == outcome.metrics["counts"]
    # The backup did it, not HTCondor, which gives the job of a lost host back after two minutes.
    noted = cluster.on("submit", "sh", "-c", "cat /srv/share/runs/lost-in-work/parallel/chunks/*/backups.json")
    (backup,) = json.loads(noted)
    log = cluster.on("submit", "sh", "-c", "cat /var/tmp/yolo-runs/lost-in-work-parallel-*.log")
    assert f"005 ({int(backup):03}.000.000)" in log, "it ended"
    # Nothing twice, nothing lost: each copy of a photo has what the first one has.
    boxes: dict[str, dict[str, list]] = {}
    for item in outcome.predictions:
        copy, _, photo = item["file_name"].partition("/")
        boxes.setdefault(photo, {}).setdefault(copy, []).append(item["bbox"])
    assert boxes
    for photo, copies in boxes.items():
        assert len(copies) == 6, photo
        assert all(sorted(found) == sorted(copies["00"]) for found in copies.values()), photo


def test_another_host_prepares_the_model_when_the_first_one_dies(cluster, samples, power, tmp_path):
    # Weights that are new to the share: to export them takes ten seconds and more.
    weights = shutil.copy(PROJECT / "files/demo/yolov5n-demo.pt", tmp_path / "other.pt")
    with zipfile.ZipFile(weights, "a") as archive:
        archive.comment = b"another content, so another id"
    run = cluster.start(samples, run_id="lost-meanwhile", weights=str(weights), save_images=False)
    output = []
    for line in run.stdout:
        output.append(line)
        if found := re.match(r"preparing the model on (\w+)", line):
            power(found[1])
            break
    began = time.monotonic()
    rest, _ = run.communicate(timeout=400)
    print("".join(output), rest, "lost meanwhile:", time.monotonic() - began)
    assert found, "the job that prepares the model was seen to run"
    assert run.returncode == 0
    assert "12 of 12 images done" in rest
    assert time.monotonic() - began < 240


def test_a_run_waits_for_a_pool_whose_manager_restarted(cluster, samples):
    cluster.on("manager", "systemctl", "stop", "condor")
    try:
        run = cluster.start(samples, run_id="manager-restarted", save_images=False)
        read_until(run, "waiting for the central manager")
    finally:
        cluster.on("manager", "systemctl", "start", "condor")
    began = time.monotonic()
    outcome = end(run, cluster.results / "manager-restarted")
    assert outcome.code == 0
    # Before it hears of both it knows one or none.
    assert "2 execute hosts with 2 processors in the pool" in outcome.output
    assert outcome.metrics["counts"]["ok"] == 12
    until("the pool is whole", max(60 - (time.monotonic() - began), 1), lambda: len(machines(cluster)) == 2)


def test_the_job_that_prepares_the_model_waits_for_a_slot_and_says_so(cluster, samples):
    lines = ["executable=/bin/sleep", "arguments=600", "request_memory=100", "should_transfer_files=NO", "queue 2", ""]
    full = f"printf '{NEWLINE.join(lines)}' | (cd /tmp; condor_submit -terse)"
    others = cluster.on("submit", "sh", "-c", full, user="yolo").split(".")[0]
    run = cluster.start(samples, run_id="busy", save_images=False)
    try:
        said = read_until(run, "busy with other jobs")
    finally:
        cluster.on("submit", "condor_rm", others, user="yolo")
    outcome = end(run, cluster.results / "busy")
    assert outcome.code == 0
    assert "preparing the model: waits for a slot" in said + outcome.output
