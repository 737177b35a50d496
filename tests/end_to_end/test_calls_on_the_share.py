"""How often jobs call the NFS server for an image, so that it does not creep up: in a run of many small images."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

import cv2
from conftest import Cluster
from test_inference_run import photos
from test_lost_hosts import SLOTS

IMAGES = 120

CALLS_AN_IMAGE = 4.5
"""Open, read, close the photo: 3; the rest of the budget is for what goes into containers and journals."""

CALLS_A_START = 400
"""Of a job, mostly to import its code; more of the one that prepares the model."""

CHANGES_A_START = 40
"""Calls of a job that the server has to take to its disk, whatever it does for its images."""

CHANGING = ("WRITE", "COMMIT", "CREATE", "RENAME", "REMOVE", "SETATTR", "MKDIR")


def calls(cluster: Cluster) -> Counter[str]:
    """Return the calls of the execute hosts to the server so far, by operation."""
    found: Counter[str] = Counter()
    for machine in set(cluster.on("manager", *SLOTS).split()):
        host = machine.split(".")[0]
        for name, count in re.findall(r"^\s+([A-Z_]+): (\d+) ", cluster.on(host, "cat", "/proc/self/mountstats"), re.M):
            found[name] += int(count)
    return found


def small_photos(samples: Path, out: Path) -> Path:
    out.mkdir()
    found = photos(samples)
    for number in range(IMAGES):
        photo = cv2.imread(str(found[number % len(found)]))
        assert cv2.imwrite(str(out / f"{number:03}.jpg"), cv2.resize(photo, (96 + number % 8, 96)))
    return out


def test_an_image_costs_few_calls(cluster: Cluster, samples, tmp_path):
    images = small_photos(samples, tmp_path / "small")
    before = calls(cluster)
    outcome = cluster.infer(images, run_id=f"calls-{os.getpid()}", imgsz=96)
    assert outcome.code == 0
    made = calls(cluster) - before
    print(made)
    # One job beside them prepared the model.
    starts = len(outcome.metrics["jobs"]) + 1
    assert outcome.metrics["counts"]["ok"] == IMAGES
    assert sum(made.values()) <= CALLS_AN_IMAGE * IMAGES + CALLS_A_START * starts
    assert sum(made[name] for name in CHANGING) <= IMAGES + CHANGES_A_START * starts
    # A file of its own for each result would be one of these for each.
    assert made["RENAME"] + made["CREATE"] <= 6 * starts
