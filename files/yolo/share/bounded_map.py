"""Do what mostly waits for a file server side by side, and take the results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

BATCH = 16
"""Items that one call of :func:`batched_map` takes: waking a thread for each costs as much as a small file."""

WORKERS = 8
"""Calls at once: on NFS most of the time of a small file is waiting for the server."""


def bounded_map(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield ``work(item)`` of each item, in order, while the next ones are at work.

    Unlike ``Executor.map`` it takes the items as it goes, so that neither they nor their results
    are in memory all at once.

    Raises:
        Exception: What ``work`` raised, in the place of its result.
    """
    with ThreadPoolExecutor(WORKERS) as pool:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * WORKERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def batched_map(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Do as :func:`bounded_map`, some items a call: for many items of little work.

    Raises:
        Exception: What ``work`` raised, in the place of the results of its batch.
    """
    remaining = iter(items)
    batches = iter(lambda: list(islice(remaining, BATCH)), [])
    for results in bounded_map(lambda batch: [work(item) for item in batch], batches):
        yield from results
