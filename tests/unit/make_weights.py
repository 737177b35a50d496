"""Weights as a user gives them, and their preparation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_model import save
from yolo.model.info import ModelInfo
from yolo.model.prepare import prepare
from yolo.model.selection import LIMIT
from yolo.share import fsio
from yolo.share.errors import YoloError
from yolo.share.layout import Run, Weights

NAMES = "names: {0: cat, 1: dog}\n"

#: A 64 x 64 picture has 64 + 16 + 4 cells at strides 8, 16 and 32.
CELLS = 84


def anchor_free(classes: int = 2, cells: int = CELLS) -> np.ndarray:
    return np.full((1, 4 + classes, cells), 0.5, np.float32)


def classic(classes: int = 2, cells: int = CELLS) -> np.ndarray:
    return np.full((1, 3 * cells, 5 + classes), 0.5, np.float32)


def end_to_end(boxes: int = 300) -> np.ndarray:
    answer = np.full((1, boxes, 6), 0.5, np.float32)
    answer[..., 5] = 1
    return answer


def openvino_folder(tmp_path: Path, model: object, metadata: str | None = NAMES) -> Path:
    return save(model, tmp_path / "source", "best", metadata)


def run(source: Path, out: Path, kind: str = "openvino") -> ModelInfo:
    return prepare(source, kind, out)


def failure(source: Path, kind: str = "openvino") -> str:
    out = source.parent / "model"
    with pytest.raises(YoloError) as error:
        run(source, out, kind)
    assert not out.exists()
    assert list(out.parent.glob("*.tmp-*")) == []
    text = str(error.value)
    assert text.isprintable()
    return text


def request_model(weights: Weights, run: Run, inputs: Path, kind: str, threads: int = 1, **settings: Any) -> list[str]:
    """Write a run's request; return the arguments of ``prepare-model``."""
    wanted = {"engine": "auto", "precision": "fp32", "imgsz": 0, "precision_limit": LIMIT, "decode": "exact"} | settings
    places = {"weights": str(weights.root), "input": str(inputs)}
    request = {"settings": wanted, "places": places, "weights": {"kind": kind}, "job": {"cpus": threads}}
    fsio.write_json(run.request, request)
    return ["--run-dir", str(run.root)]
