import pytest
from yolo.model.metadata import Metadata, read_size
from yolo.share.errors import YoloError


def test_metadata_of_both_exporters():
    new = Metadata.parse({"names": {0: "a", 1: "b"}, "stride": 32, "imgsz": [320, 640], "task": "detect", "version": 8})
    onnx = Metadata.parse({"names": "{0: 'a', 1: 'b'}", "stride": "32", "imgsz": "[320, 640]", "task": "detect"})
    old = Metadata.parse({"names": "['a', 'b']", "stride": "32.0"})
    assert new == Metadata(["a", "b"], 32, (320, 640), "detect", {"exporter": "8"})
    assert onnx == Metadata(["a", "b"], 32, (320, 640), "detect")
    assert old == Metadata(["a", "b"], 32)
    assert Metadata.parse({}) == Metadata()


def test_classes_are_in_the_order_of_their_numbers():
    names = {str(i): f"c{i}" for i in reversed(range(12))}
    assert Metadata.parse({"names": names}).names == [f"c{i}" for i in range(12)]


@pytest.mark.parametrize("names", [{0: "a", 2: "c"}, {1: "a"}, {"cat": 0}, "{0: 'a', None: 'b'}"])
def test_classes_without_their_numbers_are_refused(names):
    with pytest.raises(YoloError, match="class names are not numbered 0, 1, 2 and so on"):
        Metadata.parse({"names": names})


@pytest.mark.parametrize("value", ["}{", "cat", 7, [], {}, None])
def test_names_that_are_none(value):
    assert Metadata.parse({"names": value}).names is None


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (320, (320, 320)),
        ("320", (320, 320)),
        ([320], (320, 320)),
        ([320, 640], (320, 640)),
        ("[320, 640]", (320, 640)),
        ((32, 8192), (32, 8192)),
        (31, None),
        (8193, None),
        ([320, 0], None),
        ([320, 320, 320], None),
        ([], None),
        ("auto", None),
        (None, None),
        (True, None),
        (320.5, None),
    ],
)
def test_sizes_in_metadata(value, size):
    assert read_size(value) == size
