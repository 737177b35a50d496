"""The detector against ultralytics' own predictor, on real photos with real weights.

What is expected was recorded with ``tests/reference/ultralytics_reference.py --imgsz 320 --conf 0.25 --iou 0.7``
(ultralytics 8.4.190, the weights' OpenVINO folder). Photos and weights are not part of the project.
"""

import copy
import json
import shutil
from pathlib import Path

import pytest
from compare_predictions import compare
from shared_data import SHARED
from yolo.detector.detector import Detector, to_detections
from yolo.detector.settings import Settings
from yolo.model.engines import load_engine
from yolo.model.prepare import prepare
from yolo.vision.decode import read_image

PROJECT = Path(__file__).resolve().parents[2]
IMAGES = SHARED / "data" / "coco128" / "images"
WEIGHTS = SHARED / "weights" / "yolov5nu_int8_openvino_model"
EXPECTED = json.loads((PROJECT / "tests" / "reference" / "coco128_yolov5nu_int8.json").read_text())


def test_detections_are_those_of_ultralytics(tmp_path):
    for folder in (IMAGES, WEIGHTS):
        if not folder.is_dir():
            pytest.skip(f"photos and weights to compare with are not there: {folder.relative_to(SHARED.parent)}")
    shutil.copytree(WEIGHTS, tmp_path / "source")
    info = prepare(tmp_path / "source", "openvino", tmp_path / "model")
    assert info.imgsz == (320, 320)
    detector = Detector(info, load_engine(tmp_path / "model", info), Settings(IMAGES, tmp_path, conf=0.25, iou=0.7))
    found = {
        name: [[d.class_id, d.score, *d.box] for d in to_detections(detector.detect(read_image(IMAGES / name)))]
        for name in EXPECTED
    }
    # On the processor that recorded them they agree to a ten-thousandth; others multiply INT8 in another way.
    result = compare(EXPECTED, found, box=4, score=0.06)
    assert result.agrees, result.report()
    assert result.detections >= 7


def test_the_comparison_sees_what_differs():
    name = next(iter(EXPECTED))
    for place, change in ((0, 1), (1, 0.1), (2, 5.0)):
        other = copy.deepcopy(EXPECTED)
        other[name][0][place] += change
        assert not compare(EXPECTED, other, box=4, score=0.06).agrees
    assert not compare(EXPECTED, EXPECTED | {name: EXPECTED[name][1:]}, box=4, score=0.06).agrees
    assert compare(EXPECTED, EXPECTED, box=0, score=0).agrees
