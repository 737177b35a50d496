"""Threads that read ahead and write behind, and the bound on the pixels between them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

#: Finished images that may wait for the share: more would only hide that it is too slow.
QUEUE_DEPTH = 8

#: Images that may be read ahead, and that may wait to be drawn: more would only fill the memory.
AHEAD = 2

#: Pixels that may be decoded at a time, 3 bytes each; a larger image goes alone.
MAX_PIXELS_AHEAD = 32_000_000


class Budget:
    """Bounds the pixels that are decoded at a time, since a slot's memory is limited.

    Args:
        limit: Pixels of all images together. One that has more of its own waits until it is alone.
    """

    def __init__(self, limit: int = MAX_PIXELS_AHEAD) -> None:
        self._limit, self._used, self._open = limit, 0, False
        self._changed = threading.Condition()

    def acquire(self, pixels: int) -> int:
        """Wait until there is room for so many pixels; return what to release later."""
        with self._changed:
            self._changed.wait_for(lambda: self._open or not self._used or self._used + pixels <= self._limit)
            self._used += pixels
        return pixels

    def release(self, pixels: int) -> None:
        """Make room again for what was acquired."""
        with self._changed:
            self._used -= pixels
            self._changed.notify_all()

    def open(self) -> None:
        """Let every waiting thread pass: the job ends."""
        with self._changed:
            self._open = True
            self._changed.notify_all()


class Reader:
    """Runs a function over items in a thread of its own, in order, ahead of the loop that takes the results.

    The loop raises an error of the function in the place of its item. Leaving the ``with`` block ends the
    thread after the item in work.

    Args:
        work: Called with each item.
        items: What to do.
        budget: Opened on leaving, so that the thread never waits for room that nobody makes.
        depth: Items that may be ready and not yet taken.
    """

    def __init__(self, work: Callable[[Any], None], items: Iterable[Any], budget: Budget, depth: int = AHEAD) -> None:
        self._work, self._items, self._budget = work, items, budget
        self._queue: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue()
        self._room = threading.Semaphore(depth)
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        self._room.release()
        self._budget.open()
        self._thread.join()

    def __iter__(self) -> Iterator[Any]:
        while True:
            item, error = self._queue.get()
            if error is not None:
                raise error
            if item is None:
                return
            self._room.release()
            yield item

    def _run(self) -> None:
        try:
            for item in self._items:
                self._room.acquire()
                if self._stopped:
                    return
                self._work(item)
                self._queue.put((item, None))
            self._queue.put((None, None))
        except BaseException as error:
            self._queue.put((None, error))


class Writer:
    """Runs a function over items in a thread of its own, in order.

    After an error the rest is dropped, and the error is raised by the next :meth:`put` or on
    leaving the ``with`` block. Leaving it waits until everything is written.

    Args:
        write: Called with each item.
        depth: Items that may wait before :meth:`put` does.
    """

    def __init__(self, write: Callable[[Any], None], depth: int = QUEUE_DEPTH) -> None:
        self._write = write
        self._queue: queue.Queue[Any] = queue.Queue(depth)
        self._error: BaseException | None = None
        #: Called once when the function has raised: whoever feeds the writer may wait for what will not come.
        self.on_error: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def put(self, item: Any) -> None:
        """Hand over an item; waits while too many are waiting.

        Raises:
            Exception: What an earlier item raised.
        """
        if self._error is not None:
            raise self._error
        self._queue.put(item)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._queue.put(None)
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._error is not None:
                continue  # keep taking, or put() would wait for ever
            try:
                self._write(item)
            except BaseException as error:
                self._error = error
                self.on_error()
