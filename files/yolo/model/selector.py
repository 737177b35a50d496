"""Select what the jobs of a run compute with: engine, precision and the folder of the model.

It runs as a job of the pool before the others (``yolo.pool.prepare``), with the run's manifest on the share. It makes
what is missing: export formats (``export_formats``), INT8 weights (``calibrate``) and, with the engine "auto", the
measurement that decides (``measurement``). Each is kept on the share for each type of host. A run keeps its selection:
its detections must not depend on the host that a job lands on, nor change half way.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..share.errors import YoloError
from ..share.fsio import dumps, write_json
from ..share.layout import MODEL_ONNX
from ..share.limits import AUTO, ENGINES, IMGSZ_MAX, IMGSZ_MIN
from . import agreement, calibrate, measurement
from .cpu import cpu_flags, cpu_model
from .engines import ENGINES_OF, Engine, check_precision, load_engine
from .export_formats import check_kind, engines_for, export_for
from .folder import make_folder
from .info import ModelInfo, is_prepared, load_info
from .prepare import prepare
from .selection import ModelRequest, Selection, check_limit, kept_selection, read_object

#: What changes how fast an engine is, or what it can compute in.
_FLAGS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8", "avx512_bf16", "amx_bf16")
_BF16_IMAGES = 16
_PHOTOS = 16


class EngineSelector:
    """Selects engine and precision, and makes what is missing for them.

    Args:
        request: What was asked for.

    Attributes:
        made: Whether anything was made.
    """

    def __init__(self, request: ModelRequest) -> None:
        self._request = request
        self.made = False

    def select(self) -> tuple[Selection, ModelInfo]:
        """Return the selection and the description of the model; see the module's text.

        Raises:
            YoloError: What was asked for cannot be had.
        """
        request = self._request
        if request.engine not in (AUTO, *ENGINES):
            raise YoloError("unknown engine", request.engine, f"one of {', '.join((AUTO, *ENGINES))}")
        if not 0 <= request.limit <= 1:
            raise YoloError("precision_limit out of range", request.limit, "0 to 1")
        if request.imgsz and not IMGSZ_MIN <= request.imgsz <= IMGSZ_MAX:
            raise YoloError("imgsz out of range", request.imgsz, f"0, or {IMGSZ_MIN} to {IMGSZ_MAX}")
        kept = kept_selection(request)
        if kept is not None:
            check_precision(kept.engine, kept.precision)
            check_limit(request, kept)
            return kept, load_info(kept.model_dir)
        engine = engines_for(request.kind)[0] if request.engine == AUTO else request.engine
        check_precision(engine, request.precision)
        check_kind(request.engine, request.precision, request.kind, self._source_name())
        info = self._prepare()
        info.input_size(request.imgsz)
        folder, difference = self._apply_precision(info)
        selection = self._select_engine(info, folder, difference)
        check_limit(request, selection)
        if request.decode == "fast":
            selection = replace(selection, decode_difference=self._decode_difference(info, selection))
        return selection, info

    def _source_name(self) -> str:
        names = sorted(path.name for path in self._request.weights.source.glob("*"))
        return names[0] if len(names) == 1 else str(self._request.weights.source)

    def _prepare(self) -> ModelInfo:
        weights = self._request.weights
        if not is_prepared(weights.model):
            self.made = True
        return prepare(weights.source, self._request.kind, weights.model, self._request.trust)

    def _export(self, engine: str, info: ModelInfo) -> Path:
        weights = self._request.weights
        if not is_prepared(weights.export(engine)):
            self.made = True
        return export_for(engine, weights.source, self._request.kind, weights, info, self._request.trust)

    def _sized(self, info: ModelInfo) -> ModelInfo:
        """Return the description with the input size that the run asks for."""
        return replace(info, imgsz=info.input_size(self._request.imgsz))

    def _sample(self, info: ModelInfo, engine: Engine, minimum: int, count: int) -> list[np.ndarray]:
        request = self._request
        return calibrate.read_sample(
            calibrate.pick(request.run.manifest, count),
            request.input_dir,
            info.imgsz,
            rectangular=engine.dynamic,
            stride=info.stride,
            purpose=f"precision {request.precision}",
            minimum=minimum,
            count=count,
        )

    def _apply_precision(self, info: ModelInfo) -> tuple[Path | None, dict[str, Any]]:
        """Return the folder of the quantised model, if any, and the difference of the detections from fp32."""
        sized = self._sized(info)
        if self._request.precision == "int8":
            return self._int8(sized)
        if self._request.precision == "bf16":
            return None, self._bf16_difference(sized)
        return None, {}

    def _int8(self, info: ModelInfo) -> tuple[Path, dict[str, Any]]:
        request = self._request
        if info.precision == "int8":
            raise YoloError(
                "the weights are INT8 already", info.source_name, remedy="leave precision out: they run as they are"
            )
        token = calibrate.sample_id(calibrate.pick(request.run.manifest), info.imgsz)
        folder = request.weights.int8(token)
        if not is_prepared(folder):
            self.made = True
            make_folder(folder, lambda temp: self._quantise(info, temp))
        return folder, load_info(folder).difference

    def _quantise(self, info: ModelInfo, folder: Path) -> ModelInfo:
        request = self._request
        onnx = self._export("onnxruntime", info) / MODEL_ONNX
        reference = load_engine(request.weights.model, info, threads=request.threads)
        images = self._sample(info, reference, calibrate.MIN_IMAGES, calibrate.MAX_IMAGES)
        calibrate.quantise(onnx, images, folder)
        quantised = load_engine(folder, info, threads=request.threads, engine="openvino", precision="int8")
        if quantised.dynamic != reference.dynamic:
            # This engine takes one size only.
            images = self._sample(info, quantised, calibrate.MIN_IMAGES, calibrate.MAX_IMAGES)
        difference = _compare(reference, quantised, info, images)
        return replace(info, precision="int8", difference=difference)

    def _bf16_difference(self, info: ModelInfo) -> dict[str, Any]:
        request = self._request
        sample = calibrate.sample_id(calibrate.pick(request.run.manifest), info.imgsz)
        path = request.weights.measured / f"bf16-{_token([cpu_model(), sample])}.json"
        difference = read_object(path)
        if difference is None:
            self.made = True
            reference = load_engine(request.weights.model, info, threads=request.threads)
            other = load_engine(request.weights.model, info, threads=request.threads, precision="bf16")
            difference = _compare(reference, other, info, self._sample(info, reference, 1, _BF16_IMAGES))
            write_json(path, difference)
        return difference

    def _decode_difference(self, info: ModelInfo, selection: Selection) -> dict[str, Any]:
        """Return how far fast decoding changes the detections; see ``agreement.compare``."""
        request, sized = self._request, self._sized(info)
        entries = calibrate.pick(request.run.manifest)
        chosen = [selection.engine, selection.precision, selection.model_dir.name]
        path = request.weights.measured / f"decode-{_token([*chosen, calibrate.sample_id(entries, sized.imgsz)])}.json"
        difference = read_object(path)
        if difference is None:
            self.made = True
            engine = load_engine(
                selection.model_dir,
                sized,
                threads=request.threads,
                engine=selection.engine,
                precision=selection.precision,
            )
            pairs = calibrate.read_photos(
                entries,
                request.input_dir,
                sized.imgsz,
                rectangular=engine.dynamic,
                stride=sized.stride,
                count=_PHOTOS,
            )
            found = [agreement.detections(engine, sized, [pair[side] for pair in pairs]) for side in (0, 1)]
            difference = agreement.compare(*found)
            write_json(path, difference)
        return difference

    def _select_engine(self, info: ModelInfo, folder: Path | None, difference: dict[str, Any]) -> Selection:
        """Select the engine.

        Args:
            info: Description of the model.
            folder: Of the quantised model; None for each engine's own export.
            difference: Of the detections from fp32.
        """
        request = self._request
        engine, measured = request.engine, {}
        if engine == AUTO:
            able = ENGINES_OF[request.precision]
            candidates = [name for name in engines_for(request.kind) if name != "torch" and name in able]
            if len(candidates) > 1:
                measured = self._measured(candidates, info, folder)
            engine = measurement.fastest(measured["ms"]) if measured else candidates[0]
        return Selection(engine, request.precision, folder or self._export(engine, info), measured, difference)

    def _measured(self, candidates: Sequence[str], info: ModelInfo, folder: Path | None) -> dict[str, Any]:
        """Return how fast the engines are on this type of host: measured before, or now."""
        sized = self._sized(info)
        host = {
            "cpu_model": cpu_model(),
            "cores": os.cpu_count() or 1,
            "flags": sorted(cpu_flags().intersection(_FLAGS)),
            "threads": self._request.threads,
            "input": list(sized.imgsz),
        }
        versions = measurement.engine_versions(candidates)
        token = _token([host, versions, folder.name if folder else ""])
        path = self._request.weights.measured / f"engines-{token}.json"
        measured = read_object(path)
        if measured is None:
            self.made = True
            measured = self._measure(candidates, info, folder) | host | {"versions": versions}
            write_json(path, measured)
        return measured

    def _measure(self, candidates: Sequence[str], info: ModelInfo, folder: Path | None) -> dict[str, Any]:
        request, sized = self._request, self._sized(info)
        engines, failed = {}, {}
        for name in candidates:
            try:
                engines[name] = load_engine(
                    folder or self._export(name, info),
                    sized,
                    threads=request.threads,
                    engine=name,
                    precision=request.precision,
                )
            except YoloError as error:
                # Without its reason in the run's output, this would be a silent fallback.
                failed[name] = str(error)
        if not engines:
            raise YoloError("no engine can run the weights", "; ".join(failed.values()))
        return {"ms": measurement.measure(engines, sized.imgsz), "failed": failed}


def _compare(reference: Engine, other: Engine, info: ModelInfo, images: Sequence[np.ndarray]) -> dict[str, Any]:
    return agreement.compare(*(agreement.detections(engine, info, images) for engine in (reference, other)))


def _token(value: Any) -> str:
    return hashlib.sha256(dumps(value).encode()).hexdigest()[:16]
