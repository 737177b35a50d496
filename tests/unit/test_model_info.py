import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from yolo.model import info
from yolo.model.info import EmbeddedNms, ModelInfo, load_info
from yolo.share.errors import YoloError

INFO = ModelInfo(
    names=("person", "traffic light", "7", "Straße"),
    stride=32,
    imgsz=(256, 320),
    dynamic=True,
    layout="end-to-end",
    precision="int8",
    nms=EmbeddedNms(0.25, None, 300),
    source_kind="openvino",
    source_name="best.xml",
    source_sha256="ab" * 32,
    versions={"openvino": "2026"},
)


def test_the_description_reads_back(tmp_path):
    (tmp_path / "model.json").write_text(json.dumps(INFO.to_dict()))
    assert load_info(tmp_path) == INFO
    plain = replace(INFO, nms=None)
    assert ModelInfo.from_dict(json.loads(json.dumps(plain.to_dict()))) == plain


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "Expecting value"),
        ("{}", "format is None, expected 1"),
        ("[1]", r"format is \[1\], expected 1"),
        ('{"format": 0}', "format is 0, expected 1"),
        ('{"format": 1}', "KeyError: 'imgsz'"),
        (json.dumps(INFO.to_dict() | {"imgsz": 640}), "TypeError: cannot unpack"),
        (json.dumps(INFO.to_dict() | {"stride": "x"}), "ValueError: invalid literal"),
        (json.dumps(INFO.to_dict() | {"nms": {"conf": 0.1}}), "KeyError: 'iou'"),
    ],
)
def test_a_description_that_is_damaged_or_of_another_version_is_refused(tmp_path, text, found):
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(
        YoloError, match=f"model.json is not usable: {found}.*; run the same run_id again: the model is"
    ):
        load_info(tmp_path)


def test_no_description(tmp_path):
    with pytest.raises(YoloError, match=r"no prepared model: .*; expected model\.json; run the same run_id again"):
        load_info(tmp_path)


@pytest.mark.parametrize(("asked", "size"), [(None, (256, 320)), (0, (256, 320)), (320, (320, 320)), (33, (64, 64))])
def test_a_dynamic_model_takes_any_size_rounded_up_to_its_stride(asked, size):
    assert INFO.input_size(asked) == size


def test_a_small_size_is_one_stride():
    assert replace(INFO, stride=64).input_size(1) == (64, 64)
    assert replace(INFO, stride=64).input_size(65) == (128, 128)


def test_a_fixed_model_has_one_size():
    square = replace(INFO, dynamic=False, imgsz=(320, 320))
    assert square.input_size(0) == square.input_size(320) == (320, 320)
    with pytest.raises(YoloError, match=r"imgsz does not fit the model: 640; expected 320, the fixed .* of best\.xml"):
        square.input_size(640)
    with pytest.raises(YoloError, match=r"expected nothing, the model has the fixed input size 256x320; leave imgsz"):
        replace(INFO, dynamic=False).input_size(320)


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (None, None),
        ((), None),
        (("person",), [0]),
        ((" Traffic LIGHT ",), [1]),
        (("strasse",), [3]),
        ((3, "1", 1), [1, 3]),
        ((0,), [0]),
        (("7",), [2]),
    ],
)
def test_classes_by_name_and_by_index(wanted, ids):
    assert INFO.class_ids(wanted) == ids


def test_a_name_comes_before_an_index():
    assert replace(INFO, names=("a", "b", "0")).class_ids(["0"]) == [2]


@pytest.mark.parametrize("wanted", ["persons", 4, -1, "1.0", ""])
def test_an_unknown_class_lists_those_that_there_are(wanted):
    with pytest.raises(
        YoloError, match=r"classes is '.*'; expected an index from 0 to 3 or a name of the weights: person, traffic"
    ):
        INFO.class_ids([0, wanted])


def test_of_many_classes_some_are_listed():
    many = replace(INFO, names=tuple(f"c{i}" for i in range(80)))
    with pytest.raises(YoloError, match=r"from 0 to 79 or a name of the weights: c0, .*, c9, \.\.\.$"):
        many.class_ids(["x"])


def test_settings_that_a_model_with_its_own_suppression_cannot_obey_are_named():
    info = replace(INFO, nms=EmbeddedNms(0.25, 0.7, 300))
    assert info.limits(conf=0.25, iou=0.7, max_det=300) == []
    assert info.limits(conf=0.3, iou=0.7, max_det=1) == []
    assert info.limits(conf=0.2, iou=0.45, max_det=301) == [
        "conf=0.2: the model itself drops scores up to 0.25",
        "iou=0.45: the model itself suppresses at 0.7",
        "max_det=301: the model itself ends at 300",
    ]
    assert replace(INFO, nms=EmbeddedNms(None, None, 300)).limits(conf=0, iou=0.1, max_det=300) == []
    assert replace(INFO, nms=None).limits(conf=0, iou=0, max_det=9000) == []


def test_a_description_can_be_read_with_the_standard_library_alone(tmp_path):
    code = "import sys, yolo.model.info; print(sorted({'numpy', 'cv2', 'openvino', 'torch'} & set(sys.modules)))"
    environment = {"HOME": str(tmp_path), "PYTHONPATH": str(Path(info.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
