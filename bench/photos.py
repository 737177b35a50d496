"""Photos of 12 megapixels on one core, without hosts: a job's steps but for writing, against the network alone."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from yolo.detector.crash_notes import CrashNotes
from yolo.detector.detector import Detector
from yolo.detector.memory import keep_freed_memory
from yolo.detector.pipeline import Steps
from yolo.detector.settings import Settings
from yolo.detector.steps import Item
from yolo.model.engines import load_engine
from yolo.model.info import load_info
from yolo.share.records import Entry, Record
from yolo.vision.decode import read_image
from yolo.vision.letterbox import letterbox, to_tensor

from . import image_folder, stats

HEIGHT, WIDTH = 3000, 4000
_NOISE = 6.0  # so that a photo has 3 to 4 MB, as those of phones
_QUALITY = 90
_WARM_UP = 2

CASES: dict[str, dict[str, Any]] = {
    "exact": {},
    "fast": {"decode": "fast"},
    "exact_annotated_1280": {"annotated_size": 1280},
    "exact_no_copies": {"save_images": False},
    "fast_no_copies": {"decode": "fast", "save_images": False},
}
"""What is measured: settings that differ from a run's defaults."""


def make_photos(source: Path, count: int, target: Path) -> list[Path]:
    """Make photos of 12 megapixels out of smaller ones, with a sensor's noise.

    Raises:
        ValueError: There are no images to take.
        OSError: The folder can't be written.
    """
    random = np.random.default_rng(0)
    noise = random.normal(0, _NOISE, (HEIGHT, WIDTH, 3)).astype(np.float32)
    target.mkdir(parents=True)
    made = []
    images = image_folder.find(source)
    for number in range(count):
        large = cv2.resize(read_image(images[number % len(images)]), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        pixels = np.clip(large + np.roll(noise, number * 97, axis=1), 0, 255).astype(np.uint8)
        made.append(target / f"{number:03d}.jpg")
        if not cv2.imwrite(str(made[-1]), pixels, (cv2.IMWRITE_JPEG_QUALITY, _QUALITY)):
            raise OSError(f"{made[-1]} can't be written")
    return made


def measure(model_dir: Path, engine_name: str, photos: Sequence[Path], imgsz: int, scratch: Path) -> dict[str, Any]:
    """Measure every case on every photo, and a forward pass before each: processor time of one thread.

    Args:
        model_dir: What ``yolo.model.prepare`` made for the engine.
        engine_name: One of ``yolo.share.limits.ENGINES``.
        photos: The photos, in one folder.
        imgsz: Side of the input, pixels.
        scratch: A folder.

    Returns:
        ``megabytes`` of a photo; ``pass_ms``; by case ``ms`` of an image and ``ratio``, images/s to forward passes.
    """
    keep_freed_memory()
    cv2.setNumThreads(1)
    info = load_info(model_dir)
    engine = load_engine(model_dir, info, threads=1, engine=engine_name)

    def steps_of(case: str) -> Steps:
        settings = Settings(photos[0].parent, model_dir, 0.25, 0.7, imgsz, **CASES[case])
        return Steps(settings, Detector(info, engine, settings), info.names, CrashNotes(scratch / case))

    steps = {case: steps_of(case) for case in CASES}
    size = info.input_size(imgsz)
    passes: list[float] = []
    images: dict[str, list[float]] = {case: [] for case in CASES}
    for number, path in enumerate([*photos[:_WARM_UP], *photos]):
        tensor = to_tensor(letterbox(read_image(path), size, rectangular=engine.dynamic, stride=info.stride))
        for case, found in images.items():
            seconds = _timed(engine.infer, tensor), _timed(_do, path, steps[case])
            if number >= _WARM_UP:
                passes.append(seconds[0])
                found.append(seconds[1])
    each = len(CASES)
    return {
        "megabytes": round(statistics.mean(path.stat().st_size for path in photos) / 1e6, 1),
        "pass_ms": stats.summary([1000 * value for value in passes]),
        "cases": {
            case: {
                "ms": stats.summary([1000 * value for value in found]),
                "ratio": stats.ratio(passes[index::each], found),
            }
            for index, (case, found) in enumerate(images.items())
        },
    }


def _do(path: Path, steps: Steps) -> None:
    """Take a photo through a job's steps.

    Raises:
        ValueError: It failed.
    """
    entry = Entry(0, path.stem.zfill(16), path.name, f"{path.name}.txt", path.stat().st_size, 0)
    item = Item(entry, Record(entry.key, entry.path, entry.size, 0, ""))
    steps.read(item)
    if item.image is not None:
        item.found = steps.detector.detect(item.image)
    if error := steps.finish(item).record.error:
        raise ValueError(f"{path.name}: {error}")


def _timed(work: Callable[..., object], *arguments: object) -> float:
    start = time.process_time()
    work(*arguments)
    return time.process_time() - start


def main(argv: Sequence[str] | None = None) -> int:
    """Print the measurement as JSON."""
    parser = argparse.ArgumentParser(prog="bench.photos", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder that yolo.model.prepare made")
    parser.add_argument("--engine", default="openvino")
    parser.add_argument("--images", type=Path, required=True, help="folder of what the photos are made of")
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--imgsz", type=int, required=True)
    args = parser.parse_args(argv)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(prefix="bench-photos-") as scratch:
        photos = make_photos(args.images, args.count, Path(scratch) / "photos")
        print(json.dumps(measure(args.model, args.engine, photos, args.imgsz, Path(scratch) / "notes")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
