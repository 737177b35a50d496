"""What more slots would bring, by Amdahl's law.

Sources: G. Amdahl, "Validity of the single processor approach to achieving large scale computing capabilities", AFIPS
1967; A. Karp and H. Flatt, "Measuring parallel processor performance", Communications of the ACM 33 (1990), for the
serial fraction that a measured speed-up shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

HOSTS = (4, 8, 16, 64)
"""Numbers of execute hosts that are predicted for."""


def speed_up(slots: float, serial: float) -> float:
    """Return the speed-up of ``slots`` slots over one when the part ``serial`` of the work can't be shared."""
    return 1 / (serial + (1 - serial) / slots)


def serial_fraction(points: Sequence[tuple[float, float]]) -> float | None:
    """Return the serial fraction that fits measured speed-ups best, by least squares of the times.

    The time of one slot being 1, that of n slots is ``s + (1 - s) / n``. With one point this is Karp and Flatt's
    ``(1 / speed_up - 1 / n) / (1 - 1 / n)``. What was measured may lie outside of 0 to 1: below 0 where n slots were
    more than n times as fast as one.

    Args:
        points: Slots and speed-up over one slot. Points of one slot tell nothing.

    Returns:
        The fraction, or None if no point has more than one slot.
    """
    above = below = 0.0
    for slots, ratio in points:
        if slots > 1 and ratio > 0:
            shared = 1 - 1 / slots
            above += shared * (1 / ratio - 1 / slots)
            below += shared * shared
    return above / below if below else None


def predict(
    *,
    serial: float,
    slot_rate: float,
    slots_per_host: float,
    images: int,
    fixed_seconds: float,
    hosts: Sequence[int] = HOSTS,
) -> list[dict[str, Any]]:
    """Predict images a second for numbers of execute hosts. None of it is measured.

    Args:
        serial: Serial fraction; what lies outside of 0 to 1 is taken as 0 or 1.
        slot_rate: Images a second that one slot did alone.
        slots_per_host: Slots of one execute host.
        images: Images of the run.
        fixed_seconds: Seconds of a run that no slot shortens: staging, waiting for the first start, merging.
        hosts: Execute hosts to predict for.

    Returns:
        For each: ``hosts slots images_per_second`` while the jobs work, ``whole_run_images_per_second`` with the fixed
        seconds of a run of as many images, and ``prediction``, always true.
    """
    serial = min(max(serial, 0.0), 1.0)
    rows = []
    for count in hosts:
        slots = count * slots_per_host
        # Fewer images than slots leave slots without work.
        rate = slot_rate * speed_up(min(slots, max(images, 1)), serial)
        whole = images / (fixed_seconds + images / rate) if rate and images else None
        rows.append(
            {
                "hosts": count,
                "slots": round(slots),
                "images_per_second": round(rate, 3),
                "whole_run_images_per_second": None if whole is None else round(whole, 3),
                "prediction": True,
            }
        )
    return rows


def fit(figures: Mapping[str, Any], slots: int, hosts: int, speed_up: float | None, comparable: bool) -> dict[str, Any]:
    """Fit Amdahl's law to the two passes and predict more execute hosts.

    Args:
        figures: Figures of the parallel pass, as in ``compare.json``.
        slots: Slots that the speed-up was measured with.
        hosts: Execute hosts that had them.
        speed_up: Over one slot.
        comparable: Whether both passes did as many images.

    Returns:
        ``points`` (slots and speed-up, measured), ``serial_fraction`` as fitted and ``serial_fraction_used`` within 0
        to 1, ``fixed_seconds`` and what they are made of, ``predictions``, ``note``; ``why`` if there is none.
    """
    if not comparable:
        return _no_prediction("the passes did not do the same images")
    if speed_up is None or not hosts:
        return _no_prediction("a pass has no images/s")
    serial = serial_fraction([(slots, speed_up)])
    if serial is None:
        return _no_prediction("the parallel pass had one slot too")
    fixed = {
        "stage": figures["stage_seconds"],
        "submit_to_start": figures["submit_to_start_seconds"],
        "merge": figures["merge_seconds"],
    }
    seconds = sum(value for value in fixed.values() if value is not None)
    return {
        "points": [{"slots": 1, "speed_up": 1.0}, {"slots": slots, "speed_up": round(speed_up, 3)}],
        "serial_fraction": round(serial, 4),
        "serial_fraction_used": round(min(max(serial, 0.0), 1.0), 4),
        "fixed_seconds": {**fixed, "sum": round(seconds, 3)},
        "slots_per_host": round(slots / hosts, 3),
        "predictions": predict(
            serial=serial,
            slot_rate=figures["images_per_second"] / speed_up,
            slots_per_host=slots / hosts,
            images=figures["processed"],
            fixed_seconds=seconds,
        ),
        "note": (
            "Predictions, not measurements: two points determine the fit, each measured once, and what grows with the "
            "number of hosts (network, NFS, scheduling) is known to it only as far as these two show."
            + (
                " More slots were faster than in proportion, which is noise or cache: no serial part is assumed, and "
                "the prediction is an upper bound."
                if serial < 0
                else ""
            )
        ),
        "why": None,
    }


def _no_prediction(why: str) -> dict[str, Any]:
    return {"points": [], "serial_fraction": None, "predictions": [], "why": why}
