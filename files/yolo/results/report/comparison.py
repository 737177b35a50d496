"""The view of a run's comparison: one slot and all slots, and what follows for more execute hosts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...share.records import STAGES
from . import plots
from .parts import Cell, Plot, Table, table

HOSTS = 50
"""Execute hosts that a table names."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One slot against all.

    Attributes:
        identical: Whether the detections of both passes are.
        images: Files of the run.
        images_that_differ: Images whose detections are not identical.
        differences: The first of them.
        comparable: Whether both passes did as many images.
        slots: Slots of the pool.
        speed_up: Over one slot; None if not known.
        efficiency: Speed-up by slots; None if not known.
        passes: Figures of both passes.
        speed_ups: Against one slot, and against one whole execute host.
        host_why: What a whole execute host was measured on, or why it was not.
        hosts: What each execute host did in the parallel pass.
    """

    identical: bool
    images: int
    images_that_differ: int
    differences: Table | None
    comparable: bool
    slots: int
    speed_up: float | None
    efficiency: float | None
    passes: Table
    speed_ups: Table
    host_why: str
    hosts: Table | None


@dataclass(frozen=True, slots=True)
class Fit:
    """Amdahl's law as fitted to the two passes, and what it predicts.

    Attributes:
        plot: Measured and predicted.
        predictions: By number of execute hosts.
        note: How far to trust them.
        serial_fraction: As fitted.
        serial_fraction_used: Within 0 to 1.
        speed_up: As measured, on ``slots`` slots.
        slots: See there.
        fixed_seconds: Seconds of a run that no slot shortens.
        fixed_parts: What they are made of; None where not known.
        images: Images of the run.
    """

    plot: Plot
    predictions: Table
    note: str
    serial_fraction: float
    serial_fraction_used: float
    speed_up: float
    slots: int
    fixed_seconds: float
    fixed_parts: tuple[tuple[str, float | None], ...]
    images: int


@dataclass(frozen=True, slots=True)
class Prediction:
    """What more execute hosts would bring: ``fit``, or ``why`` there is none; both None for a run with one pass."""

    fit: Fit | None = None
    why: str | None = None


def view_comparison(compared: Mapping[str, Any]) -> Comparison | None:
    """Return one slot against all; None if the run had one pass.

    Args:
        compared: ``compare.json``, or nothing.
    """
    if not compared:
        return None
    parallel, host = compared["parallel"], compared.get("host") or {}
    against: list[tuple[Cell, ...]] = [
        ("one slot", compared["slots"], compared["speed_up"], compared["efficiency"]),
    ]
    if host:
        against.append(("one whole execute host", host["hosts"], host["speed_up"], host["efficiency"]))
    keys = ("host", "slots", "used_cpus", "cpus", "images", "seconds", "images_per_second")
    head = ("execute host", "slots", "processors used", "processors", "images", "seconds", "images/s")
    rows = [tuple(row[key] for key in keys) for row in host.get("by_host") or ()]
    differences = [
        (d["path"], d["what"], json.dumps(d["single"]), json.dumps(d["parallel"])) for d in compared["differences"]
    ]
    return Comparison(
        identical=compared["identical"],
        images=parallel["images"],
        images_that_differ=compared["images_that_differ"],
        differences=table("The first differences", ("image", "what", "one slot", "all slots"), differences)
        if differences
        else None,
        comparable=compared["comparable"],
        slots=compared["slots"],
        speed_up=compared["speed_up"],
        efficiency=compared["efficiency"],
        passes=_passes(compared["single"], parallel),
        speed_ups=table("Speed-up", ("over", "number of them", "speed-up", "efficiency"), against),
        host_why=host.get("why") or "",
        hosts=table("Execute hosts in the parallel pass", head, rows, limit=HOSTS, rest_in="compare.json")
        if rows
        else None,
    )


def _passes(single: Mapping[str, Any], parallel: Mapping[str, Any]) -> Table:
    named = (
        ("images done", "processed"),
        ("slots that worked", "slots"),
        ("images/s", "images_per_second"),
        ("first start to last image, seconds", "wall_seconds"),
        ("submission to first start, seconds", "submit_to_start_seconds"),
        ("submission to last image, seconds", "submit_to_end_seconds"),
    )
    rows: list[tuple[Cell, ...]] = [(label, single[key], parallel[key]) for label, key in named]
    rows += [
        (f"{stage}, seconds summed", single["seconds"].get(stage), parallel["seconds"].get(stage))
        for stage in ("start", *STAGES)
    ]
    rows.append(("detections", single["detections"], parallel["detections"]))
    return table("One slot and all slots", ("figure", "one slot", "all slots"), rows)


def view_prediction(compared: Mapping[str, Any]) -> Prediction:
    """Return what more execute hosts would bring.

    Args:
        compared: ``compare.json``, or nothing.
    """
    fit = compared.get("amdahl") or {}
    if not fit.get("predictions"):
        return Prediction(why=fit.get("why"))
    fixed, measured = fit["fixed_seconds"], fit["points"][-1]
    rows = [
        (r["hosts"], r["slots"], r["images_per_second"], r["whole_run_images_per_second"]) for r in fit["predictions"]
    ]
    head = ("execute hosts", "slots", "images/s, predicted", "images/s of a whole run, predicted")
    svg = plots.prediction("amdahl", fit, compared["single"]["images_per_second"])
    return Prediction(
        Fit(
            plot=Plot("Measured and predicted", svg),
            predictions=table("PREDICTION, not measured", head, rows, predicted=True),
            note=fit["note"],
            serial_fraction=fit["serial_fraction"],
            serial_fraction_used=fit["serial_fraction_used"],
            speed_up=measured["speed_up"],
            slots=measured["slots"],
            fixed_seconds=fixed["sum"],
            fixed_parts=tuple((name.replace("_", " "), fixed[name]) for name in fixed if name != "sum"),
            images=compared["parallel"]["processed"],
        )
    )
