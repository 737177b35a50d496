"""Reading and writing files so that a reader never sees half of one.

Every write goes to a short random name in the same directory and is then renamed: short because
the file's own name may already be 255 bytes, the same directory because a rename is atomic only
within one file system. Temporary names begin with ``TEMP_PREFIX``; whoever lists a directory may
skip them.
"""

from __future__ import annotations

import filecmp
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

TEMP_PREFIX = ".tmp-"


def temp_path(path: str | os.PathLike[str]) -> Path:
    """Return a new temporary path in the directory of ``path``."""
    return Path(path).parent / f"{TEMP_PREFIX}{secrets.token_hex(6)}"


def _open_temp(path: Path) -> tuple[Path, BinaryIO]:
    # Not mkstemp: the mode must follow the umask, since other hosts read the file. Not "xb": the name is
    # random enough, and after an exclusive creation an NFS client has to set the file's dates, a round trip.
    temp = temp_path(path)
    try:
        return temp, open(temp, "wb")
    except FileNotFoundError:
        # Only now: looking for the directory before each write would be a round trip on NFS.
        temp.parent.mkdir(parents=True, exist_ok=True)
        return temp, open(temp, "wb")


@contextmanager
def atomic_file(path: str | os.PathLike[str], *, fsync: bool = False, keep_equal: bool = False) -> Iterator[BinaryIO]:
    """Open a binary file that takes the name ``path`` when the block ends without an exception.

    Missing directories are made. On an exception ``path`` is left as it was and the temporary
    file is removed.

    Args:
        path: Final path; replaced if it exists.
        fsync: Flush the file to the disk before the rename (NFS flushes on close anyway).
        keep_equal: Leave a file of the same content, with its date, so that copies of it stay current.

    Raises:
        OSError: The file can't be written, e.g. the disk is full.
    """
    path = Path(path)
    temp, file = _open_temp(path)
    try:
        with file:
            yield file
            if fsync:
                file.flush()
                os.fsync(file.fileno())
        if keep_equal and path.is_file() and filecmp.cmp(temp, path, shallow=False):
            os.unlink(temp)
        else:
            os.replace(temp, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temp)
        raise


def write_bytes(path: str | os.PathLike[str], data: bytes, *, fsync: bool = False, keep_equal: bool = False) -> None:
    """Write ``data`` to ``path`` atomically; see :func:`atomic_file`."""
    with atomic_file(path, fsync=fsync, keep_equal=keep_equal) as file:
        file.write(data)


def update_bytes(path: str | os.PathLike[str], data: bytes) -> bool:
    """Write ``data`` to ``path`` atomically, unless it is there already; return whether it was written."""
    path = Path(path)
    if path.is_file() and path.read_bytes() == data:
        return False
    write_bytes(path, data)
    return True


def write_text(path: str | os.PathLike[str], text: str, *, fsync: bool = False, keep_equal: bool = False) -> None:
    """Write ``text`` as UTF-8 to ``path`` atomically; see :func:`atomic_file`."""
    write_bytes(path, text.encode("utf-8"), fsync=fsync, keep_equal=keep_equal)


def dumps(value: Any, *, indent: int | None = None) -> str:
    """Return ``value`` as ASCII JSON, compact unless ``indent`` is given.

    ASCII, because names that are not UTF-8 are held as lone surrogates, which only an escape
    can carry through a file and back.

    Raises:
        ValueError: A number is NaN or infinite, which JSON does not know.
    """
    separators = (",", ":") if indent is None else None
    return json.dumps(value, ensure_ascii=True, allow_nan=False, indent=indent, separators=separators)


def write_json(
    path: str | os.PathLike[str],
    value: Any,
    *,
    indent: int | None = None,
    fsync: bool = False,
    keep_equal: bool = False,
) -> None:
    """Write ``value`` as JSON with a final newline to ``path``; see :func:`atomic_file`."""
    write_text(path, dumps(value, indent=indent) + "\n", fsync=fsync, keep_equal=keep_equal)


def read_json(path: str | os.PathLike[str]) -> Any:
    """Return the JSON value in ``path``.

    Raises:
        OSError: The file can't be read.
        ValueError: It does not hold JSON.
    """
    with open(path, "rb") as file:
        return json.loads(file.read())


def write_jsonl(path: str | os.PathLike[str], values: Iterable[Any], *, fsync: bool = False) -> int:
    """Write one compact JSON value a line to ``path`` atomically; return the number of lines."""
    count = 0
    with atomic_file(path, fsync=fsync) as file:
        for value in values:
            file.write(dumps(value).encode("ascii") + b"\n")
            count += 1
    return count
