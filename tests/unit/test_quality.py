"""Detections against labels that the user has."""

import json
import shutil

import pytest
from make_run import make_run, pull, put_job, put_record
from yolo.cli import publish
from yolo.results import merge, summary
from yolo.results.classes import COCO_CLASSES
from yolo.results.quality import write
from yolo.results.quality.evaluate import evaluate
from yolo.results.quality.truth import Label, read_labels
from yolo.share import fsio
from yolo.share.errors import YoloError
from yolo.share.records import Detection

SIZES = {"a/one.jpg": (100, 200), "two.jpg": (50, 50)}
NAMES = ["cat", "dog"]


def coco(path, **changes):
    data = {
        "images": [
            {"id": 7, "file_name": "elsewhere/one.jpg"},
            {"id": 8, "file_name": "two.jpg"},
            {"id": 9, "file_name": "x"},
        ],
        "annotations": [
            {"image_id": 7, "category_id": 18, "bbox": [10, 20, 30, 40]},
            {"image_id": 9, "category_id": 18, "bbox": [1, 2, 3, 4]},
        ],
        "categories": [{"id": 18, "name": "dog"}],
    }
    fsio.write_json(path, data | changes)
    return path


def test_yolo_labels_are_centres_and_parts_of_the_size(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/one.txt").write_text("1 0.5 0.5 0.2 0.1\n\n0 0 0 1 0 1 0.5 0 0.5\n")
    assert read_labels(tmp_path, SIZES, NAMES) == {
        "a/one.jpg": [Label(1, (40.0, 90.0, 20.0, 20.0)), Label(0, (0.0, 0.0, 100.0, 100.0))],
        # Without a file: nothing is in it.
        "two.jpg": [],
    }


def test_a_coco_json_goes_by_names(tmp_path):
    assert read_labels(coco(tmp_path / "l.json"), SIZES, NAMES) == {
        "a/one.jpg": [Label(1, (10.0, 20.0, 30.0, 40.0))],
        "two.jpg": [],
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("cat 0.5 0.5 1 1", "a label is damaged"),
        ("0 0.5 0.5", "a label is damaged"),
        ("0 nan 0.5 1 1", "a label is damaged"),
        ("2 0.5 0.5 1 1", "a label is of a class that the weights do not have"),
        (None, "no label file fits an image"),
    ],
)
def test_wrong_yolo_labels_are_named(tmp_path, content, said):
    if content is not None:
        (tmp_path / "two.txt").write_text(content)
    with pytest.raises(YoloError, match=said) as caught:
        read_labels(tmp_path, SIZES, NAMES)
    assert content is None or "two.txt:1" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"categories": [{"id": 18, "name": "cow"}]}, "a class that the weights do not have.*cow"),
        ({"annotations": [{"image_id": 7}]}, "the labels are damaged"),
        ({"images": []}, "no image of the labels is one of this run"),
    ],
)
def test_wrong_coco_labels_are_named(tmp_path, changes, said):
    with pytest.raises(YoloError, match=said):
        read_labels(coco(tmp_path / "l.json", **changes), SIZES, NAMES)


def found(image, class_id, score, *box):
    return {"file_name": image, "category_id": class_id, "score": score, "bbox": list(box)}


def test_all_found_is_one_and_a_wrong_box_costs():
    labels = {"a": [Label(0, (10, 10, 50, 50))], "b": [Label(1, (0, 0, 20, 20)), Label(1, (30, 30, 20, 20))], "c": []}
    right = [found("a", 0, 0.9, 10, 10, 50, 50), found("b", 1, 0.8, 0, 0, 20, 20), found("b", 1, 0.7, 30, 30, 20, 20)]
    best = evaluate(labels, [*right, found("other", 0, 0.9, 1, 1, 5, 5)], NAMES, 300)
    assert [best[name] for name in ("map50", "map", "precision", "recall")] == [1, 1, 1, 1]
    assert (best["images"], best["labels"]) == (3, 3)
    assert [row["name"] for row in best["classes"]] == NAMES
    # One more box than there are dogs, surer than a right one: two thirds at best for the second.
    worse = evaluate(labels, [*right, found("c", 1, 0.75, 0, 0, 9, 9)], NAMES, 300)
    dog = worse["classes"][1]
    assert dog["map50"] == pytest.approx((51 * 1 + 50 * 2 / 3) / 101, abs=1e-4)
    assert dog["recall"] in (0.5, 1)
    # Overlap of a half only: right for mAP50, wrong above.
    rough = evaluate({"a": [Label(0, (0, 0, 10, 10))]}, [found("a", 0, 0.9, 0, 0, 10, 18)], NAMES, 300)
    assert rough["map50"] == 1
    assert rough["map"] == pytest.approx(0.2)


def test_precision_is_counted_and_not_the_best_of_a_curve():
    labels = {"a": [Label(0, (0, 0, 10, 10)), Label(0, (50, 50, 10, 10)), Label(1, (0, 0, 30, 30))]}
    # Most dogs' F1 is at 0.4 to 0.5: there one of the two cats that are found is wrong.
    cats = [found("a", 0, 0.9, 0, 0, 10, 10), found("a", 0, 0.85, 80, 80, 9, 9), found("a", 0, 0.3, 50, 50, 10, 10)]
    dogs = [found("a", 1, 0.5, 0, 0, 30, 30), *(found("a", 1, 0.4, 60 + n, 0, 9, 9) for n in range(20))]
    figures = evaluate(labels, cats + dogs, NAMES, 300)
    assert 0.4 < figures["confidence"] <= 0.5
    assert [(row["precision"], row["recall"]) for row in figures["classes"]] == [(0.5, 0.5), (1, 1)]


@pytest.mark.parametrize("predictions", [[], [found("a", 1, 0.9, 0, 0, 10, 10)]])
def test_nothing_right_is_nothing(predictions):
    nothing = evaluate({"a": [Label(0, (0, 0, 10, 10))]}, predictions, NAMES, 300)
    assert [nothing[name] for name in ("map50", "map", "precision", "recall")] == [0, 0, 0, 0]


# The second ones have COCO's ids in predictions.json.
@pytest.fixture(params=[["cat", "dog"], list(COCO_CLASSES)], ids=["own", "coco"])
def folder(tmp_path, request):
    run, entries = make_run(tmp_path, ["=a.jpg", "b.jpg"], names=request.param)
    for item in entries:
        put_record(run.get_pass("parallel"), item, detections=(Detection(1, 0.9, (64.0, 48.0, 128.0, 96.0)),))
    put_job(run.get_pass("parallel"), images=2)
    merge.merge(run, "parallel")
    folder = pull(run, tmp_path / "results/r1")
    shutil.copy(run.get_pass("parallel").predictions, folder)
    return folder


def test_a_run_with_labels_says_how_good_it_is(folder, tmp_path, capsys):
    labels = tmp_path / "labels"
    labels.mkdir()
    # A name that a spreadsheet would take for a formula has its label too.
    for name in ("=a", "b"):
        (labels / f"{name}.txt").write_text("1 0.15 0.15 0.1 0.1\n")
    publish.main(["--json", "--labels", str(labels), str(folder)])
    assert json.loads(capsys.readouterr().out)["result"]["changed"] is True
    scored = fsio.read_json(folder / write.NAME)
    assert (scored["labels"], scored["map50"], scored["map"]) == (2, 1, 1)
    assert "Against 2 labels in 2 images: mAP50 1.0, mAP50-95 1.0, precision 1.0, recall 1.0." in summary.lines(folder)
    page = (folder / "report.html").read_text()
    assert "How good the detections are" in page
    assert "which lowers mAP" in page
    publish.main(["--json", "--labels", str(labels), str(folder)])
    assert json.loads(capsys.readouterr().out)["result"]["changed"] is False
    # The same run without labels has no score of before.
    publish.main(["--json", str(folder)])
    assert json.loads(capsys.readouterr().out)["result"]["changed"] is True
    assert not (folder / write.NAME).exists()
    assert "How good" not in (folder / "report.html").read_text()


@pytest.mark.parametrize("damaged", ["{}", "[]", "{", '{"categories": [{"id": 1}]}'])
def test_damaged_results_are_one_error(tmp_path, damaged):
    (tmp_path / "metrics.json").write_text(damaged)
    with pytest.raises(YoloError, match=r"the results are damaged: .*; remove them and run again"):
        write.update(tmp_path, tmp_path)
