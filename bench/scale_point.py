"""Scheduling scale, one point: plan, submit, run and collect so many chunks, in three steps.

``run`` on the submit host does what ``python -m yolo submit`` does, by the functions of that command, so that
planning and submitting are measured apart. The detector is replaced by a sleep: ``/bin/sleep`` is all that a job runs.
The jobs are watched for a limited time only, since a small machine starts a few a second; what is left is removed then,
and the rate is that of what ran. ``records`` writes what the jobs would have written, on the manager, whose disk it is:
that time counts for nothing. ``collect`` on the submit host runs ``python -m yolo finish``, then ``python -m yolo
submit --dry-run``: with all done, that is what planning again costs.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from yolo.pool import submit
from yolo.pool.plan import plan_submission
from yolo.share import fsio, manifest
from yolo.share.attempt import Attempt
from yolo.share.chunks import read_chunks
from yolo.share.errors import YoloError
from yolo.share.layout import Run, chunk_name, image_key, label_path, submission_name
from yolo.share.records import Detection, Entry, JobReport, Record, settings_digest

PASS = "parallel"
SETTINGS = {"conf": 0.25, "iou": 0.7, "imgsz": 640, "classes": [], "max_det": 300, "weights_id": "0" * 16}
REQUEST = {"mode": PASS, "passes": [PASS], "chunk_size": 0, "prices": None, "job": {"time_limit": 3600}}
"""What the commands read of a run's request."""
LOGS = Path("/var/tmp")
"""Folder of HTCondor's event logs. HTCondor locks them: not on NFS."""
SUBMIT = """\
universe              = vanilla
executable            = /bin/sleep
transfer_executable   = false
should_transfer_files = NO
arguments             = {sleep}
initialdir            = {folder}
request_cpus          = 1
request_memory        = 8M
request_disk          = 1M
keep_claim_idle       = 60
log                   = $(event_log)
queue chunk from $(chunks)
"""


def make_run(run: Run, images: int) -> None:
    """Write a run of so many images that do not exist."""
    run.root.mkdir(parents=True)
    with fsio.atomic_file(run.manifest) as file:
        for index in range(images):
            path = f"scale/image_{index:07d}.jpg"
            entry = Entry(index, image_key(path), path, f"{path}.txt", 100_000, 1_000 + index)
            file.write(entry.to_json().encode("ascii") + b"\n")
    settings = {**SETTINGS, "model_dir": str(run.root), "manifest": manifest.stamp(run.manifest)}
    fsio.write_json(run.settings, settings)
    fsio.write_json(run.request, REQUEST)


def write_records(run: Run, submission: str, chunks: int) -> None:
    """Write what the jobs of a submission would have: a record for each image, a report for each chunk."""
    run_pass, digest = run.get_pass(PASS), settings_digest(SETTINGS)
    blank = Record("", "", 0, 0, digest, 640, 480, (Detection(0, 0.5, (1.0, 2.0, 3.0, 4.0)),))

    for chunk, entries in read_chunks(run_pass, submission, map(chunk_name, range(chunks))):
        with Attempt(run_pass, submission, chunk) as attempt:
            for entry in entries:
                file = {"key": entry.key, "path": entry.path, "size": entry.size, "mtime_ns": entry.mtime_ns}
                (place,) = attempt.store([(label_path(entry.label), b"0 0.5 0.5 0.1 0.1 0.5\n")], 1)
                stored = {"container": attempt.container, "label_at": place, "written": 1}
                attempt.add(replace(blank, **file, **stored, job=f"{submission}-{chunk}"))
            attempt.seal()
            report = JobReport(submission, chunk, "bench", "slot1", 1, 1, 0.0, 1.0, {"start": 0.1}, len(entries))
            attempt.report(report)


def timed(words: Sequence[str]) -> tuple[float, str]:
    """Run a command; return its seconds and its standard output.

    Raises:
        subprocess.CalledProcessError: It failed; its message is on standard error.
    """
    start = time.monotonic()
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    return time.monotonic() - start, done.stdout


def watch(cluster: str, jobs: int, limit: float) -> dict[str, float | int]:
    """Wait until the jobs have left the queue or the time is over, then remove what is left.

    Returns:
        ``seconds``, ``ended`` (jobs that left the queue by themselves), ``most_running`` (at any poll).
    """
    start = time.monotonic()
    ended = most = 0
    while ended < jobs and time.monotonic() - start < limit:
        time.sleep(1)
        # Of many jobs the schedd makes the next ones as others start; where it has made all, nothing may say so.
        made = timed(["condor_q", cluster, "-factory", "-af", "JobMaterializeNextProcId"])[1].split()
        states = timed(["condor_q", cluster, "-af", "JobStatus"])[1].split()
        ended = max(int(made[0]) if made and made[0].isdigit() else jobs, len(states)) - len(states)
        most = max(most, states.count("2"))
    seconds = time.monotonic() - start
    if ended < jobs:
        subprocess.run(["condor_rm", cluster], check=False, stdout=subprocess.DEVNULL)
        while timed(["condor_q", cluster, "-af", "JobStatus"])[1].split():
            time.sleep(1)
    return {"seconds": round(seconds, 2), "ended": ended, "most_running": most}


def run_jobs(run: Run, chunks: int, size: int, slots: int, sleep: float, limit: float) -> dict[str, Any]:
    """Make the run, plan it, submit the jobs and watch them.

    Args:
        run: Must not exist.
        chunks: Chunks, one job each.
        size: Images of a chunk.
        slots: Slots that the pool offers.
        sleep: Seconds that a job sleeps.
        limit: Seconds to watch the jobs, at most.

    Raises:
        subprocess.CalledProcessError: A command failed.
        YoloError: HTCondor does not take the jobs.
        OSError: A file can't be written.
    """
    make_run(run, chunks * size)
    run_pass = run.get_pass(PASS)
    start = time.monotonic()
    planned = plan_submission(run, PASS, slots, size)
    seconds = time.monotonic() - start
    if planned.submission is None:
        raise YoloError("nothing was planned", run.root, f"{chunks} chunks")
    point: dict[str, Any] = {
        "detector": f"replaced by sleep {sleep:g} s",
        "slots": slots,
        "chunks": planned.chunks,
        "images": planned.images,
        "plan_seconds": round(seconds, 3),
        "plan_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }
    log = submit.event_log(LOGS, run_pass, planned.submission)
    start = time.monotonic()
    text = SUBMIT.format(sleep=sleep, folder=run.root)
    path = submit.write_submit_file(run_pass, planned.submission, text, log, planned.chunks)
    cluster = submit.submit(run_pass, planned.submission, path)["cluster"]
    point["submit_seconds"] = round(time.monotonic() - start, 3)
    point["jobs"] = watch(str(cluster), planned.chunks, limit)
    point["jobs"]["per_second"] = round(point["jobs"]["ended"] / point["jobs"]["seconds"], 2)
    log.unlink(missing_ok=True)
    return point


def collect(run: Run, slots: int) -> dict[str, float]:
    """Merge the records, and plan again when all is done.

    Raises:
        subprocess.CalledProcessError: A command failed.
    """
    return {
        "collect_seconds": round(timed(command("finish", run))[0], 3),
        "replan_seconds": round(timed([*command("submit", run), "--dry-run", "--slots", str(slots)])[0], 3),
    }


def command(name: str, run: Run) -> list[str]:
    """Return the command line of a command of the package for the run's pass."""
    return [sys.executable, "-m", "yolo", name, "--run-dir", str(run.root), "--pass", PASS]


def main(argv: Sequence[str] | None = None) -> int:
    """Do one step; print its figures as JSON."""
    parser = argparse.ArgumentParser(prog="bench.scale_point", description=__doc__)
    parser.add_argument("step", choices=("run", "records", "collect"))
    parser.add_argument("--folder", type=Path, required=True, help="run folder on the share; new for the step run")
    parser.add_argument("--chunks", type=int, required=True)
    parser.add_argument("--size", type=int, default=1, help="images of a chunk")
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--sleep", type=float, default=1.0)
    parser.add_argument("--limit", type=float, default=30.0)
    args = parser.parse_args(argv)
    run = Run(args.folder.absolute())
    found: dict[str, Any] = {}
    if args.step == "run":
        found = run_jobs(run, args.chunks, args.size, args.slots, args.sleep, args.limit)
    elif args.step == "records":
        write_records(run, submission_name(1), args.chunks)
    else:
        found = collect(run, args.slots)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
