"""The job: detect objects in the images of one chunk and write what was found to the share.

::

    python -m yolo.detector.detect --run-dir <share>/runs/<run_id> --pass parallel --chunk s001/c00003

For each image: read, infer, draw; then write the annotated image, the label file and, last, the
record, into the journal of this attempt. A record therefore proves that the other two are whole, and
a job that starts again goes on after the last record. An image that cannot be used gets a record with
the reason, and the job goes on. One thread reads ahead, one infers, one draws and writes: over NFS
reading and creating files is waiting, not work. After a crash the job does one image after the other,
to tell whose fault it is.

Ultralytics is never imported, and torch only as the engine: the process must start quickly.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import itertools
import os
import platform
import queue
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Self

import cv2
import numpy as np

from .. import __version__
from ..model.model import Engine, ModelInfo, cpu_model, load_engine, load_info
from ..share import contents, fsio
from ..share.clocks import share_clock
from ..share.done import read_done
from ..share.errors import YoloError, one_line, run_cli
from ..share.journal import Journal
from ..share.layout import PASSES, Pass, Run
from ..share.limits import IMGSZ_MAX, MAX_DET, THREADS
from ..share.records import Detection, Entry, JobReport, Progress, Record, label_text
from ..share.settings import read_digest, read_settings
from ..vision import draw, nms
from ..vision.decode import DEFAULT_MAX_PIXELS, BadImage, count_pixels, decode_image, read_file
from ..vision.letterbox import letterbox, scale_boxes, to_tensor

HEARTBEAT_SECONDS = 1.0
#: Finished images that may wait for the share: more would only hide that it is too slow.
QUEUE_DEPTH = 8
#: Images that may be read ahead, and that may wait to be drawn: more would only fill the memory.
AHEAD = 2
#: Pixels that may be decoded at a time, 3 bytes each; a larger image goes alone.
MAX_PIXELS_AHEAD = 32_000_000
#: After killing the process this often, an image is recorded as failed.
MAX_CRASHES = 2
EXIT_TERMINATED = 128 + signal.SIGTERM

#: Errors of a path, not of the share: they fail the image, not the job.
_PATH_ERRORS = frozenset({errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.EISDIR, errno.ENOTDIR, errno.ELOOP})


@dataclass(frozen=True, slots=True)
class Settings:
    """What the job takes from ``run.json``.

    Attributes:
        input_dir: Folder of the staged images.
        model_dir: Folder of the prepared model.
        conf: Keep boxes with a score above this.
        iou: Suppress boxes that overlap a better one by more than this.
        imgsz: Side of the network's input, pixels; 0 for the model's own.
        classes: Names or indices of the classes to keep; empty for all.
        max_det: Most boxes of an image.
        save_images: Whether to write annotated images.
        max_pixels: Largest image to decode.
        threads: Threads of the engine; 0 for the slot's cpus.
        engine: One of ``model.ENGINES``.
        precision: One of ``model.PRECISIONS``.
    """

    input_dir: Path
    model_dir: Path
    conf: float
    iou: float
    imgsz: int = 0
    classes: tuple[int | str, ...] = ()
    max_det: int = 300
    save_images: bool = True
    max_pixels: int = DEFAULT_MAX_PIXELS
    threads: int = 0
    engine: str = "openvino"
    precision: str = "fp32"

    @classmethod
    def from_run(cls, value: Mapping[str, Any]) -> Settings:
        """Check the content of ``run.json``.

        Raises:
            YoloError: A setting is missing or has no usable value.
        """
        try:
            settings = cls(
                input_dir=Path(value["input_dir"]),
                model_dir=Path(value["model_dir"]),
                conf=float(value["conf"]),
                iou=float(value["iou"]),
                imgsz=int(value.get("imgsz") or 0),
                classes=tuple(value.get("classes") or ()),
                max_det=int(value["max_det"]),
                save_images=bool(value.get("save_images", True)),
                max_pixels=int(value.get("max_pixels") or DEFAULT_MAX_PIXELS),
                threads=int(value.get("threads") or 0),
                engine=str(value.get("engine") or "openvino"),
                precision=str(value.get("precision") or "fp32"),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise YoloError("run.json lacks a usable setting", f"{type(error).__name__}: {error}") from error
        for name, low, high in (
            ("conf", 0, 1),
            ("iou", 0, 1),
            ("imgsz", 0, IMGSZ_MAX),
            ("max_det", MAX_DET[0], MAX_DET[-1]),
            ("threads", 0, THREADS[-1]),
        ):
            found = getattr(settings, name)
            if not low <= found <= high:
                raise YoloError(f"{name} in run.json out of range", found, f"{low} to {high}")
        return settings


@dataclass(frozen=True, slots=True)
class Slot:
    """Where the job runs.

    Attributes:
        host: Name of the execute host.
        name: Name of the slot, e.g. "slot1_1"; empty outside HTCondor.
        cpus: CPUs that the job may use.
    """

    host: str
    name: str
    cpus: int


def find_slot(environ: Mapping[str, str]) -> Slot:
    """Find out where the job runs from what HTCondor tells it, else from the system."""
    ad: dict[str, str] = {}
    with contextlib.suppress(KeyError, OSError):
        text = Path(environ["_CONDOR_MACHINE_AD"]).read_text(encoding="utf-8", errors="replace")
        ad = dict(re.findall(r'^(\w+) = "?(.*?)"?$', text, re.MULTILINE))
    cpus = ad.get("Cpus", "")
    return Slot(
        host=ad.get("Machine") or socket.gethostname(),
        name=environ.get("_CONDOR_SLOT") or ad.get("Name", "").partition("@")[0],
        cpus=int(cpus) if cpus.isdecimal() and int(cpus) else len(os.sched_getaffinity(0)),
    )


def choose_threads(asked: int, settings: Settings, slot: Slot, environ: Mapping[str, str]) -> int:
    """Return the number of threads: asked for, else set for the run, else the slot's cpus.

    HTCondor puts the slot's cpus into OMP_NUM_THREADS, which an administrator may change.
    """
    omp = environ.get("OMP_NUM_THREADS", "")
    return asked or settings.threads or (int(omp) if omp.isdecimal() else 0) or slot.cpus


class Detector:
    """Finds objects in pictures, from BGR pixels to boxes in the picture's own coordinates.

    Args:
        info: Description of the model.
        engine: What runs it.
        settings: Thresholds, input size and classes.

    Raises:
        YoloError: The model cannot do what the settings ask for.
    """

    def __init__(self, info: ModelInfo, engine: Engine, settings: Settings) -> None:
        self._info, self._engine, self._settings = info, engine, settings
        self._size = info.input_size(settings.imgsz)
        self._classes = info.class_ids(settings.classes)

    def detect(self, image: np.ndarray) -> nms.Detections:
        """Find the objects of one picture.

        Args:
            image: uint8 (height, width, 3), BGR.

        Returns:
            Detections in pixels of ``image``, best first.

        Raises:
            BadImage: The model's answer is no number.
        """
        boxed = letterbox(image, self._size, rectangular=self._engine.dynamic, stride=self._info.stride)
        found = nms.detect(
            self._engine.infer(to_tensor(boxed)),
            self._info.layout,
            conf=self._settings.conf,
            iou=self._settings.iou,
            classes=self._classes,
            max_det=self._settings.max_det,
        )
        boxes = scale_boxes(found.boxes, boxed.shape[:2], image.shape)
        if not np.isfinite(boxes).all():
            raise BadImage("the model answered with boxes that are not numbers")
        return nms.Detections(boxes, found.scores, found.classes)


@dataclass(frozen=True, slots=True)
class Output:
    """What is to be written for one image.

    Attributes:
        entry: The image.
        record: Its record, complete but for ``write_ms``.
        image: Annotated image, encoded; None if there is none.
        label: Content of the label file; None if the image failed.
    """

    entry: Entry
    record: Record
    image: bytes | None = None
    label: str | None = None


@dataclass(slots=True)
class Item:
    """One image on its way through the job.

    Attributes:
        entry: The image.
        record: To be filled in; with an error, the steps that are left do nothing.
        image: uint8 (height, width, 3), BGR, once it is read.
        found: Detections, once they are.
        pixels: What it counts in the :class:`Budget`.
    """

    entry: Entry
    record: Record
    image: np.ndarray | None = None
    found: nms.Detections | None = None
    pixels: int = 0


@contextlib.contextmanager
def _step(item: Item, name: str) -> Iterator[None]:
    """Time a step of an image, and turn what fails that image alone into its reason."""
    start = time.perf_counter()
    reason = None
    try:
        yield
    except YoloError as error:
        # The picture, its file type or the engine on this picture. One that fails on all of them makes as many
        # named failures.
        reason = str(error)
    except MemoryError:
        reason = "too large: not enough memory in this slot"
    except cv2.error as error:
        reason = f"OpenCV failed: {one_line(' '.join(str(error).split()))[:200]}"
    if reason is not None:
        item.image = None
        item.record = replace(item.record, error=reason)
    else:
        took = round((time.perf_counter() - start) * 1000, 3)
        item.record = replace(item.record, times=item.record.times | {f"{name}_ms": took})


def read(item: Item, settings: Settings, budget: Budget | None = None) -> None:
    """Read and decode an image.

    Args:
        item: The image.
        settings: Of the run.
        budget: Waits before decoding until there is room for its pixels.
    """
    data = b""
    with _step(item, "read"):
        data = read_file(settings.input_dir / item.entry.path, max_pixels=settings.max_pixels)
        item.record = replace(item.record, content=check_content(data, item.entry))
    if item.record.error is not None:
        return
    if budget is not None:
        item.pixels = budget.take(count_pixels(data))
    waited = item.record.times["read_ms"]
    with _step(item, "read"):
        item.image = decode_image(data, PurePosixPath(item.entry.path).name, max_pixels=settings.max_pixels)
    if item.record.error is None:
        height, width = item.image.shape[:2]
        times = item.record.times
        item.record = replace(
            item.record, width=width, height=height, times=times | {"read_ms": round(times["read_ms"] + waited, 3)}
        )
    else:
        item.record = replace(item.record, times={})


def check_content(data: bytes, entry: Entry) -> str:
    """Return the digest of an image's bytes.

    Raises:
        BadImage: They are not what was listed: the file was changed while it was sent.
    """
    found = contents.digest(data)
    if entry.content is not None and found != entry.content:
        raise BadImage(
            "changed: the copy on the share is not the file that was listed; run the same run_id again, "
            "with checksum=yes if it happens again"
        )
    return found


def find(item: Item, detector: Detector) -> None:
    """Find the objects of an image that was read."""
    if item.image is None:
        return
    with _step(item, "infer"):
        item.found = detector.detect(item.image)


def finish(item: Item, names: Sequence[str], settings: Settings) -> Output:
    """Draw and encode an image; return what to write for it, a failure if it cannot be used."""
    encoded = None
    if item.image is not None and item.found is not None and settings.save_images:
        with _step(item, "draw"):
            draw.draw(item.image, item.found.boxes, item.found.scores, item.found.classes, names)
            encoded = draw.encode(item.image, PurePosixPath(item.entry.path).suffix)
    item.image = None
    record, found = item.record, item.found
    if record.error is not None or found is None:
        return Output(item.entry, replace(record, width=0, height=0))
    record = replace(record, detections=to_detections(found))
    return Output(item.entry, record, encoded, label_text(record.detections, record.width, record.height))


def to_detections(found: nms.Detections) -> tuple[Detection, ...]:
    """Turn arrays into the record's form.

    A float32 is written with the fewest digits that read back as the same float32.
    """
    return tuple(
        Detection(int(index), float(str(score)), tuple(float(str(x)) for x in box))
        for index, score, box in zip(found.classes, found.scores, found.boxes, strict=True)
    )


def write_output(run_pass: Pass, journal: Journal, output: Output) -> Record:
    """Write an image's results, the record last.

    Returns:
        The record as written; a failure where the results' paths are impossible (a name that
        grows too long by its suffix, for instance).

    Raises:
        OSError: The share does not take it: full, gone, not permitted.
    """
    entry, record = output.entry, output.record
    start = time.perf_counter()
    paths = [run_pass.image(entry.path), run_pass.label(entry.label)]
    try:
        if output.image is not None:
            fsio.write_bytes(paths[0], output.image)
        if output.label is not None:
            fsio.write_text(paths[1], output.label)
    except OSError as error:
        if error.errno not in _PATH_ERRORS:
            raise
        record = replace(record, detections=(), error=f"its results cannot be written: {error.strerror}")
    if record.error is not None:
        # What an earlier attempt left would belong to no good record.
        for path in paths:
            with contextlib.suppress(OSError):
                path.unlink()
    write_ms = round((time.perf_counter() - start) * 1000, 3)
    record = replace(record, times=record.times | {"write_ms": write_ms})
    journal.add(record)
    return record


class Writer:
    """Runs a function over items in a thread of its own, in their order.

    After an error the rest is dropped, and the error is raised by the next :meth:`put` or on
    leaving the ``with`` block. Leaving it waits until everything is written.

    Args:
        write: Called with each item.
        depth: Items that may wait before :meth:`put` does.
    """

    def __init__(self, write: Callable[[Any], None], depth: int = QUEUE_DEPTH) -> None:
        self._write = write
        self._queue: queue.Queue[Any] = queue.Queue(depth)
        self._error: BaseException | None = None
        #: Called once when the function has raised: who feeds the writer may wait for what will not come.
        self.on_error: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def put(self, item: Any) -> None:
        """Hand over an item; waits while too many are waiting.

        Raises:
            Exception: What an earlier item raised.
        """
        if self._error is not None:
            raise self._error
        self._queue.put(item)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._queue.put(None)
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._error is not None:
                continue  # keep taking, or put() would wait for ever
            try:
                self._write(item)
            except BaseException as error:
                self._error = error
                self.on_error()


class Budget:
    """Bounds the pixels that are decoded at a time, since a slot's memory is limited.

    Args:
        limit: Pixels of all images together. One that has more of its own waits until it is alone.
    """

    def __init__(self, limit: int = MAX_PIXELS_AHEAD) -> None:
        self._limit, self._used, self._open = limit, 0, False
        self._changed = threading.Condition()

    def take(self, pixels: int) -> int:
        """Wait until there is room; return what to give back."""
        with self._changed:
            self._changed.wait_for(lambda: self._open or not self._used or self._used + pixels <= self._limit)
            self._used += pixels
        return pixels

    def give(self, pixels: int) -> None:
        """Give back what was taken."""
        with self._changed:
            self._used -= pixels
            self._changed.notify_all()

    def open(self) -> None:
        """Let everybody pass: the job ends."""
        with self._changed:
            self._open = True
            self._changed.notify_all()


class Reader:
    """Runs a function over items in a thread of its own, ahead of who iterates over it, in their order.

    An error of the function is raised in the iteration. Leaving the ``with`` block ends the thread
    after the item that it is at.

    Args:
        work: Called with each item.
        items: What to do.
        budget: Opened on leaving, so that the thread does not wait for room for ever.
        depth: Items that may be ready.
    """

    def __init__(self, work: Callable[[Any], None], items: Iterable[Any], budget: Budget, depth: int = AHEAD) -> None:
        self._work, self._items, self._budget = work, items, budget
        self._queue: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue()
        self._room = threading.Semaphore(depth)
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        self._room.release()
        self._budget.open()
        self._thread.join()

    def __iter__(self) -> Iterator[Any]:
        while True:
            item, error = self._queue.get()
            if error is not None:
                raise error
            if item is None:
                return
            self._room.release()
            yield item

    def _run(self) -> None:
        try:
            for item in self._items:
                self._room.acquire()
                if self._stopped:
                    return
                self._work(item)
                self._queue.put((item, None))
            self._queue.put((None, None))
        except BaseException as error:
            self._queue.put((None, error))


class CrashNotes:
    """Remembers over restarts which images were in work when the process died.

    A file of fixed-length lines: keys that were in work when earlier attempts died, then a place for
    each image in work. A clean end removes the places, a clean end of the whole chunk the file. It is
    written without flushing: the kernel keeps it when the process crashes, which is all that it is for.

    Args:
        path: The chunk's note file.

    Attributes:
        crashed: Whether an earlier attempt died.
    """

    _LINE = 17

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._places: dict[str, int] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        lines = os.read(self._file, 1 << 20).decode("ascii", "replace").split("\n")
        # Only whole lines: a host that lost power may have left zeros.
        self._keys = [key for key in lines if re.fullmatch("[0-9a-f]{16}", key)]
        self.crashed = bool(self._keys)
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, "".join(f"{key}\n" for key in self._keys).encode(), 0)

    def begin(self, key: str) -> bool:
        """Note that an image is in work; False if it was so too often when the process died."""
        if self._keys.count(key) >= MAX_CRASHES:
            return False
        with self._lock:
            taken = set(self._places.values())
            place = next(n for n in itertools.count() if n not in taken)
            self._places[key] = place
            self._write(place, key)
        return True

    def end(self, key: str) -> None:
        """Note that an image is no longer in work, if it was."""
        with self._lock:
            if (place := self._places.pop(key, None)) is not None:
                self._write(place, "-" * (self._LINE - 1))

    def _write(self, place: int, text: str) -> None:
        os.pwrite(self._file, f"{text}\n".encode(), (len(self._keys) + place) * self._LINE)

    def close(self, *, finished: bool) -> None:
        """End without a crash.

        Args:
            finished: Whether the whole chunk is done: the notes are then of no more use.
        """
        os.ftruncate(self._file, len(self._keys) * self._LINE)
        os.close(self._file)
        if finished or not self._keys:
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()


class Tally:
    """Counts what is done, sums times and keeps the heartbeat.

    Args:
        path: Heartbeat file.
        total: Images of the chunk.
        host: Execute host.
    """

    def __init__(self, path: Path, total: int, host: str) -> None:
        self._path, self._total, self._host = path, total, host
        self._next_beat = 0.0
        self.done = 0
        self.failed = 0
        self.seconds = dict.fromkeys(("start", "read", "infer", "draw", "write"), 0.0)

    def add(self, record: Record | None) -> None:
        """Count an image; ``None`` for one that an earlier attempt had done."""
        self.done += 1
        if record is not None:
            self.failed += record.error is not None
            for name, value in record.times.items():
                self.seconds[name.removesuffix("_ms")] += value / 1000
        self.beat()

    def beat(self, *, now: bool = False) -> None:
        """Write the heartbeat if the last one is old enough, or ``now``."""
        clock = time.monotonic()
        if now or clock >= self._next_beat:
            self._next_beat = clock + HEARTBEAT_SECONDS
            progress = Progress(self.done, self._total, self.failed, self._host, time.time())
            fsio.write_text(self._path, progress.to_json())


class _Termination:
    """Turns SIGTERM into a flag, so that the image in work is finished and written."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Self:
        self._old = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._old)

    def _ask(self, *_: object) -> None:
        self.asked = True


def read_chunk(path: Path) -> list[Entry]:
    """Read the images of a chunk.

    Raises:
        YoloError: There is no such chunk, or it is damaged.
    """
    try:
        with open(path, "rb") as file:
            return [Entry.from_json(line) for line in file if line.strip()]
    except FileNotFoundError:
        raise YoloError("no such chunk", path, remedy="plan the run again") from None
    except ValueError as error:
        raise YoloError(f"the chunk is damaged: {error}", path) from error


def run_chunk(run: Run, pass_name: str, submission: str, chunk: str, threads: int = 0) -> int:
    """Do the work of one job.

    Args:
        run: The run.
        pass_name: Its pass.
        submission: Plan of the chunk.
        chunk: The chunk.
        threads: Threads of the engine; 0 to find out.

    Returns:
        Exit code: 0 when every image has a record, 143 after SIGTERM.

    Raises:
        YoloError: The job cannot work at all, or can no longer write to the share.
    """
    age = process_age()
    started, began = time.time() - age, time.monotonic() - age
    run_pass = run.get_pass(pass_name)
    settings = Settings.from_run(read_settings(run))
    digest = read_digest(run)
    entries = read_chunk(run_pass.chunk(submission, chunk))
    slot = find_slot(os.environ)
    threads = choose_threads(threads, settings, slot, os.environ)
    job = f"{submission}-{chunk}"
    tally = Tally(run_pass.progress(submission, chunk), len(entries), slot.host)
    with _Termination() as termination, _share_errors(run_pass):
        heartbeat = run_pass.progress(submission, chunk)
        share_time, host_time = share_clock(lambda: tally.beat(now=True), heartbeat)
        journal = Journal(run_pass, submission, chunk)
        done = read_done(journal.earlier, digest)
        todo = []
        for entry in entries:
            if done.has(entry):
                tally.add(None)
            else:
                todo.append(entry)
        cv2.setNumThreads(threads)
        info = load_info(settings.model_dir)
        # An engine that can't change its size is made for the one that is asked for.
        info = replace(info, imgsz=info.input_size(settings.imgsz))
        for limit in info.limits(conf=settings.conf, iou=settings.iou, max_det=settings.max_det):
            print(f"warning: {limit}", file=sys.stderr)
        engine = load_engine(
            settings.model_dir, info, threads=threads, engine=settings.engine, precision=settings.precision
        )
        detector = Detector(info, engine, settings)
        tally.seconds["start"] = time.monotonic() - began

        notes = CrashNotes(run_pass.root / "inflight" / job)
        finished = False
        try:
            items = [
                Item(
                    entry,
                    Record(
                        key=entry.key,
                        path=entry.path,
                        size=entry.size,
                        mtime_ns=entry.mtime_ns,
                        settings_digest=digest,
                        host=slot.host,
                        slot=slot.name,
                        job=job,
                    ),
                )
                for entry in todo
            ]
            with journal:
                # From here on only the writer's thread touches the journal and the tally.
                run_pipeline(
                    items,
                    Steps(settings, detector, info.names, notes),
                    lambda output: tally.add(write_output(run_pass, journal, output)),
                    lambda: termination.asked,
                )
            ended = started + time.monotonic() - began
            jump = time.time() - ended
            tally.beat(now=True)
            if tally.done < len(entries):
                print(
                    f"stopped by SIGTERM after {tally.done} of {len(entries)} images",
                    file=sys.stderr,
                )
                return EXIT_TERMINATED
            report = JobReport(
                submission=submission,
                chunk=chunk,
                host=slot.host,
                slot=slot.name,
                cpus=slot.cpus,
                threads=threads,
                start=round(started, 3),
                end=round(ended, 3),
                seconds={name: round(value, 3) for name, value in tally.seconds.items()},
                images=len(entries),
                failed=tally.failed,
                cpu_model=cpu_model(),
                clock_ahead=round(host_time - share_time, 3),
                clock_jump=round(jump, 3),
                versions={
                    "python": platform.python_version(),
                    "numpy": np.__version__,
                    "opencv": cv2.__version__,
                    "yolo": __version__,
                    **engine.versions(),
                },
            )
            fsio.write_text(run_pass.job(submission, chunk), report.to_json())
            finished = True
        finally:
            notes.close(finished=finished)
    took = max(ended - started, 1e-3)
    print(
        f"{job}: {len(entries)} images, {tally.failed} failed, {took:.1f} s "
        f"({len(entries) / took:.1f} images/s) on {slot.host} {slot.name}, {threads} threads"
    )
    return 0


@dataclass(frozen=True, slots=True)
class Steps:
    """What the steps of every image need.

    Attributes:
        settings: Of the run.
        detector: What finds the objects.
        names: Class names.
        notes: Where images in work are noted.
    """

    settings: Settings
    detector: Detector
    names: Sequence[str]
    notes: CrashNotes

    def read(self, item: Item, budget: Budget | None = None) -> None:
        """Begin with an image."""
        if self.notes.begin(item.entry.key):
            read(item, self.settings, budget)
        else:
            reason = f"crashed the detector {MAX_CRASHES} times: the process died while this file was in work"
            item.record = replace(item.record, error=reason)

    def finish(self, item: Item) -> Output:
        """End with an image; what is left is to write."""
        output = finish(item, self.names, self.settings)
        self.notes.end(item.entry.key)
        return output


def run_pipeline(
    items: Sequence[Item], steps: Steps, write: Callable[[Output], None], stopped: Callable[[], bool]
) -> None:
    """Do all steps of all images; begins no more once ``stopped``.

    Args:
        items: The images.
        steps: Of each.
        write: Takes each result, in a thread of its own.
        stopped: Asked before an image is inferred.

    Raises:
        Exception: What a step or ``write`` raised.
    """
    if steps.notes.crashed:
        with Writer(write) as writer:
            for item in items:
                if stopped():
                    return
                steps.read(item)
                find(item, steps.detector)
                writer.put(steps.finish(item))
        return

    budget = Budget()

    def end(item: Item) -> None:
        try:
            output = steps.finish(item)
        finally:
            budget.give(item.pixels)
        write(output)

    with Writer(end, AHEAD) as writer, Reader(lambda item: steps.read(item, budget), items, budget) as reader:
        writer.on_error = budget.open
        for item in reader:
            if stopped():
                return
            find(item, steps.detector)
            writer.put(item)


@contextlib.contextmanager
def _share_errors(run_pass: Pass) -> Iterator[None]:
    """Turn errors of the share into one clear message: the job cannot go on."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise YoloError(
            f"cannot read or write results: {error.strerror or error}",
            run_pass.root,
            remedy="free space on the share (or raise its quota), then run the same run_id again; "
            "finished images are kept"
            if full
            else "check the share on this host, then run the same run_id again",
        ) from error


def process_age() -> float:
    """Return the seconds since this process began: before Python and its imports."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[19])  # starttime, the 22nd field; two stand before the parenthesis
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        return max(uptime - ticks / os.sysconf("SC_CLK_TCK"), 0.0)
    except (OSError, ValueError, IndexError):
        return time.process_time()


def parse_chunk(text: str) -> tuple[str, str]:
    """Split ``s001/c00003``, or the path of that chunk's file, into submission and chunk.

    Raises:
        argparse.ArgumentTypeError: It has another form.
    """
    match = re.fullmatch(r"(?:.*/)?(s\d{3,})/(c\d{5,})(?:\.jsonl)?", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r}: expected submission/chunk, e.g. s001/c00003")
    return match[1], match[2]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's text."""
    parser = argparse.ArgumentParser(
        prog="python -m yolo.detector.detect", description="Detect objects in the images of one chunk."
    )
    parser.add_argument("--run-dir", type=Path, required=True, help="<share>/runs/<run_id>")
    parser.add_argument("--pass", dest="pass_name", choices=PASSES, required=True)
    parser.add_argument("--chunk", type=parse_chunk, required=True, help="s001/c00003, or its file")
    parser.add_argument("--threads", type=int, default=0, help="threads of the engine (default: the slot's cpus)")
    args = parser.parse_args(argv)
    if args.threads < 0:
        raise YoloError("threads out of range", args.threads, "0 (the slot's cpus) or more")
    return run_chunk(Run(args.run_dir.absolute()), args.pass_name, *args.chunk, threads=args.threads)


if __name__ == "__main__":
    sys.exit(run_cli(main))
