"""Jobs of a submission that are held, were removed, or failed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..share.layout import Pass, chunk_name
from ..share.words import plural
from . import ads
from .ads import Ad
from .explain import Explanation, explain_exit, explain_hold, explain_removed, reason_for_images

_TAIL_BYTES = 4096


_TAIL_LINES = 5


def _explain(run_pass: Pass, submission: str, ad: Ad, gone: bool) -> Explanation:
    if ads.state(ad) == "held":
        return explain_hold(ad, gone)
    if ads.state(ad) == "removed":
        return explain_removed(ad, gone)
    return explain_exit(ad, read_tail(_error_file(run_pass, submission, ad)), gone)


def _kinds(bad: Iterable[Ad]) -> list[list[Ad]]:
    """Return jobs that ended badly, those of the same cause together, what calls for help most first."""
    # A removed job may be what someone did about the held or failed ones: those come first.
    order = ("held", "completed", "removed")
    kinds: dict[tuple[int, int], list[Ad]] = {}
    for ad in bad:
        code = ads.number(ad, "HoldReasonCode") or 0 if ads.state(ad) == "held" else 0
        kinds.setdefault((order.index(ads.state(ad)), code), []).append(ad)
    return [kinds[key] for key in sorted(kinds)]


def explain_kinds(run_pass: Pass, submission: str, bad: Iterable[Ad]) -> list[Explanation]:
    """Explain each kind of fault among jobs that ended badly, for a pass that goes on."""
    return [_explain(run_pass, submission, same[0], gone=False) for same in _kinds(bad)]


def explain_first(run_pass: Pass, submission: str, bad: Sequence[Ad], gone: bool) -> Explanation:
    """Explain what calls for help most among jobs that ended badly, and say how many others there are."""
    same = _kinds(bad)[0]
    found = _explain(run_pass, submission, same[0], gone)
    parts = []
    if len(same) > 1:
        parts.append(f"{plural(len(same) - 1, 'more job')} like it")
    if len(bad) > len(same):
        parts.append(f"{plural(len(bad) - len(same), 'job')} that ended badly for other reasons")
    if parts:
        found = replace(found, reason=f"{found.reason} (and {' and '.join(parts)})")
    return found


def unfinished_reasons(run_pass: Pass, submission: str, jobs: Mapping[int, Ad], chunks: int) -> dict[str, str]:
    """Return why jobs have not ended well, by ``<submission>-<chunk>``; of ``chunks`` jobs the lost ones too."""
    reasons = {}
    for proc in sorted({*jobs, *range(chunks)}):
        ad = jobs.get(proc)
        if ad is None:
            reason = "its job left the queue without a trace in HTCondor's history"
        elif ads.state(ad) in ("held", "removed"):
            reason = reason_for_images(ad)
        elif ads.failed_exit(ad):
            reason = reason_for_images(ad, read_tail(_error_file(run_pass, submission, ad)))
        else:
            continue
        reasons[f"{submission}-{chunk_name(proc)}"] = reason
    return reasons


def _error_file(run_pass: Pass, submission: str, ad: Ad) -> Path:
    if err := ad.get("Err"):
        return Path(str(ad.get("Iwd") or "/")) / str(err)
    return run_pass.stderr(submission, chunk_name(ads.number(ad, "ProcId") or 0))


def read_tail(path: Path) -> str:
    """Return the last lines of a text file, parted by `` | ``; empty if it can't be read."""
    try:
        with open(path, "rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - _TAIL_BYTES, 0))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-_TAIL_LINES:])
