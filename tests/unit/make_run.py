"""Makes runs on a pretended share, as planning, watching and collecting find them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from yolo.results import compare, merge
from yolo.share import fsio, manifest
from yolo.share.layout import Pass, Run, Share, container_name, image_key
from yolo.share.records import STAGES, Detection, Entry, JobReport, Progress, Record, settings_digest

SETTINGS: dict[str, Any] = {
    "run_id": "r1",
    "mode": "parallel",
    "conf": 0.25,
    "iou": 0.45,
    "imgsz": 640,
    "classes": None,
    "max_det": 300,
    "weights_id": "0123456789abcdef",
}
DIGEST = settings_digest(SETTINGS)


def entry(index: int, path: str, size: int = 100, skip: str | None = None) -> Entry:
    return Entry(index, image_key(path), path, f"{path}.txt", size, 1_000 + index, skip)


def make_run(
    root: Path, paths: list[str], *, names: list[str] | None = None, skipped: tuple[str, ...] = ()
) -> tuple[Run, list[Entry]]:
    run = Share(root).run("r1")
    entries = [entry(i, path, skip="empty file: 0 bytes" if path in skipped else None) for i, path in enumerate(paths)]
    manifest.write(tuple(entries), run.manifest)
    model = Share(root).weights(SETTINGS["weights_id"]).model
    fsio.write_json(run.settings, {**SETTINGS, "model_dir": str(model), "manifest": manifest.stamp(run.manifest)})
    fsio.write_json(model / "model.json", {"names": names or ["cat", "dog"]})
    return run, entries


def restamp(run: Run) -> Run:
    """Tell the run's settings that the manifest is meant to be as it is."""
    fsio.write_json(run.settings, {**fsio.read_json(run.settings), "manifest": manifest.stamp(run.manifest)})
    return run


def put_record(run_pass: Pass, item: Entry, **changes: Any) -> Record:
    values: dict[str, Any] = {
        "key": item.key,
        "path": item.path,
        "size": item.size,
        "mtime_ns": item.mtime_ns,
        "settings_digest": DIGEST,
        "width": 640,
        "height": 480,
        "detections": (Detection(1, 0.912345678, (10.0, 20.0, 110.5, 220.25)),),
        "times": {"read_ms": 1.0, "infer_ms": 2.0, "draw_ms": 3.0, "write_ms": 4.0},
        "host": "execute1",
        "slot": "slot1_1",
        "job": "s001-c00000",
    }
    record = Record(**{**values, **changes})
    if record.error is None:
        record = put_files(run_pass, item, record)
    path = run_pass.records(*record.job.split("-"), 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="ascii") as journal:
        journal.write(record.to_json() + "\n")
    return record


def put_files(run_pass: Pass, item: Entry, record: Record) -> Record:
    """Put an image's files into the container of its job; return the record that names them."""
    name = container_name(*record.job.split("-"), 1)
    path = run_pass.container(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    contents = [b"annotated " + item.path.encode("utf-8", "surrogateescape"), b"label"]
    with open(path, "ab") as container:
        at = container.tell()
        container.writelines(contents)
    image_at, label_at = (at, len(contents[0])), (at + len(contents[0]), len(contents[1]))
    return replace(record, container=name, image_at=image_at, label_at=label_at, written=1_790_000_000)


def put_job(run_pass: Pass, submission: str = "s001", chunk: str = "c00000", **changes: Any) -> JobReport:
    values: dict[str, Any] = {
        "submission": submission,
        "chunk": chunk,
        "host": "execute1",
        "slot": "slot1_1",
        "cpus": 1,
        "threads": 1,
        "start": 1000.0,
        "end": 1010.0,
        "seconds": {"start": 2.0, "read": 1.0, "infer": 5.0, "draw": 1.0, "write": 1.0},
        "images": 4,
        "cpu_model": "AMD EPYC",
        "versions": {"python": "3.13.5"},
    }
    report = JobReport(**{**values, **changes})
    path = run_pass.records(submission, chunk, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="ascii") as journal:
        journal.write(report.to_json() + "\n")
    return report


def put_progress(run_pass: Pass, chunk: str, done: int, total: int, failed: int = 0) -> None:
    beat = Progress(done, total, failed, "execute1", 1000.0)
    fsio.write_text(run_pass.progress("s001", chunk), beat.to_json())


def make_compared_run(
    root: Path, paths: list[str], *, hosts: int = 2, chunk: int = 12, names: list[str] | None = None
) -> Run:
    """A run of mode=compare whose passes were worked through and collected: figures that could be real ones.

    One slot on each host; each seventh image has other pixels and takes longer, each 29th is truncated.
    """
    run, entries = make_run(root, paths, names=names or ["person", "rocket", "cup", "bus"])
    fsio.write_json(run.settings, {**fsio.read_json(run.settings), "mode": "compare", "weights_name": "yolov5s"})
    random = Random(1)
    for pass_name, slots, submitted in (("single", 1, 1_790_000_000.0), ("parallel", hosts, 1_790_009_000.0)):
        run_pass = run.get_pass(pass_name)
        free = [submitted + 1.4 + 0.3 * slot for slot in range(slots)]
        chunks = [entries[at : at + chunk] for at in range(0, len(entries), chunk)]
        for number, items in enumerate(chunks):
            slot = free.index(min(free))
            seconds = dict.fromkeys(STAGES, 0.0)
            for item in items:
                slow = 2.5 if item.index % 7 == 0 else 1.0
                times = {
                    "read_ms": round(random.gauss(12, 2) * slow, 3),
                    "infer_ms": round(random.gauss(120, 9) * slow, 3),
                    "draw_ms": round(random.gauss(9, 1) * slow, 3),
                    "write_ms": round(random.expovariate(0.2) + 4, 3),
                }
                place = {"host": f"execute{slot + 1}", "slot": "slot1_1", "job": f"s001-c{number:05d}"}
                if item.index % 29 == 28:
                    put_record(run_pass, item, error="truncated JPEG", detections=(), times={}, **place)
                    continue
                boxes = ((10.0 * c + 1, 20.0, 110.5, 220.25) for c in range(item.index % 4))
                found = tuple(Detection(c * item.index % 4, 0.9 - c / 10, box) for c, box in enumerate(boxes))
                put_record(run_pass, item, times=times, detections=found, **place)
                for stage in STAGES:
                    seconds[stage] += times[f"{stage}_ms"] / 1000
            begin = free[slot]
            # Reading, drawing and writing run beside the network.
            free[slot] = begin + 1.1 + seconds["infer"] * 1.05
            put_job(
                run_pass, chunk=f"c{number:05d}", host=f"execute{slot + 1}", start=round(begin, 3),
                end=round(free[slot], 3), seconds={"start": 1.1, **{s: round(v, 3) for s, v in seconds.items()}},
                images=len(items), cpu_model="AMD EPYC 9R14",
                versions={"python": "3.13.5", "openvino": "2026.4.1", "numpy": "2.4.6"},
            )  # fmt: skip
            free[slot] += 0.12
        prices = {"source": "price_per_hour", "per_hour": 0.35}
        merge.merge(run, pass_name, submitted, stage_seconds=6.2, prices=prices)
    compare.compare(run, slots=hosts, cpus={f"execute{i + 1}": 1 for i in range(hosts)})
    return run


def pull(run: Run, folder: Path, pass_name: str = "parallel") -> Path:
    """Copy a run's figures to a results folder, as the playbook does."""
    folder.mkdir(parents=True, exist_ok=True)
    run_pass = run.get_pass(pass_name)
    for path in (run_pass.metrics_json, run_pass.metrics_csv, *([run.compare] if run.compare.exists() else ())):
        shutil.copy2(path, folder / path.name)
    return folder
