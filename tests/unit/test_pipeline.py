import errno
import threading
import time

import numpy as np
import pytest
from make_job import PHOTO, Job, png
from make_model import COLOURS
from yolo.detector import pipeline
from yolo.detector.crash_notes import CrashNotes
from yolo.detector.detector import Detector
from yolo.detector.settings import Settings
from yolo.detector.steps import Item
from yolo.detector.threads import Budget, Reader, Writer
from yolo.model.engines import load_engine
from yolo.model.info import load_info
from yolo.share.records import Record

pytestmark = pytest.mark.usefixtures("outside_a_pool")


def test_the_reader_goes_ahead_but_not_further_than_it_may():
    read, went = [], threading.Event()

    def work(item):
        read.append((item, threading.current_thread().name))
        if item == 2:
            went.set()

    with Reader(work, range(10), Budget(), depth=2) as reader:
        got = []
        for item in reader:
            got.append(item)
            if item == 0:
                assert went.wait(10)  # two more are read while this one is in work
                time.sleep(0.05)
                assert len(read) == 3
    assert got == list(range(10))
    assert read == [(item, "reader") for item in range(10)]


def test_an_error_of_the_reader_is_raised_in_its_place():
    got = []
    with pytest.raises(ZeroDivisionError), Reader(lambda item: 1 // (item - 3), range(9), Budget()) as reader:
        got += reader
    with pytest.raises(ZeroDivisionError), Reader(lambda item: 1 // (item - 3), range(9), Budget()) as reader:
        for item in reader:
            got.append(item)
    assert got[-3:] == [0, 1, 2]


def test_who_stops_early_does_not_wait_for_the_rest():
    read = []
    with Reader(read.append, range(1000), Budget(), depth=2) as reader:
        next(iter(reader))
    assert len(read) <= 4


def test_pixels_are_bounded_and_a_large_image_goes_alone():
    budget, passed = Budget(100), []
    assert budget.acquire(60) == 60

    def acquire(pixels):
        budget.acquire(pixels)
        passed.append(pixels)

    threads = [threading.Thread(target=acquire, args=(pixels,)) for pixels in (41, 500)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    assert passed == []
    budget.release(60)
    time.sleep(0.05)
    assert len(passed) == 1
    budget.release(passed[0])
    for thread in threads:
        thread.join(10)
    assert sorted(passed) == [41, 500]
    # The large one is still there.
    late = threading.Thread(target=acquire, args=(1,))
    if passed[-1] == 500:
        late.start()
        time.sleep(0.05)
        assert late.is_alive()
        budget.open()
        late.join(10)
        assert passed[-1] == 1


def test_large_images_get_through_a_small_budget(tmp_path, monkeypatch):
    job = Job(tmp_path, {f"{i}.png": png(PHOTO) for i in range(5)})
    monkeypatch.setattr(pipeline, "Budget", lambda: Budget(PHOTO.shape[0] * PHOTO.shape[1] - 1))
    assert job.work() == 0
    assert (job.report.images, job.report.failed) == (5, 0)


def test_a_writer_that_fails_does_not_leave_the_reader_waiting(tmp_path, monkeypatch):
    large = np.concatenate((PHOTO, PHOTO))
    job = Job(tmp_path, {f"{i}.png": png(large if i else PHOTO) for i in range(9)})
    monkeypatch.setattr(pipeline, "Budget", lambda: Budget(3 * PHOTO.shape[0] * PHOTO.shape[1]))
    found, second = pipeline.find, threading.Event()

    def find(item, detector):
        found(item, detector)
        if item.entry.path == "1.png":
            second.set()

    def fail(*_):
        # The second image waits to be drawn, and is dropped; the third waits for its room.
        assert second.wait(10)
        time.sleep(0.1)
        raise ZeroDivisionError

    monkeypatch.setattr(pipeline, "find", find)
    monkeypatch.setattr(pipeline, "finish", fail)
    errors = []

    def work():
        with pytest.raises(ZeroDivisionError):
            pipeline.run_pipeline(items, steps, lambda _: None, lambda: False)
        errors.append("raised")

    notes = CrashNotes(tmp_path / "notes")
    info = load_info(job.model)
    settings = Settings.from_run(job.settings)
    steps = pipeline.Steps(settings, Detector(info, load_engine(job.model, info), settings), COLOURS, notes)
    items = [Item(entry, Record(entry.key, entry.path, entry.size, entry.mtime_ns, "d")) for entry in job.entries]
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(20)
    assert errors == ["raised"]
    notes.close(finished=True)


def test_the_writer_writes_all_in_order_before_it_is_left():
    written = []

    def slow(item):
        time.sleep(0.001)
        written.append((item, threading.current_thread().name))

    with Writer(slow, depth=2) as writer:
        for item in range(20):
            writer.put(item)
    assert written == [(item, "writer") for item in range(20)]


def test_after_an_error_the_rest_is_dropped_and_nobody_waits_for_ever():
    written = []

    def full(item):
        if item == 3:
            raise OSError(errno.ENOSPC, "full")
        written.append(item)

    with pytest.raises(OSError, match="full"), Writer(full, depth=2) as writer:
        for item in range(5000):
            writer.put(item)
            time.sleep(0.0001)
    assert written == [0, 1, 2]
    # Work that nobody will write is not begun.
    assert item < 4999
    with pytest.raises(OSError, match="full"), Writer(full) as writer:
        writer.put(3)


def test_what_was_waiting_when_an_error_came_is_dropped_too():
    written, all_wait = [], threading.Event()

    def full(item):
        if item == 1:
            all_wait.wait(10)
            raise OSError(errno.ENOSPC, "full")
        written.append(item)

    with pytest.raises(OSError, match="full"), Writer(full, depth=5) as writer:
        for item in range(5):
            writer.put(item)
        all_wait.set()
    assert written == [0]


def test_an_error_of_the_work_is_not_hidden_by_one_of_the_writer():
    def full(item):
        raise OSError("full")

    with pytest.raises(ZeroDivisionError), Writer(full) as writer:
        writer.put(1)
        raise ZeroDivisionError
