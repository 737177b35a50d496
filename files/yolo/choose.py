"""Settle what the jobs of a run compute with: engine, precision, and the folder of the model.

Runs on an execute host before the jobs, with the run's manifest on the share::

    python -m yolo.choose --weights <share>/weights/<id> --kind pt|onnx|openvino --run-dir <share>/runs/<run_id> \
        --input-dir DIR --engine auto --precision fp32

Makes what is missing: forms of the model (``yolo.prepare``, ``yolo.forms``), INT8 (``yolo.calibrate``), and with
``--engine auto`` the measurement that decides. It is kept on the share for each type of host. A run keeps its choice:
its detections must not depend on the host that a job lands on, nor change half way.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from . import calibrate, difference
from .errors import YoloError, run_cli
from .forms import check_kind, engines_for, make_form
from .fsio import dumps, read_json, write_json
from .layout import MODEL_ONNX, Run, Weights
from .letterbox import PADDING
from .model import (
    ENGINES,
    ENGINES_OF,
    PRECISIONS,
    Engine,
    ModelInfo,
    check_precision,
    cpu_flags,
    cpu_model,
    load_engine,
    load_info,
)
from .prepare import KINDS, is_prepared, make_folder, prepare, stdout_to_stderr

AUTO = "auto"
#: What changes how fast an engine is, or what it can compute in.
_FLAGS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8", *sorted(("avx512_bf16", "amx_bf16")))
_WARM_UP, _ROUNDS, _SECONDS = 2, (5, 30), 2.0
#: Of two engines that are equally fast, up to this, the first is taken: noise must not decide.
_MARGIN = 0.03
#: Default of the largest difference from fp32, see ``difference.compare``.
LIMIT = 0.15
_BF16_IMAGES = 16


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user asked for.

    Attributes:
        weights: Folder of the weights on the share, with ``source/``.
        kind: What the weights are.
        run: The run; its manifest is there, its settings if it ran before.
        input_dir: Folder of the staged images.
        engine: One of ``model.ENGINES``, or "auto".
        precision: One of ``model.PRECISIONS``.
        imgsz: Side of the network's input; 0 for the model's own.
        threads: Threads of a job's engine.
        limit: Largest difference of detections from fp32, 0 to 1.
    """

    weights: Weights
    kind: str
    run: Run
    input_dir: Path
    engine: str = AUTO
    precision: str = "fp32"
    imgsz: int = 0
    threads: int = 1
    limit: float = LIMIT


@dataclass(frozen=True, slots=True)
class Choice:
    """What the jobs are told, by ``run.json``.

    Attributes:
        engine: One of ``model.ENGINES``.
        precision: One of ``model.PRECISIONS``.
        model_dir: The model folder.
        measured: How ``auto`` chose: ``ms`` for each engine, ``failed`` with the reason of those that do not run,
            ``cpu_model``, ``cores``, ``flags``, ``threads``, ``input``, ``versions``; empty where there was no choice.
        difference: From fp32, see ``difference.compare``; empty for fp32.
    """

    engine: str
    precision: str
    model_dir: Path
    measured: dict[str, Any] = field(default_factory=dict)
    difference: dict[str, Any] = field(default_factory=dict)

    def sentence(self) -> str:
        """Say in one line what was chosen and why."""
        text = f"engine {self.engine}, precision {self.precision}"
        if self.measured:
            times = ", ".join(f"{name} {ms:g} ms" for name, ms in self.measured["ms"].items())
            text += f" (measured on {self.measured['cpu_model']}, {self.measured['threads']} thread(s): {times}"
            text += "".join(f"; {name} does not run: {why}" for name, why in self.measured["failed"].items()) + ")"
        if self.difference:
            d = self.difference
            text += (
                f"; detections differ from fp32 by {d['difference']:.1%} (F1 {d['f1']:g} on {d['images']} images, "
                f"scores by {d['score']:g})"
            )
        return text


class _WouldMakeError(Exception):
    """A dry run came to something that is not there yet."""


class Chooser:
    """Makes what is missing and settles the choice.

    Args:
        asked: What was asked for.
        dry_run: Make nothing.

    Attributes:
        made: Whether anything was made.
    """

    def __init__(self, asked: Asked, *, dry_run: bool = False) -> None:
        self._asked, self._dry_run = asked, dry_run
        self.made = False

    def choose(self) -> tuple[Choice, ModelInfo]:
        """Settle the choice; see the module's text.

        Raises:
            YoloError: What was asked for cannot be had.
        """
        asked = self._asked
        if asked.engine not in (AUTO, *ENGINES):
            raise YoloError("unknown engine", asked.engine, f"one of {', '.join((AUTO, *ENGINES))}")
        if not 0 <= asked.limit <= 1:
            raise YoloError("precision_limit out of range", asked.limit, "0 to 1")
        kept = kept_choice(asked)
        if kept is not None:
            check_precision(kept.engine, kept.precision)
            self._check_limit(kept)
            return kept, load_info(kept.model_dir)
        check_precision(engines_for(asked.kind)[0] if asked.engine == AUTO else asked.engine, asked.precision)
        check_kind(asked.engine, asked.precision, asked.kind, self._source_name())
        info = self._base()
        info.input_size(asked.imgsz)
        folder, found = self._precision(info)
        choice = self._engine(info, folder, found)
        self._check_limit(choice)
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
        return make_form(engine, self._asked.weights.source, self._asked.kind, self._asked.weights, info)

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
            found = _read(path)
            if found is None:
                self._make()
                reference = load_engine(asked.weights.model, sized, threads=asked.threads)
                other = load_engine(asked.weights.model, sized, threads=asked.threads, precision="bf16")
                pictures = self._sample(sized, reference, 1, _BF16_IMAGES)
                found = difference.compare(
                    *(difference.detections(engine, sized, pictures) for engine in (reference, other))
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
        found = difference.compare(
            *(difference.detections(engine, info, pictures) for engine in (reference, quantised))
        )
        return replace(info, precision="int8", difference=found)

    def _check_limit(self, choice: Choice) -> None:
        found = choice.difference
        if found and found["difference"] > self._asked.limit:
            raise YoloError(
                f"precision {choice.precision} changes the detections too much",
                f"{found['difference']:g} (1 - F1 against fp32 on {found['images']} images: {found['matched']} of "
                f"{found['reference']} found again, {found['found']} found)",
                f"at most {self._asked.limit:g}, the input precision_limit",
                "run with precision=fp32, or raise precision_limit",
            )

    def _engine(self, info: ModelInfo, folder: Path | None, found: dict[str, Any]) -> Choice:
        asked = self._asked
        if asked.engine != AUTO:
            return Choice(asked.engine, asked.precision, folder or self._form(asked.engine, info), {}, found)
        candidates = [e for e in engines_for(asked.kind) if e != "torch" and e in ENGINES_OF[asked.precision]]
        if len(candidates) == 1:
            return Choice(candidates[0], asked.precision, folder or self._form(candidates[0], info), {}, found)
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
        measured = _read(path)
        if measured is None:
            self._make()
            measured = self._measure(candidates, info, folder) | host | {"versions": versions}
            write_json(path, measured)
        engine = fastest(measured["ms"])
        return Choice(engine, asked.precision, folder or self._form(engine, info), measured, found)

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


def kept_choice(asked: Asked) -> Choice | None:
    """Return what an earlier call settled for the same run and the same wishes."""
    value = _read(asked.run.settings)
    if value is None:
        return None
    same = (asked.weights.root.name, asked.engine, asked.precision, asked.imgsz)
    if (value.get("weights_id"), value.get("engine_asked"), value.get("precision"), value.get("imgsz")) != same:
        return None
    try:
        choice = Choice(
            value["engine"],
            value["precision"],
            Path(value["model_dir"]),
            dict(value["engine_measured"]),
            dict(value["precision_difference"]),
        )
    except (KeyError, TypeError, ValueError):
        return None
    return choice if is_prepared(choice.model_dir) else None


def measure(engines: dict[str, Engine], size: tuple[int, int]) -> dict[str, float]:
    """Time engines on one input, in turns, so that a busy moment hits all of them.

    Args:
        engines: By name.
        size: (height, width) of the input.

    Returns:
        Median milliseconds of a pass, by name.
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


def _read(path: Path) -> dict[str, Any] | None:
    try:
        value = read_json(path)
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's text."""
    parser = argparse.ArgumentParser(
        prog="python -m yolo.choose", description="Make the model of a run and settle its engine."
    )
    parser.add_argument("--weights", type=Path, required=True, help="<share>/weights/<id>, with source/ in it")
    parser.add_argument("--kind", choices=KINDS, required=True, help="what the weights are")
    parser.add_argument("--run-dir", type=Path, required=True, help="<share>/runs/<run_id>, with its manifest")
    parser.add_argument("--input-dir", type=Path, required=True, help="folder of the run's images")
    parser.add_argument("--engine", default=AUTO, help=f"{AUTO} or one of {', '.join(ENGINES)}")
    parser.add_argument("--precision", default="fp32", help=f"one of {', '.join(PRECISIONS)}")
    parser.add_argument("--imgsz", type=int, default=0, help="input side that the run asks for; 0: the model's own")
    parser.add_argument("--threads", type=int, default=1, help="threads of a job's engine")
    parser.add_argument("--limit", type=float, default=LIMIT, help="largest difference from fp32, 0 to 1")
    parser.add_argument("--dry-run", action="store_true", help="make nothing, say whether something would be made")
    args = parser.parse_args(argv)
    asked = Asked(
        weights=Weights(args.weights),
        kind=args.kind,
        run=Run(args.run_dir),
        input_dir=args.input_dir,
        engine=args.engine,
        precision=args.precision,
        imgsz=args.imgsz,
        threads=args.threads,
        limit=args.limit,
    )
    chooser = Chooser(asked, dry_run=args.dry_run)
    try:
        with stdout_to_stderr():
            choice, info = chooser.choose()
    except _WouldMakeError:
        print(dumps({"made": True}))
        return 0
    print(
        dumps(
            {
                "made": chooser.made,
                "model": str(choice.model_dir),
                "engine": choice.engine,
                "precision": choice.precision,
                "measured": choice.measured,
                "difference": choice.difference,
                "sentence": choice.sentence(),
                # (height, width) of what the run's images are fitted into.
                "input": info.input_size(args.imgsz),
                "layout": info.layout,
                "classes": len(info.names),
                "dynamic": info.dynamic,
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
