import pytest
from yolo.results import amdahl


@pytest.mark.parametrize("serial", [0.0, 0.02, 0.3, 1.0])
@pytest.mark.parametrize("slots", [[2], [4, 8, 32]])
def test_the_fit_finds_the_fraction_that_the_law_was_given(serial, slots):
    points = [(1, 1.0), *((n, amdahl.speed_up(n, serial)) for n in slots)]
    assert amdahl.serial_fraction(points) == pytest.approx(serial, abs=1e-12)


def test_one_point_is_karp_and_flatts_metric():
    assert amdahl.serial_fraction([(4, 3.94)]) == pytest.approx((1 / 3.94 - 1 / 4) / (1 - 1 / 4))


def test_noise_of_many_points_lies_between_them():
    low, high = amdahl.serial_fraction([(2, 1.9)]), amdahl.serial_fraction([(4, 3.0)])
    assert low < amdahl.serial_fraction([(2, 1.9), (4, 3.0)]) < high


def test_one_slot_tells_nothing():
    assert amdahl.serial_fraction([(1, 1.0)]) is None
    assert amdahl.serial_fraction([]) is None


def test_more_than_proportional_is_seen_but_not_predicted():
    assert amdahl.serial_fraction([(2, 2.2)]) < 0
    rows = amdahl.predict(serial=-0.1, slot_rate=2.0, slots_per_host=2, images=10**6, fixed_seconds=0, hosts=[4])
    assert rows[0]["images_per_second"] == 2.0 * 8


def test_predictions_end_at_what_cannot_be_shared():
    rows = amdahl.predict(serial=0.1, slot_rate=1.0, slots_per_host=1, images=1000, fixed_seconds=10)
    rates = [row["images_per_second"] for row in rows]
    assert rates == sorted(rates)
    assert rates[-1] < 10
    for row in rows:
        assert row["whole_run_images_per_second"] < row["images_per_second"]
        assert row["prediction"] is True
