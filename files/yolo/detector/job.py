"""The job: detect objects in the images of one chunk and write what was found to the share.

For each image: read, infer, draw; then write the annotated image, the label file and, last, the record, into the
journal of this attempt. A record therefore proves that the other two are whole, and a job that starts again goes on
after the last record. An image that cannot be used gets a record with the reason, and the job goes on.

Ultralytics is never imported, and torch only as the engine: the process must start quickly.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from .. import __version__
from ..model.cpu import cpu_model
from ..model.engines import Engine, load_engine
from ..model.info import ModelInfo, load_info
from ..share.attempt import Attempt
from ..share.chunks import read_chunk
from ..share.clocks import share_clock
from ..share.done import Done, read_done
from ..share.errors import YoloError
from ..share.layout import Pass, Run
from ..share.records import Entry, JobReport, Record
from ..share.settings import read_digest, read_settings
from .crash_notes import CrashNotes
from .detector import Detector
from .memory import keep_freed_memory
from .pipeline import Steps, run_pipeline
from .process import Clock, Termination
from .settings import Settings
from .slot import Slot, choose_threads, find_slot
from .steps import Item, write_output
from .tally import Tally

EXIT_TERMINATED = 128 + signal.SIGTERM


@dataclass(frozen=True, slots=True)
class Job:
    """What a job is told, and where it runs.

    Attributes:
        run_pass: The pass.
        submission: Submission of the chunk.
        chunk: The chunk.
        settings: Of the run.
        digest: Settings digest of the run.
        slot: Where it runs.
        threads: Threads of the engine.
    """

    run_pass: Pass
    submission: str
    chunk: str
    settings: Settings
    digest: str
    slot: Slot
    threads: int

    @property
    def name(self) -> str:
        """What records and reports call the job."""
        return f"{self.submission}-{self.chunk}"

    def item(self, entry: Entry) -> Item:
        """Return an image with the record that its steps fill in."""
        record = Record(
            key=entry.key,
            path=entry.path,
            size=entry.size,
            mtime_ns=entry.mtime_ns,
            settings_digest=self.digest,
            host=self.slot.host,
            slot=self.slot.name,
            job=self.name,
        )
        return Item(entry, record)

    def report(
        self, tally: Tally, *, start: float, end: float, clock_ahead: float, clock_jump: float, versions: dict[str, str]
    ) -> JobReport:
        """Return the job's report.

        Args:
            tally: Images and times.
            start: When the process began, epoch seconds.
            end: When the last image was written.
            clock_ahead: Seconds by which the host's clock was ahead of the share's.
            clock_jump: Seconds by which the host's clock was set meanwhile.
            versions: Of what the job ran on.
        """
        return JobReport(
            submission=self.submission,
            chunk=self.chunk,
            host=self.slot.host,
            slot=self.slot.name,
            cpus=self.slot.cpus,
            threads=self.threads,
            start=round(start, 3),
            end=round(end, 3),
            seconds={name: round(value, 3) for name, value in tally.seconds.items()},
            images=tally.done,
            failed=tally.failed,
            cpu_model=cpu_model(),
            clock_ahead=round(clock_ahead, 3),
            clock_jump=round(clock_jump, 3),
            versions=versions,
        )


def run_chunk(run: Run, pass_name: str, submission: str, chunk: str, threads: int = 0) -> int:
    """Do the work of one job.

    Args:
        run: The run.
        pass_name: Its pass.
        submission: Submission of the chunk.
        chunk: The chunk.
        threads: Threads of the engine; 0 for what the run's settings or the slot say.

    Returns:
        Exit code: 0 when every image has a record, 143 after SIGTERM.

    Raises:
        YoloError: The job cannot work at all, or can no longer write to the share.
    """
    clock = Clock.of_process()
    keep_freed_memory()
    run_pass = run.get_pass(pass_name)
    settings = Settings.from_run(read_settings(run, pass_name))
    slot = find_slot(os.environ)
    threads = choose_threads(threads, settings, slot, os.environ)
    job = Job(run_pass, submission, chunk, settings, read_digest(run, pass_name), slot, threads)
    entries = read_chunk(run_pass, submission, chunk)
    heartbeat = run_pass.progress(submission, chunk)
    with (
        Termination() as termination,
        _share_errors(run_pass),
        contextlib.closing(Tally(heartbeat, len(entries), slot.host)) as tally,
    ):
        share_time, host_time = share_clock(lambda: tally.beat(now=True), heartbeat)
        attempt = Attempt(run_pass, submission, chunk)
        items = [
            job.item(entry) for entry in _unfinished(entries, read_done(run_pass, attempt.earlier, job.digest), tally)
        ]
        info, engine = _load_model(settings, threads)
        detector = Detector(info, engine, settings)
        tally.seconds["start"] = clock.seconds()
        notes = CrashNotes(run_pass.root / "inflight" / job.name)
        if notes.crashed:
            # It may die again before a second has passed.
            attempt.flush_seconds = 0.0
        finished = False
        try:
            with attempt:
                # From here on only the writer's thread touches the attempt and the tally.
                run_pipeline(
                    items,
                    Steps(settings, detector, info.names, notes),
                    lambda output: tally.add(write_output(attempt, output)),
                    lambda: termination.requested,
                )
                attempt.seal()
                seconds, jump = clock.seconds(), clock.jump()
                tally.beat(now=True)
                if tally.done < len(entries):
                    print(f"stopped by SIGTERM after {tally.done} of {len(entries)} images", file=sys.stderr)
                    return EXIT_TERMINATED
                report = job.report(
                    tally,
                    start=clock.started,
                    end=clock.started + seconds,
                    clock_ahead=host_time - share_time,
                    clock_jump=jump,
                    versions=_versions(engine),
                )
                attempt.report(report)
            finished = True
        finally:
            notes.close(finished=finished)
    took = max(seconds, 1e-3)
    print(
        f"{job.name}: {len(entries)} images, {tally.failed} failed, {took:.1f} s "
        f"({len(entries) / took:.1f} images/s) on {slot.host} {slot.name}, {threads} threads"
    )
    return 0


def _unfinished(entries: Sequence[Entry], done: Done, tally: Tally) -> list[Entry]:
    """Return the images without a good record of an earlier attempt; count the others."""
    missing = []
    for entry in entries:
        if done.has(entry):
            tally.add(None)
        else:
            missing.append(entry)
    return missing


def _load_model(settings: Settings, threads: int) -> tuple[ModelInfo, Engine]:
    """Load the run's model; warn of the settings that it cannot obey."""
    cv2.setNumThreads(threads)
    info = load_info(settings.model_dir)
    # An engine that can't change its size is made for the one that is asked for.
    info = replace(info, imgsz=info.input_size(settings.imgsz))
    for limit in info.limits(conf=settings.conf, iou=settings.iou, max_det=settings.max_det):
        print(f"warning: {limit}", file=sys.stderr)
    engine = load_engine(
        settings.model_dir, info, threads=threads, engine=settings.engine, precision=settings.precision
    )
    return info, engine


def _versions(engine: Engine) -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "yolo": __version__,
        **engine.versions(),
    }


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
