"""Merge the records of a pass into its results: predictions, figures, and who failed why.

Every line of the manifest ends as one of: ok, failed, skipped (can't be an image), missing. Only
when none is missing is the pass complete; the exit codes of jobs prove nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..share import fsio, manifest
from ..share.clocks import align
from ..share.containers import list_containers
from ..share.errors import YoloError, one_line
from ..share.journal import Journals
from ..share.layout import Pass, Run
from ..share.records import JobReport
from ..share.settings import check_manifest, read_digest, read_settings
from ..share.submitted import read_submitted
from . import classes, coco, cost, metrics, table, times, unfinished
from .contents import remove_unused_containers, stored_files
from .tally import Tally, is_current

SHOWN = 10
"""Failures, and images without a result, that a summary names."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge came to.

    Attributes:
        settings: The run's settings.
        jobs: Reports of the newest submission's jobs, on one clock: with the settings what the throughput history
            learns from.
        metrics: What stands in ``metrics.json``.
        unfinished: Images that failed because their job did not end well.
    """

    settings: Mapping[str, Any]
    jobs: Sequence[JobReport]
    metrics: Mapping[str, Any]
    unfinished: int

    @property
    def counts(self) -> Mapping[str, int]:
        """How many files, and how many of them are ok, failed, skipped, missing."""
        found: Mapping[str, int] = self.metrics["counts"]
        return found

    def summary(self) -> dict[str, Any]:
        """Return what the playbook needs; names of files in one line and without bytes that are not UTF-8."""
        failures, missing = self.metrics["failures"], self.metrics["missing"]
        return {
            "run_id": self.metrics["run_id"],
            "pass": self.metrics["pass"],
            **self.counts,
            "unfinished": self.unfinished,
            "images_per_second": self.metrics["images_per_second"],
            "wall_seconds": self.metrics["times"]["wall_seconds"],
            "submit_to_end_seconds": self.metrics["times"]["submit_to_end_seconds"],
            "slots": len(self.metrics["slots"]),
            "failures": [{**failure, "path": one_line(failure["path"])} for failure in failures[:SHOWN]],
            "failures_not_shown": max(len(failures) - SHOWN, 0),
            "missing_paths": [one_line(path) for path in missing[:SHOWN]],
        }

    def missing_error(self) -> YoloError | None:
        """Return the error to end with if images have neither a result nor a reason."""
        missing, counts = self.metrics["missing"], self.counts
        if not missing:
            return None
        more = f", ... ({len(missing) - SHOWN} more)" if len(missing) > SHOWN else ""
        return YoloError(
            f"{counts['missing']} of {counts['images']} images have no result",
            ", ".join(map(one_line, missing[:SHOWN])) + more,
            remedy="run the same run_id again: only what is missing or failed is done",
        )


def merge(
    run: Run,
    pass_name: str,
    submitted: float | None = None,
    stage_seconds: float | None = None,
    prices: Mapping[str, Any] | None = None,
    unfinished_jobs: Mapping[str, str] | None = None,
) -> Merged:
    """Write ``predictions.json``, ``metrics.csv``, ``metrics.json`` and the list of contents of a pass.

    Args:
        run: The run.
        pass_name: One of ``layout.PASSES``.
        submitted: When the jobs of the newest submission were submitted, seconds since the epoch by the share's clock;
            by default what was noted then.
        stage_seconds: How long it took to put images, weights and code on the share; kept as ``submitted`` is.
        prices: What the hosts cost, see ``cost.parse``.
        unfinished_jobs: Why jobs did not end well, by ``<submission>-<chunk>``: what they left undone failed for that
            reason.

    Raises:
        YoloError: The manifest or the settings are damaged, or the run has no images.
        OSError: A file can't be read or written, e.g. the disk is full.
    """
    began = time.monotonic()
    run_pass = run.get_pass(pass_name)
    settings = read_settings(run, pass_name)
    check_manifest(run)
    names = classes.read_names(settings)
    journals = Journals(run_pass)
    jobs = journals.reports
    # A pass that found nothing to do, or whose jobs never ended, leaves the last figures as are.
    submission = max((job.submission for job in jobs), key=lambda name: int(name[1:]), default=None)
    aligned = align([job for job in jobs if job.submission == submission])
    reasons = unfinished.reasons_by_key(run_pass, unfinished_jobs or {})
    tally = _merge_records(run, run_pass, journals, names, submission, reasons)
    if tally.files == tally.skipped:
        raise YoloError("the run has no images", run.run_id, "one image at least among the files given as images=")
    submitted = read_submitted(run_pass, submission) if submitted is None else submitted
    known = {"submitted": submitted, "stage_seconds": stage_seconds, "merge_seconds": None}
    known |= {name: value for name, value in times.read_earlier(run_pass, submission).items() if known[name] is None}
    if known["merge_seconds"] is None:
        known["merge_seconds"] = round(time.monotonic() - began, 3)
    found = metrics.build(run.run_id, pass_name, settings, names, tally, aligned.jobs, known)
    found["clocks"] = {"reference": aligned.reference, "ahead_seconds": aligned.ahead}
    found["notes"] = aligned.notes
    seconds = times.pass_seconds(found["times"])
    found["cost"] = cost.of_pass(prices or {}, seconds, tally.processed, pass_name == "single")
    fsio.write_json(run_pass.metrics_json, found, indent=2, keep_equal=True)
    return Merged(settings, aligned.jobs, found, tally.unfinished)


def _merge_records(
    run: Run,
    run_pass: Pass,
    journals: Journals,
    names: Sequence[str],
    submission: str | None,
    reasons: Mapping[str, str],
) -> Tally:
    """Write predictions, the table and the list of contents of a pass, and count its files.

    Args:
        run: The run.
        run_pass: The pass.
        journals: Its journals.
        names: Names of the model's classes.
        submission: The newest submission.
        reasons: Why images were left undone, by their keys.
    """
    digest, containers = read_digest(run, run_pass.root.name), list_containers(run_pass)
    used: set[str] = set()
    entries = list(manifest.read(run.manifest))
    tally = Tally(submission)
    records = journals.records(entry.key for entry in entries if entry.skip is None)
    with (
        fsio.atomic_file(run_pass.predictions, keep_equal=True) as predictions_file,
        fsio.atomic_file(run_pass.metrics_csv, keep_equal=True) as table_file,
        fsio.atomic_file(run_pass.contents, keep_equal=True) as contents_file,
    ):
        predictions = coco.Predictions(predictions_file, classes.category_ids(names))
        write_row = table.writer(table_file)
        for entry, image_id in zip(entries, coco.image_ids(entries), strict=True):
            record = next(records) if entry.skip is None else None
            # A record of another version of the file or of other settings is none; so is one without its files.
            if record is not None and not (
                is_current(record, entry, digest) and (record.error is not None or record.container in containers)
            ):
                record = None
            reason = reasons.get(entry.key)
            status = tally.add(entry, record, reason)
            write_row(table.row(entry, record, status, reason))
            if record is not None and status == "ok":
                predictions.add(entry, record, image_id)
                for stored in stored_files(entry, record):
                    contents_file.write(stored.to_json().encode("ascii") + b"\n")
                used.add(record.container)
        predictions.close()
    remove_unused_containers(run_pass, used)
    return tally
