"""A chunk of images on a pretended share, and the job that works on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from make_model import colour_model, prepared
from make_run import SETTINGS
from yolo.detector.job import run_chunk
from yolo.results.contents import stored_files
from yolo.share import fsio
from yolo.share.chunks import write_chunks
from yolo.share.journal import read_records, read_reports
from yolo.share.layout import Pass, Run, Share, image_key
from yolo.share.records import Entry, JobReport, Progress, Record

RED, GREEN, BLUE = (0, 0, 255), (0, 255, 0), (255, 0, 0)
Box = tuple[int, int, int, int]


def picture(height: int, width: int, *boxes: tuple[Box, tuple[int, int, int]]) -> np.ndarray:
    image = np.full((height, width, 3), 100, np.uint8)
    for (x1, y1, x2, y2), colour in boxes:
        image[y1:y2, x1:x2] = colour
    return image


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


PHOTO = picture(120, 160, ((40, 20, 80, 60), RED), ((100, 50, 140, 110), BLUE))
PHOTO_FOUND = [(0, [40, 20, 80, 60]), (2, [100, 50, 140, 110])]


class Job:
    """A chunk on a pretended share, and what a job makes of it.

    Args:
        root: Of the share.
        files: Images by their relative path.
        pass_name: Of the chunk.
        settings: Changes to the run's settings.
    """

    submission, chunk = "s001", "c00000"

    def __init__(self, root: Path, files: dict[str, bytes], *, pass_name: str = "parallel", **settings: Any) -> None:
        share = Share(root)
        self.run: Run = share.run("r1")
        self.run_pass: Pass = self.run.get_pass(pass_name)
        self.inputs = share.input("in")
        self.model = share.weights(SETTINGS["weights_id"]).model
        prepared(colour_model(), self.model)
        self.settings = {
            **SETTINGS,
            "imgsz": 160,
            "input_dir": str(self.inputs),
            "model_dir": str(self.model),
        } | settings
        fsio.write_json(self.run.settings, self.settings)
        self.entries = [self.put(index, path, data) for index, (path, data) in enumerate(files.items())]
        self.write_chunk()

    def put(self, index: int, path: str, data: bytes) -> Entry:
        fsio.write_bytes(self.inputs / path, data)
        status = (self.inputs / path).stat()
        return Entry(index, image_key(path), path, f"{path}.txt", status.st_size, status.st_mtime_ns)

    def write_chunk(self) -> None:
        folder = self.run_pass.submission_dir(self.submission)
        folder.mkdir(parents=True, exist_ok=True)
        write_chunks(folder, (entry.to_json().encode() + b"\n" for entry in self.entries), [len(self.entries)])

    @property
    def arguments(self) -> list[str]:
        return [
            "--run-dir",
            str(self.run.root),
            "--pass",
            self.run_pass.root.name,
            "--chunk",
            f"{self.submission}/{self.chunk}",
        ]

    def work(self) -> int:
        return run_chunk(self.run, self.run_pass.root.name, self.submission, self.chunk)

    def record(self, path: str) -> Record:
        (record,) = read_records(self.run_pass, [image_key(path)])
        assert record is not None, f"no record of {path}"
        return record

    def results(self) -> dict[str, bytes]:
        """Return the files of the results by path, as the records name them."""
        found = {}
        for item, record in zip(self.entries, read_records(self.run_pass, (e.key for e in self.entries)), strict=True):
            if record is not None and record.error is None:
                for stored in stored_files(item, record):
                    with self.run_pass.container(stored.container).open("rb") as container:
                        found[stored.path] = b"".join(stored.read(container))
        return found

    def annotated(self, path: str) -> np.ndarray:
        """Return an annotated image, BGR."""
        return cv2.imdecode(np.frombuffer(self.results()[f"images/{path}"], np.uint8), cv2.IMREAD_COLOR)

    @property
    def report(self) -> JobReport:
        (report,) = self.reports()
        return report

    def reports(self) -> list[JobReport]:
        return read_reports(self.run_pass, self.submission)

    @property
    def progress(self) -> Progress:
        return Progress.from_json(self.run_pass.progress(self.submission, self.chunk).read_bytes())

    def state(self) -> dict[str, tuple[int, int]]:
        """Inode and time of change of every record and result: a rename changes the inode."""
        folders = (self.run_pass.records_dir, self.run_pass.containers_dir)
        files = [p for folder in folders for p in folder.rglob("*") if p.is_file()]
        return {str(p.relative_to(self.run_pass.root)): (p.stat().st_ino, p.stat().st_mtime_ns) for p in files}


def found(record: Record) -> list[tuple[int, list[int]]]:
    return [(d.class_id, [round(x) for x in d.box]) for d in record.detections]
