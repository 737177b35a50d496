import threading
import time

import pytest
from yolo.share.bounded_map import BATCH, WORKERS, batched_map, bounded_map


def test_results_come_in_order_though_the_first_takes_longest():
    assert list(bounded_map(lambda n: (time.sleep(0.05 if n == 0 else 0), n)[1], range(100))) == list(range(100))


def test_calls_are_at_work_at_the_same_time():
    together = threading.Barrier(WORKERS, timeout=30)
    assert len(list(bounded_map(lambda _: together.wait(), range(WORKERS)))) == WORKERS


def test_items_are_not_taken_long_before_their_results_are():
    taken = []
    results = bounded_map(lambda n: n, (taken.append(n) or n for n in range(1000)))
    assert next(results) == 0
    assert len(taken) < 4 * WORKERS


def test_an_error_comes_in_its_place():
    results = bounded_map(lambda n: 1 // (2 - n), range(5))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_batches_give_what_their_items_give_in_order():
    items = range(3 * BATCH + 1)
    assert list(batched_map(lambda n: -n, iter(items))) == [-n for n in items]
    assert list(batched_map(lambda n: -n, [])) == []
    taken = []
    next(batched_map(lambda n: n, (taken.append(n) or n for n in range(10_000))))
    assert len(taken) < 4 * WORKERS * BATCH
