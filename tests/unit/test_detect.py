import argparse
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import openvino as ov
import pytest
from make_model import COLOURS, SCORE, Size, colour_model, constant_model, ops, prepared
from make_run import SETTINGS
from yolo.detector import detect
from yolo.detector.detect import (
    Budget,
    CrashNotes,
    Detector,
    Output,
    Reader,
    Settings,
    Slot,
    Writer,
    find_slot,
    to_detections,
)
from yolo.model import model
from yolo.model.model import EmbeddedNms, load_engine, load_info
from yolo.share import contents, fsio
from yolo.share.errors import BadImage, YoloError
from yolo.share.journal import Journal, read_records
from yolo.share.layout import Pass, Run, Share, image_key
from yolo.share.records import Detection, Entry, JobReport, Progress, Record, label_text, settings_digest
from yolo.vision import draw, nms

RED, GREEN, BLUE = (0, 0, 255), (0, 255, 0), (255, 0, 0)
Box = tuple[int, int, int, int]


def picture(height: int, width: int, *boxes: tuple[Box, tuple[int, int, int]]) -> np.ndarray:
    image = np.full((height, width, 3), 100, np.uint8)
    for (x1, y1, x2, y2), colour in boxes:
        image[y1:y2, x1:x2] = colour
    return image


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


PHOTO = picture(120, 160, ((40, 20, 80, 60), RED), ((100, 50, 140, 110), BLUE))
PHOTO_FOUND = [(0, [40, 20, 80, 60]), (2, [100, 50, 140, 110])]


class Job:
    """A chunk on a pretended share, and what a job makes of it.

    Args:
        root: Of the share.
        files: Images by their relative path.
        settings: Changes to the run's settings.
    """

    submission, chunk = "s001", "c00000"

    def __init__(self, root: Path, files: dict[str, bytes], **settings: Any) -> None:
        share = Share(root)
        self.run: Run = share.run("r1")
        self.run_pass: Pass = self.run.get_pass("parallel")
        self.inputs = share.input("in")
        self.model = share.weights(SETTINGS["weights_id"]).model
        prepared(colour_model(), self.model)
        self.settings = {
            **SETTINGS,
            "imgsz": 160,
            "input_dir": str(self.inputs),
            "model_dir": str(self.model),
        } | settings
        fsio.write_json(self.run.settings, self.settings)
        self.entries = [self.put(index, path, data) for index, (path, data) in enumerate(files.items())]
        self.write_chunk()

    def put(self, index: int, path: str, data: bytes) -> Entry:
        fsio.write_bytes(self.inputs / path, data)
        status = (self.inputs / path).stat()
        return Entry(index, image_key(path), path, f"{path}.txt", status.st_size, status.st_mtime_ns)

    def write_chunk(self) -> None:
        lines = "".join(entry.to_json() + "\n" for entry in self.entries)
        fsio.write_text(self.run_pass.chunk(self.submission, self.chunk), lines)

    @property
    def arguments(self) -> list[str]:
        return ["--run-dir", str(self.run.root), "--pass", "parallel", "--chunk", f"{self.submission}/{self.chunk}"]

    def work(self) -> int:
        return detect.main(self.arguments)

    def record(self, path: str) -> Record:
        (record,) = read_records(self.run_pass, [image_key(path)])
        assert record is not None, f"no record of {path}"
        return record

    @property
    def report(self) -> JobReport:
        return JobReport.from_json(self.run_pass.job(self.submission, self.chunk).read_bytes())

    @property
    def progress(self) -> Progress:
        return Progress.from_json(self.run_pass.progress(self.submission, self.chunk).read_bytes())

    def state(self) -> dict[str, tuple[int, int]]:
        """Inode and time of change of every record and result: a rename changes the inode."""
        folders = (self.run_pass.records_dir, self.run_pass.images_dir, self.run_pass.labels_dir)
        files = [p for folder in folders for p in folder.rglob("*") if p.is_file()]
        return {str(p.relative_to(self.run_pass.root)): (p.stat().st_ino, p.stat().st_mtime_ns) for p in files}


def found(record: Record) -> list[tuple[int, list[int]]]:
    return [(d.class_id, [round(x) for x in d.box]) for d in record.detections]


@pytest.fixture(autouse=True)
def outside_a_pool(monkeypatch):
    for name in ("_CONDOR_MACHINE_AD", "_CONDOR_SLOT", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    threads = cv2.getNumThreads()
    yield
    cv2.setNumThreads(threads)


# --- from a picture to boxes ------------------------------------------------------------------------------


def detector(tmp_path: Path, size: Size | None = None, info: dict[str, Any] | None = None, **settings: Any) -> Detector:
    description = prepared(colour_model(size), tmp_path, **(info or {}))
    values = {"input_dir": tmp_path, "model_dir": tmp_path, "conf": 0.25, "iou": 0.7} | settings
    return Detector(description, load_engine(tmp_path, description), Settings(**values))


@pytest.mark.parametrize("size", [None, (64, 64), (96, 64), (320, 640)])
@pytest.mark.parametrize("shape", [(64, 64), (480, 640), (640, 480), (333, 1000), (1000, 333), (20, 30), (64, 2000)])
def test_boxes_are_found_where_they_are_in_pictures_of_any_shape(tmp_path, size, shape):
    height, width = shape
    one = (width // 10, height // 5, width // 2, height)
    other = (width * 3 // 5, 0, width, height // 2)
    answer = detector(tmp_path, size, imgsz=0 if size else 320).detect(
        picture(height, width, (one, GREEN), (other, BLUE))
    )
    assert answer.classes.tolist() == [1, 2]
    assert answer.scores.tolist() == [SCORE, SCORE]
    # A pixel of the network's input in pixels of the picture.
    tolerance = 1.01 * max(height / (size or (320, 320))[0], width / (size or (320, 320))[1], 1)
    np.testing.assert_allclose(answer.boxes, [one, other], atol=tolerance)
    assert (answer.boxes >= 0).all()
    assert (answer.boxes <= [width, height] * 2).all()


@pytest.mark.parametrize(
    ("size", "stride", "imgsz", "shape"),
    [
        # 640 x 480 halved is 320 x 240, in a rectangle of multiples of the stride.
        (None, 32, 320, (256, 320)),
        (None, 64, 320, (256, 320)),
        (None, 64, 300, (256, 320)),
        (None, 32, 300, (256, 320)),
        (None, 64, 640, (512, 640)),
        (None, 32, 640, (480, 640)),
        ((320, 320), 32, 0, (320, 320)),
        ((320, 320), 32, 320, (320, 320)),
    ],
)
def test_a_dynamic_model_works_on_no_more_pixels_than_it_needs(tmp_path, size, stride, imgsz, shape):
    info = prepared(colour_model(size), tmp_path, stride=stride)
    engine = load_engine(tmp_path, info)
    seen = []
    recorder = SimpleNamespace(dynamic=engine.dynamic, infer=lambda b: seen.append(b.shape) or engine.infer(b))
    settings = Settings(tmp_path, tmp_path, 0.25, 0.7, imgsz=imgsz)
    Detector(info, recorder, settings).detect(picture(480, 640))
    assert seen == [(1, 3, *shape)]


def test_a_picture_of_the_inputs_size_has_exact_boxes(tmp_path):
    image = picture(64, 64, ((8, 16, 40, 48), RED))
    assert detector(tmp_path).detect(image).boxes.tolist() == [[8, 16, 40, 48]]


def test_the_picture_itself_is_not_changed(tmp_path):
    image = picture(64, 64, ((8, 16, 40, 48), RED))
    before = image.copy()
    detector(tmp_path).detect(image)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(
    ("settings", "classes"),
    [
        ({}, [0, 1, 2]),
        ({"classes": ("green", 2)}, [1, 2]),
        ({"max_det": 2}, [0, 1]),
        ({"classes": (2,), "max_det": 1}, [2]),
        # A score must be above the limit.
        ({"conf": SCORE}, []),
        ({"conf": SCORE - 0.01}, [0, 1, 2]),
    ],
)
def test_settings_are_obeyed(tmp_path, settings, classes):
    boxes = ((0, 0, 20, 20), RED), ((30, 0, 50, 20), GREEN), ((0, 30, 20, 50), BLUE)
    assert detector(tmp_path, **settings).detect(picture(64, 64, *boxes)).classes.tolist() == classes


def test_two_boxes_of_one_class_that_overlap(tmp_path):
    raw = np.zeros((1, 5, 100), np.float32)
    raw[0, :, 0] = (32, 32, 40, 40, 0.9)
    raw[0, :, 1] = (34, 32, 40, 40, 0.8)  # overlap 38/42
    info = prepared(constant_model(raw), tmp_path, names=("thing",))
    for iou, count in ((0.7, 1), (0.95, 2)):
        settings = Settings(tmp_path, tmp_path, conf=0.25, iou=iou)
        assert len(Detector(info, load_engine(tmp_path, info), settings).detect(picture(64, 64))) == count


@pytest.mark.parametrize(
    ("settings", "text"), [({"classes": ("dog",)}, "unknown class: dog"), ({"imgsz": 96}, "imgsz")]
)
def test_what_the_model_cannot_do_is_said_before_the_first_picture(tmp_path, settings, text):
    with pytest.raises(YoloError, match=text):
        detector(tmp_path, (64, 64), **settings)


def test_an_engine_of_one_size_is_made_for_the_size_that_is_asked_for(tmp_path, monkeypatch):
    # As OpenVINO has to be for INT8 models on some processors.
    monkeypatch.setattr(model, "_int8_needs_static", lambda _: True)
    job = Job(tmp_path, {"a.png": png(PHOTO)})
    assert job.settings["imgsz"] == 160
    assert load_info(job.model).imgsz == (64, 64)
    assert job.work() == 0
    # At 64 pixels they would be off.
    assert found(job.record("a.png")) == PHOTO_FOUND


def test_an_answer_that_is_no_number_fails_the_picture(tmp_path):
    raw = np.zeros((1, 5, 100), np.float32)
    raw[0, :, 0] = (np.nan, 32, 40, 40, 0.9)
    info = prepared(constant_model(raw), tmp_path, names=("thing",))
    with pytest.raises(BadImage, match="boxes that are not numbers"):
        Detector(info, load_engine(tmp_path, info), Settings(tmp_path, tmp_path, 0.25, 0.7)).detect(picture(64, 64))


# --- a job --------------------------------------------------------------------------------------------------


def test_a_job_leaves_a_record_a_label_file_and_a_picture_for_each_image(tmp_path, capsys):
    job = Job(
        tmp_path, {"a.png": png(PHOTO), "street 1/Fußgänger.PNG": png(picture(320, 160, ((10, 30, 60, 90), GREEN)))}
    )
    assert job.work() == 0
    record = job.record("a.png")
    assert found(record) == PHOTO_FOUND
    assert (record.width, record.height, record.error) == (160, 120, None)
    entry = job.entries[0]
    assert (record.key, record.path, record.size) == (entry.key, "a.png", entry.size)
    assert (record.size, record.mtime_ns) == (entry.size, entry.mtime_ns)
    assert record.settings_digest == settings_digest(job.settings)
    assert (record.job, record.host) == ("s001-c00000", os.uname().nodename)
    assert list(record.times) == ["read_ms", "infer_ms", "draw_ms", "write_ms"]
    assert all(value > 0 for value in record.times.values())
    assert (
        job.run_pass.label("a.png.txt").read_text()
        == "0 0.375 0.333333 0.25 0.333333 0.75\n2 0.75 0.666667 0.25 0.5 0.75\n"
    )
    annotated = cv2.imread(str(job.run_pass.image("a.png")))
    expected = draw.draw(
        PHOTO.copy(), np.float32([box for _, box in PHOTO_FOUND]), np.float32([SCORE] * 2), np.array([0, 2]), COLOURS
    )
    np.testing.assert_array_equal(annotated, expected)
    other = job.record("street 1/Fußgänger.PNG")
    assert (found(other), other.width, other.height) == ([(1, [10, 30, 60, 90])], 160, 320)
    assert cv2.imread(str(job.run_pass.image("street 1/Fußgänger.PNG"))).shape == (320, 160, 3)
    assert capsys.readouterr().out.startswith("s001-c00000: 2 images, 0 failed, ")


def test_nothing_found_is_a_result_too(tmp_path):
    job = Job(tmp_path, {"a.png": png(picture(50, 50))})
    assert job.work() == 0
    assert job.record("a.png").detections == ()
    assert job.record("a.png").error is None
    assert job.run_pass.label("a.png.txt").read_text() == ""
    np.testing.assert_array_equal(cv2.imread(str(job.run_pass.image("a.png"))), picture(50, 50))


def test_a_job_reports_itself_and_its_progress(tmp_path):
    start = time.time()
    job = Job(tmp_path, {"a.png": png(PHOTO), "b.png": b"no picture", "c.png": png(PHOTO)}, threads=1)
    assert job.work() == 0
    report, progress = job.report, job.progress
    assert (report.submission, report.chunk, report.images, report.failed) == ("s001", "c00000", 3, 1)
    assert (report.threads, report.cpus) == (1, len(os.sched_getaffinity(0)))
    assert list(report.seconds) == ["start", "read", "infer", "draw", "write"]
    assert start - report.start < report.seconds["start"] < report.end - report.start
    assert report.start < start < report.end  # this process began before
    assert report.versions["openvino"] == ov.__version__
    assert report.versions["opencv"] == cv2.__version__
    assert report.cpu_model
    assert (progress.done, progress.total, progress.failed) == (3, 3, 1)
    assert progress.updated >= start
    total = sum(record.times["infer_ms"] for record in (job.record("a.png"), job.record("c.png")))
    assert report.seconds["infer"] == pytest.approx(total / 1000, abs=0.001)


def test_pictures_are_not_drawn_where_nobody_wants_them(tmp_path):
    job = Job(tmp_path, {"a.png": png(PHOTO)}, save_images=False)
    assert job.work() == 0
    assert not job.run_pass.images_dir.exists()
    assert found(job.record("a.png")) == PHOTO_FOUND
    assert list(job.record("a.png").times) == ["read_ms", "infer_ms", "write_ms"]


BAD = {
    "empty.jpg": (b"", "empty: the file has zero bytes"),
    "text.jpg": (b"hello\n", "not an image: text"),
    "cut.png": (png(PHOTO)[:-20], "truncated PNG: "),
    "huge.png": (png(np.zeros((1001, 1000, 3), np.uint8)), "too large: 1000x1001 is 1.0 megapixels, the limit is 1 "),
}


def test_an_image_that_cannot_be_used_is_named_and_the_others_are_done(tmp_path, capfd):
    files = {"a.png": png(PHOTO)} | {name: data for name, (data, _) in BAD.items()} | {"z.png": png(PHOTO)}
    job = Job(tmp_path, files, max_pixels=1_000_000)
    gone = replace(job.entries[0], index=9, key=image_key("gone.png"), path="gone.png", label="gone.png.txt")
    job.entries.append(gone)
    job.write_chunk()
    assert job.work() == 0
    for name, (_, reason) in {**BAD, "gone.png": (b"", "unreadable: the file vanished")}.items():
        record = job.record(name)
        assert record.error.startswith(reason)
        assert (record.detections, record.width) == ((), 0)
        assert not job.run_pass.image(name).exists()
        assert not job.run_pass.label(f"{name}.txt").exists()
    assert found(job.record("a.png")) == found(job.record("z.png")) == PHOTO_FOUND
    assert (job.report.images, job.report.failed) == (7, 5)


def test_an_engine_that_fails_on_one_picture_fails_that_picture(tmp_path):
    job = Job(tmp_path, {"a.png": png(picture(56, 56)), "b.png": png(picture(64, 64)), "c.png": png(picture(56, 56))})
    images = ops.parameter([1, 3, -1, -1], np.float32)
    # Fails where the number of pixels is no multiple of seven.
    none = ops.multiply(ops.reshape(ops.reduce_max(images, [1]), np.array([1, 7, -1]), False), np.float32(0))
    prepared(ov.Model([none], [images]), job.model, stride=8)
    fsio.write_json(job.run.settings, job.settings | {"imgsz": 56})
    # Letterboxed to 56 x 56 all of them: a smaller one in a rectangle of 48 x 56, 384 x 7.
    fsio.write_bytes(job.inputs / "b.png", png(picture(44, 64)))
    assert job.work() == 0
    assert job.record("b.png").error is None
    fsio.write_bytes(job.inputs / "b.png", png(picture(64, 64)))
    fsio.write_json(job.run.settings, job.settings | {"imgsz": 64})
    assert job.work() == 0
    assert job.record("b.png").error.startswith("OpenVINO failed: ")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (MemoryError(), "too large: not enough memory in this slot"),
        (
            cv2.error("OpenCV(4.14.0) x.cpp:1:\n error: (-4:Insufficient memory)"),
            "OpenCV failed: OpenCV(4.14.0) x.cpp:1: error",
        ),
    ],
)
def test_a_picture_that_needs_more_than_there_is(tmp_path, monkeypatch, error, text):
    def fail(*_: object) -> None:
        raise error

    job = Job(tmp_path, {"a.png": png(PHOTO)})
    monkeypatch.setattr(detect, "letterbox", lambda *_, **__: fail())
    assert job.work() == 0
    assert job.record("a.png").error.startswith(text)


def test_a_bug_is_not_taken_for_a_bad_picture(tmp_path, monkeypatch):
    job = Job(tmp_path, {"a.png": png(PHOTO)})
    monkeypatch.setattr(detect, "letterbox", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        job.work()
    assert not job.run_pass.records_dir.exists()
    assert not job.run_pass.job("s001", "c00000").exists()


def test_limits_of_the_model_itself_are_said_once(tmp_path, capfd):
    job = Job(tmp_path, {"a.png": png(PHOTO), "b.png": png(PHOTO)}, conf=0.1)
    raw = np.float32([[[20, 10, 40, 30, 0.5, 1]]])
    prepared(constant_model(raw, (60, 80)), job.model, layout=nms.END_TO_END, nms=EmbeddedNms(0.25, None, 300))
    fsio.write_json(job.run.settings, job.settings | {"imgsz": 0})
    assert job.work() == 0
    assert found(job.record("a.png")) == [(1, [40, 20, 80, 60])]
    assert capfd.readouterr().err.count("warning: conf=0.1: the model itself drops scores up to 0.25") == 1


# --- going on where another attempt ended ---------------------------------------------------------------------


def test_a_second_attempt_does_nothing_again(tmp_path):
    job = Job(tmp_path, {"a.png": png(PHOTO), "b/c.png": png(PHOTO)})
    job.work()
    before = job.state()
    assert job.work() == 0
    assert job.state() == before
    assert len(before) == 5
    assert (job.progress.done, job.report.images) == (2, 2)


def rewrite(job: Job, change: Callable[[str], str]) -> None:
    """Change the record of a.png where it stands; its journal keeps its date."""
    path = job.run_pass.records(job.submission, job.chunk, 1)
    dates = path.stat().st_atime_ns, path.stat().st_mtime_ns
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(change(line) if '"path":"a.png"' in line else line for line in lines))
    os.utime(path, ns=dates)


def cut(job: Job) -> None:
    rewrite(job, lambda line: line[:-10])


def zeros(job: Job) -> None:
    rewrite(job, lambda line: line[:60] + "\0" * 40 + line[100:])


def lose(job: Job) -> None:
    rewrite(job, lambda _: "")


def fail(job: Job) -> None:
    rewrite(job, lambda _: replace(job.record("a.png"), error="truncated", detections=()).to_json() + "\n")


def change_file(job: Job) -> None:
    job.entries[1] = job.put(1, "a.png", png(picture(120, 160, ((0, 0, 40, 40), GREEN))))
    job.write_chunk()


def change_settings(job: Job) -> None:
    rewrite(job, lambda _: replace(job.record("a.png"), settings_digest="0" * 16).to_json() + "\n")


@pytest.mark.parametrize("spoil", [cut, zeros, lose, fail, change_file, change_settings])
def test_what_has_no_good_record_is_done_again_and_nothing_else(tmp_path, spoil):
    # The last, so that a record that is cut short takes no other with it.
    job = Job(tmp_path, {"b.png": png(PHOTO), "a.png": png(PHOTO)})
    job.work()
    before = job.state()
    spoil(job)
    assert job.work() == 0
    after = job.state()
    expected = {"records/s001-c00000-2.jsonl", "images/a.png", "labels/a.png.txt"}
    assert {name for name in after if after[name] != before.get(name)} == expected
    record, entry = job.record("a.png"), job.entries[1]
    assert (record.error, record.size, record.mtime_ns) == (None, entry.size, entry.mtime_ns)
    assert record.settings_digest == settings_digest(job.settings)
    assert found(record) == ([(1, [0, 0, 40, 40])] if spoil is change_file else PHOTO_FOUND)


def test_a_good_image_that_became_bad_leaves_no_old_results(tmp_path):
    job = Job(tmp_path, {"a.png": png(PHOTO)})
    job.work()
    job.entries[0] = job.put(0, "a.png", b"spoilt")
    job.write_chunk()
    assert job.work() == 0
    assert job.record("a.png").error == "not an image: text"
    assert not job.run_pass.image("a.png").exists()
    assert not job.run_pass.label("a.png.txt").exists()


# --- writing ----------------------------------------------------------------------------------------------------


def test_results_appear_whole_and_the_record_last(tmp_path, monkeypatch):
    job = Job(tmp_path, {"b/a.png": png(PHOTO)})
    renames = []
    replace_file = os.replace

    def poll(temp, path):
        # The temporary file is whole, beside its place and not yet there.
        renames.append((str(Path(path).relative_to(job.run_pass.root)), Path(temp).parent == Path(path).parent))
        assert Path(temp).name.startswith(".tmp-")
        assert Path(temp).stat().st_size > 0
        replace_file(temp, path)

    recorded = []
    add = Journal.add

    def look_back(journal, record):
        recorded.append({name for name, _ in renames if not name.startswith("progress/")})
        add(journal, record)

    monkeypatch.setattr(os, "replace", poll)
    monkeypatch.setattr(Journal, "add", look_back)
    assert job.work() == 0
    done = [name for name, beside in renames if beside and not name.startswith("progress/")]
    assert done == ["images/b/a.png", "labels/b/a.png.txt", "jobs/s001-c00000.json"]
    assert recorded == [set(done[:2])]
    assert list(job.run_pass.root.rglob(".tmp-*")) == []


def test_a_full_share_stops_the_job_and_keeps_what_is_done(tmp_path, monkeypatch):
    job = Job(tmp_path, {f"{i}.png": png(PHOTO) for i in range(5)})
    replace_file = os.replace

    def full(temp, path):
        if Path(path) == job.run_pass.image("2.png"):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace_file(temp, path)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(
        YoloError, match=r"cannot read or write results: No space left on device: .*; free space on the"
    ):
        job.work()
    assert sorted(p.name for p in job.run_pass.images_dir.iterdir()) == ["0.png", "1.png"]
    assert found(job.record("1.png")) == PHOTO_FOUND
    assert list(read_records(job.run_pass, [image_key("2.png")])) == [None]
    assert not job.run_pass.job("s001", "c00000").exists()
    before = job.state()
    monkeypatch.setattr(os, "replace", replace_file)
    assert job.work() == 0
    assert job.report.images == 5
    assert before.items() <= job.state().items()


def test_a_share_that_fills_up_in_the_journal_stops_the_job_and_keeps_what_is_whole(tmp_path, monkeypatch):
    job = Job(tmp_path, {f"{i}.png": png(PHOTO) for i in range(5)})
    write = os.write

    def full(file, data):
        if b'"path":"2.png"' in bytes(data):
            return write(file, data[:-50])
        if len(data) == 50:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(YoloError, match=r"No space left on device: .*; free space on the"):
        job.work()
    assert found(job.record("1.png")) == PHOTO_FOUND
    assert list(read_records(job.run_pass, [image_key("2.png")])) == [None]
    assert not job.run_pass.job("s001", "c00000").exists()
    monkeypatch.setattr(os, "write", write)
    assert job.work() == 0
    assert [found(job.record(f"{i}.png")) for i in range(5)] == [PHOTO_FOUND] * 5
    assert len(list(job.run_pass.records_dir.iterdir())) == 2


def test_a_share_that_is_gone_stops_the_job(tmp_path, monkeypatch):
    job = Job(tmp_path, {"a.png": png(PHOTO)})

    def stale(*_):
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(os, "replace", stale)
    with pytest.raises(
        YoloError, match=r"Stale file handle: .*; check the share on this host, then run the same run_id"
    ):
        job.work()


def test_a_name_that_grows_too_long_fails_its_image_only(tmp_path):
    name = "n" * 251 + ".png"
    job = Job(tmp_path, {name: png(PHOTO), "b.png": png(PHOTO)})
    assert len(job.entries[0].label) == 259
    assert job.work() == 0
    assert job.record(name).error == "its results cannot be written: File name too long"
    assert job.record(name).detections == ()
    assert not job.run_pass.image(name).exists()
    assert found(job.record("b.png")) == PHOTO_FOUND
    assert job.report.failed == 1


# --- being stopped and crashing ---------------------------------------------------------------------------------


def test_on_sigterm_the_image_in_work_is_finished_and_the_next_attempt_goes_on(tmp_path, monkeypatch, capfd):
    job = Job(tmp_path, {f"{i}.png": png(PHOTO) for i in range(4)})
    find = detect.find

    def stopped(item, detector):
        if item.entry.path == "1.png":
            os.kill(os.getpid(), signal.SIGTERM)
        find(item, detector)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(detect, "find", stopped)
    assert job.work() == 143
    assert signal.getsignal(signal.SIGTERM) == before
    assert sorted(p.name for p in job.run_pass.images_dir.iterdir()) == ["0.png", "1.png"]
    assert found(job.record("1.png")) == PHOTO_FOUND
    assert (job.progress.done, job.progress.total) == (2, 4)
    assert "stopped by SIGTERM after 2 of 4 images" in capfd.readouterr().err
    assert not job.run_pass.job("s001", "c00000").exists()
    # It was no crash.
    assert not (job.run_pass.root / "inflight" / "s001-c00000").exists()
    monkeypatch.setattr(detect, "find", find)
    assert job.work() == 0
    assert job.report.images == 4


CRASH = """
import os, sys
from yolo.detector import detect
step = getattr(detect, os.environ["STEP"])
def crash(item, *rest):
    if item.entry.path == "1.png" and item.record.error is None:
        os._exit(11)
    return step(item, *rest)
setattr(detect, os.environ["STEP"], crash)
sys.exit(detect.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("step", ["read", "find", "finish"])
def test_an_image_that_kills_the_process_twice_is_given_up_and_the_others_are_done(tmp_path, step):
    job = Job(tmp_path, {f"{i}.png": png(PHOTO) for i in range(3)})
    environment = os.environ | {"PYTHONPATH": str(Path(detect.__file__).parents[2]), "STEP": step}
    codes = [
        subprocess.run([sys.executable, "-c", CRASH, *job.arguments], env=environment, check=False).returncode
        for _ in range(3)
    ]
    assert codes == [11, 11, 0]
    assert job.record("1.png").error.startswith("crashed the detector 2 times: the process died while this file was in")
    assert found(job.record("0.png")) == found(job.record("2.png")) == PHOTO_FOUND
    assert job.report.failed == 1
    assert not (job.run_pass.root / "inflight" / "s001-c00000").exists()


KEYS = [f"{i:016x}" for i in range(4)]


def crash(path: Path, *keys: str) -> None:
    """Do these one after the other, and die at the last."""
    notes = CrashNotes(path)
    for key in keys:
        notes.begin(key)
        if key != keys[-1]:
            notes.end(key)
    os.close(notes._file)


def test_of_a_crash_the_image_in_work_is_remembered(tmp_path):
    path = tmp_path / "inflight" / "s001-c00000"
    crash(path, KEYS[0], KEYS[1])
    assert path.read_text() == f"{KEYS[1]}\n"
    crash(path, KEYS[2])
    assert path.read_text() == f"{KEYS[1]}\n{KEYS[2]}\n"
    crash(path, KEYS[0], KEYS[1])
    notes = CrashNotes(path)
    assert notes.crashed
    assert [notes.begin(key) for key in KEYS] == [True, False, True, True]
    notes.close(finished=False)
    assert path.read_text() == f"{KEYS[1]}\n{KEYS[2]}\n{KEYS[1]}\n"


def test_of_a_crash_all_images_in_work_are_remembered(tmp_path):
    path = tmp_path / "notes"
    notes = CrashNotes(path)
    assert not notes.crashed
    for key in KEYS[:3]:
        notes.begin(key)
    notes.end(KEYS[0])
    notes.end(KEYS[0])
    notes.begin(KEYS[3])
    notes.end(KEYS[1])
    os.close(notes._file)
    crash(path, KEYS[2])
    notes = CrashNotes(path)
    # Once each, and one of them twice: that one is given up.
    assert [notes.begin(key) for key in KEYS] == [True, True, False, True]
    notes.close(finished=False)


def test_of_an_end_without_a_crash_nothing_is_remembered(tmp_path):
    path = tmp_path / "notes"
    notes = CrashNotes(path)
    notes.begin(KEYS[0])
    notes.close(finished=False)
    assert not path.exists()
    crash(path, KEYS[0])
    notes = CrashNotes(path)
    notes.begin(KEYS[1])
    notes.close(finished=True)
    assert not path.exists()


@pytest.mark.parametrize("spoilt", [b"\0" * 34, b"0123", f"{KEYS[0]}\n".encode() + b"\0" * 17, b"\xff" * 40])
def test_notes_that_a_power_cut_spoilt_do_no_harm(tmp_path, spoilt):
    path = tmp_path / "notes"
    path.write_bytes(spoilt)
    crash(path, KEYS[2])
    assert path.read_text().splitlines()[-1] == KEYS[2]
    assert "\0" not in path.read_text()


# --- reading ahead ----------------------------------------------------------------------------------------------


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
    assert budget.take(60) == 60

    def take(pixels):
        budget.take(pixels)
        passed.append(pixels)

    threads = [threading.Thread(target=take, args=(pixels,)) for pixels in (41, 500)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    assert passed == []
    budget.give(60)
    time.sleep(0.05)
    assert len(passed) == 1
    budget.give(passed[0])
    for thread in threads:
        thread.join(10)
    assert sorted(passed) == [41, 500]
    # The large one is still there.
    late = threading.Thread(target=take, args=(1,))
    if passed[-1] == 500:
        late.start()
        time.sleep(0.05)
        assert late.is_alive()
        budget.open()
        late.join(10)
        assert passed[-1] == 1


def test_large_images_get_through_a_small_budget(tmp_path, monkeypatch):
    job = Job(tmp_path, {f"{i}.png": png(PHOTO) for i in range(5)})
    monkeypatch.setattr(detect, "Budget", lambda: Budget(PHOTO.shape[0] * PHOTO.shape[1] - 1))
    assert job.work() == 0
    assert (job.report.images, job.report.failed) == (5, 0)


def test_a_writer_that_fails_does_not_leave_the_reader_waiting(tmp_path, monkeypatch):
    large = np.concatenate((PHOTO, PHOTO))
    job = Job(tmp_path, {f"{i}.png": png(large if i else PHOTO) for i in range(9)})
    monkeypatch.setattr(detect, "Budget", lambda: Budget(3 * PHOTO.shape[0] * PHOTO.shape[1]))
    found, second = detect.find, threading.Event()

    def find(item, detector):
        found(item, detector)
        if item.entry.path == "1.png":
            second.set()

    def fail(*_):
        # The second image waits to be drawn, and is dropped; the third waits for its room.
        assert second.wait(10)
        time.sleep(0.1)
        raise ZeroDivisionError

    monkeypatch.setattr(detect, "find", find)
    monkeypatch.setattr(detect, "finish", fail)
    errors = []

    def work():
        with pytest.raises(ZeroDivisionError):
            detect.run_pipeline(items, steps, lambda _: None, lambda: False)
        errors.append("raised")

    notes = CrashNotes(tmp_path / "notes")
    info = load_info(job.model)
    settings = Settings.from_run(job.settings)
    steps = detect.Steps(settings, Detector(info, load_engine(job.model, info), settings), COLOURS, notes)
    items = [
        detect.Item(entry, Record(entry.key, entry.path, entry.size, entry.mtime_ns, "d")) for entry in job.entries
    ]
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(20)
    assert errors == ["raised"]
    notes.close(finished=True)


# --- the writer ---------------------------------------------------------------------------------------------------


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


# --- formats --------------------------------------------------------------------------------------------------------


FOUND = nms.Detections(np.float32([[1 / 3, 2, 100.1, 50]]), np.float32([0.1]), np.int64([7]))


def test_numbers_are_written_with_no_more_digits_than_they_have():
    assert to_detections(FOUND) == (Detection(7, 0.1, (0.33333334, 2.0, 100.1, 50.0)),)
    again = np.float32(to_detections(FOUND)[0].box)
    np.testing.assert_array_equal(again, FOUND.boxes[0])


def test_label_files_are_yolos_with_confidence():
    # Centre (1/3 + 100.1)/2 = 50.2167 of 200, 26 of 100; size 99.7667 of 200, 48 of 100.
    assert label_text(detect.to_detections(FOUND), 200, 100) == "7 0.251083 0.26 0.498833 0.48 0.1\n"
    assert label_text((), 200, 100) == ""


def test_a_copy_that_is_not_the_file_that_was_listed_is_named(tmp_path):
    job = Job(tmp_path, dict.fromkeys(("a.png", "b.png", "c.png"), png(PHOTO)))
    job.entries[0] = replace(job.entries[0], content="0f" * 16)
    job.entries[1] = replace(job.entries[1], content=contents.digest(png(PHOTO)))
    job.write_chunk()
    assert job.work() == 0
    assert job.record("a.png").error.startswith("changed: the copy on the share is not the file that was listed")
    assert [job.record(name).error for name in ("b.png", "c.png")] == [None, None]
    # Also where the manifest does not know it, for the next time.
    assert {job.record(name).content for name in ("b.png", "c.png")} == {contents.digest(png(PHOTO))}


# --- where and how the job runs ---------------------------------------------------------------------------------------


AD = """\
AccountingGroup = undefined
Cpus = 3
Machine = "execute1.example.org"
Name = "slot1_2@execute1.example.org"
TotalCpus = 8
"""


def test_the_slot_as_htcondor_tells_it(tmp_path):
    (tmp_path / ".machine.ad").write_text(AD)
    environment = {"_CONDOR_MACHINE_AD": str(tmp_path / ".machine.ad")}
    assert find_slot(environment) == Slot("execute1.example.org", "slot1_2", 3)
    assert find_slot(environment | {"_CONDOR_SLOT": "slot1_9"}).name == "slot1_9"


@pytest.mark.parametrize("environment", [{}, {"_CONDOR_MACHINE_AD": "/nonexistent"}])
def test_the_slot_outside_a_pool(environment):
    assert find_slot(environment) == Slot(os.uname().nodename, "", len(os.sched_getaffinity(0)))


@pytest.mark.parametrize(
    ("asked", "set_for_run", "omp", "threads"),
    [(5, 4, "2", 5), (0, 4, "2", 4), (0, 0, "2", 2), (0, 0, "", 3), (0, 0, "many", 3), (0, 0, "0", 3)],
)
def test_threads_are_those_asked_for_then_the_runs_then_the_slots(asked, set_for_run, omp, threads):
    settings = Settings(Path(), Path(), 0.25, 0.7, threads=set_for_run)
    assert detect.choose_threads(asked, settings, Slot("h", "s", 3), {"OMP_NUM_THREADS": omp}) == threads


def test_the_engine_gets_the_slots_threads(tmp_path, monkeypatch):
    job = Job(tmp_path, {"a.png": png(PHOTO)})
    (tmp_path / "ad").write_text(AD)
    monkeypatch.setenv("_CONDOR_MACHINE_AD", str(tmp_path / "ad"))
    given = []
    load = detect.load_engine
    monkeypatch.setattr(detect, "load_engine", lambda *a, **k: given.append(k["threads"]) or load(*a, **k))
    assert job.work() == 0
    assert given == [3]
    assert cv2.getNumThreads() == 3
    record, report = job.record("a.png"), job.report
    assert (record.host, record.slot) == (report.host, report.slot) == ("execute1.example.org", "slot1_2")
    assert (report.cpus, report.threads) == (3, 3)
    assert detect.main([*job.arguments, "--threads", "1"]) == 0
    assert given == [3, 1]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"conf": None}, "lacks a usable setting: TypeError"),
        ({"iou": "much"}, "lacks a usable setting: ValueError"),
        ({"max_det": ...}, "lacks a usable setting: KeyError: 'max_det'"),
        ({"conf": 1.5}, "conf in run.json out of range: 1.5; expected 0 to 1"),
        ({"iou": -0.1}, "iou in run.json out of range: -0.1; expected 0 to 1"),
        ({"conf": float("nan")}, "conf in run.json out of range: nan"),
        ({"max_det": 0}, "max_det in run.json out of range: 0; expected 1 to 30000"),
        ({"imgsz": 9000}, "imgsz in run.json out of range: 9000; expected 0 to 8192"),
        ({"threads": -1}, "threads in run.json out of range: -1"),
    ],
)
def test_settings_that_are_missing_or_out_of_range(change, text):
    value = SETTINGS | {"input_dir": "/in", "model_dir": "/m"} | change
    with pytest.raises(YoloError) as error:
        Settings.from_run({name: setting for name, setting in value.items() if setting is not ...})
    assert text in str(error.value)


def test_settings_that_are_left_out_have_defaults():
    value = {
        "input_dir": "/in",
        "model_dir": "/m",
        "conf": 0.5,
        "iou": "0.7",
        "max_det": 10,
        "classes": None,
        "imgsz": None,
    }
    assert Settings.from_run(value) == Settings(Path("/in"), Path("/m"), 0.5, 0.7, max_det=10)
    settings = Settings.from_run(value | {"classes": [0, "cat"], "imgsz": 320, "save_images": False, "max_pixels": 5})
    assert (settings.classes, settings.imgsz, settings.save_images, settings.max_pixels) == ((0, "cat"), 320, False, 5)


@pytest.mark.parametrize(
    "text", ["s001/c00003", "/share/runs/r/parallel/chunks/s001/c00003.jsonl", "s001/c00003.jsonl"]
)
def test_a_chunk_by_name_or_by_file(text):
    assert detect.parse_chunk(text) == ("s001", "c00003")


@pytest.mark.parametrize("text", ["", "c00003", "p1/c00003", "s001/c3", "s001/c00003.txt", "s001/c00003/"])
def test_what_is_no_chunk(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected submission/chunk"):
        detect.parse_chunk(text)


def test_a_chunk_that_is_missing_or_damaged(tmp_path):
    job = Job(tmp_path, {"a.png": png(PHOTO)})
    path = job.run_pass.chunk("s001", "c00000")
    path.write_text('{"index": 0')
    with pytest.raises(YoloError, match=r"the chunk is damaged: .*c00000\.jsonl"):
        job.work()
    path.unlink()
    with pytest.raises(YoloError, match=r"no such chunk: .*; plan the run again"):
        job.work()


def test_a_model_that_is_missing_says_what_to_do(tmp_path):
    job = Job(tmp_path, {"a.png": png(PHOTO)})
    (job.model / "model.json").unlink()
    with pytest.raises(YoloError, match=r"no prepared model: .*; prepare the weights again"):
        job.work()


def test_threads_on_the_command_line(tmp_path):
    with pytest.raises(YoloError, match="threads out of range: -1"):
        detect.main(["--run-dir", str(tmp_path), "--pass", "single", "--chunk", "s001/c00000", "--threads", "-1"])


def test_a_job_starts_without_torch_and_ultralytics(tmp_path):
    names = ["torch", "ultralytics", "yaml", "yolo.model.prepare"]
    code = f"import sys, yolo.detector.detect; print(sorted(set({names}) & set(sys.modules)))"
    environment = {"PYTHONPATH": str(Path(detect.__file__).parents[2]), "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_heartbeat_beats_once_a_second_and_at_the_end(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(detect, "time", SimpleNamespace(monotonic=lambda: now[0], time=lambda: 5000 + now[0]))
    tally = detect.Tally(tmp_path / "beat", 10, "h")
    record = Record("k", "a", 1, 1, "d", times={"read_ms": 500.0, "infer_ms": 250.0})
    seen = []
    for error in (None, "bad", None, None):
        tally.add(replace(record, error=error))
        seen.append(Progress.from_json((tmp_path / "beat").read_text()).done)
        now[0] += 0.4
    assert seen == [1, 1, 1, 4]
    tally.add(None)
    tally.beat(now=True)
    assert Progress.from_json((tmp_path / "beat").read_text()) == Progress(5, 10, 1, "h", 5101.6)
    assert tally.seconds == {"start": 0, "read": 2, "infer": 1, "draw": 0, "write": 0}


def test_output_is_what_it_is_made_of():
    entry = Entry(0, "k", "a", "a.txt", 1, 1)
    record = Record("k", "a", 1, 1, "d")
    assert Output(entry, record) == Output(entry, record, None, None)
