"""Hear what the decoders inside OpenCV complain about.

libjpeg and libtiff go on after damage: OpenCV returns a picture, part of it grey or black, and no error. What they
noticed they write to the process's standard error, so that is read while they work.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator

_MAX_BYTES = 1 << 16
_lock = threading.Lock()

# Everything else came from another thread, and is passed on.
_DECODERS = re.compile(
    r"(?:.*JPEG|Warning: unknown JFIF|Inconsistent progression|Invalid SOS|Unknown Adobe|Corrupt |Premature |libpng |"
    r"\[ *(?:ERROR|WARN|INFO|DEBUG).*\b(?:grfmt_|loadsave|imgcodecs|TIFF_)|.*(?:TIFF|tempfile\.tif):|"
    r"(?:Warning|Error), |tempfile)"
)


@contextlib.contextmanager
def listen() -> Iterator[list[str]]:
    """Collect the lines that decoders write to standard error inside the ``with`` block.

    Yields:
        A list, filled when the block is left.
    """
    heard: list[str] = []
    with _lock:
        try:
            real = os.dup(2)
        except OSError:  # closed: there is nothing to hear
            yield heard
            return
        try:
            os.dup2(_catch(), 2)
            try:
                yield heard
            finally:
                os.dup2(real, 2)
                _take(heard, real)
        finally:
            os.close(real)


_caught: list[int] = []


def _catch() -> int:
    """Return the file in memory that stands in for standard error, the same each time."""
    if not _caught:
        _caught.append(os.memfd_create("decoders", os.MFD_CLOEXEC))
    return _caught[0]


def _take(heard: list[str], real: int) -> None:
    file = _caught[0]
    size = os.lseek(file, 0, os.SEEK_CUR)
    if not size:
        return
    text = os.pread(file, min(size, _MAX_BYTES), 0).decode("utf-8", "replace")
    os.ftruncate(file, 0)
    os.lseek(file, 0, os.SEEK_SET)
    for line in text.splitlines():
        if _DECODERS.match(line):
            heard.append(line)
        elif line:
            os.write(real, f"{line}\n".encode())
