import numpy as np
import pytest
from yolo.model import agreement
from yolo.vision import nms


def boxes(*values: tuple[int, float, list[float]]) -> nms.Detections:
    return nms.Detections(
        np.array([v[2] for v in values], np.float32).reshape(-1, 4),
        np.array([v[1] for v in values], np.float32),
        np.array([v[0] for v in values], np.int64),
    )


ONE = (0, 0.9, [0, 0, 10, 10])


@pytest.mark.parametrize(
    ("found", "matched", "score"),
    [
        ((ONE,), 1, 0.0),
        (((0, 0.8, [0, 0, 10, 5.1]),), 1, 0.1),
        (((0, 0.9, [0, 0, 10, 4.9]),), 0, 0.0),
        (((1, 0.9, [0, 0, 10, 10]),), 0, 0.0),
        ((ONE, ONE), 1, 0.0),
        ((), 0, 0.0),
    ],
)
def test_detections_are_matched_by_class_and_overlap(found, matched, score):
    result = agreement.compare([boxes(ONE), boxes()], [boxes(*found), boxes()])
    assert (result["images"], result["reference"], result["found"], result["matched"]) == (2, 1, len(found), matched)
    assert result["score"] == pytest.approx(score, abs=1e-3)
    f1 = 2 * matched / (1 + len(found))
    assert result["f1"] == pytest.approx(f1, abs=1e-4)
    assert result["difference"] == pytest.approx(1 - f1, abs=1e-4)


def test_nothing_found_by_both_is_no_difference():
    assert agreement.compare([boxes()], [boxes()])["difference"] == 0
