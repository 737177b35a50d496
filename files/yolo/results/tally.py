"""What became of the files of a manifest, counted while they go by."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ..share.records import Entry, Record, fingerprint, is_same_file
from .latency import Latencies


@dataclass(slots=True)
class Tally:
    """Sums over the files of a pass.

    Attributes:
        submission: The newest submission; None before there is one.
        ok: Images with a result.
        failed: Images that failed for a named reason, unfinished ones included.
        unfinished: Images that a job left undone when it was held, removed, or failed.
        skipped: Files that can't be images.
        processed: Images that the newest submission did.
        resumed: Images that earlier submissions did.
        detections: Objects found.
        per_class: Objects found by index of the class.
        failures: Path, status and reason of each file that failed or was skipped, in the manifest's order.
        warnings: Path and reason of each image that was used although something is odd about its file.
        missing: Paths with neither a result nor a reason.
        latencies: Times of the images that are ok.
    """

    submission: str | None = None
    ok: int = 0
    failed: int = 0
    unfinished: int = 0
    skipped: int = 0
    processed: int = 0
    resumed: int = 0
    detections: int = 0
    per_class: Counter[int] = field(default_factory=Counter)
    failures: list[dict[str, str]] = field(default_factory=list)
    warnings: list[dict[str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    latencies: Latencies = field(default_factory=Latencies)

    @property
    def files(self) -> int:
        """All lines of the manifest."""
        return self.ok + self.failed + self.skipped + len(self.missing)

    def add(self, entry: Entry, record: Record | None, reason: str | None) -> str:
        """Count a file and return its status: ``ok``, ``failed``, ``skipped`` or ``missing``.

        Args:
            entry: The file.
            record: Its record, if it has one that counts.
            reason: Why its job did not end well, if it did not.
        """
        if entry.skip is not None:
            self.skipped += 1
            return self._fail(entry, "skipped", entry.skip)
        if record is None and reason is not None:
            self.failed += 1
            self.unfinished += 1
            return self._fail(entry, "failed", reason)
        if record is None:
            self.missing.append(entry.path)
            return "missing"
        if self.submission is not None and record.job.startswith(f"{self.submission}-"):
            self.processed += 1
        else:
            self.resumed += 1
        if record.error is not None:
            self.failed += 1
            return self._fail(entry, "failed", record.error)
        self.ok += 1
        if record.warning is not None:
            self.warnings.append({"path": entry.path, "status": "warning", "reason": record.warning})
        self.detections += len(record.detections)
        self.per_class.update(detection.class_id for detection in record.detections)
        self.latencies.add(record.times, _description(entry, record))
        return "ok"

    def _fail(self, entry: Entry, status: str, reason: str) -> str:
        self.failures.append({"path": entry.path, "status": status, "reason": reason})
        return status


def _description(entry: Entry, record: Record) -> dict[str, Any]:
    size = {"width": record.width, "height": record.height, "detections": len(record.detections)}
    return {"path": entry.path, **size, "host": record.host, "slot": record.slot, "job": record.job}


def is_current(record: Record, entry: Entry, digest: str) -> bool:
    """Whether a record is of the very file that the manifest names, and of settings with this digest."""
    return record.settings_digest == digest and is_same_file(
        fingerprint(record.size, record.mtime_ns, record.content),
        fingerprint(entry.size, entry.mtime_ns, entry.content),
    )
