import numpy as np
import pytest
from yolo.results.latency import Latencies, percentiles


@pytest.mark.parametrize("count", [1, 2, 3, 100, 1001])
def test_percentiles_are_numpys(count):
    values = np.random.default_rng(count).exponential(50, count)
    found = percentiles(list(values))
    expected = np.percentile(values, [50, 90, 95, 99])
    assert [found[f"p{p}"] for p in (50, 90, 95, 99)] == pytest.approx(expected, abs=6e-4)
    assert found["max"] == pytest.approx(values.max(), abs=6e-4)
    assert found["count"] == count


def test_there_are_none_of_nothing():
    assert percentiles([]) is None
    assert Latencies().table()["total"] is None
    assert Latencies().slowest() == []


def test_of_equally_slow_images_the_first_ones_are_named():
    found = Latencies()
    for number in range(30):
        found.add({"infer_ms": 7.0 if number != 20 else 8.0}, {"path": f"{number}.jpg"})
    assert [row["path"] for row in found.slowest()] == ["20.jpg", *(f"{i}.jpg" for i in range(9))]


def test_a_record_without_times_counts_for_nothing():
    found = Latencies()
    found.add({}, {"path": "a.jpg"})
    assert found.table()["total"] is None
