"""The job: detect objects in the images of one chunk and write what was found to the share.

::

    python -m yolo.detect --run-dir <share>/runs/<run_id> --leg parallel --chunk p001/c00003

For each image: read, infer, draw; then write the annotated image, the label file and, last, the
record. A record therefore proves that the other two are whole, and a job that starts again goes on
after the last record. An image that cannot be used gets a record with the reason, and the job goes
on. Results are written by a second thread, because creating a file over NFS is waiting, not work.

Ultralytics is never imported, and torch only as the engine: the process must start quickly.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import platform
import queue
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Self

import cv2
import numpy as np

from . import __version__, draw, fsio, nms
from .errors import YoloError, one_line, run_cli
from .images import DEFAULT_MAX_PIXELS, BadImage, read_image
from .layout import LEGS, Leg, Run
from .letterbox import letterbox, scale_boxes, to_tensor
from .model import Engine, ModelInfo, cpu_model, load_engine, load_info
from .plan import read_digest, read_settings
from .records import Detection, Entry, JobReport, Progress, Record

HEARTBEAT_SECONDS = 1.0
#: Finished images that may wait for the share: more would only hide that it is too slow.
QUEUE_DEPTH = 8
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
            ("imgsz", 0, 8192),
            ("max_det", 1, nms.MAX_CANDIDATES),
            ("threads", 0, 1024),
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


def process(entry: Entry, detector: Detector, names: Sequence[str], settings: Settings, blank: Record) -> Output:
    """Read one image, find its objects and draw them; writes nothing.

    Args:
        entry: The image.
        detector: What finds the objects.
        names: Class names.
        settings: Of the run.
        blank: Record to fill in.

    Returns:
        What to write; a failure if the image cannot be used.
    """
    watch = _Stopwatch()
    try:
        image = read_image(settings.input_dir / entry.path, max_pixels=settings.max_pixels)
        height, width = image.shape[:2]
        watch.lap("read_ms")
        found = detector.detect(image)
        watch.lap("infer_ms")
        encoded = None
        if settings.save_images:
            draw.draw(image, found.boxes, found.scores, found.classes, names)
            encoded = draw.encode(image, PurePosixPath(entry.path).suffix)
            watch.lap("draw_ms")
    except YoloError as error:
        # The picture, its file type or the engine on this picture. One that fails on all of them makes as many
        # named failures.
        return Output(entry, replace(blank, error=str(error), times=watch.times))
    except MemoryError:
        reason = "too large: not enough memory in this slot"
        return Output(entry, replace(blank, error=reason, times=watch.times))
    except cv2.error as error:
        reason = f"OpenCV failed: {one_line(' '.join(str(error).split()))[:200]}"
        return Output(entry, replace(blank, error=reason, times=watch.times))
    record = replace(blank, width=width, height=height, detections=to_detections(found), times=watch.times)
    return Output(entry, record, encoded, label_text(found, width, height))


class _Stopwatch:
    def __init__(self) -> None:
        self.times: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.times[name] = round((now - self._last) * 1000, 3)
        self._last = now


def to_detections(found: nms.Detections) -> tuple[Detection, ...]:
    """Turn arrays into the record's form.

    A float32 is written with the fewest digits that read back as the same float32.
    """
    return tuple(
        Detection(int(index), float(str(score)), tuple(float(str(x)) for x in box))
        for index, score, box in zip(found.classes, found.scores, found.boxes, strict=True)
    )


def label_text(found: nms.Detections, width: int, height: int) -> str:
    """Return a YOLO label file with confidence, as ultralytics' ``save_txt`` writes it.

    One line for each object: class, centre x, centre y, width, height (fractions of the picture),
    score; six significant digits. Empty when nothing was found.
    """
    lines = []
    for index, score, (x1, y1, x2, y2) in zip(found.classes, found.scores, found.boxes.astype(float), strict=True):
        centre = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height)
        size = ((x2 - x1) / width, (y2 - y1) / height)
        lines.append(f"{index} " + " ".join(f"{v:g}" for v in (*centre, *size, float(score))))
    return "".join(line + "\n" for line in lines)


def write_output(leg: Leg, output: Output) -> Record:
    """Write an image's results, the record last.

    Returns:
        The record as written; a failure where the results' paths are impossible (a name that
        grows too long by its suffix, for instance).

    Raises:
        OSError: The share does not take it: full, gone, not permitted.
    """
    entry, record = output.entry, output.record
    start = time.perf_counter()
    paths = [leg.image(entry.path), leg.label(entry.label)]
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
    fsio.write_text(leg.record(entry.key), record.to_json())
    return record


class Writer:
    """Runs a function over items in a thread of its own, in their order.

    After an error the rest is dropped, and the error is raised by the next :meth:`put` or on
    leaving the ``with`` block. Leaving it waits until everything is written.

    Args:
        write: Called with each item.
        depth: Items that may wait before :meth:`put` does.
    """

    def __init__(self, write: Callable[[Output], None], depth: int = QUEUE_DEPTH) -> None:
        self._write = write
        self._queue: queue.Queue[Output | None] = queue.Queue(depth)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def put(self, item: Output) -> None:
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


class CrashNotes:
    """Remembers over restarts which images were in work when the process died.

    A file of fixed-length lines: keys that killed earlier attempts, then the key in work. A clean
    end removes the last line, a clean end of the whole chunk the file. It is written without
    flushing: the kernel keeps it when the process crashes, which is all that it is for.

    Args:
        path: The chunk's note file.
    """

    _LINE = 17

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        lines = os.read(self._file, 1 << 20).decode("ascii", "replace").split("\n")
        # Only whole lines: a host that lost power may have left zeros.
        self._keys = [key for key in lines if re.fullmatch("[0-9a-f]{16}", key)]
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, "".join(f"{key}\n" for key in self._keys).encode(), 0)

    def begin(self, key: str) -> bool:
        """Note that an image is in work; False if it has killed the process too often."""
        if self._keys.count(key) >= MAX_CRASHES:
            return False
        os.pwrite(self._file, f"{key}\n".encode(), len(self._keys) * self._LINE)
        return True

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


def is_done(leg: Leg, entry: Entry, digest: str) -> bool:
    """Whether an earlier attempt left a good record of that very file under these settings."""
    try:
        return Record.from_json(leg.record(entry.key).read_bytes()).matches(entry, digest)
    except (FileNotFoundError, ValueError):
        return False


def run_chunk(run: Run, leg_name: str, plan: str, chunk: str, threads: int = 0) -> int:
    """Do the work of one job.

    Args:
        run: The run.
        leg_name: Its leg.
        plan: Plan of the chunk.
        chunk: The chunk.
        threads: Threads of the engine; 0 to find out.

    Returns:
        Exit code: 0 when every image has a record, 143 after SIGTERM.

    Raises:
        YoloError: The job cannot work at all, or can no longer write to the share.
    """
    started = process_start()
    leg = run.leg(leg_name)
    settings = Settings.from_run(read_settings(run))
    digest = read_digest(run)
    entries = read_chunk(leg.chunk(plan, chunk))
    slot = find_slot(os.environ)
    threads = choose_threads(threads, settings, slot, os.environ)
    job = f"{plan}-{chunk}"
    tally = Tally(leg.progress(plan, chunk), len(entries), slot.host)
    with _Termination() as termination, _share_errors(leg):
        tally.beat(now=True)
        todo = []
        for entry in entries:
            if is_done(leg, entry, digest):
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
        tally.seconds["start"] = time.time() - started

        notes = CrashNotes(leg.root / "inflight" / job)
        finished = False
        try:
            # From here on only the writer's thread touches the tally.
            with Writer(lambda output: tally.add(write_output(leg, output))) as writer:
                for entry in todo:
                    if termination.asked:
                        break
                    blank = Record(
                        key=entry.key,
                        path=entry.path,
                        size=entry.size,
                        mtime_ns=entry.mtime_ns,
                        settings_digest=digest,
                        host=slot.host,
                        slot=slot.name,
                        job=job,
                    )
                    if notes.begin(entry.key):
                        writer.put(process(entry, detector, info.names, settings, blank))
                    else:
                        reason = (
                            f"crashed the detector {MAX_CRASHES} times: the process died while this file was in work"
                        )
                        writer.put(Output(entry, replace(blank, error=reason)))
            ended = time.time()
            tally.beat(now=True)
            if tally.done < len(entries):
                print(
                    f"stopped by SIGTERM after {tally.done} of {len(entries)} images",
                    file=sys.stderr,
                )
                return EXIT_TERMINATED
            report = JobReport(
                plan=plan,
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
                versions={
                    "python": platform.python_version(),
                    "numpy": np.__version__,
                    "opencv": cv2.__version__,
                    "yolo": __version__,
                    **engine.versions(),
                },
            )
            fsio.write_text(leg.job(plan, chunk), report.to_json())
            finished = True
        finally:
            notes.close(finished=finished)
    took = max(ended - started, 1e-3)
    print(
        f"{job}: {len(entries)} images, {tally.failed} failed, {took:.1f} s "
        f"({len(entries) / took:.1f} images/s) on {slot.host} {slot.name}, {threads} threads"
    )
    return 0


@contextlib.contextmanager
def _share_errors(leg: Leg) -> Iterator[None]:
    """Turn errors of the share into one clear message: the job cannot go on."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise YoloError(
            f"cannot read or write results: {error.strerror or error}",
            leg.root,
            remedy="free space on the share (or raise its quota), then run the same run_id again; "
            "finished images are kept"
            if full
            else "check the share on this host, then run the same run_id again",
        ) from error


def process_start() -> float:
    """When this process began, seconds since the epoch: before Python and its imports."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[19])  # starttime, the 22nd field; two stand before the parenthesis
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        return time.time() - max(uptime - ticks / os.sysconf("SC_CLK_TCK"), 0.0)
    except (OSError, ValueError, IndexError):
        return time.time() - time.process_time()


def parse_chunk(text: str) -> tuple[str, str]:
    """Split ``p001/c00003``, or the path of that chunk's file, into plan and chunk.

    Raises:
        argparse.ArgumentTypeError: It has another form.
    """
    match = re.fullmatch(r"(?:.*/)?(p\d{3,})/(c\d{5,})(?:\.jsonl)?", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r}: expected plan/chunk, e.g. p001/c00003")
    return match[1], match[2]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's text."""
    parser = argparse.ArgumentParser(
        prog="python -m yolo.detect", description="Detect objects in the images of one chunk."
    )
    parser.add_argument("--run-dir", type=Path, required=True, help="<share>/runs/<run_id>")
    parser.add_argument("--leg", choices=LEGS, required=True)
    parser.add_argument("--chunk", type=parse_chunk, required=True, help="p001/c00003, or its file")
    parser.add_argument("--threads", type=int, default=0, help="threads of the engine (default: the slot's cpus)")
    args = parser.parse_args(argv)
    if args.threads < 0:
        raise YoloError("threads out of range", args.threads, "0 (the slot's cpus) or more")
    return run_chunk(Run(args.run_dir.absolute()), args.leg, *args.chunk, threads=args.threads)


if __name__ == "__main__":
    sys.exit(run_cli(main))
