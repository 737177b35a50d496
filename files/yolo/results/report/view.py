"""The view of a run: what its report shows, as plain data. The templates put it into words and markup."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...share.layout import FLOAT
from ...share.records import STAGES
from ..quality.figures import FIGURES, LOW_CONF, NAME
from . import plots
from .comparison import Comparison, Prediction, view_comparison, view_prediction
from .parts import Cell, Plot, Table, dollars, table
from .timing import PerImage, Timing, view_per_image, view_timing

SHOWN = 50
"""Failures, missing images and classes that a table names; files have the rest."""

# Settings that tell what was measured before the jobs.
_MEASURED = (
    ("engine_measured", "speed of the engines"),
    ("precision_difference", "difference of the detections from fp32"),
    ("decode_difference", "difference of the detections from decode=exact, on large photos"),
)


@dataclass(frozen=True, slots=True)
class Headline:
    """The few figures that most people want.

    Attributes:
        ok: Images with a result.
        images: All images; not the files that can't be images.
        failed: Images that failed.
        skipped: Files that can't be images.
        missing: Images without a result or a reason.
        images_per_second: Of the newest submission; None if no job did an image.
        processed: Images that it did.
        wall_seconds: From the first start of its jobs to the last image.
        slots: Slots that worked.
        detections: Objects found.
        classes: Different classes of them.
        dollars_per_1000_images: None if not known.
        price_source: Where the price is from.
    """

    ok: int
    images: int
    failed: int
    skipped: int
    missing: int
    images_per_second: float | None
    processed: int
    wall_seconds: float | None
    slots: int
    detections: int
    classes: int
    dollars_per_1000_images: float | None
    price_source: str


@dataclass(frozen=True, slots=True)
class Detections:
    """Objects found, by class."""

    plot: Plot
    classes: Table


@dataclass(frozen=True, slots=True)
class QualityCompared:
    """The run's figures beside those of another pass over the same images.

    Attributes:
        float_model: Whether that pass had the float model; else it was the one on one slot.
        identical: Whether both passes have the same detections.
        figures: Of both, and the difference.
    """

    float_model: bool
    identical: bool
    figures: Table


@dataclass(frozen=True, slots=True)
class Quality:
    """How good the detections are, against labels.

    Attributes:
        images: Images that count.
        labels: Objects that are known to be in them.
        figures: Of all classes.
        compared: The same of the run's other passes, and the differences.
        classes: The same for each class.
        confidence: Where precision and recall are taken.
        left_out: The run's confidence threshold, if it is so high that mAP suffers.
    """

    images: int
    labels: int
    figures: Table
    compared: tuple[QualityCompared, ...]
    classes: Table
    confidence: float
    left_out: float | None


@dataclass(frozen=True, slots=True)
class Trouble:
    """Images to look at: the slowest, the failed and skipped, the odd, and those that no job has done."""

    slowest: Table | None
    failures: Table | None
    warnings: Table | None
    missing: Table | None


@dataclass(frozen=True, slots=True)
class Cost:
    """Dollars of the run's passes.

    Attributes:
        passes: A row for each.
        source: Where the prices are from.
        date: Of the prices; empty if not known.
        covers: What is paid for.
        unknown: By pass, the hosts without a known price.
        note: What else there is to say; may be empty.
    """

    passes: Table
    source: str
    date: str
    covers: str
    unknown: tuple[tuple[str, str], ...]
    note: str


@dataclass(frozen=True, slots=True)
class Gaps:
    """What the report can't tell, beside what no report can.

    Attributes:
        missing: Images with neither a result nor a reason.
        resumed: Images that earlier submissions did.
        first_wait: Whether it is not known how long the first job waited.
        staging: Whether it is not known how long staging took.
        engine: Whether engine or precision are not known.
        host_basis: What the speed-up over a whole execute host was measured on; None if nothing.
        cost: Whether the cost is not known.
    """

    missing: int
    resumed: int
    first_wait: bool
    staging: bool
    engine: bool
    host_basis: str | None
    cost: bool


@dataclass(frozen=True, slots=True)
class View:
    """A report."""

    run_id: str
    weights: str
    pass_name: str
    notes: tuple[str, ...]
    headline: Headline
    comparison: Comparison | None
    timing: Timing | None
    per_image: PerImage | None
    detections: Detections | None
    quality: Quality | None
    trouble: Trouble
    cost: Cost | None
    prediction: Prediction
    ran_with: Table
    settings: Table
    gaps: Gaps


def build(
    metrics: Mapping[str, Any],
    compared: Mapping[str, Any],
    total: Sequence[float],
    infer: Sequence[float],
    scored: Mapping[str, Any] | None = None,
) -> View:
    """Return the view of a run.

    Args:
        metrics: ``metrics.json``.
        compared: ``compare.json``; empty if the run had one pass.
        total: Milliseconds of each image, all stages.
        infer: Milliseconds of each image, ``infer``.
        scored: ``quality.json``; empty if there were no labels.
    """
    return View(
        run_id=metrics["run_id"],
        weights=metrics["settings"].get("weights_name") or "",
        pass_name=metrics["pass"],
        notes=tuple(metrics.get("notes", ())),
        headline=view_headline(metrics),
        comparison=view_comparison(compared),
        timing=view_timing(metrics),
        per_image=view_per_image(metrics, total, infer),
        detections=view_detections(metrics["detections_per_class"]),
        quality=view_quality(scored or {}),
        trouble=view_trouble(metrics),
        cost=view_cost(metrics, compared),
        prediction=view_prediction(compared),
        ran_with=view_ran_with(metrics),
        settings=table("Settings (run.json)", ("setting", "value"), _settings(metrics["settings"])),
        gaps=view_gaps(metrics, compared),
    )


def view_headline(metrics: Mapping[str, Any]) -> Headline:
    """Return the few figures that most people want."""
    counts, cost = metrics["counts"], metrics.get("cost") or {}
    return Headline(
        ok=counts["ok"],
        images=counts["images"] - counts["skipped"],
        failed=counts["failed"],
        skipped=counts["skipped"],
        missing=counts["missing"],
        images_per_second=metrics["images_per_second"],
        processed=counts["processed"],
        wall_seconds=metrics["times"]["wall_seconds"],
        slots=len(metrics["slots"]),
        detections=counts["detections"],
        classes=len(metrics["detections_per_class"]),
        dollars_per_1000_images=cost.get("dollars_per_1000_images"),
        price_source=cost.get("source") or "",
    )


def view_detections(per_class: Mapping[str, int]) -> Detections | None:
    """Return the section about the classes; None if nothing was found."""
    if not per_class:
        return None
    ranked = sorted(per_class.items(), key=lambda item: (-item[1], item[0]))
    return Detections(
        plot=Plot("Detections by class", plots.classes("classes", per_class)),
        classes=table("Detections of each class", ("class", "detections"), ranked, limit=SHOWN),
    )


def view_quality(scored: Mapping[str, Any]) -> Quality | None:
    """Return the section about how good the detections are; None if there were no labels."""
    if not scored:
        return None
    return Quality(
        images=scored["images"],
        labels=scored["labels"],
        figures=table(
            "All classes", ("", *FIGURES.values()), [("mean of the classes", *(scored[key] for key in FIGURES))]
        ),
        compared=tuple(_compared(scored, other) for other in scored["compared"]),
        classes=table(
            "Each class that has labels",
            ("class", "labels", *FIGURES.values()),
            [(row["name"], row["labels"], *(row[key] for key in FIGURES)) for row in scored["classes"]],
            limit=SHOWN,
            rest_in=NAME,
        ),
        confidence=scored["confidence"],
        left_out=scored["conf"] if scored["conf"] > LOW_CONF else None,
    )


def _compared(own: Mapping[str, Any], other: Mapping[str, Any]) -> QualityCompared:
    float_model = other["pass"] == FLOAT
    names = ("INT8, this run", "float model") if float_model else ("all slots, this run", "one slot")
    caption = "INT8 and the float model" if float_model else "All slots and one slot"
    rows = [
        (names[0], *(own[key] for key in FIGURES)),
        (names[1], *(other[key] for key in FIGURES)),
        ("difference, the first less the second", *(other["difference"][key] for key in FIGURES)),
    ]
    return QualityCompared(float_model, other["identical"], table(caption, ("", *FIGURES.values()), rows))


def view_trouble(metrics: Mapping[str, Any]) -> Trouble:
    """Return the section about the slowest and the failed images; failed ones stand before skipped files."""
    slow, failures, missing = metrics.get("slowest") or (), metrics["failures"], metrics["missing"]
    warnings = metrics.get("warnings") or ()
    keys = ("total_ms", *(f"{stage}_ms" for stage in STAGES))
    failed = sorted(failures, key=lambda failure: bool(failure["status"] == "skipped"))
    return Trouble(
        slowest=table(
            "The slowest images, milliseconds",
            ("image", "pixels", "all stages", *STAGES, "host", "job"),
            [(r["path"], f"{r['width']} x {r['height']}", *(r[k] for k in keys), r["host"], r["job"]) for r in slow],
        )
        if slow
        else None,
        failures=table(
            f"Files without a result ({len(failures):,})",
            ("file", "status", "reason"),
            [(f["path"], f["status"], f["reason"]) for f in failed],
            limit=SHOWN,
        )
        if failures
        else None,
        warnings=table(
            f"Images that were used although something is odd about their files ({len(warnings):,})",
            ("image", "warning"),
            [(item["path"], item["reason"]) for item in warnings],
            limit=SHOWN,
        )
        if warnings
        else None,
        missing=table(
            f"Images that no job has done ({len(missing):,})", ("image",), [(path,) for path in missing], limit=SHOWN
        )
        if missing
        else None,
    )


def view_cost(metrics: Mapping[str, Any], compared: Mapping[str, Any]) -> Cost | None:
    """Return the section about dollars; None if no price is known."""
    found = [("this pass", metrics.get("cost"))]
    if compared:
        found = [("all slots", compared["parallel"].get("cost")), ("one slot", compared["single"].get("cost"))]
    known = [(name, cost) for name, cost in found if cost]
    if not known:
        return None
    amounts = ("dollars_per_1000_images", "dollars", "dollars_per_hour")
    rows: list[tuple[Cell, ...]] = [
        (name, *(dollars(cost[key]) for key in amounts), cost["seconds"], ", ".join(cost["hosts"] or ()) or "all")
        for name, cost in known
    ]
    first = known[0][1]
    return Cost(
        passes=table("US dollars", ("pass", "1,000 images", "the pass", "an hour", "seconds", "hosts"), rows),
        source=first["source"],
        date=first.get("date") or "",
        covers=first["covers"],
        unknown=tuple((name, ", ".join(cost["unknown"])) for name, cost in known if cost["unknown"]),
        note=first.get("note") or "",
    )


def view_ran_with(metrics: Mapping[str, Any]) -> Table:
    """Return what the run's jobs ran with."""

    def told(values: Iterable[object], otherwise: str = "") -> str:
        return ", ".join(str(value) for value in values) or otherwise

    unsaid, settings = "not told by the jobs", metrics["settings"]
    rows = [
        ("engine", told(metrics.get("engines") or (), unsaid)),
        ("precision", told(metrics.get("precisions") or (), unsaid)),
        ("threads of a job", told(metrics["threads"], "no job ended")),
        ("processors", told(metrics["cpu_models"], unsaid)),
        *((label, json.dumps(settings[key])) for key, label in _MEASURED if settings.get(key)),
        *((f"version of {name}", told(found)) for name, found in metrics["versions"].items()),
    ]
    return table("What the jobs ran with", ("what", "value"), rows)


def _settings(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(key, value if isinstance(value, str) else json.dumps(value)) for key, value in settings.items()]


def view_gaps(metrics: Mapping[str, Any], compared: Mapping[str, Any]) -> Gaps:
    """Return what the report can't tell."""
    counts, times, cost = metrics["counts"], metrics["times"], metrics.get("cost")
    return Gaps(
        missing=counts["missing"],
        resumed=counts["resumed"],
        first_wait=times["submit_to_start_seconds"] is None and bool(metrics["jobs"]),
        staging=times.get("stage_seconds") is None,
        engine=not metrics.get("engines") or not metrics.get("precisions"),
        host_basis=(compared.get("host") or {}).get("basis"),
        cost=not cost or cost["dollars"] is None,
    )
