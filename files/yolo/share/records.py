"""What the parts hand to each other through files: manifest entries, records, reports.

All of them are JSON; the dataclasses here are the only readers and writers.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from .fsio import dumps

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

DIGEST_LENGTH = 16
STAGES = ("read", "infer", "draw", "write")
"""What is timed for each image, in milliseconds as ``<stage>_ms``."""


Span = tuple[int, int]
"""Where in a container a file's content stands: offset and length, bytes."""


class Detection(NamedTuple):
    """One object found in an image.

    Attributes:
        class_id: Index of the class in the model's names.
        score: Confidence, 0 to 1.
        box: x1, y1, x2, y2 in pixels of the original image, origin at its top left.
    """

    class_id: int
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the manifest, and of a chunk.

    Attributes:
        index: Position in the manifest, from 0.
        key: ``layout.image_key(path)``.
        path: Path relative to the input folder; undecodable bytes as surrogates.
        label: Path of its label file relative to ``labels/``.
        size: Bytes.
        mtime_ns: Modification time, nanoseconds since the epoch.
        skip: Why this file can't be an image, or None.
        content: ``contents.digest`` of its bytes; None where nobody read it.
        image: Path of its annotated image relative to ``images/``, where that is not ``path``.
    """

    index: int
    key: str
    path: str
    label: str
    size: int
    mtime_ns: int
    skip: str | None = None
    content: str | None = None
    image: str | None = None

    @property
    def annotated(self) -> str:
        """Path of its annotated image relative to ``images/``."""
        return self.image or self.path

    def to_json(self) -> str:
        """Return the entry as one line of JSON, without the newline."""
        return dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Entry:
        """Return the entry in a line of the manifest.

        Raises:
            ValueError: The line is not a manifest entry.
        """
        return load_dataclass(cls, text)


@dataclass(frozen=True, slots=True)
class Record:
    """What became of one image.

    Attributes:
        key: Key of the image.
        path: Path relative to the input folder.
        size: Bytes of the input, as in the manifest entry that the job worked from.
        mtime_ns: Its modification time, as in that entry.
        settings_digest: :func:`settings_digest` of the run's settings.
        width: Pixels of the original image; 0 when it could not be read.
        height: Pixels of the original image; 0 when it could not be read.
        detections: Highest score first; empty when it failed.
        error: Why the image failed, in one line, or None.
        times: Milliseconds: ``read_ms``, ``infer_ms``, ``draw_ms``, ``write_ms``.
        host: Execute host.
        slot: Slot on that host, e.g. ``slot1_1``.
        job: ``<submission>-<chunk>``.
        content: ``contents.digest`` of the bytes that were worked on; None where they could not be read.
        warning: What is odd about the file, though it was used; None where nothing is.
        container: Name of the container with its results; empty when it failed.
        image_at: Where in the container its annotated image stands; None where there is none.
        label_at: Where its label file stands.
        written: When both were written, seconds since the epoch by the host's clock.
    """

    key: str
    path: str
    size: int
    mtime_ns: int
    settings_digest: str
    width: int = 0
    height: int = 0
    detections: tuple[Detection, ...] = ()
    error: str | None = None
    times: dict[str, float] = field(default_factory=dict)
    host: str = ""
    slot: str = ""
    job: str = ""
    content: str | None = None
    warning: str | None = None
    container: str = ""
    image_at: Span | None = None
    label_at: Span | None = None
    written: int = 0

    def to_json(self) -> str:
        """Return the record as compact JSON; a detection is [class, score, x1, y1, x2, y2].

        Floats are written so that they read back exactly.

        Raises:
            ValueError: A number is NaN or infinite.
        """
        value = {f.name: getattr(self, f.name) for f in fields(self)}
        value["detections"] = [[d.class_id, d.score, *d.box] for d in self.detections]
        return dumps(value)

    @classmethod
    def from_json(cls, text: str | bytes) -> Record:
        """Return the record in ``text``.

        Raises:
            ValueError: The text is not a record, e.g. because it is cut short.
        """
        value = _load(text)
        try:
            value["detections"] = tuple(
                Detection(int(c), float(s), (float(x1), float(y1), float(x2), float(y2)))
                for c, s, x1, y1, x2, y2 in value.get("detections", ())
            )
        except (TypeError, ValueError) as error:
            raise ValueError(f"not a record: detections: {error}") from None
        for name in ("image_at", "label_at"):
            value[name] = _span(value.get(name))
        return load_dataclass(cls, value)


def _span(value: Any) -> Span | None:
    if value is None:
        return None
    if not (isinstance(value, list) and len(value) == 2 and all(isinstance(number, int) for number in value)):
        raise ValueError(f"not a record: place in the container {value!r}")
    return value[0], value[1]


def label_text(detections: Iterable[Detection], width: int, height: int) -> str:
    """Return a YOLO label file with confidence, as ultralytics' ``save_txt`` writes it.

    One line for each object: class, centre x, centre y, width, height (fractions of the image),
    score; six significant digits. Empty when nothing was found.

    Args:
        detections: Objects of the image.
        width: Pixels of the image.
        height: Pixels of the image.
    """
    lines = []
    for index, score, (x1, y1, x2, y2) in detections:
        centre = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height)
        size = ((x2 - x1) / width, (y2 - y1) / height)
        lines.append(f"{index} " + " ".join(f"{v:g}" for v in (*centre, *size, score)))
    return "".join(line + "\n" for line in lines)


JSON_STRING = rb'"[^"\\\x00-\x1f]*(?:\\.[^"\\\x00-\x1f]*)*"'
"""Pattern of a string in JSON."""

_HALF = (1 << 64) - 1
_NUMBERS = rb"[-\d.eE+,\[\]]*"
_RECORD = re.compile(
    rb'\{"key":"([0-9a-f]{16})","path":%b,"size":(\d+),"mtime_ns":(-?\d+),"settings_digest":"([0-9a-f]+)",'
    rb'"width":\d+,"height":\d+,"detections":\[%b\],"error":null,"times":\{[^{}\\\x00-\x1f]*\},'
    rb'"host":%b,"slot":%b,"job":%b,"content":(?:null|"([0-9a-f]{32})"),"warning":(?:null|%b),"container":"([\w.-]*)"'
    rb'(?:,"\w+":(?:%b|[\w.+-]+|\[\d+,\d+\]))*\}\s*'
    % (JSON_STRING, _NUMBERS, JSON_STRING, JSON_STRING, JSON_STRING, JSON_STRING, JSON_STRING)
)


class RecordHeader(NamedTuple):
    """What is asked of a record when nobody asks for its detections, see :class:`Record`."""

    key: str
    size: int
    mtime_ns: int
    settings_digest: str
    failed: bool
    content: str | None = None
    container: str = ""


def parse_record(text: bytes) -> RecordHeader:
    """Return what tells whether a record counts, several times as fast as :meth:`Record.from_json`.

    Raises:
        ValueError: The text is not a record, e.g. because it is cut short.
    """
    # Good records as this package writes them, without building their detections.
    if match := _RECORD.fullmatch(text):
        key, size, mtime_ns, digest, content, container = match.groups()
        found = content.decode("ascii") if content is not None else None
        head = key.decode("ascii"), int(size), int(mtime_ns), digest.decode("ascii")
        return RecordHeader(*head, False, found, container.decode("ascii"))
    record = Record.from_json(text)
    if not re.fullmatch("[0-9a-f]{16}", str(record.key)):
        raise ValueError(f"not a record: key {record.key!r}")
    failed = record.error is not None
    head = record.key, record.size, record.mtime_ns, record.settings_digest
    return RecordHeader(*head, failed, record.content, record.container)


def fingerprint(size: int, mtime_ns: int, content: str | None) -> int:
    """Return what tells files apart, for :func:`is_same_file`: one number, as a million of them must fit in memory."""
    by_date = hash((size, mtime_ns)) & _HALF
    by_content = (int(content[:16], 16) or 1) if content else 0
    return by_date << 64 | by_content


def is_same_file(recorded: int | None, wanted: int) -> bool:
    """Whether a fingerprint in a record is that of the file in question.

    By content where it is known of both, else by size and date.
    """
    if recorded is None:
        return False
    if recorded & _HALF and wanted & _HALF:
        return recorded & _HALF == wanted & _HALF
    return recorded >> 64 == wanted >> 64


@dataclass(frozen=True, slots=True)
class Progress:
    """Heartbeat of a job, replaced every two seconds at most.

    Attributes:
        done: Images finished so far, failed ones included.
        total: Images of the chunk.
        failed: Images that failed so far.
        host: Execute host.
        updated: Seconds since the epoch.
    """

    done: int
    total: int
    failed: int = 0
    host: str = ""
    updated: float = 0.0

    def to_json(self) -> str:
        """Return the heartbeat as compact JSON."""
        return dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Progress:
        """Return the heartbeat in ``text``.

        Raises:
            ValueError: The text is not a heartbeat.
        """
        return load_dataclass(cls, text)


@dataclass(frozen=True, slots=True)
class JobReport:
    """What a job writes about itself at its end.

    Attributes:
        submission: Plan of its chunk.
        chunk: Its chunk.
        host: Execute host.
        slot: Slot on that host.
        cpus: CPUs of the slot.
        threads: Threads that the engine was given.
        start: When the job's process began, seconds since the epoch by the host's clock.
        end: When its last image was done: ``start`` and the time since, by a clock that does not jump.
        seconds: Sums over the job: ``start`` (imports and loading the model), ``read``,
            ``infer``, ``draw``, ``write``.
        images: Images of the chunk, failed ones included.
        failed: Images that failed.
        cpu_model: Name of the CPU.
        versions: Versions by name, e.g. python, openvino, opencv, numpy, yolo.
        clock_ahead: Seconds by which the host's clock was ahead of the share's when the job began; None if not known.
        clock_jump: Seconds by which the host's clock jumped while the job ran.
    """

    submission: str
    chunk: str
    host: str
    slot: str
    cpus: int
    threads: int
    start: float
    end: float
    seconds: dict[str, float]
    images: int
    failed: int = 0
    cpu_model: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    clock_ahead: float | None = None
    clock_jump: float = 0.0

    def to_json(self) -> str:
        """Return the report as compact JSON."""
        return dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> JobReport:
        """Return the report in ``text``.

        Raises:
            ValueError: The text is not a job's report.
        """
        return load_dataclass(cls, text)


def settings_digest(settings: Mapping[str, Any]) -> str:
    """Return 16 hex digits that change when the settings of a run change its results.

    Args:
        settings: The run's settings (``run.json``). Used: ``conf``, ``iou``, ``imgsz``,
            ``classes`` (null or empty: all; order and repeats don't count), ``max_det``,
            ``save_images`` (default true), ``annotated_size`` (of drawn images), ``decode``, ``engine``,
            ``precision`` and the model: ``weights_id`` if
            given, else the name of the directory above ``model_dir``. INT8 weights are also
            known by their own directory, since they depend on the images of their calibration.

    Raises:
        KeyError: A setting is missing.
    """
    model = settings.get("weights_id") or PurePath(settings["model_dir"]).parent.name
    value = {
        "conf": float(settings["conf"]),
        "iou": float(settings["iou"]),
        "imgsz": int(settings["imgsz"]),
        "classes": sorted({str(c) for c in settings.get("classes") or ()}),
        "max_det": int(settings["max_det"]),
        "save_images": bool(settings.get("save_images", True)),
        "model": str(model),
    }
    computed = (str(settings.get("engine") or "openvino"), str(settings.get("precision") or "fp32"))
    # Left out as long as there was nothing else: records of those runs still count.
    if computed != ("openvino", "fp32"):
        value["engine"], value["precision"] = computed
    if computed[1] == "int8":
        value["quantised"] = PurePath(settings["model_dir"]).name
    decode = str(settings.get("decode") or "exact")
    if decode != "exact":
        value["decode"] = decode
    size = int(settings.get("annotated_size") or 0)
    if size and value["save_images"]:
        value["annotated_size"] = size
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:DIGEST_LENGTH]


def _load(text: str | bytes) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, got {type(value).__name__}")
    return value


def load_dataclass(cls: type[T], source: str | bytes | dict[str, Any]) -> T:
    """Return the dataclass in a line of JSON, or in what such a line holds; the types of its values are not checked.

    Raises:
        ValueError: It is not that.
    """
    value = source if isinstance(source, dict) else _load(source)
    names = [f.name for f in fields(cls)]
    try:
        # Unknown names are left out, so that an older reader survives a newer writer.
        return cls(**{name: value[name] for name in names if name in value})
    except TypeError as error:
        raise ValueError(f"not a {cls.__name__}: {error}") from None
