"""Containers: the annotated images and label files of a pass, one tar for each attempt at a chunk.

Not a file for each: on NFS a small file is a handful of round trips and of flushes of the server's disk. A container
has one writer and only grows: what is before a given byte never changes, and a host that is lost leaves it without its
end, which no record names. ``tar`` reads it. Format: POSIX.1-1988 ustar with GNU's long names.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from .errors import YoloError
from .fsio import dumps
from .layout import IMAGES, LABELS, Pass
from .records import Span, load_dataclass

_BLOCK = tarfile.BLOCKSIZE
_COPY = 1 << 20


class Container:
    """Takes files, each after the one before.

    Args:
        path: The tar; replaced if there is one, since no record can name it.

    Raises:
        OSError: It can't be made.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        self._end = 0

    def add(self, files: Sequence[tuple[str, bytes]], written: int) -> list[Span]:
        """Append files in one stroke and return where their contents stand.

        Args:
            files: Path and content of each; bytes of a path that are not UTF-8 as surrogates.
            written: Their date, seconds since the epoch.

        Raises:
            OSError: The share does not take it; what of it is written is named by no record.
        """
        parts: list[bytes] = []
        spans: list[Span] = []
        for path, content in files:
            header = _header(path, len(content), written)
            spans.append((self._end + len(header), len(content)))
            parts += [header, content, bytes(-len(content) % _BLOCK)]
            self._end += len(header) + len(content) + -len(content) % _BLOCK
        remaining = memoryview(b"".join(parts))
        while remaining:
            remaining = remaining[os.write(self._file, remaining) :]
        return spans

    def flush(self) -> None:
        """Have the share's disk take what was added."""
        os.fsync(self._file)

    def close(self) -> None:
        """Write the end that a whole tar has."""
        try:
            os.write(self._file, bytes(2 * _BLOCK))
        finally:
            os.close(self._file)


def _header(path: str, size: int, written: int) -> bytes:
    info = tarfile.TarInfo(path)
    info.size, info.mtime, info.mode = size, written, 0o644
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def list_containers(run_pass: Pass) -> set[str]:
    """Return the names of a pass's containers."""
    try:
        return set(os.listdir(run_pass.containers_dir))
    except FileNotFoundError:
        return set()


@dataclass(frozen=True, slots=True)
class Stored:
    """A file of the results, in a container.

    Attributes:
        path: Relative to the results folder; bytes that are not UTF-8 as surrogates.
        container: Name of the container.
        at: Offset of its content, bytes.
        size: Its length, bytes.
        written: Its date, seconds since the epoch.
    """

    path: str
    container: str
    at: int
    size: int
    written: int

    def to_json(self) -> str:
        """Return it as one line of JSON, without the newline."""
        return dumps(asdict(self))

    def read(self, container: BinaryIO) -> Iterator[bytes]:
        """Yield the content in parts.

        Raises:
            YoloError: The container is shorter.
            OSError: It can't be read.
        """
        container.seek(self.at)
        left = self.size
        while left:
            part = container.read(min(left, _COPY))
            if not part:
                raise YoloError(
                    "a container of results is cut off",
                    f"{self.container}: {self.path}",
                    remedy=f"remove {self.container} from the run's folder on the share and run the same run_id again",
                )
            left -= len(part)
            yield part


def read_contents(path: Path) -> list[Stored]:
    """Return the list of what stands where.

    Raises:
        YoloError: It is damaged.
        OSError: It can't be read.
    """
    try:
        with open(path, "rb") as file:
            return [_check(load_dataclass(Stored, line)) for line in file]
    except ValueError as error:
        raise YoloError(f"the list of results is damaged ({error})", path, remedy="run the same run_id again") from None


def _check(stored: Stored) -> Stored:
    """Return an entry that can do no harm outside the results folder: jobs can write to the share.

    Raises:
        ValueError: It would.
    """
    numbers = (stored.at, stored.size, stored.written)
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise ValueError(f"{stored.path!r}: a number is none")
    if not isinstance(stored.container, str) or not re.fullmatch(r"[\w-]+\.tar", stored.container, re.ASCII):
        raise ValueError(f"{stored.container!r} is no container")
    folder, *parts = str(stored.path).split("/")
    if folder not in (IMAGES, LABELS) or not parts or any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise ValueError(f"{stored.path!r} is no file of images or labels")
    return stored
