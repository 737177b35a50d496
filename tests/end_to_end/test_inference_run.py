"""run_inference.yml as a user calls it: any names, bad files, repetition, what stops it and what it continues."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import tarfile
import time
import zipfile
from pathlib import Path

from conftest import Cluster, changes, files
from hard_cases import BROKEN, GOOD, SKIPPED, make_folder

JOBS = 'YoloRunId == "{}"'


def photos(folder):
    return sorted(folder.rglob("*.jpg"))


def processes(run_id: str) -> set[str]:
    """Processes of this machine that were started for a run, by their folders in /proc."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if f'"run_id": "{run_id}"'.encode() in path.read_bytes():
                found.add(str(path.parent))
    return found


def wait_for_jobs(cluster: Cluster, run_id: str, condition: str, seconds: float = 90) -> None:
    """Wait until a job of the run is in the queue and fulfils a condition."""
    deadline = time.monotonic() + seconds
    constraint = f"{JOBS.format(run_id)} && {condition}"
    # The schedd may be about to start.
    query = f"condor_q -allusers -constraint {shlex.quote(constraint)} -af ProcId || true"
    while not cluster.on("submit[0]", "sh", "-c", query):
        assert time.monotonic() < deadline, f"no job of {run_id} with {condition} in {seconds} s"


def test_any_names_and_bad_files_then_again(cluster, samples, tmp_path):
    folder = make_folder(photos(samples), tmp_path / "hard")
    first = cluster.infer(folder, run_id="hard")
    assert first.code == 0
    assert files(first.results / "images") == set(GOOD)
    assert files(first.results / "labels") == {os.path.splitext(name)[0] + ".txt" for name in GOOD}
    assert {item["file_name"] for item in first.predictions} <= set(GOOD)
    assert len(first.predictions) == first.metrics["counts"]["detections"] > 0
    # Each bad file is named, with its reason, in the metrics and on the terminal.
    failures = {item["path"]: item for item in first.metrics["failures"]}
    assert failures.keys() == BROKEN.keys() | SKIPPED.keys()
    for name, reason in (BROKEN | SKIPPED).items():
        assert reason in failures[name]["reason"]
        assert f"{name}: {failures[name]['reason']}" in first.output
    with zipfile.ZipFile(first.results / "results.zip") as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == files(first.results) - {"results.zip", ".contents.jsonl"}

    # One is repaired: the same run does that one and what failed, and nothing else.
    shutil.copy(photos(samples)[6], folder / "noise.jpg")
    second = cluster.infer(folder, run_id="hard")
    assert second.code == 0
    assert files(second.results / "images") == {*GOOD, "noise.jpg"}
    assert second.metrics["counts"]["processed"] == len(BROKEN) + 1
    assert second.metrics["counts"]["resumed"] == len(GOOD)
    assert {item["path"] for item in second.metrics["failures"]} == failures.keys() - {"noise.jpg"}

    # The same folder on the share, with a file that jobs may not read: nothing is sent, and the results are the same.
    private = "ÿ private.jpg"
    shutil.copy(photos(samples)[0], folder / private)
    (folder / private).chmod(0o600)
    with tarfile.open(tmp_path / "hard.tar", "w") as archive:
        archive.add(folder, "hard")
    cluster.send("manager", tmp_path / "hard.tar", "/var/tmp/hard.tar")
    cluster.on("manager", "mkdir", "/srv/share/photos")
    cluster.on("manager", "tar", "-x", "--same-permissions", "-C", "/srv/share/photos", "-f", "/var/tmp/hard.tar")
    looks = (
        "sh",
        "-c",
        "ls /srv/share/inputs; find /srv/share/photos -printf '%p %m %u %s %i %T@ %C@\\0' | sort -z | sha256sum",
    )
    before = cluster.on("manager", *looks)
    on_share = cluster.infer("share:photos/hard", run_id="on-share")
    assert on_share.code == 0
    assert f"the user that jobs run as, can't read {private}; to include them, `chmod" in on_share.output
    for name in ("images", "labels"):
        assert files(on_share.results / name) == files(second.results / name)
    for name in files(second.results / "labels"):
        assert (on_share.results / "labels" / name).read_bytes() == (second.results / "labels" / name).read_bytes()
    assert on_share.predictions == second.predictions
    failed = {item["path"]: item["reason"] for item in on_share.metrics["failures"]}
    assert failed.pop(private) == "can't be read: Permission denied"
    assert failed == {item["path"]: item["reason"] for item in second.metrics["failures"]}
    again = cluster.infer("share:/srv/share/photos/hard", "--check", run_id="on-share")
    assert again.code == 0
    # The submit host would try the failed image again.
    assert changes(again.output) == {"localhost": 0, "manager1": 0, "submit1": 1}
    assert cluster.on("manager", *looks) == before, "neither sent nor touched"
    cluster.on("manager", "rm", "-r", "/srv/share/photos", "/var/tmp/hard.tar")


def test_a_check_says_what_is_to_do_and_does_nothing(cluster, samples):
    new = cluster.infer(samples, "--check", run_id="check")
    assert new.code == 0
    assert "would send what is missing, then detect on 12 images" in new.output
    assert changes(new.output)["manager1"] > 0
    assert not new.results.exists()
    assert "check" not in cluster.on("manager", "ls", "/srv/share/runs").split()


# Each wrong input by itself: tests/unit/test_cli.py and test_request_*.py.
def test_wrong_inputs_are_named_together_before_any_change(cluster, samples):
    inputs = {"conf": "1.5", "mode": "fast", "imgsz": "333", "run_id": "../up"}
    outcome = cluster.infer(samples, **inputs)
    assert outcome.code != 0
    for said in ("conf is '1.5'; expected a number", "mode is 'fast'; expected", "imgsz is '333'", "run_id is '../up'"):
        assert said in outcome.output
    assert "Traceback" not in outcome.output
    assert changes(outcome.output) == {"localhost": 0}


def test_weights_that_are_none_are_named(cluster, samples, tmp_path):
    weights = tmp_path / "broken.pt"
    weights.write_bytes(b"PK\x03\x04 not really")
    outcome = cluster.infer(samples, run_id="broken-weights", weights=str(weights))
    assert outcome.code != 0
    assert "broken.pt" in outcome.output
    assert "the checkpoint is damaged" in outcome.output
    assert "Traceback" not in outcome.output
    # Before anything is sent.
    assert changes(outcome.output) == {"localhost": 0}


def test_a_killed_playbook_is_continued(cluster, samples):
    before = processes("killed")
    run = cluster.start(samples, run_id="killed", chunk_size=1, conf=0.4)
    wait_for_jobs(cluster, "killed", "JobStatus == 2")
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    deadline = time.monotonic() + 15
    while not processes("killed") <= before:
        assert time.monotonic() < deadline, "none of its workers stays"
        time.sleep(0.2)
    again = cluster.infer(samples, run_id="killed", conf=0.4)
    assert again.code == 0
    assert again.metrics["counts"]["ok"] == 12
    clusters = cluster.on(
        "submit[0]", "condor_history", "-constraint", JOBS.format("killed"), "-af", "ClusterId"
    ).split()
    assert len(clusters) == 12, "each image was done once, by the jobs of the first call"


def test_a_full_share_is_one_clear_error_and_nothing_is_lost(cluster, samples):
    filler = "/srv/share/filler"
    free = int(cluster.on("manager", "df", "--output=avail", "-B1", "/srv/share").split()[-1])
    try:
        cluster.on("manager", "fallocate", "-l", str(free - 100_000_000), filler)
        full = cluster.infer(samples, run_id="full")
    finally:
        cluster.on("manager", "rm", "-f", filler)
    assert full.code != 0
    assert "No space left" in full.output
    assert "MiB free; it needs about" in full.output
    assert set(changes(full.output).values()) == {0}
