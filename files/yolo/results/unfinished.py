"""Images whose job ended before they were done: it was held, removed, or failed.

The wait says which jobs those are and why; an image of theirs without a record is a named failure then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from ..share.chunks import read_chunks
from ..share.errors import YoloError
from ..share.layout import Pass


def parse(text: str) -> dict[str, str]:
    """Return why jobs did not end well, by ``<submission>-<chunk>``.

    Args:
        text: JSON as ``watch`` prints it: an object of strings.

    Raises:
        YoloError: The text is not that.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise YoloError(f"can't read which jobs are unfinished ({error})", text[:80], "JSON") from None
    if not isinstance(value, dict) or not all(isinstance(reason, str) for reason in value.values()):
        raise YoloError("can't read which jobs are unfinished", text[:80], "an object of reasons by job")
    return value


def reasons_by_key(run_pass: Pass, jobs: Mapping[str, str]) -> dict[str, str]:
    """Return the reason of each image in the chunks of these jobs, by the image's key.

    Args:
        run_pass: The pass.
        jobs: Why jobs did not end well, by ``<submission>-<chunk>``.

    Raises:
        YoloError: A chunk is absent or damaged.
        OSError: A chunk can't be read.
    """
    chunks: dict[str, list[str]] = {}
    for job in jobs:
        submission, _, chunk = job.partition("-")
        chunks.setdefault(submission, []).append(chunk)
    return {
        entry.key: jobs[f"{submission}-{chunk}"]
        for submission, names in chunks.items()
        for chunk, entries in read_chunks(run_pass, submission, names)
        for entry in entries
    }
