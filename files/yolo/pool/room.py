"""Whether the share has room for what is left of a submission."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..share.layout import Pass
from .explain import Explanation

SMALL_FILES_BYTES = 8192
"""What an image takes on the share beside its annotated copy: its label file's block and its record."""


FULL_BYTES = 16 << 20
"""A share with less room than this is full: the next image may not fit."""


_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Work:
    """Images of a submission.

    Attributes:
        done: Finished, failed ones included.
        failed: Failed ones.
        total: All of the submission.
        before: Images that had a good result before this submission.
    """

    done: int
    failed: int
    total: int
    before: int = 0


def free_bytes_of(path: Path) -> int:
    """Return how many bytes a file system has free for who asks.

    Raises:
        OSError: The path can't be reached.
    """
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def explain_room(run_pass: Pass, free: int, work: Work, image_bytes: int) -> Explanation | None:
    """Say that the share is full, or too full for what is left; None if it is not.

    Args:
        run_pass: The pass.
        free: Bytes that are free on the share.
        work: How far the submission is.
        image_bytes: About how large the annotated copy of an image is; 0 if there is none.
    """
    left = work.total - work.done
    needed = left * (image_bytes + SMALL_FILES_BYTES)
    if not left or free >= max(needed, FULL_BYTES):
        return None
    share = run_pass.root.parents[2]
    what = "the share is full" if free < FULL_BYTES else "the share will be full before the run ends"
    wanted = "1 image that is left needs" if left == 1 else f"{left} images that are left need"
    missing = max(needed, FULL_BYTES) - free
    return Explanation(
        f"{what}: {share} has {free / _MIB:.1f} MiB free, the {wanted} about {needed / _MIB:.1f} MiB",
        f"free at least {missing / _MIB:.1f} MiB there (old runs in {share}/runs, old images in {share}/inputs) or "
        "enlarge its disk; what is done is kept, and the same run_id does what is missing",
    )
