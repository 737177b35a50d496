"""The package's one error type, and how a command line ends with it.

An error says four things in one line: what was wrong, the value, what is expected, what to do.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence

EXIT_ERROR = 2
"""Exit code of a command that stopped with a :class:`YoloError`."""

EXIT_UNSAID = 74
"""Exit code of one that could not even say so; EX_IOERR of <sysexits.h>."""


def one_line(text: object) -> str:
    """Return ``text`` with control characters and undecodable bytes escaped.

    File names may hold newlines or bytes that are not UTF-8; a message stays one line and can be
    encoded as UTF-8 whatever the name was.
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in str(text)
    )


class YoloError(Exception):
    """Something the user can mend.

    Args:
        what: What was wrong, as a short clause, e.g. ``"weights file not found"``.
        value: The offending value; shown unless None.
        expected: What would have been accepted.
        remedy: What to do about it.
    """

    def __init__(
        self,
        what: str,
        value: object = None,
        expected: str | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(what, value, expected, remedy)
        self.what = what
        self.value = value
        self.expected = expected
        self.remedy = remedy

    def __str__(self) -> str:
        text = self.what
        if self.value is not None:
            text += f": {self.value}"
        if self.expected:
            text += f"; expected {self.expected}"
        if self.remedy:
            text += f"; {self.remedy}"
        return one_line(text)


class BadImage(YoloError):
    """An image that can't be used; its text is the reason that stands in the image's record."""


def from_os_error(error: OSError) -> YoloError:
    """Turn an operating system error into a :class:`YoloError` that says what to do."""
    remedies = {
        errno.ENOSPC: "free space on that file system, then run the same run_id again",
        errno.EDQUOT: "raise the quota or free space, then run the same run_id again",
        errno.EACCES: "give the user running this access to it",
        errno.EPERM: "give the user running this access to it",
        errno.EROFS: "mount the file system read-write",
        errno.ESTALE: "the NFS mount is stale: mount the share again on this host",
    }
    what = error.strerror or type(error).__name__
    value = error.filename2 or error.filename
    if isinstance(value, bytes):
        value = value.decode(errors="backslashreplace")
    remedy = remedies.get(error.errno) if error.errno is not None else None
    return YoloError(what, value if value is not None else str(error), remedy=remedy)


def run_cli(main: Callable[[Sequence[str] | None], int | None]) -> int:
    """Run a command line's ``main`` and return the exit code for ``sys.exit``.

    A :class:`YoloError` or an operating system error becomes one line on stderr and exit code 2;
    any other exception is a bug and keeps its traceback. Where stderr can't be written, as that of a job can't on a
    share that is full, the exit code is :data:`EXIT_UNSAID`.
    """
    try:
        return main(None) or 0
    except YoloError as error:
        message = str(error)
    except BrokenPipeError:
        raise
    except OSError as error:
        message = str(from_os_error(error))
    try:
        print(f"error: {message}", file=sys.stderr, flush=True)
    except OSError:
        # What is left in the buffer is tried once more when Python ends, and would change the exit code.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
        return EXIT_UNSAID
    return EXIT_ERROR
