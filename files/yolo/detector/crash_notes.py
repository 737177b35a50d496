"""Notes of the images in work: how a job finds the image that kills it, and gives up on it."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import threading
from pathlib import Path

#: After killing the process this often, an image is recorded as failed.
MAX_CRASHES = 2


class CrashNotes:
    """Keeps, across restarts, which images were in work when the process died.

    A file of fixed-length lines: keys that were in work when earlier attempts died, then a place for
    each image in work. A clean end removes the places, a clean end of the whole chunk the file. It is
    written without flushing: the kernel keeps it when the process crashes, which is all that it is for.

    Args:
        path: The chunk's note file.

    Attributes:
        crashed: Whether an earlier attempt died.
    """

    _LINE = 17

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._places: dict[str, int] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        lines = os.read(self._file, 1 << 20).decode("ascii", "replace").split("\n")
        # Only whole lines: a host that lost power may have left zeros.
        self._keys = [key for key in lines if re.fullmatch("[0-9a-f]{16}", key)]
        self.crashed = bool(self._keys)
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, "".join(f"{key}\n" for key in self._keys).encode(), 0)

    def begin(self, key: str) -> bool:
        """Note that an image is in work; False if it was so too often when the process died."""
        if self._keys.count(key) >= MAX_CRASHES:
            return False
        with self._lock:
            taken = set(self._places.values())
            place = next(n for n in itertools.count() if n not in taken)
            self._places[key] = place
            self._write(place, key)
        return True

    def end(self, key: str) -> None:
        """Note that an image is no longer in work, if it was."""
        with self._lock:
            if (place := self._places.pop(key, None)) is not None:
                self._write(place, "-" * (self._LINE - 1))

    def _write(self, place: int, text: str) -> None:
        os.pwrite(self._file, f"{text}\n".encode(), (len(self._keys) + place) * self._LINE)

    def close(self, *, finished: bool) -> None:
        """End without a crash.

        Args:
            finished: Whether the whole chunk is done: the notes are then of no more use.
        """
        os.ftruncate(self._file, len(self._keys) * self._LINE)
        os.close(self._file)
        if finished or not self._keys:
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()
