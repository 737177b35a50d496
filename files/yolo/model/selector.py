"""Settle what the jobs of a run compute with: engine, precision, and the folder of the model.

Runs as a job of the pool before the others (``yolo.pool.prepare``), with the run's manifest on the share. Makes what is
missing: export formats (``export_formats``), INT8 (``calibrate``), and with ``--engine auto`` the measurement that
decides. It is kept on the share for each type of host. A run keeps its selection: its detections must not depend on the
host that a job lands on, nor change half way.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..share.errors import YoloError, run_cli
from ..share.fsio import dumps, write_json
from ..share.layout import MODEL_ONNX
from ..share.limits import AUTO, ENGINES
from ..vision.letterbox import PADDING
from . import agreement, calibrate
from .export_formats import check_kind, engines_for, export_for
from .model import (
    ENGINES_OF,
    Engine,
    ModelInfo,
    check_precision,
    cpu_flags,
    cpu_model,
    is_prepared,
    load_engine,
    load_info,
)
from .prepare import make_folder, prepare, stdout_to_stderr
from .selection import (
    ModelRequest,
    Selection,
    add_arguments,
    answer,
    asked_by,
    check_limit,
    kept_selection,
    read_object,
)

#: What changes how fast an engine is, or what it can compute in.
_FLAGS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8", *sorted(("avx512_bf16", "amx_bf16")))
_WARM_UP, _ROUNDS, _SECONDS = 2, (5, 30), 2.0
#: Of two engines that are equally fast, up to this, the first is taken: noise must not decide.
_MARGIN = 0.03
_BF16_IMAGES = 16


class _WouldMakeError(Exception):
    """A dry run came to something that is not there yet."""


class EngineSelector:
    """Makes what is missing and settles the choice.

    Args:
        asked: What was asked for.
        dry_run: Make nothing.

    Attributes:
        made: Whether anything was made.
    """

    def __init__(self, asked: ModelRequest, *, dry_run: bool = False) -> None:
        self._asked, self._dry_run = asked, dry_run
        self.made = False

    def choose(self) -> tuple[Selection, ModelInfo]:
        """Settle the choice; see the module's text.

        Raises:
            YoloError: What was asked for cannot be had.
        """
        asked = self._asked
        if asked.engine not in (AUTO, *ENGINES):
            raise YoloError("unknown engine", asked.engine, f"one of {', '.join((AUTO, *ENGINES))}")
        if not 0 <= asked.limit <= 1:
            raise YoloError("precision_limit out of range", asked.limit, "0 to 1")
        kept = kept_selection(asked)
        if kept is not None:
            check_precision(kept.engine, kept.precision)
            check_limit(asked, kept)
            return kept, load_info(kept.model_dir)
        check_precision(engines_for(asked.kind)[0] if asked.engine == AUTO else asked.engine, asked.precision)
        check_kind(asked.engine, asked.precision, asked.kind, self._source_name())
        info = self._base()
        info.input_size(asked.imgsz)
        folder, found = self._precision(info)
        choice = self._engine(info, folder, found)
        check_limit(asked, choice)
        return choice, info

    def _source_name(self) -> str:
        names = sorted(path.name for path in self._asked.weights.source.glob("*"))
        return names[0] if len(names) == 1 else str(self._asked.weights.source)

    def _make(self) -> None:
        if self._dry_run:
            raise _WouldMakeError
        self.made = True

    def _base(self) -> ModelInfo:
        weights = self._asked.weights
        if not is_prepared(weights.model):
            self._make()
        return prepare(weights.source, self._asked.kind, 0, weights.model)

    def _form(self, engine: str, info: ModelInfo) -> Path:
        if not is_prepared(self._asked.weights.form(engine)):
            self._make()
        return export_for(engine, self._asked.weights.source, self._asked.kind, self._asked.weights, info)

    def _sized(self, info: ModelInfo) -> ModelInfo:
        return replace(info, imgsz=info.input_size(self._asked.imgsz))

    def _sample(self, info: ModelInfo, engine: Engine, minimum: int, count: int) -> list[np.ndarray]:
        return calibrate.read_sample(
            calibrate.pick(self._asked.run.manifest, count),
            self._asked.input_dir,
            info.imgsz,
            rectangular=engine.dynamic,
            stride=info.stride,
            purpose=f"precision {self._asked.precision}",
            minimum=minimum,
            count=count,
        )

    def _precision(self, info: ModelInfo) -> tuple[Path | None, dict[str, Any]]:
        """Return the folder of the quantised model, if any, and the difference from fp32."""
        asked, sized = self._asked, self._sized(info)
        if asked.precision == "int8":
            if info.precision == "int8":
                raise YoloError(
                    "the weights are INT8 already", info.source_name, remedy="leave precision out: they run as they are"
                )
            token = calibrate.sample_id(calibrate.pick(asked.run.manifest), sized.imgsz)
            folder = asked.weights.int8(token)
            if not is_prepared(folder):
                self._make()
                make_folder(folder, lambda temp: self._quantise(sized, temp))
            return folder, load_info(folder).difference
        if asked.precision == "bf16":
            token = _token([cpu_model(), calibrate.sample_id(calibrate.pick(asked.run.manifest), sized.imgsz)])
            path = asked.weights.measured / f"bf16-{token}.json"
            found = read_object(path)
            if found is None:
                self._make()
                reference = load_engine(asked.weights.model, sized, threads=asked.threads)
                other = load_engine(asked.weights.model, sized, threads=asked.threads, precision="bf16")
                pictures = self._sample(sized, reference, 1, _BF16_IMAGES)
                found = agreement.compare(
                    *(agreement.detections(engine, sized, pictures) for engine in (reference, other))
                )
                write_json(path, found)
            return None, found
        return None, {}

    def _quantise(self, info: ModelInfo, folder: Path) -> ModelInfo:
        asked = self._asked
        float_form = self._form("onnxruntime", info)
        reference = load_engine(asked.weights.model, info, threads=asked.threads)
        pictures = self._sample(info, reference, calibrate.MIN_IMAGES, calibrate.MAX_IMAGES)
        calibrate.quantise(float_form / MODEL_ONNX, pictures, folder)
        quantised = load_engine(folder, info, threads=asked.threads, engine="openvino", precision="int8")
        if quantised.dynamic != reference.dynamic:
            # This engine takes one size only.
            pictures = self._sample(info, quantised, calibrate.MIN_IMAGES, calibrate.MAX_IMAGES)
        found = agreement.compare(*(agreement.detections(engine, info, pictures) for engine in (reference, quantised)))
        return replace(info, precision="int8", difference=found)

    def _engine(self, info: ModelInfo, folder: Path | None, found: dict[str, Any]) -> Selection:
        asked = self._asked
        if asked.engine != AUTO:
            return Selection(asked.engine, asked.precision, folder or self._form(asked.engine, info), {}, found)
        candidates = [e for e in engines_for(asked.kind) if e != "torch" and e in ENGINES_OF[asked.precision]]
        if len(candidates) == 1:
            return Selection(candidates[0], asked.precision, folder or self._form(candidates[0], info), {}, found)
        sized = self._sized(info)
        host = {
            "cpu_model": cpu_model(),
            "cores": os.cpu_count() or 1,
            "flags": sorted(cpu_flags().intersection(_FLAGS)),
            "threads": asked.threads,
            "input": list(sized.imgsz),
        }
        versions = engine_versions(candidates)
        path = asked.weights.measured / f"engines-{_token([host, versions, folder.name if folder else ''])}.json"
        measured = read_object(path)
        if measured is None:
            self._make()
            measured = self._measure(candidates, info, folder) | host | {"versions": versions}
            write_json(path, measured)
        engine = fastest(measured["ms"])
        return Selection(engine, asked.precision, folder or self._form(engine, info), measured, found)

    def _measure(self, candidates: Sequence[str], info: ModelInfo, folder: Path | None) -> dict[str, Any]:
        asked, sized = self._asked, self._sized(info)
        engines, failed = {}, {}
        for name in candidates:
            try:
                engines[name] = load_engine(
                    folder or self._form(name, info),
                    sized,
                    threads=asked.threads,
                    engine=name,
                    precision=asked.precision,
                )
            except YoloError as error:
                # Without its reason in the run's output, this would be a silent fall back.
                failed[name] = str(error)
        if not engines:
            raise YoloError("no engine can run the weights", "; ".join(failed.values()))
        return {"ms": measure(engines, sized.imgsz), "failed": failed}


def measure(engines: dict[str, Engine], size: tuple[int, int]) -> dict[str, float]:
    """Time engines on one input, in turns, so that a busy moment hits all of them.

    Args:
        engines: By name.
        size: (height, width) of the input.

    Returns:
        Median milliseconds of a forward pass, by name.
    """
    grey = np.full((1, 3, *size), PADDING / 255, np.float32)
    for engine in engines.values():
        for _ in range(_WARM_UP):
            engine.infer(grey)
    times: dict[str, list[float]] = {name: [] for name in engines}
    end = time.perf_counter() + _SECONDS
    low, high = _ROUNDS
    for turn in range(high):
        if turn >= low and time.perf_counter() > end:
            break
        for name, engine in engines.items():
            start = time.perf_counter()
            engine.infer(grey)
            times[name].append((time.perf_counter() - start) * 1000)
    return {name: round(statistics.median(values), 2) for name, values in times.items()}


def fastest(ms: dict[str, float]) -> str:
    """Return the fastest engine, or the first of those that are as fast up to a margin."""
    limit = min(ms.values()) * (1 + _MARGIN)
    return next(name for name, value in ms.items() if value <= limit)


def engine_versions(engines: Sequence[str]) -> dict[str, str]:
    """Return installed versions without importing anything; empty for what is not there."""
    from importlib import metadata

    found = {}
    for name in engines:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = ""
    return found


def _token(value: Any) -> str:
    return hashlib.sha256(dumps(value).encode()).hexdigest()[:16]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's text."""
    parser = argparse.ArgumentParser(
        prog="python -m yolo.model.selector", description="Make the model of a run and settle its engine."
    )
    add_arguments(parser)
    parser.add_argument("--dry-run", action="store_true", help="make nothing, say whether something would be made")
    args = parser.parse_args(argv)
    asked = asked_by(args)
    chooser = EngineSelector(asked, dry_run=args.dry_run)
    try:
        with stdout_to_stderr():
            choice, info = chooser.choose()
    except _WouldMakeError:
        print(dumps({"made": True}))
        return 0
    print(dumps(answer(asked, choice, info, made=chooser.made)))
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
