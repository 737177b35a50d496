"""Are the detections of two passes the same? Image by image, to the last bit."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from ..share import manifest
from ..share.journal import read_records
from ..share.layout import Pass, Run
from ..share.records import Detection, Record

SHOWN = 20
"""Differences that are shown."""


@dataclass(slots=True)
class Differences:
    """What differs between the passes.

    Attributes:
        count: Images that differ.
        examples: The first of them: path, what differs, and both values.
    """

    count: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)


def difference(single: Record | None, parallel: Record | None) -> tuple[str, Any, Any] | None:
    """Return what differs first between two records of an image and both values, or None.

    Boxes, classes and scores must be equal to the last bit. Where both failed, the words may
    differ.
    """
    if single is None or parallel is None:
        return "no result", single is not None, parallel is not None
    if single.error is not None and parallel.error is not None:
        return None
    if single.error != parallel.error:
        return "failure", single.error, parallel.error
    size_single, size_parallel = (single.width, single.height), (parallel.width, parallel.height)
    if size_single != size_parallel:
        return "size", size_single, size_parallel
    for first, second in zip_longest(single.detections, parallel.detections):
        if first != second:
            return "detection", _plain(first), _plain(second)
    return None


def _plain(detection: Detection | None) -> list[float] | None:
    if detection is None:
        return None
    return [detection.class_id, detection.score, *detection.box]


def find_differences(run: Run, single: Pass, parallel: Pass) -> Differences:
    """Compare the records of all images.

    Raises:
        YoloError: The manifest is damaged.
        OSError: A file can't be read.
    """
    entries = [entry for entry in manifest.read(run.manifest) if entry.skip is None]
    found = Differences()
    pairs = zip(
        read_records(single, (entry.key for entry in entries)),
        read_records(parallel, (entry.key for entry in entries)),
        strict=True,
    )
    for entry, (first, second) in zip(entries, pairs, strict=True):
        result = difference(first, second)
        if result is None:
            continue
        found.count += 1
        if len(found.examples) < SHOWN:
            what, value_single, value_parallel = result
            found.examples.append(
                {
                    "path": entry.path,
                    "what": what,
                    "single": value_single,
                    "parallel": value_parallel,
                }
            )
    return found
