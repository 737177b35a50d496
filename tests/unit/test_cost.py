import json

import pytest
from yolo.results import cost
from yolo.share.errors import YoloError

HOSTS = {
    "source": "roles/ec2/files/prices.yml",
    "date": "2026-11-24",
    "hosts": {
        "manager": {"role": "manager", "type": "m6i.large", "per_hour": 0.096},
        "submit": {"role": "submit", "type": "c6i.large", "per_hour": 0.085},
        "execute1": {"role": "execute", "type": "c6i.large", "per_hour": 0.085},
        "execute2": {"role": "execute", "type": "c6i.large", "per_hour": 0.085},
    },
}


def test_all_hosts_are_paid_for_the_time_of_the_pass():
    found = cost.of_pass(HOSTS, 1800, 500, one_slot=False)
    assert found["dollars_per_hour"] == 0.351
    assert found["dollars"] == 0.1755
    assert found["dollars_per_1000_images"] == 0.351
    assert (found["source"], found["date"]) == (HOSTS["source"], HOSTS["date"])


def test_one_slot_needs_one_execute_host():
    found = cost.of_pass(HOSTS, 3600, 1000, one_slot=True)
    assert found["hosts"] == ["execute1", "manager", "submit"]
    assert found["dollars_per_1000_images"] == 0.266


def test_a_price_that_is_not_known_makes_the_sum_unknown():
    hosts = {**HOSTS["hosts"], "execute2": {"role": "execute", "type": "x9.huge", "per_hour": None}}
    found = cost.of_pass({**HOSTS, "hosts": hosts}, 1800, 500, one_slot=False)
    assert found["unknown"] == ["execute2"]
    assert found["dollars"] is found["dollars_per_1000_images"] is None


def test_the_price_of_all_hosts_says_nothing_of_one():
    prices = {"source": "price_per_hour", "per_hour": 2.0}
    assert cost.of_pass(prices, 3600, 1000, one_slot=False)["dollars_per_1000_images"] == 2.0
    assert cost.of_pass(prices, 3600, 1000, one_slot=True)["dollars_per_1000_images"] is None


def test_without_prices_there_is_no_cost():
    assert cost.of_pass(cost.parse("{}"), 3600, 1000, one_slot=False) is None
    assert cost.of_pass({"source": "x", "per_hour": 1}, None, 0, one_slot=False)["dollars"] is None


def test_prices_come_through_the_command_line_as_they_are():
    assert cost.parse(json.dumps(HOSTS)) == HOSTS


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "[1]",
        "3",
        '{"per_hour": 1}',
        '{"source": "s", "per_hour": -1}',
        '{"source": "s", "per_hour": "much"}',
        '{"source": "s", "per_hour": NaN}',
        '{"source": "s", "hosts": ["a"]}',
        '{"source": "s", "hosts": {"a": {}}}',
    ],
)
def test_prices_that_cannot_be_read(text):
    with pytest.raises(YoloError, match="prices can't be read"):
        cost.parse(text)
