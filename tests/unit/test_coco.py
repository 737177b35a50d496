import pytest
from make_run import entry
from yolo.results import classes, coco
from yolo.share import fsio


def test_cocos_names_and_ids():
    assert len(classes.COCO_CLASSES) == len(classes.COCO_IDS) == 80
    pairs = dict(zip(classes.COCO_CLASSES, classes.COCO_IDS, strict=True))
    # From COCO's own annotations.
    known = {
        "person": 1, "fire hydrant": 11, "stop sign": 13, "bench": 15, "umbrella": 28,
        "handbag": 31, "bottle": 44, "wine glass": 46, "potted plant": 64, "bed": 65,
        "dining table": 67, "toilet": 70, "tv": 72, "refrigerator": 82, "book": 84,
        "toothbrush": 90,
    }  # fmt: skip
    assert {name: pairs[name] for name in known} == known


def test_a_model_with_almost_cocos_names_has_its_own_ids():
    names = list(classes.COCO_CLASSES)
    assert classes.category_ids(names[:-1]) == list(range(79))
    assert classes.category_ids(["x", *names[1:]]) == list(range(80))
    assert classes.category_ids([]) == []


@pytest.mark.parametrize("names", [{"0": "cat", "1": "dog"}, ["cat", "dog"]])
def test_names_may_be_a_list_or_by_number(tmp_path, names):
    fsio.write_json(tmp_path / "model.json", {"names": names})
    assert classes.read_names({"model_dir": str(tmp_path)}) == ["cat", "dog"]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["000000000009.jpg", "a/000000000025.jpg"], [9, 25]),
        (["9.jpg", "a/9.jpg"], [1, 2]),
        (["9.jpg", "09.jpg"], [1, 2]),
        (["9.jpg", "x.jpg"], [1, 2]),
        (["9.jpg", "²3.jpg"], [1, 2]),
        (["-9.jpg", "3.jpg"], [1, 2]),
    ],
)
def test_image_ids(paths, expected):
    assert coco.image_ids([entry(i, path) for i, path in enumerate(paths)]) == expected


def test_a_skipped_file_does_not_change_the_ids_of_images():
    entries = [entry(0, "9.jpg"), entry(1, "notes.txt", skip="not an image"), entry(2, "25.jpg")]
    ids = coco.image_ids(entries)
    assert (ids[0], ids[2]) == (9, 25)
