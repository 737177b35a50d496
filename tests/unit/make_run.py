"""Makes runs on a pretended share, as planning, watching and collecting find them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from yolo import fsio, manifest
from yolo.layout import Leg, Run, Share, image_key
from yolo.records import Detection, Entry, JobReport, Progress, Record, settings_digest

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
    manifest.write(manifest.Manifest(tuple(entries)), run.manifest)
    model = Share(root).weights(SETTINGS["weights_id"]).model
    fsio.write_json(run.settings, {**SETTINGS, "model_dir": str(model)})
    fsio.write_json(model / "model.json", {"names": names or ["cat", "dog"]})
    return run, entries


def put_record(leg: Leg, item: Entry, **changes: Any) -> Record:
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
        "job": "p001-c00000",
    }
    record = Record(**{**values, **changes})
    fsio.write_text(leg.record(item.key), record.to_json())
    return record


def put_job(leg: Leg, plan: str = "p001", chunk: str = "c00000", **changes: Any) -> JobReport:
    values: dict[str, Any] = {
        "plan": plan,
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
    fsio.write_text(leg.job(plan, chunk), report.to_json())
    return report


def put_progress(leg: Leg, chunk: str, done: int, total: int, failed: int = 0) -> None:
    beat = Progress(done, total, failed, "execute1", 1000.0)
    fsio.write_text(leg.progress("p001", chunk), beat.to_json())
