"""Photos that are decoded no larger than the network needs, and annotated copies that are smaller than the photo."""

import io
import subprocess
import sys
import textwrap
from pathlib import Path

import cv2
import numpy as np
import pytest
from make_job import PHOTO, PHOTO_FOUND, Job, found
from PIL import Image
from test_decode import with_orientation
from yolo.share import fsio
from yolo.share.errors import BadImage
from yolo.vision import draw
from yolo.vision.container import fast_scale, walk_jpeg
from yolo.vision.decode import decode_photo

PROJECT = Path(__file__).parents[2]


def ramps(height: int, width: int) -> np.ndarray:
    """Smooth, and different in each channel and direction."""
    y, x = np.mgrid[:height, :width]
    return np.stack((y * 200 // height, x * 200 // width, (x + y) * 200 // (height + width)), axis=2).astype(np.uint8)


def jpeg(image: np.ndarray, *options: int) -> bytes:
    done, data = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, 95, *options))
    assert done
    return data.tobytes()


def large(times: int) -> bytes:
    return jpeg(cv2.resize(PHOTO, None, fx=times, fy=times, interpolation=cv2.INTER_NEAREST))


# --- by how much ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "needed", "scale"),
    [
        ((300, 400), (64, 64), 4),
        ((400, 300), (64, 64), 4),
        ((512, 20), (64, 64), 8),
        ((511, 20), (64, 64), 4),
        ((128, 128), (64, 64), 2),
        ((127, 127), (64, 64), 1),
        ((20, 30), (64, 64), 1),
        ((1, 1), (64, 64), 1),
        # Turned upright it would need more.
        ((400, 200), (50, 100), 4),
        ((200, 400), (50, 100), 4),
    ],
)
def test_the_decoder_scales_down_as_far_as_the_network_sees_no_less(size, needed, scale):
    data = jpeg(ramps(*size))
    assert fast_scale(data, needed) == scale
    shown = decode_photo(data, needed=needed)
    assert shown.image.shape == (-(-size[0] // scale), -(-size[1] // scale), 3)
    assert shown.size == (size[1], size[0])
    assert shown.warning is None


def test_without_being_asked_to_no_pixel_is_left_out():
    data = large(8)
    np.testing.assert_array_equal(decode_photo(data).image, cv2.imdecode(np.frombuffer(data, np.uint8), 1))


def test_what_is_no_jpeg_is_decoded_whole():
    data = cv2.imencode(".png", ramps(256, 256))[1].tobytes()
    assert fast_scale(data, (64, 64)) == 1
    assert decode_photo(data, needed=(64, 64)).image.shape == (256, 256, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_small_copy_is_turned_upright(orientation):
    data = with_orientation(jpeg(ramps(240, 320)), orientation)
    whole, small = decode_photo(data), decode_photo(data, needed=(64, 64))
    assert small.size == whole.size == whole.image.shape[1::-1]
    assert max(small.image.shape) == 80
    expected = cv2.resize(whole.image, small.image.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(small.image.astype(int) - expected).mean() < 3


@pytest.mark.parametrize("kind", ["progressive", "grey", "CMYK"])
def test_odd_kinds_of_jpeg_are_scaled_down_too(kind):
    image = ramps(256, 256)
    if kind == "progressive":
        data = jpeg(image, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
        assert walk_jpeg(data).progressive
    elif kind == "grey":
        data = jpeg(image[..., 1])
    else:
        buffer = io.BytesIO()
        Image.fromarray(image[..., ::-1]).convert("CMYK").save(buffer, "JPEG", quality=95)
        data = buffer.getvalue()
    small, whole = decode_photo(data, needed=(64, 64)), decode_photo(data)
    assert (small.image.shape, small.size, small.warning) == ((64, 64, 3), (256, 256), whole.warning)
    expected = cv2.resize(whole.image, (64, 64), interpolation=cv2.INTER_AREA)
    assert np.abs(small.image.astype(int) - expected).mean() < 3


def test_damage_is_found_in_a_small_copy():
    noise = np.random.default_rng(3).integers(0, 255, (256, 256, 3), np.uint8)
    data = jpeg(noise)
    with pytest.raises(BadImage, match="truncated JPEG: "):
        decode_photo(data[: len(data) // 2], needed=(64, 64))


@pytest.mark.parametrize(("needed", "warned"), [((64, 64), False), ((200, 200), True)])
def test_a_warning_says_that_pixels_were_left_out_only_where_that_was_not_asked_for(needed, warned):
    found_ = decode_photo(jpeg(ramps(256, 256)), needed=needed, max_pixels=200 * 200)
    assert (found_.warning is not None) is warned


def test_the_size_of_a_jpeg_is_known_from_its_head():
    data = large(4)
    head = walk_jpeg(data, head=True)
    assert (head.size, head.scan) == (walk_jpeg(data).size, walk_jpeg(data).scan)
    # What comes after is not looked at.
    assert walk_jpeg(data[: head.scan], head=True) == head


# --- in a job ------------------------------------------------------------------------------------------------


def boxes(record) -> np.ndarray:
    return np.array([box for _, box in found(record)], float)


def test_a_job_that_decodes_fast_answers_in_pixels_of_the_photo(tmp_path):
    job = Job(tmp_path, {"a.jpg": large(8)}, decode="fast")
    assert job.work() == 0
    record = job.record("a.jpg")
    assert (record.width, record.height, record.warning) == (1280, 960, None)
    assert [index for index, _ in found(record)] == [index for index, _ in PHOTO_FOUND]
    np.testing.assert_allclose(boxes(record), 8 * np.array([box for _, box in PHOTO_FOUND]), atol=8)
    # The copy has the size that was decoded.
    assert job.annotated("a.jpg").shape == (120, 160, 3)


def test_a_job_decodes_exactly_unless_asked(tmp_path):
    job = Job(tmp_path, {"a.jpg": large(8)})
    assert job.work() == 0
    assert job.annotated("a.jpg").shape == (960, 1280, 3)


@pytest.mark.parametrize(
    ("decode", "size", "shape"),
    [
        ("exact", 320, (240, 320, 3)),
        ("exact", 100, (75, 100, 3)),
        ("exact", 5000, (960, 1280, 3)),
        ("fast", 80, (60, 80, 3)),
        ("fast", 320, (120, 160, 3)),
    ],
)
def test_an_annotated_copy_is_no_larger_than_asked(tmp_path, decode, size, shape):
    job = Job(tmp_path, {"a.jpg": large(8)}, decode=decode, annotated_size=size)
    assert job.work() == 0
    assert job.annotated("a.jpg").shape == shape
    record = job.record("a.jpg")
    assert (record.width, record.height) == (1280, 960)
    np.testing.assert_allclose(boxes(record), 8 * np.array([box for _, box in PHOTO_FOUND]), atol=8)


def test_boxes_are_drawn_after_scaling_down():
    image = np.full((400, 800, 3), 90, np.uint8)
    small, scaled = draw.shrink(image, np.float32([[80, 40, 400, 200]]), 200)
    assert small.shape == (100, 200, 3)
    np.testing.assert_array_equal(scaled, np.float32([[20, 10, 100, 50]]))
    draw.draw(small, scaled, np.float32([0.5]), np.array([0]), ["cat"])
    # A line of one pixel would be a quarter of one.
    assert (np.abs(small[30, 20].astype(int) - draw.colour(0)) < 40).all()


@pytest.mark.parametrize("shape", [(300, 400), (301, 403), (400, 300), (5, 400)])
@pytest.mark.parametrize("size", [37, 99, 100, 200, 399])
def test_an_image_that_is_scaled_down_keeps_its_shape_and_look(shape, size):
    image = ramps(*shape)
    small, _ = draw.shrink(image, np.empty((0, 4), np.float32), size)
    assert max(small.shape) == size
    assert min(small.shape[:2]) == max(round(min(shape) * size / max(shape)), 1)
    expected = cv2.resize(image, small.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - expected).mean() < 3


@pytest.mark.parametrize("size", [0, 160, 161])
def test_an_image_that_is_small_enough_stays(size):
    some = np.float32([[1, 2, 3, 4]])
    image, same = draw.shrink(PHOTO, some, size)
    assert image is PHOTO
    assert same is some


# --- memory --------------------------------------------------------------------------------------------------

FAULTS = """
import collections, resource, sys, threading
import cv2, numpy as np
from yolo.detector.memory import keep_freed_memory
if sys.argv[1] == "yes":
    keep_freed_memory()
data = cv2.imencode(".jpg", np.zeros((3000, 4000, 3), np.uint8))[1]
faults, ahead = [], collections.deque(maxlen=2)
def work():
    for _ in range(10):
        ahead.append(cv2.imdecode(data, cv2.IMREAD_COLOR))
        faults.append(resource.getrusage(resource.RUSAGE_THREAD).ru_minflt)
thread = threading.Thread(target=work)
thread.start()
thread.join()
print(faults[-1] - faults[4])
"""


def test_the_memory_of_a_photo_is_kept_for_the_next_one():
    def faults(kept: str) -> int:
        command = [sys.executable, "-c", textwrap.dedent(FAULTS), kept]
        environment = {"PYTHONPATH": str(PROJECT / "files")}
        return int(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)

    before = faults("no")
    if before < 5000:
        pytest.skip(f"huge pages or another C library: {before} page faults for five photos are no loss")
    assert faults("yes") < 1000


# --- asked for -----------------------------------------------------------------------------------------------


def test_a_run_says_how_it_decodes(tmp_path):
    job = Job(tmp_path, {"a.jpg": large(8)}, decode="fast", annotated_size=100)
    job.work()
    plain = Job(tmp_path / "other", {"a.jpg": large(8)})
    plain.work()
    assert job.record("a.jpg").settings_digest != plain.record("a.jpg").settings_digest
    assert fsio.read_json(job.run.settings)["decode"] == "fast"
