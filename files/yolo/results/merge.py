"""Merge the records of a pass into its results: predictions, figures, and who failed why.

Every line of the manifest ends as one of: ok, failed, skipped (can't be an image), missing. Only
when none is missing is the pass complete; the exit codes of jobs prove nothing.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from .. import __version__
from . import cost, unfinished
from ..share import fsio, layout, manifest, outputs
from ..share.clocks import align
from ..share.errors import YoloError, one_line, run_cli
from ..share.journal import read_records
from .latency import Latencies, total_ms
from ..share.layout import PASSES, Pass, Run
from ..share.bounded_map import bounded_map
from ..share.settings import check_manifest, read_digest, read_settings, run_at
from ..share.records import STAGES, Entry, JobReport, Record, fingerprint, is_same_file, label_text
from ..share.submitted import read_submitted

EXIT_MISSING = 3
"""Exit code when images have neither a result nor a named failure."""

SHOWN = 10
"""Failures that the summary on standard output names."""

_CSV_COLUMNS = (
    "path",
    "status",
    "width",
    "height",
    "detections",
    *(f"{stage}_ms" for stage in STAGES),
    "total_ms",
    "host",
    "slot",
    "job",
    "error",
)

_FORMULA = ("=", "+", "-", "@", "\t", "\r")

COCO_NAMES = (
    "person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant "
    "stop_sign parking_meter bench bird cat dog horse sheep cow elephant bear zebra giraffe "
    "backpack umbrella handbag tie suitcase frisbee skis snowboard sports_ball kite baseball_bat "
    "baseball_glove skateboard surfboard tennis_racket bottle wine_glass cup fork knife spoon "
    "bowl banana apple sandwich orange broccoli carrot hot_dog pizza donut cake chair couch "
    "potted_plant bed dining_table toilet tv laptop mouse remote keyboard cell_phone microwave "
    "oven toaster sink refrigerator book clock vase scissors teddy_bear hair_drier toothbrush"
)
COCO_CLASSES = tuple(name.replace("_", " ") for name in COCO_NAMES.split())
"""Names of COCO's 80 classes in the order in which models number them."""

_COCO_UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
COCO_IDS = tuple(number for number in range(1, 91) if number not in _COCO_UNUSED)
"""COCO's own ids of those classes: 1 to 90 with gaps."""


@dataclass(slots=True)
class Tally:
    """Sums over the images of a pass, filled while they go by."""

    ok: int = 0
    failed: int = 0
    unfinished: int = 0
    skipped: int = 0
    resumed: int = 0
    processed: int = 0
    detections: int = 0
    per_class: Counter[int] = field(default_factory=Counter)
    failures: list[dict[str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    latencies: Latencies = field(default_factory=Latencies)

    @property
    def images(self) -> int:
        """All lines of the manifest."""
        return self.ok + self.failed + self.skipped + len(self.missing)


def class_label(names: Sequence[str], index: int) -> str:
    """Return what a class is called in a table: its name, with its index where another class is called the same."""
    if index >= len(names):
        return str(index)
    name = names[index]
    return name if names.count(name) == 1 else f"{name} (class {index})"


def category_ids(names: Sequence[str]) -> list[int]:
    """Return the category id of each class of a model: COCO's own if its names are COCO's."""
    return list(COCO_IDS) if tuple(names) == COCO_CLASSES else list(range(len(names)))


def image_ids(entries: Sequence[Entry]) -> list[int]:
    """Return the image id of each entry of a manifest.

    The number that an image is called, as in COCO, if all images are called by different
    numbers; else their positions in the manifest, from 1.
    """
    stems = [os.path.splitext(os.path.basename(e.path))[0] for e in entries if e.skip is None]
    if all(stem.isascii() and stem.isdigit() for stem in stems):
        numbers = [int(stem) for stem in stems]
        if len(set(numbers)) == len(numbers):
            remaining = iter(numbers)
            return [next(remaining) if e.skip is None else -1 for e in entries]
    return [e.index + 1 for e in entries]


def read_jobs(run_pass: Pass) -> list[JobReport]:
    """Return the reports of a pass's jobs by plan and chunk, except those that can't be read."""

    def read(path: Path) -> JobReport | None:
        try:
            return JobReport.from_json(path.read_bytes())
        except (OSError, ValueError):
            return None

    if not run_pass.jobs_dir.is_dir():
        return []
    return [report for report in bounded_map(read, sorted(run_pass.jobs_dir.glob("s*.json"))) if report is not None]


def read_names(settings: dict[str, Any]) -> list[str]:
    """Return the names of the model's classes, in order; empty if they can't be read."""
    try:
        names = fsio.read_json(Path(settings["model_dir"]) / layout.MODEL_JSON)["names"]
        if isinstance(names, dict):
            names = [names[key] for key in sorted(names, key=int)]
        return [str(name) for name in names]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def times_of(jobs: Sequence[JobReport], submitted: float | None) -> dict[str, Any]:
    """Return the times of a pass.

    Args:
        jobs: Reports of the pass's jobs.
        submitted: When they were submitted, seconds since the epoch, if known.

    Returns:
        ``first_start`` and ``last_end`` (epoch), ``wall_seconds`` between them,
        ``submit_to_start_seconds``, ``submit_to_end_seconds`` (None if not known or if the
        hosts' clocks disagree), ``seconds``: sums over the jobs by stage.
    """
    first = min((job.start for job in jobs), default=None)
    last = max((job.end for job in jobs), default=None)

    def since_submitted(moment: float | None) -> float | None:
        if moment is None or submitted is None or moment < submitted:
            return None
        return round(moment - submitted, 3)

    stages = ("start", *STAGES)
    return {
        "submitted": submitted,
        "first_start": first,
        "last_end": last,
        "wall_seconds": None if first is None or last is None else round(last - first, 3),
        "submit_to_start_seconds": since_submitted(first),
        "submit_to_end_seconds": since_submitted(last),
        "seconds": {s: round(sum(job.seconds.get(s, 0.0) for job in jobs), 3) for s in stages},
        **_waits(jobs, submitted),
    }


def queue_seconds(job: JobReport, submitted: float | None) -> float | None:
    """Return how long a job waited from its submission to its start; None where that is not known."""
    return None if submitted is None or job.start < submitted else round(job.start - submitted, 3)


def _waits(jobs: Sequence[JobReport], submitted: float | None) -> dict[str, float | None]:
    """Return the seconds that jobs waited for slots, and that slots were busy and waited for jobs."""
    waits = [queue_seconds(job, submitted) for job in jobs]
    busy = sum(job.end - job.start for job in jobs)
    slots = len({(job.host, job.slot) for job in jobs})
    wall = max(job.end for job in jobs) - min(job.start for job in jobs) if jobs else 0.0
    known = [wait for wait in waits if wait is not None]
    return {
        "queue_seconds": round(sum(known), 3) if jobs and len(known) == len(jobs) else None,
        "busy_seconds": round(busy, 3),
        "idle_seconds": round(max(slots * wall - busy, 0.0), 3),
    }


def occurring(jobs: Sequence[JobReport], settings: Mapping[str, Any], name: str) -> list[Any]:
    """Return what jobs ran with, without repeats: as their reports tell, else as ``run.json`` told them."""
    told = {value for job in jobs if (value := getattr(job, name, None) or settings.get(name))}
    return sorted(told, key=str)


def slots_of(jobs: Sequence[JobReport]) -> list[dict[str, Any]]:
    """Return a table of the slots that worked: jobs, images, busy seconds, images a second."""
    table: dict[tuple[str, str], dict[str, Any]] = {}
    for job in jobs:
        row = table.setdefault(
            (job.host, job.slot),
            {"host": job.host, "slot": job.slot, "jobs": 0, "images": 0, "busy_seconds": 0.0},
        )
        row["jobs"] += 1
        row["images"] += job.images
        row["busy_seconds"] += job.end - job.start
    for row in table.values():
        busy = row["busy_seconds"]
        row["busy_seconds"] = round(busy, 3)
        row["images_per_second"] = round(row["images"] / busy, 3) if busy > 0 else None
    return [table[key] for key in sorted(table)]


def versions_of(jobs: Sequence[JobReport]) -> dict[str, list[str]]:
    """Return the versions by name; more than one where the hosts differ."""
    found: dict[str, set[str]] = {}
    for job in jobs:
        for name, version in job.versions.items():
            found.setdefault(name, set()).add(version)
    return {name: sorted(found[name]) for name in sorted(found)}


def collect(
    run: Run,
    pass_name: str,
    submitted: float | None = None,
    stage_seconds: float | None = None,
    prices: Mapping[str, Any] | None = None,
    unfinished_jobs: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write ``predictions.json``, ``metrics.csv`` and ``metrics.json`` of a pass.

    Args:
        run: The run.
        pass_name: ``parallel`` or ``single``.
        submitted: When the jobs of the newest submission were submitted, seconds since the epoch by the share's clock; by
            default what ``yolo.pool.submit`` noted.
        stage_seconds: How long it took to put images, weights and code on the share; kept as ``submitted`` is.
        prices: What the hosts cost, see ``cost.parse``.
        unfinished_jobs: Why jobs did not end well, by ``<submission>-<chunk>``: what they left undone failed for that reason.

    Returns:
        What the command prints.

    Raises:
        YoloError: The manifest or the settings are damaged.
        OSError: A file can't be read or written, e.g. the disk is full.
    """
    began = time.monotonic()
    run_pass = run.get_pass(pass_name)
    settings = read_settings(run)
    check_manifest(run)
    names = read_names(settings)
    jobs = read_jobs(run_pass)
    # A pass that found nothing to do, or whose jobs never ended, leaves the last figures as are.
    submission = max((job.submission for job in jobs), key=lambda name: int(name[1:]), default=None)
    aligned = align([job for job in jobs if job.submission == submission])
    last = aligned.jobs
    tally = _write_images(run, run_pass, names, submission, unfinished.reasons_by_key(run_pass, unfinished_jobs or {}))
    if tally.images == tally.skipped:
        raise YoloError("the run has no images", run.manifest, "a line for each file, one of them an image at least")
    if outputs.is_stale(run_pass, settings):
        _remove_others(run, run_pass, settings)
        outputs.settle(run_pass, settings)
    submitted = read_submitted(run_pass, submission) if submitted is None else submitted
    known = {"submitted": submitted, "stage_seconds": stage_seconds, "collect_seconds": None}
    known |= {name: value for name, value in _known_before(run_pass, submission).items() if known[name] is None}
    if known["collect_seconds"] is None:
        known["collect_seconds"] = round(time.monotonic() - began, 3)
    metrics = _metrics(run, pass_name, settings, names, tally, last, known)
    metrics["clocks"] = {"reference": aligned.reference, "ahead_seconds": aligned.ahead}
    metrics["notes"] = aligned.notes
    metrics["cost"] = cost.of_pass(prices or {}, pass_seconds(metrics["times"]), tally.processed, pass_name == "single")
    fsio.write_json(run_pass.metrics_json, metrics, indent=2, keep_equal=True)
    return _summary(run_pass, metrics) | {"unfinished": tally.unfinished}


def pass_seconds(times: Mapping[str, Any]) -> float | None:
    """Return how long a pass kept its hosts: staging, from submission to the last image, merging.

    What is not known is left out; without any job it is None.
    """
    work = times["submit_to_end_seconds"] if times["submit_to_end_seconds"] is not None else times["wall_seconds"]
    if work is None:
        return None
    return round((times["stage_seconds"] or 0.0) + work + (times["collect_seconds"] or 0.0), 3)


def _known_before(run_pass: Pass, submission: str | None) -> dict[str, float]:
    """Return what the figures of the same pass said about its beginning and its end.

    These are measured once: another look at a finished pass must not change its figures.
    """
    try:
        before = fsio.read_json(run_pass.metrics_json)["times"]
        if before["submission"] != submission:
            return {}
        kept = {name: before.get(name) for name in ("submitted", "stage_seconds", "collect_seconds")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {name: value for name, value in kept.items() if isinstance(value, int | float)}


def _write_images(run: Run, run_pass: Pass, names: Sequence[str], submission: str | None, given_up: Mapping[str, str]) -> Tally:
    digest = read_digest(run)
    entries = list(manifest.read(run.manifest))
    ids = image_ids(entries)
    categories = category_ids(names)
    tally = Tally()
    records = read_records(run_pass, (entry.key for entry in entries if entry.skip is None))
    with (
        fsio.atomic_file(run_pass.predictions, keep_equal=True) as predictions,
        fsio.atomic_file(run_pass.metrics_csv, keep_equal=True) as table,
    ):
        predictions.write(b"[")
        write_row = _csv_writer(table)
        write_row(_CSV_COLUMNS)
        for entry, image_id in zip(entries, ids, strict=True):
            record = next(records) if entry.skip is None else None
            # A record of another version of the file or of other settings is none.
            if record is not None and not counts(record, entry, digest):
                record = None
            reason = given_up.get(entry.key)
            status = _count(tally, entry, record, submission, reason)
            write_row(_csv_row(entry, record, status, reason))
            if record is None or status != "ok":
                continue
            tally.latencies.add(record.times, _place(entry, record))
            for line in _predictions(entry, record, image_id, categories):
                predictions.write((b"\n" if tally.detections == 0 else b",\n") + line)
                tally.detections += 1
            tally.per_class.update(detection.class_id for detection in record.detections)
        predictions.write(b"\n]\n")
    return tally


def _remove_others(run: Run, run_pass: Pass, settings: Mapping[str, Any]) -> None:
    """Remove pictures and labels of other inputs; write labels whose names changed with the inputs."""
    digest, pictures, labels = read_digest(run), [], {}
    entries = [entry for entry in manifest.read(run.manifest) if entry.skip is None]
    for entry, record in zip(entries, read_records(run_pass, (entry.key for entry in entries)), strict=True):
        if record is None or record.error is not None or not counts(record, entry, digest):
            continue
        labels[entry.label] = entry
        if settings.get("save_images", True):
            pictures.append(entry.path)
    outputs.prune(run_pass.images_dir, pictures)
    renamed = [labels[label] for label in sorted(outputs.prune(run_pass.labels_dir, labels))]
    for entry, record in zip(renamed, read_records(run_pass, (entry.key for entry in renamed)), strict=True):
        if record is not None:
            fsio.write_text(run_pass.label(entry.label), label_text(record.detections, record.width, record.height))


def counts(record: Record, entry: Entry, digest: str) -> bool:
    """Whether a record is of the very file that the manifest names, and of settings with this digest."""
    return record.settings_digest == digest and is_same_file(
        fingerprint(record.size, record.mtime_ns, record.content),
        fingerprint(entry.size, entry.mtime_ns, entry.content),
    )


def _count(tally: Tally, entry: Entry, record: Record | None, submission: str | None, given_up: str | None) -> str:
    if entry.skip is not None:
        tally.skipped += 1
        tally.failures.append({"path": entry.path, "status": "skipped", "reason": entry.skip})
        return "skipped"
    if record is None and given_up is not None:
        tally.failed += 1
        tally.unfinished += 1
        tally.failures.append({"path": entry.path, "status": "failed", "reason": given_up})
        return "failed"
    if record is None:
        tally.missing.append(entry.path)
        return "missing"
    if submission is not None and record.job.startswith(f"{submission}-"):
        tally.processed += 1
    else:
        tally.resumed += 1
    if record.error is not None:
        tally.failed += 1
        tally.failures.append({"path": entry.path, "status": "failed", "reason": record.error})
        return "failed"
    tally.ok += 1
    return "ok"


def neutral(cell: str) -> str:
    """Return a text that no spreadsheet takes for a formula: an apostrophe before what would begin one.

    Source: OWASP, CSV Injection, https://owasp.org/www-community/attacks/CSV_Injection
    """
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _csv_writer(file: BinaryIO) -> Callable[[Iterable[object]], None]:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)

    def write(row: Iterable[object]) -> None:
        writer.writerow([neutral(cell) if isinstance(cell, str) else cell for cell in row])
        # A name that is not UTF-8 goes out as the bytes it came as.
        file.write(buffer.getvalue().encode("utf-8", "surrogateescape"))
        buffer.seek(0)
        buffer.truncate()

    return write


def _place(entry: Entry, record: Record) -> dict[str, Any]:
    size = {"width": record.width, "height": record.height, "detections": len(record.detections)}
    return {"path": entry.path, **size, "host": record.host, "slot": record.slot, "job": record.job}


def _csv_row(entry: Entry, record: Record | None, status: str, given_up: str | None) -> list[object]:
    if record is None:
        return [entry.path, status, *[""] * (len(_CSV_COLUMNS) - 3), entry.skip or given_up or ""]
    times = [record.times.get(f"{stage}_ms", "") for stage in STAGES]
    size = [record.width, record.height] if record.width else ["", ""]
    total = total_ms(record.times) if record.times else ""
    found = [len(record.detections), *times, total, record.host, record.slot, record.job, record.error or ""]
    return [entry.path, status, *size, *found]


def _predictions(entry: Entry, record: Record, image_id: int, categories: Sequence[int]) -> Iterator[bytes]:
    for class_id, score, (x1, y1, x2, y2) in record.detections:
        yield fsio.dumps(
            {
                "image_id": image_id,
                "file_name": entry.path,
                "category_id": categories[class_id] if class_id < len(categories) else class_id,
                "bbox": [round(x1, 3), round(y1, 3), round(x2 - x1, 3), round(y2 - y1, 3)],
                "score": round(score, 5),
            }
        ).encode("ascii")


def _metrics(
    run: Run,
    pass_name: str,
    settings: dict[str, Any],
    names: Sequence[str],
    tally: Tally,
    jobs: Sequence[JobReport],
    known: Mapping[str, float | None],
) -> dict[str, Any]:
    submitted = known["submitted"]
    times = times_of(jobs, submitted)
    times |= {name: known[name] for name in ("stage_seconds", "collect_seconds")}
    wall = times["wall_seconds"]
    categories = category_ids(names)
    slots = slots_of(jobs)
    return {
        "run_id": run.run_id,
        "mode": settings.get("mode"),
        "pass": pass_name,
        "settings": settings,
        "weights": {k: v for k, v in settings.items() if k.startswith("weights")},
        "counts": {
            "images": tally.images,
            "ok": tally.ok,
            "failed": tally.failed,
            "skipped": tally.skipped,
            "missing": len(tally.missing),
            "detections": tally.detections,
            "resumed": tally.resumed,
            "processed": tally.processed,
        },
        "detections_per_class": {class_label(names, c): n for c, n in sorted(tally.per_class.items())},
        "categories": [{"id": i, "name": n} for i, n in zip(categories, names, strict=True)],
        "failures": tally.failures,
        "missing": tally.missing,
        "times": {
            "submission": jobs[0].submission if jobs else None,
            "covers": "the newest submission only: images that an earlier submission did are in counts.resumed, not in these times",
            **times,
        },
        "images_per_second": round(tally.processed / wall, 3) if wall else None,
        "slots": slots,
        "jobs": [{**asdict(job), "queue_seconds": queue_seconds(job, submitted)} for job in jobs],
        "latency_ms": tally.latencies.table(),
        "slowest": tally.latencies.slowest(),
        "threads": sorted({job.threads for job in jobs}),
        "engines": occurring(jobs, settings, "engine"),
        "precisions": occurring(jobs, settings, "precision"),
        "cpu_models": sorted({job.cpu_model for job in jobs if job.cpu_model}),
        "versions": {"collect": [__version__], **versions_of(jobs)},
    }


def _summary(run_pass: Pass, metrics: dict[str, Any]) -> dict[str, Any]:
    failures, missing = metrics["failures"], metrics["missing"]
    return {
        "run_id": metrics["run_id"],
        "pass": metrics["pass"],
        **metrics["counts"],
        "images_per_second": metrics["images_per_second"],
        "wall_seconds": metrics["times"]["wall_seconds"],
        "submit_to_end_seconds": metrics["times"]["submit_to_end_seconds"],
        "slots": len(metrics["slots"]),
        # For Ansible, which reads no JSON with bytes that are not UTF-8.
        "failures": [{**failure, "path": one_line(failure["path"])} for failure in failures[:SHOWN]],
        "failures_not_shown": max(len(failures) - SHOWN, 0),
        "missing_paths": [one_line(path) for path in missing[:SHOWN]],
        "predictions": str(run_pass.predictions),
        "metrics_json": str(run_pass.metrics_json),
        "metrics_csv": str(run_pass.metrics_csv),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Write a pass's results and print a summary as JSON; exit code 3 if images are missing."""
    parser = argparse.ArgumentParser(prog="yolo.results.merge", description=__doc__)
    parser.add_argument("--run-dir", type=Path, required=True, help="<share>/runs/<run_id>")
    parser.add_argument("--pass", dest="pass_name", choices=PASSES, required=True)
    parser.add_argument("--submitted", type=float, help="when it was submitted, epoch seconds")
    parser.add_argument("--stage-seconds", type=float, help="how long it took to put the input on the share")
    parser.add_argument("--prices", default="{}", help="what the hosts cost, as JSON; see yolo.results.cost")
    parser.add_argument("--unfinished", action="store_true", help="read which jobs did not end well, JSON, from stdin")
    args = parser.parse_args(argv)
    prices = cost.parse(args.prices)
    jobs = unfinished.parse(sys.stdin.read()) if args.unfinished else {}
    summary = collect(run_at(args.run_dir), args.pass_name, args.submitted, args.stage_seconds, prices, jobs)
    print(fsio.dumps(summary))
    if summary["missing"]:
        shown = ", ".join(summary["missing_paths"])
        error = YoloError(
            f"{summary['missing']} of {summary['images']} images have no result", shown,
            remedy="run the same run_id again: only what is missing or failed is done",
        )  # fmt: skip
        print(f"error: {one_line(error)}", file=sys.stderr)
        return EXIT_MISSING
    return 0


def newest_jobs(run_pass: Pass) -> list[JobReport]:
    """Return the reports of a pass's newest submission, on one clock."""
    jobs = read_jobs(run_pass)
    newest = max((job.submission for job in jobs), key=lambda name: int(name[1:]), default=None)
    return align([job for job in jobs if job.submission == newest]).jobs


if __name__ == "__main__":
    sys.exit(run_cli(main))
