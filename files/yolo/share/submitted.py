"""When a submission's jobs were submitted: a note beside its chunks."""

from __future__ import annotations

from . import fsio
from .layout import Pass


def read_submitted(run_pass: Pass, submission: str | None) -> float | None:
    """Return when a submission's jobs were submitted, by the share's clock; None where that is not known."""
    try:
        return None if submission is None else float(fsio.read_json(run_pass.submitted(submission))["submitted"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_cluster(run_pass: Pass, submission: str | None) -> int | None:
    """Return the ClusterId of a submission's jobs; None where that is not known."""
    try:
        return None if submission is None else int(fsio.read_json(run_pass.submitted(submission))["cluster"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
