"""Detections against labels that the user has."""

import json
import shutil

import pytest
from make_run import DIGEST, make_run, pull, put_job, put_record
from yolo.cli import publish
from yolo.results import beside, compare, merge, summary
from yolo.results.classes import COCO_CLASSES
from yolo.results.figures import read_figures
from yolo.results.quality import evaluate as scoring
from yolo.results.quality import write
from yolo.results.quality.evaluate import evaluate
from yolo.results.quality.figures import NAME
from yolo.results.quality.truth import Label, read_labels
from yolo.share import fsio
from yolo.share.errors import YoloError
from yolo.share.layout import Share
from yolo.share.records import Detection
from yolo.share.settings import read_digest

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


RIGHT, SHIFTED = (64.0, 48.0, 128.0, 96.0), (80.0, 48.0, 144.0, 96.0)
BOTH = {"=a.jpg": RIGHT, "b.jpg": RIGHT}


def put_pass(run, entries, name, boxes, digest=DIGEST):
    """A pass that found one object in each image; of one without a box it has no result but a failure."""
    for item in entries:
        box = boxes.get(item.path)
        found = {"detections": (Detection(1, 0.9, box),)} if box else {"detections": (), "error": "truncated"}
        put_record(run.get_pass(name), item, settings_digest=digest, **found)
    put_job(run.get_pass(name), images=len(entries))
    merge.merge(run, name)


def fetch(run, folder, passes, identical):
    """Pull a run's results with what is beside them, as the playbook does."""
    folder = pull(run, folder)
    shutil.copy(run.get_pass("parallel").predictions, folder)
    for name, source in beside.files(passes, identical).items():
        (folder / name).unlink(missing_ok=True)
        if source is not None:
            shutil.copy(run.root / source, folder / name)
    return folder


@pytest.fixture
def labels(tmp_path):
    labels = tmp_path / "labels"
    labels.mkdir()
    # A name that a spreadsheet would take for a formula has its label too.
    for name in ("=a", "b"):
        (labels / f"{name}.txt").write_text("1 0.15 0.15 0.1 0.1\n")
    return labels


# The second ones have COCO's ids in predictions.json.
@pytest.fixture(params=[["cat", "dog"], list(COCO_CLASSES)], ids=["own", "coco"])
def folder(tmp_path, request):
    run, entries = make_run(tmp_path, ["=a.jpg", "b.jpg"], names=request.param)
    put_pass(run, entries, "parallel", BOTH)
    return fetch(run, tmp_path / "results/r1", ["parallel"], None)


def test_a_run_with_labels_says_how_good_it_is(folder, labels, capsys):
    publish.main(["--json", "--labels", str(labels), str(folder)])
    assert json.loads(capsys.readouterr().out)["result"]["changed"] is True
    scored = fsio.read_json(folder / NAME)
    assert (scored["labels"], scored["map50"], scored["map"]) == (2, 1, 1)
    assert scored["compared"] == []
    said = summary.lines(read_figures(folder), scored)
    assert "Against 2 labels in 2 images: mAP50 1.0, mAP50-95 1.0, precision 1.0, recall 1.0." in said
    page = (folder / "report.html").read_text()
    assert "How good the detections are" in page
    assert "which lowers mAP" in page
    publish.main(["--json", "--labels", str(labels), str(folder)])
    assert json.loads(capsys.readouterr().out)["result"]["changed"] is False
    # The same run without labels has no score of before.
    publish.main(["--json", str(folder)])
    assert json.loads(capsys.readouterr().out)["result"]["changed"] is True
    assert not (folder / NAME).exists()
    assert "How good" not in (folder / "report.html").read_text()


def compared_run(tmp_path, single):
    run, entries = make_run(tmp_path, ["=a.jpg", "b.jpg"])
    fsio.write_json(run.settings, {**fsio.read_json(run.settings), "mode": "compare"})
    put_pass(run, entries, "single", single)
    put_pass(run, entries, "parallel", BOTH)
    identical = compare.compare(run)["identical"]
    return fetch(run, tmp_path / "results/r1", ["single", "parallel"], identical), identical


def test_identical_passes_differ_by_nothing_and_are_scored_once(tmp_path, labels, monkeypatch, capsys):
    folder, identical = compared_run(tmp_path, BOTH)
    assert identical
    assert not (folder / "predictions-single.json").exists()
    calls = []
    monkeypatch.setattr(scoring, "evaluate", lambda *values: calls.append(values) or evaluate(*values))
    publish.main(["--labels", str(labels), str(folder)])
    assert len(calls) == 1
    assert "  on one slot: the same, difference 0, as the detections are identical" in capsys.readouterr().out
    (other,) = fsio.read_json(folder / NAME)["compared"]
    assert (other["pass"], other["identical"], other["map50"], set(other["difference"].values())) == (
        "single",
        True,
        1,
        {0},
    )
    assert "so its figures are the same" in (folder / "report.html").read_text()


def test_passes_that_differ_are_both_scored(tmp_path, labels, capsys):
    folder, identical = compared_run(tmp_path, {**BOTH, "b.jpg": (300.0, 300.0, 400.0, 400.0)})
    assert not identical
    publish.main(["--labels", str(labels), str(folder)])
    scored = fsio.read_json(folder / NAME)
    (other,) = scored["compared"]
    # One of two is found; the other one is as sure and wrong.
    assert (scored["map50"], other["pass"], other["identical"]) == (1, "single", False)
    assert 0.2 < other["map50"] < 0.6
    assert other["difference"]["map50"] == round(1 - other["map50"], 4)
    said = capsys.readouterr().out
    assert f"  on one slot: mAP50 {other['map50']}, " in said
    assert f"all slots less one: mAP50 +{other['difference']['map50']:.4g}, " in said
    (folder / "predictions-single.json").unlink()
    with pytest.raises(YoloError, match=r"the detections are missing: .*predictions-single\.json; run the same run_id"):
        publish.main(["--labels", str(labels), str(folder)])


def int8_run(tmp_path, as_float, int8):
    run, entries = make_run(tmp_path, ["=a.jpg", "b.jpg"])
    settings = fsio.read_json(run.settings)
    quantised = Share(tmp_path).weights(settings["weights_id"]).int8("1")
    fsio.write_json(quantised / "model.json", {"names": ["cat", "dog"]})
    fsio.write_json(run.settings, {**settings, "precision": "int8", "model_dir": str(quantised)})
    passes = ["float", "parallel"]
    for name, boxes in zip(passes, (as_float, int8), strict=True):
        put_pass(run, entries, name, boxes, read_digest(run, name))
    return run, fetch(run, tmp_path / "results/r1", passes, None)


def test_int8_is_set_against_the_float_model(tmp_path, labels, capsys):
    run, folder = int8_run(tmp_path, BOTH, dict.fromkeys(BOTH, SHIFTED))
    publish.main(["--labels", str(labels), str(folder)])
    scored = fsio.read_json(folder / NAME)
    (other,) = scored["compared"]
    # Moved by a quarter of its width a box overlaps by 0.6: two or three of the ten overlaps that count.
    assert (scored["map50"], other["map50"], other["difference"]["map50"]) == (1, 1, 0)
    assert (other["map"], scored["map"]) == (1, pytest.approx(0.25, abs=0.06))
    assert other["difference"]["map"] == round(scored["map"] - 1, 4) < 0
    said = capsys.readouterr().out
    less = f"int8 less float: mAP50 +0, mAP50-95 {other['difference']['map']:.4g}"
    assert f"  with the float model: mAP50 1.0, mAP50-95 1.0, precision 1.0, recall 1.0; {less}" in said
    page = (folder / "report.html").read_text()
    assert "What INT8 costs in quality" in page
    assert all(text in page for text in ("INT8, this run", "float model", "difference, the first less the second"))
    # The float pass says what it computed with.
    assert fsio.read_json(run.get_pass("float").metrics_json)["settings"]["precision"] == "fp32"


def test_only_images_with_a_result_in_both_passes_are_compared(tmp_path, labels):
    _, folder = int8_run(tmp_path, {"=a.jpg": RIGHT}, BOTH)
    publish.main(["--labels", str(labels), str(folder)])
    scored = fsio.read_json(folder / NAME)
    assert (scored["images"], scored["labels"]) == (1, 1)
    assert set(scored["compared"][0]["difference"].values()) == {0}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("metrics.json", {"categories": [{"id": 1}]}, "KeyError: 'name'"),
        ("metrics.json", {"categories": 3}, "TypeError"),
        ("metrics.json", {"settings": {}}, "KeyError: 'max_det'"),
        ("predictions.json", "{", "JSONDecodeError"),
        ("predictions.json", "[3]", "TypeError"),
        ("predictions.json", '[{"category_id": 1}]', "KeyError"),
        (
            "predictions.json",
            '[{"file_name": "b.jpg", "category_id": 7, "bbox": [0, 0, 1, 1], "score": 1}]',
            "KeyError: 7",
        ),
        ("predictions.json", '[{"file_name": "b.jpg", "category_id": 1, "bbox": [0, 0], "score": 1}]', "ValueError"),
    ],
)
def test_damaged_results_are_one_error(tmp_path, labels, name, content, said):
    _, folder = int8_run(tmp_path, BOTH, BOTH)
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(fsio.read_json(path) | content))
    with pytest.raises(YoloError, match=r"the figures are damaged or of an older version \(.*; run the same") as caught:
        write.update(read_figures(folder), labels)
    assert said in str(caught.value)


def test_a_damaged_score_is_written_anew(folder, labels):
    (folder / NAME).write_text("{")
    changed, scored = write.update(read_figures(folder), labels)
    assert changed
    assert fsio.read_json(folder / NAME) == scored
    assert write.update(read_figures(folder), labels) == (False, scored)
