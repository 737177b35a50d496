import numpy as np
import pytest
from yolo.vision import nms
from yolo.vision.nms import ANCHOR_FREE, CLASSIC, END_TO_END, Detections, detect, suppress


def anchor_free(*boxes: tuple[tuple[float, ...], tuple[float, ...]], batch: bool = True) -> np.ndarray:
    """Raw output for boxes of (x1, y1, x2, y2) and one score for each class."""
    columns = [(*centre(box), *scores) for box, scores in boxes]
    raw = np.float32(columns).T if columns else np.zeros((6, 0), np.float32)
    return raw[None] if batch else raw


def classic(*boxes: tuple[tuple[float, ...], float, tuple[float, ...]]) -> np.ndarray:
    """The same with an objectness between."""
    return np.float32([[(*centre(box), objectness, *scores) for box, objectness, scores in boxes]])


def centre(box: tuple[float, ...]) -> tuple[float, ...]:
    x1, y1, x2, y2 = box
    return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1


def listed(found: Detections) -> list[tuple[int, float, list[float]]]:
    return [
        (int(index), round(float(score), 4), [float(x) for x in box])
        for index, score, box in zip(found.classes, found.scores, found.boxes, strict=True)
    ]


A, A_SHIFTED, FAR = (0, 0, 100, 100), (0, 0, 100, 50), (300, 300, 400, 400)
"""The first two overlap by exactly one half."""


# --- layouts --------------------------------------------------------------------------------------------


def test_anchor_free_takes_the_best_class_of_each_box():
    raw = anchor_free((A, (0.1, 0.8)), (FAR, (0.9, 0.3)))
    assert listed(detect(raw, ANCHOR_FREE)) == [(0, 0.9, [300, 300, 400, 400]), (1, 0.8, [0, 0, 100, 100])]


def test_classic_multiplies_objectness_and_class_score():
    raw = classic((A, 0.5, (0.1, 0.9)), (FAR, 0.9, (0.8, 0.2)))
    assert listed(detect(raw, CLASSIC)) == [(0, 0.72, [300, 300, 400, 400]), (1, 0.45, [0, 0, 100, 100])]


def test_classic_leaves_out_what_is_below_only_as_a_product():
    raw = classic((A, 0.4, (0.5, 0.1)), (FAR, 0.6, (0.6, 0.1)))
    assert listed(detect(raw, CLASSIC, conf=0.25)) == [(0, 0.36, [300, 300, 400, 400])]


def test_end_to_end_is_taken_as_it_is_but_best_first():
    raw = np.float32([[[0, 0, 100, 100, 0.5, 1], [1, 1, 100, 100, 0.75, 1], [0, 0, 0, 0, 0, 0], [5, 6, 7, 8, 0.5, 0]]])
    assert listed(detect(raw, END_TO_END)) == [
        (1, 0.75, [1, 1, 100, 100]),
        (1, 0.5, [0, 0, 100, 100]),
        (0, 0.5, [5, 6, 7, 8]),
    ]
    assert listed(detect(raw, END_TO_END, max_det=1)) == [(1, 0.75, [1, 1, 100, 100])]


@pytest.mark.parametrize(
    ("layout", "raw"),
    [
        (ANCHOR_FREE, anchor_free((A, (0.9, 0.1)))),
        (CLASSIC, classic((A, 1.0, (0.9, 0.1)))),
        (END_TO_END, np.float32([[[*A, 0.9, 0]]])),
    ],
)
def test_all_layouts_give_the_same_with_and_without_a_batch_axis_and_in_the_same_types(layout, raw):
    for answer in (raw, raw[0]):
        found = detect(answer, layout)
        assert listed(found) == [(0, 0.9, [0, 0, 100, 100])]
        assert (found.boxes.dtype, found.scores.dtype, found.classes.dtype) == (np.float32, np.float32, np.int64)
        assert len(found) == 1


@pytest.mark.parametrize("layout", nms.LAYOUTS)
def test_nothing_found(layout):
    raw = {ANCHOR_FREE: np.zeros((1, 6, 8)), CLASSIC: np.zeros((1, 8, 7)), END_TO_END: np.zeros((1, 8, 6))}[layout]
    found = detect(raw.astype(np.float32), layout)
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)


def test_a_single_class():
    assert listed(detect(anchor_free((A, (0.9,))), ANCHOR_FREE)) == [(0, 0.9, [0, 0, 100, 100])]


@pytest.mark.parametrize(
    ("layout", "shape", "text"),
    [
        (ANCHOR_FREE, (4, 10), "anchor-free output has 4 rows"),
        (CLASSIC, (10, 5), "classic output has 5 columns"),
        (END_TO_END, (10, 7), "end-to-end output has 7 columns, expected 6"),
        ("yolov9", (10, 7), "layout is 'yolov9', expected one of anchor-free, classic, end-to-end"),
        (ANCHOR_FREE, (2, 6, 10), r"raw output has shape \(2, 6, 10\)"),
        (ANCHOR_FREE, (6,), r"raw output has shape \(6,\)"),
    ],
)
def test_an_output_that_does_not_fit_is_refused(layout, shape, text):
    with pytest.raises(ValueError, match=text):
        detect(np.zeros(shape, np.float32), layout)


# --- limits ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", nms.LAYOUTS)
def test_a_score_must_be_above_the_confidence_and_not_at_it(layout):
    raw = {
        ANCHOR_FREE: anchor_free((A, (0.5, 0)), (FAR, (0.75, 0))),
        CLASSIC: classic((A, 1, (0.5, 0)), (FAR, 1, (0.75, 0))),
        END_TO_END: np.float32([[[*A, 0.5, 0], [*FAR, 0.75, 0]]]),
    }[layout]
    assert [score for _, score, _ in listed(detect(raw, layout, conf=0.5))] == [0.75]
    assert [score for _, score, _ in listed(detect(raw, layout, conf=0.4999))] == [0.75, 0.5]


@pytest.mark.parametrize("layout", nms.LAYOUTS)
def test_a_score_that_is_no_number_is_no_detection(layout):
    raw = {
        ANCHOR_FREE: anchor_free((A, (np.nan, 0))),
        CLASSIC: classic((A, 1, (np.nan, 0))),
        END_TO_END: np.float32([[[*A, np.nan, 0]]]),
    }[layout]
    assert len(detect(raw, layout)) == 0


@pytest.mark.parametrize(("iou", "left"), [(0.51, 2), (0.5, 2), (0.49, 1), (0, 1), (1, 2)])
def test_a_box_goes_when_it_overlaps_a_better_one_by_more_than_the_limit(iou, left):
    raw = anchor_free((A_SHIFTED, (0.8,)), (A, (0.9,)))
    found = detect(raw, ANCHOR_FREE, iou=iou)
    assert len(found) == left
    assert found.scores[0] == np.float32(0.9)


def test_equal_boxes_of_two_classes_both_stay():
    raw = anchor_free((A, (0.9, 0)), (A, (0, 0.8)), (A, (0.7, 0)), (A, (0, 0.6)))
    assert [(index, score) for index, score, _ in listed(detect(raw, ANCHOR_FREE))] == [(0, 0.9), (1, 0.8)]


def test_a_box_that_was_suppressed_suppresses_no_other():
    # Each overlaps its neighbour by 60/140, the first and the last by 20/180.
    boxes = [((x, 0, x + 100, 10), (score,)) for x, score in ((0, 0.9), (40, 0.8), (80, 0.7))]
    found = detect(anchor_free(*boxes), ANCHOR_FREE, iou=0.4)
    assert [score for _, score, _ in listed(found)] == [0.9, 0.7]


def test_of_equal_scores_the_first_wins_every_time():
    boxes = [((x, 0, x + 100, 100), (0.5,)) for x in (3, 0, 1, 2)]
    found = detect(anchor_free(*boxes), ANCHOR_FREE, iou=0.5)
    assert found.boxes[0].tolist() == [3, 0, 103, 100]
    assert len(found) == 1
    apart = [((x, 0, x + 10, 10), (0.5,)) for x in (300, 0, 100, 200)]
    assert [box[0] for box in detect(anchor_free(*apart), ANCHOR_FREE).boxes] == [300, 0, 100, 200]


@pytest.mark.parametrize("layout", [ANCHOR_FREE, CLASSIC, END_TO_END])
def test_at_most_so_many_and_the_best(layout):
    boxes = [(20 * i, 0, 20 * i + 10, 10) for i in range(20)]
    scores = [0.3 + 0.03 * ((7 * i) % 20) for i in range(20)]
    raw = {
        ANCHOR_FREE: anchor_free(*((box, (score,)) for box, score in zip(boxes, scores, strict=True))),
        CLASSIC: classic(*((box, 1, (score,)) for box, score in zip(boxes, scores, strict=True))),
        END_TO_END: np.float32([[(*box, score, 0) for box, score in zip(boxes, scores, strict=True)]]),
    }[layout]
    found = detect(raw, layout, max_det=5)
    np.testing.assert_allclose(found.scores, sorted(scores)[:-6:-1], rtol=1e-6)
    assert len(detect(raw, layout, max_det=300)) == 20


@pytest.mark.parametrize("layout", [ANCHOR_FREE, END_TO_END])
def test_only_the_classes_asked_for_count_towards_the_most(layout):
    raw = {
        ANCHOR_FREE: anchor_free((A, (0.9, 0, 0)), (A, (0, 0.8, 0)), (FAR, (0, 0, 0.7)), (FAR, (0, 0.6, 0))),
        END_TO_END: np.float32([[[*A, 0.9, 0], [*A, 0.8, 1], [*FAR, 0.7, 2], [*FAR, 0.6, 1]]]),
    }[layout]
    assert [index for index, _, _ in listed(detect(raw, layout, classes=[2, 1]))] == [1, 2, 1]
    assert [index for index, _, _ in listed(detect(raw, layout, classes=[2, 1], max_det=2))] == [1, 2]
    assert listed(detect(raw, layout, classes=[7])) == []
    assert listed(detect(raw, layout, classes=[])) == []


def test_a_box_of_another_class_is_not_taken_for_the_one_asked_for():
    # Its best class is 0: with classes=[1] it is left out, as by ultralytics, and not renamed.
    assert listed(detect(anchor_free((A, (0.9, 0.8))), ANCHOR_FREE, classes=[1])) == []


def test_only_the_best_candidates_enter_suppression(monkeypatch):
    monkeypatch.setattr(nms, "MAX_CANDIDATES", 2)
    raw = anchor_free((A, (0.3,)), (FAR, (0.9,)), ((500, 0, 510, 10), (0.6,)))
    assert [score for _, score, _ in listed(detect(raw, ANCHOR_FREE))] == [0.9, 0.6]


def test_boxes_of_the_last_of_many_classes_are_still_told_apart():
    # Moved apart by 7680 pixels a class; float32 still has a 32nd of a pixel at class 79.
    scores = (0,) * 79 + (0.9,)
    raw = anchor_free((A, scores), (A_SHIFTED, (*scores[:-1], 0.8)), (FAR, (*scores[:-1], 0.7)))
    assert len(detect(raw, ANCHOR_FREE, iou=0.6)) == 3
    assert len(detect(raw, ANCHOR_FREE, iou=0.45)) == 2
    assert detect(raw, ANCHOR_FREE).boxes[0].tolist() == [0, 0, 100, 100]


# --- suppression by itself ------------------------------------------------------------------------------


def test_boxes_without_area_are_kept():
    boxes = np.float32([[5, 5, 5, 5], [5, 5, 5, 5]])
    assert suppress(boxes, np.float32([0.5, 0.6]), 0.5, 10).tolist() == [1, 0]


def test_no_boxes_and_a_limit_of_one():
    assert suppress(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.5, 10).tolist() == []
    assert suppress(np.float32([A, FAR]), np.float32([0.5, 0.6]), 0.5, 1).tolist() == [1]


def test_boxes_that_only_touch_do_not_overlap():
    boxes = np.float32([[0, 0, 10, 10], [10, 0, 20, 10], [0, 10, 10, 20], [30, 30, 40, 40]])
    assert suppress(boxes, np.float32([0.9, 0.8, 0.7, 0.6]), 0, 10).tolist() == [0, 1, 2, 3]


def test_boxes_apart_on_both_axes_do_not_overlap():
    # Minus times minus would be plus.
    boxes = np.float32([[0, 0, 10, 10], [20, 20, 30, 30]])
    assert suppress(boxes, np.float32([0.9, 0.8]), 0.1, 10).tolist() == [0, 1]


def test_against_the_definition_box_by_box():
    random = np.random.default_rng(3)
    corners = random.uniform(0, 30, (120, 2))
    boxes = np.concatenate((corners, corners + random.uniform(20, 40, (120, 2))), axis=1).astype(np.float32)
    scores = random.permutation(120).astype(np.float32) / 120

    def overlap(a, b):
        shared = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
        return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)

    for iou in (0.1, 0.3, 0.6):
        kept: list[int] = []
        for index in np.argsort(-scores):
            if all(overlap(boxes[index], boxes[other]) <= iou for other in kept):
                kept.append(int(index))
        assert suppress(boxes, scores, iou, 1000).tolist() == kept
        assert 1 < len(kept) < 110
