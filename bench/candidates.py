"""Runs each candidate once, as a command of its own, and says how long it took.

All get the same images, weights, size of input and thresholds, and write the same: an image with
boxes and a label file for each image.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent


class BenchError(Exception):
    """A candidate could not be measured; the text says why."""


@dataclass(frozen=True, slots=True)
class Job:
    """What every candidate is asked to do.

    Attributes:
        images: Flat folder.
        count: Images in it.
        weights: ``.pt`` file.
        model: What ``yolo.model.prepare`` made of it.
        imgsz: Side of the input, pixels.
        conf: Confidence threshold.
        iou: Overlap threshold.
        scratch: Folder for what is written.
        log: File that the commands' output goes to.
    """

    images: Path
    count: int
    weights: Path
    model: Path
    imgsz: int
    conf: float
    iou: float
    scratch: Path
    log: Path


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measurement.

    Attributes:
        seconds: What the images/s are taken over; README.md says what is in it for whom.
        images: Images done.
        command_seconds: The whole command, from its start to its end.
        details: What else the candidate says.
    """

    seconds: float
    images: int
    command_seconds: float
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.images / self.seconds


def environment() -> dict[str, str]:
    """Return the environment of the commands: ours importable, ultralytics offline, nothing that reports."""
    return {
        **os.environ,
        "PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'files'}",
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "ORT_DISABLE_TELEMETRY": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "ANSIBLE_FORCE_COLOR": "false",
    }


def run(command: Sequence[str | Path], log: Path, cwd: Path = PROJECT) -> tuple[float, str]:
    """Run a command and return its seconds and its standard output.

    Raises:
        BenchError: It failed.
    """
    words = [str(word) for word in command]
    with open(log, "a", encoding="utf-8") as file:
        file.write(f"\n$ {' '.join(words)}\n")
        file.flush()
        start = time.monotonic()
        done = subprocess.run(words, cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=file, text=True)
        seconds = time.monotonic() - start
        file.write(done.stdout)
    if done.returncode != 0:
        raise BenchError(f"exit code {done.returncode} from: {' '.join(words[:4])} ...; its output stands in {log}")
    return seconds, done.stdout


def last_json(text: str) -> dict[str, Any]:
    """Return the JSON object in the last line that is one.

    Raises:
        BenchError: There is none.
    """
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            return dict(json.loads(line))
    raise BenchError(f"no JSON in the output: {text[-200:]!r}")


def play(playbook: str, values: Mapping[str, object], log: Path) -> float:
    """Run one of the project's playbooks with ``-e NAME=VALUE`` and return its seconds.

    Raises:
        BenchError: It failed.
    """
    extra = [word for key, value in values.items() for word in ("-e", f"{key}={value}")]
    seconds, _ = run([PROJECT / ".venv/bin/ansible-playbook", playbook, *extra], log)
    return seconds


def forward(job: Job, name: str) -> Measurement:
    """(a) Forward passes only, one process a core. ``name`` is not used: nothing is written."""
    command = [sys.executable, "-m", "bench.forward", "--model", job.model, "--images", job.images]
    seconds, text = run([*command, "--imgsz", str(job.imgsz)], job.log)
    said = last_json(text)
    return Measurement(float(said["seconds"]), int(said["images"]), seconds, said)


def forward_hosts(job: Job, name: str, run_id: str) -> Measurement:
    """(a) The same inside the execute hosts, all at once, with model, engine and images of a run of ours.

    Args:
        job: The job.
        name: Of the measurement.
        run_id: The run, done before.
    """
    out = job.scratch / f"{name}.json"
    values = {
        "bench_metrics": job.scratch / "results" / run_id / "metrics.json",
        "bench_passes": job.count,
        "bench_imgsz": job.imgsz,
        "bench_out": out,
    }
    seconds = play("bench/forward.yml", values, job.log)
    return from_hosts(json.loads(out.read_text()), seconds)


def from_hosts(hosts: Sequence[Mapping[str, Any]], command_seconds: float) -> Measurement:
    """Return the measurement of hosts that worked side by side: their images/s add up."""
    images = sum(int(host["images"]) for host in hosts)
    rate = sum(int(host["images"]) / float(host["seconds"]) for host in hosts)
    return Measurement(images / rate, images, command_seconds, {"hosts": list(hosts)})


def photos(images: Path, model: Path, imgsz: int, log: Path) -> dict[str, Any]:
    """Photos of 12 megapixels made of these images, on one core; see ``bench.photos.measure``.

    Raises:
        BenchError: It failed.
    """
    command = [sys.executable, "-m", "bench.photos", "--model", model, "--images", images.absolute()]
    return last_json(run([*command, "--imgsz", str(imgsz)], log)[1])


def predict(job: Job, name: str) -> Measurement:
    """(b) ``yolo predict`` of ultralytics, one process, as people type it."""
    out = job.scratch / name
    options = {
        "model": job.weights,
        "source": job.images,
        "imgsz": job.imgsz,
        "conf": job.conf,
        "iou": job.iou,
        "device": "cpu",
        "save": True,
        "save_txt": True,
        "save_conf": True,
        "project": out,
        "name": "predict",
    }
    words = [f"{key}={value}" for key, value in options.items()]
    seconds, _ = run([Path(sys.executable).parent / "yolo", "predict", *words], job.log)
    return Measurement(seconds, _count_images(out / "predict", job.count), seconds)


def detect_py(job: Job, name: str, checkout: Path, weights: Path) -> Measurement:
    """(b) ``detect.py`` of a checkout of ultralytics/yolov5, with weights of that project."""
    out = job.scratch / name
    command = [sys.executable, checkout / "detect.py", "--weights", weights, "--source", job.images]
    command += ["--imgsz", str(job.imgsz), "--conf-thres", str(job.conf), "--iou-thres", str(job.iou)]
    command += ["--device", "cpu", "--save-txt", "--save-conf", "--project", out, "--name", "detect"]
    seconds, _ = run(command, job.log, checkout)
    return Measurement(seconds, _count_images(out / "detect", job.count), seconds)


def ray_data(job: Job, name: str) -> Measurement:
    """(c) Ray Data with two actors."""
    command = [sys.executable, "-m", "bench.ray_data", "--weights", job.weights, "--images", job.images]
    command += ["--out", job.scratch / name, "--imgsz", str(job.imgsz), "--conf", str(job.conf), "--iou", str(job.iou)]
    seconds, text = run(command, job.log)
    _count_images(job.scratch / name / "images", job.count)
    said = last_json(text)
    return Measurement(seconds, int(said["images"]), seconds, said)


def _count_images(folder: Path, expected: int) -> int:
    # A candidate that skips images would win.
    found = sum(path.suffix.lower() in (".jpg", ".jpeg", ".png") for path in folder.iterdir())
    if found != expected:
        raise BenchError(f"{found} images in {folder}; expected {expected}")
    return found


def ours(job: Job, name: str, mode: str, weights: str, extra: Mapping[str, str] | None = None) -> Measurement:
    """(d), (e) ``run_inference.yml`` on the cluster that is up, figures from its ``metrics.json``.

    Args:
        job: The job.
        name: Run id; must be new, or the run would find its images done.
        mode: ``single`` or ``parallel``.
        weights: As ``-e weights=`` takes them.
        extra: More ``-e NAME=VALUE``.
    """
    values = {
        "images": job.images,
        "weights": weights,
        "imgsz": job.imgsz,
        "conf": job.conf,
        "iou": job.iou,
        "mode": mode,
        "run_id": name,
        "results": job.scratch / "results",
        **(extra or {}),
    }
    seconds = play("run_inference.yml", values, job.log)
    return from_metrics(json.loads((job.scratch / "results" / name / "metrics.json").read_text()), seconds)


def from_metrics(metrics: Mapping[str, Any], command_seconds: float) -> Measurement:
    """Return the measurement in a run's ``metrics.json``.

    Raises:
        BenchError: Images are missing or failed: their time would be a gift.
    """
    counts, times = metrics["counts"], metrics["times"]
    if counts["processed"] != counts["images"] or counts["failed"]:
        raise BenchError(f"run {metrics['run_id']}: counts {counts}; expected all images done in one pass")
    details = {
        "run_id": metrics["run_id"],
        "times": times,
        "hosts": len({slot["host"] for slot in metrics["slots"]}),
        "slots": len(metrics["slots"]),
        "jobs": sum(slot["jobs"] for slot in metrics["slots"]),
        "detections": counts["detections"],
        "cpu_models": metrics["cpu_models"],
        "versions": metrics["versions"],
        **{name: metrics[name] for name in ("engines", "precisions") if name in metrics},
    }
    return Measurement(float(times["wall_seconds"]), counts["processed"], command_seconds, details)
