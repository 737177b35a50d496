"""What a run came to, in a few lines for the terminal, from the figures in its results folder.

Eight lines at most; ten more where something failed or was skipped, four more about quality where there are labels.
Names of files may hold anything: each line stays one line, with what can't be printed escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..share.errors import one_line
from ..share.layout import FLOAT
from ..share.words import plural
from .figures import Figures, damaged
from .quality.figures import FIGURES, LOW_CONF

FAILED = 5
"""Lines about failed images, at most."""

SKIPPED = 5
"""Lines about skipped files, at most."""

WARNINGS = 3
"""Lines about images that were used although something is odd about them, at most."""

NAMES = 3
"""Files that are named for each reason."""

CLASSES = 8
"""Classes that are named, the most frequent first."""

_OUTPUTS = ("report.html", "images", "labels", "predictions.json", "metrics.json", "metrics.csv", "results.zip")


def lines(figures: Figures, scored: Mapping[str, Any] | None = None, nothing_done: bool = False) -> list[str]:
    """Return the summary of a results folder.

    Args:
        figures: Of the folder.
        scored: ``quality.json``; None if there were no labels.
        nothing_done: Whether nothing was left to do when the run was started again.

    Raises:
        YoloError: The figures are damaged.
    """
    try:
        told = _summary(figures.metrics, figures.compared, nothing_done)
        found = [*told, *_quality(scored or {}), _place(figures.folder)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(figures.folder, f"{type(error).__name__}: {error}") from None
    return [one_line(line) for line in found]


def _summary(metrics: Mapping[str, Any], compared: Mapping[str, Any], nothing_done: bool) -> Iterator[str]:
    yield _counts(metrics, nothing_done)
    failures = metrics["failures"]
    yield from _reasons("failed", [item for item in failures if item["status"] != "skipped"], "image", FAILED)
    skipped = [item for item in failures if item["status"] == "skipped"]
    yield from _reasons("skipped", skipped, "file", SKIPPED)
    yield from _reasons("warning", metrics.get("warnings", ()), "image", WARNINGS)
    ignored = int(metrics["settings"].get("ignored") or 0)
    if ignored:
        yield f"  ignored: {plural(ignored, 'hidden file or folder', 'hidden files and folders')}"
    if metrics["counts"]["processed"] and not nothing_done:
        yield (
            f"Newest submission: {plural(metrics['counts']['processed'], 'image')} in "
            f"{metrics['times']['wall_seconds']} s on {plural(len(metrics['slots']), 'slot')}, "
            f"{metrics['images_per_second']} images/s."
        )
    yield from _notes(metrics.get("notes", ()))
    yield _detections(metrics["counts"]["detections"], metrics["detections_per_class"])
    if compared:
        yield from _comparison(compared)


def _quality(scored: Mapping[str, Any]) -> Iterator[str]:
    if scored:
        against = f"{plural(scored['labels'], 'label')} in {plural(scored['images'], 'image')}"
        yield f"Against {against}: {_figures(scored)}."
        yield from map(_difference, scored["compared"])
        if scored["conf"] > LOW_CONF:
            yield f"  detections below conf {scored['conf']:g} are left out, which lowers mAP: -e conf=0.001 keeps them"


def _figures(values: Mapping[str, Any], form: str = "") -> str:
    known = ((shown, values[key]) for key, shown in FIGURES.items())
    return ", ".join(f"{shown} {value if value is None else format(value, form)}" for shown, value in known)


def _difference(other: Mapping[str, Any]) -> str:
    which = "with the float model" if other["pass"] == FLOAT else "on one slot"
    if other["identical"]:
        return f"  {which}: the same, difference 0, as the detections are identical"
    less = "int8 less float" if other["pass"] == FLOAT else "all slots less one"
    return f"  {which}: {_figures(other)}; {less}: {_figures(other['difference'], '+.4g')}"


def _counts(metrics: Mapping[str, Any], nothing_done: bool) -> str:
    counts = metrics["counts"]
    parts = [f"{counts['ok']} of {plural(counts['images'] - counts['skipped'], 'image')} done"]
    parts += [f"{counts['failed']} failed"] if counts["failed"] else []
    parts += [f"{counts['missing']} without a result"] if counts["missing"] else []
    parts += [f"{plural(counts['skipped'], 'other file')} skipped"] if counts["skipped"] else []
    return f"Run {metrics['run_id']}: {'nothing was left to do: ' if nothing_done else ''}{', '.join(parts)}."


def _notes(notes: Sequence[str]) -> Iterator[str]:
    if notes:
        more = f" ({plural(len(notes) - 1, 'more note')} in report.html)" if len(notes) > 1 else ""
        yield f"Note: {notes[0]}{more}"


def _reasons(status: str, failures: Sequence[Mapping[str, str]], noun: str, limit: int) -> Iterator[str]:
    """Yield a line for each file if ``limit`` lines are enough, else for each reason, and one for what is left."""
    if len(failures) <= limit:
        yield from (f"  {status}: {item['path']}: {item['reason']}" for item in failures)
        return
    by_reason: dict[str, list[str]] = {}
    for failure in failures:
        by_reason.setdefault(failure["reason"], []).append(failure["path"])
    told = list(by_reason.items())
    shown = told if len(told) <= limit else told[: limit - 1]
    for reason, paths in shown:
        if len(paths) == 1:
            yield f"  {status}: {paths[0]}: {reason}"
            continue
        more = f" and {len(paths) - NAMES} more" if len(paths) > NAMES else ""
        yield f"  {status}: {plural(len(paths), noun)}: {reason} ({', '.join(paths[:NAMES])}{more})"
    left = sum(len(paths) for _, paths in told[len(shown) :])
    if left:
        yield f"  {status}: {plural(left, f'more {noun}')} for other reasons, see report.html"


def _detections(count: int, per_class: Mapping[str, int]) -> str:
    if not count:
        return "No detections."
    ranked = sorted(per_class.items(), key=lambda item: (-item[1], item[0]))
    named = ", ".join(f"{number} {name}" for name, number in ranked[:CLASSES])
    rest = ranked[CLASSES:]
    more = f", and {sum(number for _, number in rest)} of {plural(len(rest), 'more class', 'more classes')}"
    return f"{plural(count, 'detection')}: {named}{f'{more}, see metrics.json' if rest else ''}."


def _comparison(compared: Mapping[str, Any]) -> Iterator[str]:
    single, parallel = (compared[name]["images_per_second"] or "not known" for name in ("single", "parallel"))
    speeds = f"One slot: {single} images/s; {plural(compared['slots'], 'slot')}: {parallel} images/s"
    if compared["speed_up"] is None:
        yield f"{speeds}."
    else:
        yield f"{speeds}; speed-up {compared['speed_up']}, efficiency {compared['efficiency']}."
    unfair = "" if compared["comparable"] else (
        " The two passes did not do the same images: start a new run_id for times that compare."
    )  # fmt: skip
    if compared["identical"]:
        yield f"The detections of both are identical.{unfair}"
    else:
        differ = plural(compared["images_that_differ"], "image differs", "images differ")
        yield f"The detections of both are NOT identical: {differ}, see compare.json.{unfair}"


def _place(folder: Path) -> str:
    found = [f"{name}/" if (folder / name).is_dir() else name for name in _OUTPUTS if (folder / name).exists()]
    return f"Results: {folder} ({', '.join(found)})"
