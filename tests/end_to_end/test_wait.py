"""The wait of run_inference.yml: what it says while jobs do not move, what ends it, what it outlasts."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import Cluster, Outcome
from power import Power
from test_inference_run import JOBS, photos, wait_for_jobs


def read_until(run: subprocess.Popen[str], pattern: str) -> str:
    """Return what a run prints up to the line that a pattern is found in; fails when the run ends without one."""
    said = ""
    for line in run.stdout:
        said += line
        if re.search(pattern, line):
            print(said)
            return said
    raise AssertionError(f"the run ended without {pattern!r}:\n{said}")


def end(run: subprocess.Popen[str], results: Path) -> Outcome:
    """Wait for a run and return what it came to, with what it has not printed yet."""
    output, _ = run.communicate(timeout=300)
    print(output)
    return Outcome(run.returncode, output, results)


def left(cluster: Cluster, run_id: str) -> str:
    """Jobs of a run that are in the queue."""
    return cluster.on("submit[0]", "condor_q", "-allusers", "-constraint", JOBS.format(run_id), "-af", "ProcId")


@contextmanager
def busy_pool(cluster: Cluster) -> Iterator[None]:
    """Keep each slot of the pool busy with another job."""
    slots = cluster.on("submit[0]", "condor_status", "-constraint", "PartitionableSlot", "-af", "Machine").split()
    job = (
        "executable=/usr/bin/sleep\\narguments=600\\ntransfer_executable=false\\nshould_transfer_files=NO\\n"
        "initialdir=/tmp\\nrequest_memory=100M\\nrequest_disk=1M\\n"
        f"queue {len(slots)}\\n"
    )
    write = ["sh", "-c", f"printf '{job}' > /tmp/busy.sub && condor_submit -terse /tmp/busy.sub"]
    number = cluster.on("submit[0]", *write, user="yolo").splitlines()[-1].split(".")[0]
    try:
        deadline = time.monotonic() + 60
        status = ("condor_q", number, "-af", "JobStatus")
        while cluster.on("submit[0]", *status, user="yolo").split() != ["2"] * len(slots):
            assert time.monotonic() < deadline, "the other jobs do not start"
        yield
    finally:
        # The submit host may have booted just now.
        remove = f"for try in $(seq 30); do condor_rm {number} && exit; sleep 2; done; exit 1"
        cluster.on("submit[0]", "sh", "-c", remove, user="yolo")


def prepare(cluster: Cluster, samples: Path, run_id: str) -> None:
    """Have the model of a run prepared, which is a job too and would wait with the others."""
    assert cluster.infer(photos(samples)[0], run_id=run_id).code == 0


def test_jobs_that_end_badly_do_not_stop_the_others(cluster, samples):
    def jobs(command: str, proc: int, *options: str) -> None:
        cluster.on("submit[0]", command, *options, "-constraint", f"{JOBS.format('bad-jobs')} && ProcId == {proc}")

    prepare(cluster, samples, "bad-jobs")
    with busy_pool(cluster):
        run = cluster.start(samples, run_id="bad-jobs", chunk_size=1)
        # Said while it waits, not when it has ended.
        read_until(run, "busy with other jobs")
        constraint = f"{JOBS.format('bad-jobs')} && ProcId == 8"
        cluster.on("submit[0]", "condor_qedit", "-constraint", constraint, "Arguments", '"-m yolo.nothing"')
        jobs("condor_hold", 9, "-reason", "test of the tests")
        jobs("condor_hold", 10, "-reason", "test of the tests")
        jobs("condor_rm", 11)
        said = read_until(run, "is held: someone held it")
        assert "test of the tests" in said
        assert "condor_release" in said
    jobs("condor_release", 10)
    first = end(run, cluster.results / "bad-jobs")
    assert first.code != 0
    assert left(cluster, "bad-jobs") == ""
    names = [row["path"] for row in first.images]
    reasons = {
        names[8]: "its job ended with exit code 1",
        names[9]: "its job was held: someone held it with condor_hold. HTCondor says: test of the tests",
        names[11]: "its job was removed: someone did it with condor_rm",
    }
    assert first.metrics["counts"] | {"ok": 9, "failed": 3, "missing": 0} == first.metrics["counts"]
    failures = {item["path"]: item["reason"] for item in first.metrics["failures"]}
    assert failures.keys() == reasons.keys()
    for name, reason in reasons.items():
        assert failures[name].startswith(reason)
        assert f"failed: {name}: {reason}" in first.output
    assert {row["path"]: row["error"] for row in first.images if row["status"] == "failed"} == failures
    assert (first.results / "images" / names[10]).exists(), "a job that was released goes on"
    # What the playbook ends with, after the results.
    last = first.output.partition("Run bad-jobs: ")[2]
    assert "3 of 12 images have no result: job" in last
    assert "Remedy: " in last
    assert "same run_id" in last
    assert "condor_release" not in last, "nobody can release a job that is gone"
    second = cluster.infer(samples, run_id="bad-jobs")
    assert second.code == 0
    assert second.metrics["counts"]["ok"] == 12
    assert second.metrics["counts"]["processed"] == 3
    assert second.metrics["counts"]["resumed"] == 9, "what was done is kept"


def test_jobs_that_no_host_can_take_end_within_a_minute(cluster, samples):
    run = cluster.start(samples, run_id="too-large", cpus=2)
    # The job that prepares the model asks for as much, so it is the one that waits in vain.
    said = read_until(run, "waits for a slot")
    began = time.monotonic()
    output = said + end(run, cluster.results / "too-large").output
    assert run.returncode != 0
    assert time.monotonic() - began < 60
    assert "each job asks for 2 CPUs, the largest slot has 1" in output
    assert "lower cpus to 1 or less" in output
    assert left(cluster, "too-large") == ""
    assert cluster.on("submit[0]", "condor_q", "-allusers", "-af", "ProcId") == ""


def test_the_submit_host_may_boot_and_lose_its_power_meanwhile(cluster, samples):
    power = Power("submit1")
    prepare(cluster, samples, "reboot")
    with busy_pool(cluster):
        run = cluster.start(samples, run_id="reboot", chunk_size=1)
        read_until(run, "busy with other jobs")
        soon = ["--on-active=8", "--timer-property=AccuracySec=100ms"]
        cluster.on("submit[0]", "systemd-run", *soon, "systemctl", "reboot")
        said = read_until(run, "submit1 answers again")
        assert said.count("NOTE: submit1 ") == 2
    try:
        wait_for_jobs(cluster, "reboot", "JobStatus == 2")
        power.cut()
        time.sleep(3)
    finally:
        power.restore()
    outcome = end(run, cluster.results / "reboot")
    assert outcome.code == 0
    assert outcome.output.count("NOTE: submit1 does not answer") == 1
    assert outcome.output.count("NOTE: submit1 answers again") == 1
    assert outcome.metrics["counts"]["ok"] == 12


FILL = """
until [ "$(ls /srv/share/runs/filled/parallel/records 2>&- | wc -l)" -ge 2 ]; do sleep 0.2; done
free=$(df --output=avail -B1 /srv/share | tail -n 1)
fallocate -l $((free - 50000)) /srv/share/filler
"""


def test_a_share_that_fills_up_is_said_while_it_does(cluster, samples):
    run = cluster.start(samples, run_id="filled", chunk_size=1)
    try:
        read_until(run, "running")
        cluster.on("manager", "sh", "-c", FILL)
        began = time.monotonic()
        said = read_until(run, "the share is full: /srv/share has")
        assert time.monotonic() - began < 15
        assert "left need about" in said
        assert "MiB there (old runs in /srv/share/runs" in said
    finally:
        cluster.on("manager", "rm", "-f", "/srv/share/filler")
    output = end(run, cluster.results / "filled").output
    # Jobs may have died of it, or HTCondor on the manager, which starts again by itself.
    said = ("stopped: the share is full: /srv/share has", "it could not write to the share, which was full or gone")
    assert run.returncode == 0 or any(text in output for text in said)
    assert "Traceback" not in output
    again = cluster.infer(samples, run_id="filled")
    assert again.code == 0
    assert again.metrics["counts"]["ok"] == 12
