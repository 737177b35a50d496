"""The manifest: what a run is about, one entry a file.

An image is planned, found again and reported by its entry.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import YoloError
from .fsio import write_jsonl
from .records import Entry


def decode(path: bytes) -> str:
    """Return a path as text; bytes that are not UTF-8 become surrogates.

    Explicitly, because ``os.fsdecode`` follows the locale and the key of an image may not.
    """
    return path.decode("utf-8", "surrogateescape")


def encode(path: str) -> bytes:
    """Undo :func:`decode`."""
    return path.encode("utf-8", "surrogateescape")


def write(entries: Iterable[Entry], path: str | os.PathLike[str]) -> None:
    """Write the manifest, one entry a line."""
    write_jsonl(path, ({n: getattr(e, n) for n in e.__slots__} for e in entries))


def read(path: str | os.PathLike[str]) -> Iterator[Entry]:
    """Yield the entries of a manifest or a chunk.

    Raises:
        YoloError: A line is not an entry.
        OSError: The file can't be read.
    """
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield Entry.from_json(line)
            except ValueError as error:
                raise YoloError(
                    f"not a manifest entry ({error})",
                    f"{Path(path)} line {number}",
                    remedy="remove that file and run again: the manifest is made anew",
                ) from None


def stamp(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a manifest is known by: ``lines`` and ``sha256`` of the whole file.

    Raises:
        OSError: It can't be read.
    """
    digest, lines = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            lines += block.count(b"\n")
    return {"lines": lines, "sha256": digest.hexdigest()}


def check(path: str | os.PathLike[str], expected: Mapping[str, Any]) -> None:
    """Check that a manifest is the one that was sent.

    Args:
        path: The manifest.
        expected: Its :func:`stamp` when it was sent.

    Raises:
        YoloError: It is another one, or lost a part: the host that keeps it may have lost power.
        OSError: It can't be read.
    """
    found = stamp(path)
    if found != dict(expected):
        raise YoloError(
            "the manifest on the share is not the one that was sent",
            f"{path} has {found['lines']} lines, SHA-256 {found['sha256'][:16]}...",
            f"{expected.get('lines')} lines, SHA-256 {str(expected.get('sha256'))[:16]}...",
            "run the same run_id again: it is sent anew, and images that are done are kept",
        )
