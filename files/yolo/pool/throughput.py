"""How fast jobs work, measured on the newest ones, to plan the next submission.

``finish`` writes one small file for each set of settings that the speed depends on; ``submit``
reads it. It is no more than a hint: where it is missing or damaged, :data:`DEFAULT` stands in.
"""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..share import fsio
from ..share.layout import ID_LENGTH, Run, Share
from ..share.records import JobReport

SETTINGS = (
    *("weights_id", "engine", "precision", "imgsz", "input_size"),
    *("save_images", "annotated_size", "decode", "threads"),
)
"""Settings of a run that its speed depends on; what a run lacks counts as null."""

FEWEST_IMAGES = 8
"""Images of a pass, at least, for its figures to replace older ones: the first ones are slow."""

_RATES = (1e-3, 1e4)
_STARTS = (0.01, 600.0)


@dataclass(frozen=True, slots=True)
class Throughput:
    """How fast one slot works.

    Attributes:
        images_per_second: Of one slot, while its job is at work.
        start_seconds: What each job costs before its first image: from the end of the job before
            it on its slot to the end of loading the model.
        images: Images that this was measured on; 0 for an assumption.
        run_id: Run that this was measured in; empty for an assumption.
    """

    images_per_second: float
    start_seconds: float
    images: int = 0
    run_id: str = ""


DEFAULT = Throughput(2.0, 2.0)
"""Assumed without history: about YOLOv5s at 640 pixels on one core."""


def measure(jobs: Sequence[JobReport], run_id: str) -> Throughput | None:
    """Return the throughput of a pass, or None if its jobs say too little.

    The rate is the median over the images, that is of jobs weighted by their images: a job that ran
    again found some of its images done and seems far too fast.

    Args:
        jobs: Reports of the pass's jobs.
        run_id: Their run.
    """
    rates = []
    for job in jobs:
        seconds = job.end - job.start - job.seconds.get("start", 0.0)
        if job.images > 0 and seconds > 0:
            rates.append((job.images / seconds, job.images))
    starts = [job.seconds["start"] for job in jobs if job.seconds.get("start", 0.0) > 0]
    if not rates or not starts:
        return None
    gaps = _gaps(jobs)
    start = statistics.median(starts) + (statistics.median(gaps) if gaps else 0.0)
    return Throughput(
        images_per_second=round(_clamp(_weighted_median(rates), _RATES), 4),
        start_seconds=round(_clamp(start, _STARTS), 3),
        images=sum(images for _, images in rates),
        run_id=run_id,
    )


def _gaps(jobs: Iterable[JobReport]) -> list[float]:
    """Return the seconds between a job's end and the next one's start on the same slot."""
    slots: dict[tuple[str, str], list[JobReport]] = {}
    for job in jobs:
        slots.setdefault((job.host, job.slot), []).append(job)
    gaps = []
    for row in slots.values():
        row.sort(key=lambda job: job.start)
        gaps += [max(after.start - before.end, 0.0) for before, after in pairwise(row)]
    return gaps


def _weighted_median(values: list[tuple[float, int]]) -> float:
    half, passed = sum(weight for _, weight in values) / 2, 0
    for value, weight in sorted(values):
        passed += weight
        if passed >= half:
            return value
    raise ValueError("no values")


def _clamp(value: float, limits: tuple[float, float]) -> float:
    return min(max(value, limits[0]), limits[1])


def throughput_file(run: Run, settings: Mapping[str, Any]) -> Path | None:
    """Return the file of the throughput under these settings, or None if they name no weights."""
    weights_id = settings.get("weights_id")
    if not weights_id:
        return None
    asked = fsio.dumps([settings.get(name) for name in SETTINGS])
    key = hashlib.sha256(asked.encode("ascii")).hexdigest()[:ID_LENGTH]
    return Share(run.root.parent.parent).weights(str(weights_id)).throughput(key)


def recall(run: Run, settings: Mapping[str, Any]) -> Throughput:
    """Return the throughput that was measured last under these settings, else :data:`DEFAULT`."""
    path = throughput_file(run, settings)
    if path is None:
        return DEFAULT
    try:
        value = fsio.read_json(path)
        rate, start = float(value["images_per_second"]), float(value["start_seconds"])
        found = Throughput(rate, start, int(value["images"]), str(value["run_id"]))
    except (OSError, ValueError, KeyError, TypeError):
        return DEFAULT
    usable = all(math.isfinite(number) and number > 0 for number in (rate, start))
    return found if usable else DEFAULT


def remember(run: Run, settings: Mapping[str, Any], jobs: Sequence[JobReport]) -> None:
    """Write the throughput of a pass for the next submission under the same settings.

    Nothing is written if the pass says too little, or is so small that older figures are better.

    Raises:
        OSError: The file can't be written, e.g. the disk is full.
    """
    path, found = throughput_file(run, settings), measure(jobs, run.run_id)
    if path is None or found is None:
        return
    if found.images < FEWEST_IMAGES and recall(run, settings) is not DEFAULT:
        return
    fsio.write_json(path, asdict(found), keep_equal=True)
