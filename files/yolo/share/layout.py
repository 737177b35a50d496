"""Where everything stands on the share: the only place where these names are written.

Pure functions of paths, nothing here touches the file system.

::

    <share>/weights/<weights_id>/source/            staged original weights
    <share>/weights/<weights_id>/model/             model.xml model.bin model.json
    <share>/weights/<weights_id>/throughput/      how fast the newest jobs were
    <share>/weights/<weights_id>/{onnx,torch}/      the same for the other engines
    <share>/weights/<weights_id>/int8-<id>/         quantised with that sample of images
    <share>/weights/<weights_id>/measured/          which engine is the fastest, by type of host
    <share>/inputs/<input_id>/<relative path>       staged images
    <share>/code/<code_id>.zip                      this package as staged for a run
    <share>/runs/<run_id>/manifest.jsonl            one line per input file
    <share>/runs/<run_id>/request.json              what the run is asked to do
    <share>/runs/<run_id>/run.json                  the run's settings: what its jobs compute with
    <share>/runs/<run_id>/prepare/                  submit file, output and errors of the job that prepares the model
    <share>/runs/<run_id>/<pass>/...                 see :class:`Pass`
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

FLOAT = "float"
PASSES = ("parallel", "single", FLOAT)
"""A pass goes once over a run's images: on all slots, or on one slot, the serial baseline; or, of a run in int8, on all
slots with the float model, for its quality alone."""

WRITTEN_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp")
"""Suffixes (lower case) whose format annotated images are written in; beside others stands a JPEG."""

IMAGES, LABELS = "images", "labels"
"""Folders of the results: annotated images and label files, each in the input's own tree."""

NAME_MAX = 255
"""Bytes of a file's name, at most: of ext4, XFS and NFS, and of macOS."""

CONTENTS = ".contents.jsonl"
"""Name of the list of what stands where in the containers. Hidden: it is nothing for the user."""

CONTAINERS = ".containers"
"""Folder of a results folder with the containers that were pulled and not yet unpacked."""

CHUNKS, CHUNKS_INDEX = "chunks.jsonl", "chunks.index"
"""Names of a submission's files, see ``chunks``."""

ID_LENGTH = 16
"""Hex digits of an image key, a weights id and a code id."""


def image_key(relpath: str) -> str:
    """Return the key of an image: 16 hex digits of the SHA-256 of its relative path's bytes.

    Args:
        relpath: Path relative to the input folder, ``/`` between parts; bytes that are not
            UTF-8 as surrogates.
    """
    return hashlib.sha256(relpath.encode("utf-8", "surrogateescape")).hexdigest()[:ID_LENGTH]


def submission_name(number: int) -> str:
    """Return the name of the ``number``-th plan, counted from 1: ``s001``."""
    return f"s{number:03d}"


def chunk_name(number: int) -> str:
    """Return the name of a submission's ``number``-th chunk, counted from 0: ``c00000``.

    The number is also the ``ProcId`` of the chunk's job: the queue file lists chunks in order.
    """
    return f"c{number:05d}"


def chunk_number(chunk: str) -> int:
    """Undo :func:`chunk_name`."""
    return int(chunk[1:])


def container_name(submission: str, chunk: str, attempt: int) -> str:
    """Return the name of the container of an attempt at a chunk, beside its journal: ``s001-c00000-1.tar``."""
    return f"{submission}-{chunk}-{attempt}.tar"


def image_path(annotated: str) -> str:
    """Return where an annotated image stands among the results; ``annotated`` as in the manifest."""
    return f"{IMAGES}/{annotated}"


def label_path(label: str) -> str:
    """Return where a label file, YOLO text with confidence, stands among the results; ``label`` as in the manifest."""
    return f"{LABELS}/{label}"


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass of a run: ``<share>/runs/<run_id>/<pass>``."""

    root: Path

    @property
    def chunks(self) -> Path:
        """Directory with one directory per plan."""
        return self.root / "chunks"

    def submission_dir(self, submission: str) -> Path:
        """Directory of what a submission is."""
        return self.chunks / submission

    def submission_summary(self, submission: str) -> Path:
        """What the submission holds: number of chunks and images, and what it found done before."""
        return self.chunks / submission / "submission.json"

    def submitted(self, submission: str) -> Path:
        """When a submission's jobs were submitted, and their ClusterId."""
        return self.chunks / submission / "submitted.json"

    def queue(self, submission: str) -> Path:
        """The names of a submission's chunks, one a line, for ``queue chunk from``."""
        return self.chunks / submission / "queue.txt"

    def chunks_file(self, submission: str) -> Path:
        """The chunks of a submission, one after the other: lines of the manifest, see ``chunks``."""
        return self.chunks / submission / CHUNKS

    def chunks_index(self, submission: str) -> Path:
        """Where in that file each chunk begins, and where the last one ends."""
        return self.chunks / submission / CHUNKS_INDEX

    @property
    def progress_dir(self) -> Path:
        """Directory of the jobs' heartbeats."""
        return self.root / "progress"

    def progress(self, submission: str, chunk: str) -> Path:
        """Heartbeat of a chunk's job, a ``records.Progress``."""
        return self.progress_dir / f"{submission}-{chunk}.json"

    @property
    def logs_dir(self) -> Path:
        """Directory of the jobs' standard output and error."""
        return self.root / "logs"

    def stdout(self, submission: str, chunk: str) -> Path:
        """Standard output of a chunk's job."""
        return self.logs_dir / f"{submission}-{chunk}.out"

    def stderr(self, submission: str, chunk: str) -> Path:
        """Standard error of a chunk's job."""
        return self.logs_dir / f"{submission}-{chunk}.err"

    @property
    def records_dir(self) -> Path:
        """Directory of the records, see ``journal``."""
        return self.root / "records"

    def records(self, submission: str, chunk: str, attempt: int) -> Path:
        """The journal of an attempt at a chunk, counted from 1: a ``records.Record`` a line, then a ``JobReport``."""
        return self.records_dir / f"{submission}-{chunk}-{attempt}.jsonl"

    @property
    def containers_dir(self) -> Path:
        """Directory of the containers, see ``containers``."""
        return self.root / "containers"

    def container(self, name: str) -> Path:
        """A container: annotated images and label files of an attempt, as its records name it."""
        return self.containers_dir / name

    @property
    def contents(self) -> Path:
        """Where in the containers each file of the results stands, a ``containers.Stored`` a line."""
        return self.root / CONTENTS

    @property
    def predictions(self) -> Path:
        """All detections in COCO's results format."""
        return self.root / "predictions.json"

    @property
    def metrics_json(self) -> Path:
        """Figures of the pass."""
        return self.root / "metrics.json"

    @property
    def metrics_csv(self) -> Path:
        """Figures of each image."""
        return self.root / "metrics.csv"


@dataclass(frozen=True, slots=True)
class Run:
    """One run: ``<share>/runs/<run_id>``."""

    root: Path

    @property
    def run_id(self) -> str:
        """Name of the run."""
        return self.root.name

    @property
    def manifest(self) -> Path:
        """One line per input file, see ``records.Entry``."""
        return self.root / "manifest.jsonl"

    @property
    def settings(self) -> Path:
        """Settings of the run."""
        return self.root / "run.json"

    @property
    def request(self) -> Path:
        """What the run is asked to do, see ``request.request``."""
        return self.root / "request.json"

    @property
    def prepare_dir(self) -> Path:
        """Directory of the job that prepares the model: its submit file, output and errors."""
        return self.root / "prepare"

    @property
    def compare(self) -> Path:
        """The two passes set against each other."""
        return self.root / "compare.json"

    def get_pass(self, name: str) -> Pass:
        """Return a pass by name.

        Raises:
            ValueError: ``name`` is not in :data:`PASSES`.
        """
        if name not in PASSES:
            raise ValueError(f"pass {name!r}: expected one of {', '.join(PASSES)}")
        return Pass(self.root / name)


@dataclass(frozen=True, slots=True)
class Weights:
    """Staged weights: ``<share>/weights/<weights_id>``."""

    root: Path

    @property
    def source(self) -> Path:
        """Directory with the weights as the user gave them."""
        return self.root / "source"

    @property
    def model(self) -> Path:
        """Directory with the weights in the export format that every run has: an OpenVINO IR."""
        return self.root / "model"

    def throughput(self, key: str) -> Path:
        """How fast jobs with these weights work, a ``throughput.Throughput``; the key is of the settings in use."""
        return self.root / "throughput" / f"{key}.json"

    def export(self, engine: str) -> Path:
        """Directory with the weights in the format that an engine reads."""
        return self.root / {"openvino": "model", "onnxruntime": "onnx", "torch": "torch"}[engine]

    def int8(self, token: str) -> Path:
        """Directory with the weights quantised with a sample of images."""
        return self.root / f"int8-{token}"

    @property
    def measured(self) -> Path:
        """Directory of what was measured with these weights."""
        return self.root / "measured"


MODEL_XML = "model.xml"
MODEL_BIN = "model.bin"
MODEL_JSON = "model.json"
MODEL_ONNX = "model.onnx"
MODEL_TORCH = "model.torchscript"
"""Files of a model folder: ``MODEL_JSON`` and the format that one engine reads."""


@dataclass(frozen=True, slots=True)
class Share:
    """The shared file system, at the same path on all hosts."""

    root: Path

    def weights(self, weights_id: str) -> Weights:
        """Weights by id: 16 hex digits of their SHA-256."""
        return Weights(self.root / "weights" / weights_id)

    def input(self, input_id: str) -> Path:
        """Directory of a staged input folder."""
        return self.root / "inputs" / input_id

    def code(self, code_id: str) -> Path:
        """Zip to put on PYTHONPATH; holds ``yolo/``."""
        return self.root / "code" / f"{code_id}.zip"

    def run(self, run_id: str) -> Run:
        """Run by id."""
        return Run(self.root / "runs" / run_id)
