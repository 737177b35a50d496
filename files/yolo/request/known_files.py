"""What is in the images' files, and what is known of them from the last time.

Size and date do not tell one content from another: an editor may change a photo's EXIF in place, a copy may carry
another file's date. So a file goes by a digest of its bytes. Reading all of them again for each run would take long,
so what was read is kept in an index, as git keeps one: a file whose size, date of content, date of any change (which no
program can set) and inode are the same as in the index is not read again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path

from ..share.contents import DIGEST_BYTES
from ..share.file_kind import HEAD_BYTES, describe_bytes, kind_of
from ..share.fsio import write_jsonl

_BLOCK = 1 << 20


TICK_NS = 2_000_000_000
"""A file that was changed so short a time ago may be changed again within one tick of the file system's clock."""


RULES = 1
"""Counts the changes of what :func:`kind_of` takes for an image, so that files that were none are looked at again."""


@dataclass(frozen=True, slots=True)
class Known:
    """A file as the index knows it.

    Attributes:
        size: Bytes.
        mtime_ns: When its content was changed, as it says, nanoseconds since the epoch.
        ctime_ns: When anything about it was changed, by the file system's clock.
        inode: Its number.
        content: :func:`digest` of its bytes; None where it is no image.
        reason: Why it is no image, else None.
        rules: By which :data:`RULES` that was found.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    content: str | None
    reason: str | None = None
    rules: int = 0

    def is_same(self, status: os.stat_result) -> bool:
        """Whether a file with this status was not changed since, nor what counts as an image."""
        now = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        if self.reason is not None and self.rules != RULES:
            return False
        return now == (self.size, self.mtime_ns, self.ctime_ns, self.inode)


Index = Mapping[bytes, Known]
"""What is known, by path relative to the input folder."""


def examine(path: bytes) -> Known:
    """Read a file.

    A file that is no image is read no further than its first bytes.

    Raises:
        OSError: It can't be read.
    """
    with open(path, "rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        marks = status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
        head = file.read(HEAD_BYTES)
        if kind_of(head) is None:
            return Known(*marks, None, f"not an image: {describe_bytes(head)}", RULES)
        found = hashlib.blake2b(head, digest_size=DIGEST_BYTES)
        while block := file.read(_BLOCK):
            found.update(block)
    return Known(*marks, found.hexdigest())


def read_index(path: Path) -> dict[bytes, Known]:
    """Return an index; empty where there is none or it is damaged: files are read again then."""
    index: dict[bytes, Known] = {}
    try:
        with open(path, "rb") as file:
            for line in file:
                name, *values = json.loads(line)
                index[name.encode("utf-8", "surrogateescape")] = Known(*values)
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
    return index


def write_index(path: Path, index: Index) -> None:
    """Write an index, without files that were changed just now: they may be changed again unseen."""
    newest = time.time_ns() - TICK_NS
    write_jsonl(
        path,
        (
            [name.decode("utf-8", "surrogateescape"), *astuple(known)]
            for name, known in index.items()
            if known.ctime_ns < newest
        ),
    )


def needs_comparing(known: Known | None, found: Known) -> bool:
    """Whether a copy that was sent before may differ from a file though its size and date are the same.

    Args:
        known: As it was when it was sent; None where that is not known.
        found: As it is now.
    """
    if known is None:
        return True
    return (known.size, known.mtime_ns) == (found.size, found.mtime_ns) and known.content != found.content
