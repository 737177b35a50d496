from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from make_job import BLUE, GREEN, RED, picture
from make_model import SCORE, Size, colour_model, constant_model, prepared
from yolo.detector.detector import Detector, to_detections
from yolo.detector.settings import Settings
from yolo.model.engines import load_engine
from yolo.share.errors import BadImage, YoloError
from yolo.share.records import Detection, label_text
from yolo.vision import nms


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


@pytest.mark.parametrize(("settings", "text"), [({"classes": ("dog",)}, "classes is 'dog'"), ({"imgsz": 96}, "imgsz")])
def test_what_the_model_cannot_do_is_said_before_the_first_picture(tmp_path, settings, text):
    with pytest.raises(YoloError, match=text):
        detector(tmp_path, (64, 64), **settings)


def test_an_answer_that_is_no_number_fails_the_picture(tmp_path):
    raw = np.zeros((1, 5, 100), np.float32)
    raw[0, :, 0] = (np.nan, 32, 40, 40, 0.9)
    info = prepared(constant_model(raw), tmp_path, names=("thing",))
    with pytest.raises(BadImage, match="boxes that are not numbers"):
        Detector(info, load_engine(tmp_path, info), Settings(tmp_path, tmp_path, 0.25, 0.7)).detect(picture(64, 64))


FOUND = nms.Detections(np.float32([[1 / 3, 2, 100.1, 50]]), np.float32([0.1]), np.int64([7]))


def test_numbers_are_written_with_no_more_digits_than_they_have():
    assert to_detections(FOUND) == (Detection(7, 0.1, (0.33333334, 2.0, 100.1, 50.0)),)
    again = np.float32(to_detections(FOUND)[0].box)
    np.testing.assert_array_equal(again, FOUND.boxes[0])


def test_label_files_are_yolos_with_confidence():
    # Centre (1/3 + 100.1)/2 = 50.2167 of 200, 26 of 100; size 99.7667 of 200, 48 of 100.
    assert label_text(to_detections(FOUND), 200, 100) == "7 0.251083 0.26 0.498833 0.48 0.1\n"
    assert label_text((), 200, 100) == ""
