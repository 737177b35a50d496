"""The report for people: one ``report.html`` in a results folder, from the figures that lie there.

It needs no network and no other file, runs no script, and is the same to the last byte when made again. Names of files
and classes come from strangers: all text goes through :func:`text`.
"""

from __future__ import annotations

import argparse
import csv
import html
import json
import os
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..share import fsio
from ..share.errors import YoloError, one_line, run_cli
from ..share.layout import Pass
from ..share.records import STAGES
from . import plots

NAME = "report.html"
"""Name of the report in the results folder."""

SHOWN = 50
"""Failures, slots and classes that a table names; files have the rest."""
JOBS = 20
"""Jobs that a table names."""

_METRICS = (
    "run_id", "mode", "pass", "settings", "counts", "detections_per_class", "failures", "missing", "times",
    "images_per_second", "slots", "jobs", "latency_ms", "slowest", "threads", "cpu_models", "versions", "cost",
)  # fmt: skip
# Settings that tell what was measured before the jobs.
_MEASURED = (
    ("engine_measured", "how fast the engines were"),
    ("precision_difference", "how far detections differ from fp32"),
)
_COMPARED = ("single", "parallel", "slots", "speed_up", "efficiency", "comparable", "identical", "host", "amdahl")

_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; background: #fff; color: #1a1a1a;
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", Arial, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; border-bottom: 1px solid #bbb; }
h3 { font-size: 1rem; margin: .75rem 0 .25rem; }
p, li, dd { max-width: 50rem; overflow-wrap: anywhere; }
a { color: #0b57a4; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: .75rem; margin: 1rem 0;
  padding: 0; list-style: none; }
.cards li { border: 1px solid #bbb; border-radius: .4rem; padding: .6rem .8rem; }
.cards strong { display: block; font-size: 1.5rem; line-height: 1.2; }
.cards small { display: block; color: #444; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1rem; padding: 0; list-style: none; }
caption { white-space: nowrap; }
.plots { display: grid; gap: 1rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 28rem), 1fr)); }
figure { margin: 0; min-width: 0; }
figure svg { display: block; width: 100%; height: auto; max-width: 45rem; }
figcaption { font-size: .9rem; color: #333; max-width: 45rem; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .5rem 0; font-size: .9rem; }
caption { text-align: left; font-weight: 600; padding: .25rem 0; }
th, td { border-bottom: 1px solid #ddd; padding: .25rem .6rem .25rem 0; text-align: left; vertical-align: top; }
td, tbody th { overflow-wrap: break-word; max-width: 24rem; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.predicted { background: #fff4ec; }
.good::before { content: "\\2713\\00a0"; }
.bad { border-left: .3rem solid #b3261e; padding-left: .6rem; }
@media print { body { max-width: none; font-size: 10pt; } figure, table, .cards li { break-inside: avoid; }
  h2 { break-after: avoid; } .scroll { overflow: visible; } }
"""


def text(value: object) -> str:
    """Return anything as text of the page: in one line, what can't be printed escaped, and without markup."""
    return html.escape(one_line(value), quote=True)


def number(value: float | int | None, unit: str = "", digits: int = 4) -> str:
    """Return a number for people, with so many significant digits; "not known" for None."""
    if value is None:
        return "not known"
    shown = f"{value:,}" if isinstance(value, int) else f"{value:.{digits}g}"
    if "e" in shown:
        shown = f"{value:,.0f}" if abs(value) >= 1 else f"{value:.6f}"
    return f"{shown}{unit}"


def dollars(value: float | None) -> str:
    """Return an amount of dollars, with a digit more than cents where it is small."""
    if value is None:
        return "not known"
    return f"${value:,.2f}" if value >= 1 else f"${value:.4f}"


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[object]], kind: str = "") -> str:
    """Return a table; numbers stand right, and the first cell of a row is its heading.

    Args:
        caption: What it shows.
        head: Headings of the columns.
        rows: Cells: text, numbers, or None for what is not known.
        kind: Class of all rows.
    """
    rows = list(rows)
    right = [bool(rows) and all(isinstance(r[i], int | float | None) for r in rows) for i in range(len(head))]
    mark = [_class("number") if wanted else "" for wanted in right]
    out = [f'<div class="scroll" tabindex="0" role="region" aria-label="{text(caption)}"><table>']
    out.append(f"<caption>{text(caption)}</caption><thead><tr>")
    out += [f'<th scope="col"{m}>{text(cell)}</th>' for cell, m in zip(head, mark, strict=True)]
    out.append("</tr></thead><tbody>")
    for row in rows:
        cells = [number(cell) if isinstance(cell, int | float) else "-" if cell is None else text(cell) for cell in row]
        first, *rest = zip(cells, mark, strict=True)
        out.append(f'<tr{_class(kind)}><th scope="row"{first[1]}>{first[0]}</th>')
        out += [f"<td{m}>{cell}</td>" for cell, m in rest]
        out.append("</tr>")
    out.append("</tbody></table></div>")
    return "".join(out)


def figure(title: str, svg: str, caption: str) -> str:
    """Return a plot between its heading and its caption."""
    return f"<figure><h3>{text(title)}</h3>{svg}<figcaption>{text(caption)}</figcaption></figure>"


def paragraph(value: str, kind: str = "") -> str:
    """Return a paragraph of text."""
    return f"<p{f' class={chr(34)}{kind}{chr(34)}' if kind else ''}>{text(value)}</p>"


def more(count: int, where: str) -> str:
    """Return the line below a table that was cut short, or nothing."""
    return paragraph(f"... and {count:,} more in {where}.") if count > 0 else ""


def read_latencies(path: Path) -> tuple[array[float], array[float]]:
    """Return milliseconds of all stages and of ``infer`` of each image in ``metrics.csv`` that is ok.

    Raises:
        YoloError: It is no such table.
        OSError: It can't be read.
    """
    total, infer = array("d"), array("d")
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            for row in csv.DictReader(file):
                if row["status"] == "ok" and row["total_ms"]:
                    total.append(float(row["total_ms"]))
                    infer.append(float(row["infer_ms"] or 0))
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise YoloError(
            f"the table of images is damaged or of an older version ({type(error).__name__}: {error})",
            path,
            remedy="run the same run_id again, which merges and pulls it anew",
        ) from None
    return total, infer


def headline(metrics: Mapping[str, Any], compared: Mapping[str, Any]) -> str:
    """Return the few figures that most people want."""
    counts, cards = metrics["counts"], []
    done = f"{counts['ok']:,} of {counts['images']:,}"
    cards.append((done, "images done", f"{counts['failed']:,} failed, {counts['skipped']:,} can't be images"))
    rate = metrics["images_per_second"]
    wall = metrics["times"]["wall_seconds"]
    where = f"{counts['processed']:,} in {number(wall, ' s')} on {len(metrics['slots'])} slots"
    cards.append((number(rate), "images/s", where if rate is not None else "no job did an image"))
    if compared:
        fair = "" if compared["comparable"] else ", but the passes did not do the same images"
        slots = f"{compared['slots']} slots against one{fair}"
        cards.append((number(compared["speed_up"], " x"), "speed-up", slots))
        share = compared["efficiency"]
        cards.append(
            ("not known" if share is None else f"{share:.0%}", "efficiency", f"speed-up by {compared['slots']} slots")
        )
    cards.append((f"{counts['detections']:,}", "detections", f"{len(metrics['detections_per_class'])} classes"))
    cost = metrics.get("cost")
    if cost and cost["dollars_per_1000_images"] is not None:
        cards.append((dollars(cost["dollars_per_1000_images"]), "for 1000 images", cost["source"]))
    items = [f"<li><strong>{text(a)}</strong>{text(b)}<small>{text(c)}</small></li>" for a, b, c in cards]
    return f'<ul class="cards">{"".join(items)}</ul>'


def where_time_went(metrics: Mapping[str, Any]) -> str:
    """Return the section about the pass's and the jobs' time."""
    times, jobs = metrics["times"], metrics["jobs"]
    if not jobs:
        return paragraph("No job of this pass has ended: there is nothing to show.")
    stages = ("start", *STAGES)
    wall = {
        "stage": times.get("stage_seconds"),
        "queue": times["submit_to_start_seconds"],
        "work": times["wall_seconds"],
        "merge": times.get("merge_seconds"),
    }
    slots = {**times["seconds"], "idle": times.get("idle_seconds")}
    out = ['<div class="plots">']
    known = {name: value for name, value in wall.items() if value is not None}
    out.append(
        figure(
            "The pass by the clock",
            plots.sums("run", "The pass, by the clock", known, "seconds by the clock"),
            "stage: input put on the share. queue: from submission to the first start of a job. work: from there to "
            "the last image. collect: records merged.",
        )
    )
    known = {name: value for name, value in slots.items() if value is not None}
    out.append(
        figure(
            "The slots' time, summed",
            plots.sums("slots", "The slots' time, summed", known, "seconds, summed over the slots"),
            "What the slots' time was spent on between the first start and the last image; idle: a slot that worked "
            "had no job. Stages of different images run beside each other, so the parts may be more than the whole.",
        )
    )
    out.append(
        figure(
            "Stages of each job",
            plots.job_bars("jobs", jobs, stages),
            "A bar higher than its mark: stages overlapped. Lower: the job waited.",
        )
    )
    zero = times["submitted"] if times["submit_to_start_seconds"] is not None else times["first_start"]
    since = "submission" if times["submit_to_start_seconds"] is not None else "the first start"
    shown = ""
    if len(metrics["slots"]) > plots.MAX_ROWS:
        shown += f" {plots.MAX_ROWS} of {len(metrics['slots'])} slots, from the first that was done to the last."
    if len(jobs) > plots.MAX_BARS:
        shown += " Jobs that follow each other at once may be joined to one bar."
    out.append(
        figure(
            "Timeline of each slot",
            plots.timeline("timeline", jobs, zero),
            f"What each slot did when; 0 is {since}. White between bars: the slot waited.{shown}",
        )
    )
    out.append("</div>")
    rows = [(f"{name} (clock)", value) for name, value in wall.items()]
    rows += [(f"{name} (summed over slots)", value) for name, value in slots.items()]
    rows.append(("the jobs' own time (summed)", times.get("busy_seconds")))
    rows.append(("waiting in the queue (summed over jobs)", times.get("queue_seconds")))
    out.append(table("Seconds", ("what", "seconds"), rows))
    head = ("job", "host", "slot", "images", "queue", *stages, "took")
    ranked = sorted(jobs, key=lambda job: (job["start"] - job["end"], job["chunk"]))
    out.append(
        table(
            f"Jobs, the longest first{f' ({JOBS} of {len(jobs):,})' if len(jobs) > JOBS else ''}; seconds",
            head,
            [
                (
                    f"{job['submission']}-{job['chunk']}", job["host"], job["slot"], job["images"], job.get("queue_seconds"),
                    *(job["seconds"].get(stage) for stage in stages), round(job["end"] - job["start"], 3),
                )
                for job in ranked[:JOBS]
            ],
        )
    )  # fmt: skip
    out.append(more(len(jobs) - JOBS, "metrics.json"))
    head = ("slot", "jobs", "images", "busy seconds", "images/s while busy")
    rows = [
        (f"{s['host']} {s['slot']}", s["jobs"], s["images"], s["busy_seconds"], s["images_per_second"])
        for s in metrics["slots"]
    ]
    out += [table("Slots", head, rows[:SHOWN]), more(len(rows) - SHOWN, "metrics.json")]
    return "".join(out)


def latencies(metrics: Mapping[str, Any], total: Sequence[float], infer: Sequence[float]) -> str:
    """Return the section about single images."""
    found = metrics.get("latency_ms") or {}
    whole = found.get("total")
    if not whole or not total:
        return paragraph("No image has times: there is nothing to show.")
    names = ("p50", "p90", "p95", "p99", "max")
    told = "; ".join(f"{name} {number(whole[name], ' ms')}" for name in names)
    marks = {name: whole[name] for name in names}
    svg = plots.latency("latency", total, infer, marks, f"A histogram of {len(total)} images. {told}.")
    caption = (
        f"All images that are ok. All stages: {told}. The time in the queue and before the first image is not in it."
    )
    rows = [
        (stage, *(value[name] for name in ("count", "mean", *names))) if value else (stage, 0, *[None] * 6)
        for stage, value in found.items()
    ]
    return figure("How long images took", svg, caption) + table(
        "Milliseconds of an image", ("stage", "images", "mean", *names), rows
    )


def troubled(metrics: Mapping[str, Any]) -> str:
    """Return the section about the slowest and the failed images."""
    out = []
    if slow := metrics.get("slowest"):
        keys = ("total_ms", *(f"{stage}_ms" for stage in STAGES))
        rows = [(r["path"], f"{r['width']} x {r['height']}", *(r[k] for k in keys), r["host"], r["job"]) for r in slow]
        head = ("image", "pixels", "all ms", *STAGES, "host", "job")
        out.append(table("The slowest images; milliseconds", head, rows))
    failures, missing = metrics["failures"], metrics["missing"]
    if failures:
        rows = [(f["path"], f["status"], f["reason"]) for f in failures[:SHOWN]]
        out += [table(f"Images without a result ({len(failures):,})", ("file", "status", "reason"), rows)]
        out.append(more(len(failures) - SHOWN, "metrics.json"))
    else:
        out.append(paragraph("No image failed."))
    if missing:
        out.append(table(f"Images that no job has done ({len(missing):,})", ("file",), [(p,) for p in missing[:SHOWN]]))
        out.append(more(len(missing) - SHOWN, "metrics.json"))
    return "".join(out)


def comparison(compared: Mapping[str, Any]) -> str:
    """Return the section that sets one slot against all."""
    if not compared:
        return paragraph("Not known: this run had one pass. mode=compare does both, one slot and all slots.")
    single, parallel, host = compared["single"], compared["parallel"], compared.get("host") or {}
    out = []
    if compared["identical"]:
        out.append(
            paragraph(
                f"The detections of both passes are identical: for each of {parallel['images']:,} files the same "
                "classes, and scores and boxes equal to the last bit (or both failed, or neither can be an image).",
                "good",
            )
        )
    else:
        out.append(
            paragraph(f"The detections are NOT identical: {compared['images_that_differ']:,} images differ.", "bad")
        )
        rows = [
            (d["path"], d["what"], json.dumps(d["single"]), json.dumps(d["parallel"])) for d in compared["differences"]
        ]
        out.append(table("The first differences", ("image", "what", "one slot", "all slots"), rows))
    if not compared["comparable"]:
        out.append(
            paragraph(
                "The two passes did not do the same images, so their times do not compare: start a new run_id.", "bad"
            )
        )
    rows = [
        ("images done", single["processed"], parallel["processed"]),
        ("slots that worked", single["slots"], parallel["slots"]),
        ("images/s", single["images_per_second"], parallel["images_per_second"]),
        ("first start to last image, seconds", single["wall_seconds"], parallel["wall_seconds"]),
        ("submission to first start, seconds", single["submit_to_start_seconds"], parallel["submit_to_start_seconds"]),
        ("submission to last image, seconds", single["submit_to_end_seconds"], parallel["submit_to_end_seconds"]),
    ]
    for stage in ("start", *STAGES):
        rows.append((f"{stage}, seconds summed", single["seconds"].get(stage), parallel["seconds"].get(stage)))
    rows.append(("detections", single["detections"], parallel["detections"]))
    out.append(table("One slot and all slots", ("", "one slot", "all slots"), rows))
    rows = [("one slot", compared["slots"], compared["speed_up"], compared["efficiency"])]
    if host:
        rows.append(("one whole execute host", host["hosts"], host["speed_up"], host["efficiency"]))
    out.append(table("Speed-up", ("against", "how many there were", "speed-up", "efficiency"), rows))
    if host:
        out.append(paragraph(f"The whole execute host: {host['why']}."))
    if host.get("by_host"):
        head = ("execute host", "slots", "processors used", "of", "images", "seconds", "images/s")
        keys = ("host", "slots", "used_cpus", "cpus", "images", "seconds", "images_per_second")
        rows = [tuple(row[key] for key in keys) for row in host["by_host"]]
        out += [
            table("Execute hosts in the parallel pass", head, rows[:SHOWN]),
            more(len(rows) - SHOWN, "compare.json"),
        ]
    return "".join(out)


def predicted(compared: Mapping[str, Any]) -> str:
    """Return the section that predicts more execute hosts."""
    fit = compared.get("amdahl") or {}
    if not fit.get("predictions"):
        why = fit.get("why") or "two passes are needed, which mode=compare makes"
        return paragraph(f"No prediction: {why}.")
    fixed = fit["fixed_seconds"]
    parts = ", ".join(f"{name.replace('_', ' ')} {number(fixed[name], ' s')}" for name in fixed if name != "sum")
    svg = plots.prediction("amdahl", fit, compared["single"]["images_per_second"])
    caption = "Blue: measured. All to the right in grey is a prediction. Both axes grow in proportion."
    head = ("execute hosts", "slots", "images/s, predicted", "images/s of a whole run, predicted")
    rows = [
        (r["hosts"], r["slots"], r["images_per_second"], r["whole_run_images_per_second"]) for r in fit["predictions"]
    ]
    return "".join(
        (
            paragraph(fit["note"]),
            figure("Measured, and predicted", svg, caption),
            table("PREDICTION, not measured", head, rows, "predicted"),
            paragraph(
                f"Amdahl's law with the serial fraction {fit['serial_fraction_used']:.4f} (fitted: "
                f"{fit['serial_fraction']:.4f}; Karp and Flatt 1990), from the measured speed-up of "
                f"{fit['points'][-1]['speed_up']} on {fit['points'][-1]['slots']} slots. A whole run also has its "
                f"fixed seconds, {number(fixed['sum'], ' s')} ({parts}), and as many images as this one: "
                f"{compared['parallel']['processed']:,}."
            ),
        )
    )


def costs(metrics: Mapping[str, Any], compared: Mapping[str, Any]) -> str:
    """Return the section about dollars."""
    found = [("this pass", metrics.get("cost"))]
    if compared:
        found = [("all slots", compared["parallel"].get("cost")), ("one slot", compared["single"].get("cost"))]
    known = [(name, cost) for name, cost in found if cost]
    if not known:
        return paragraph(
            "No price is known. For hosts on EC2 it is looked up by their type; for others give the dollars an hour of "
            "all hosts together with -e price_per_hour=."
        )
    rows = [
        (
            name, dollars(cost["dollars_per_1000_images"]), dollars(cost["dollars"]), dollars(cost["dollars_per_hour"]),
            cost["seconds"], ", ".join(cost["hosts"]) if cost["hosts"] else "all",
        )
        for name, cost in known
    ]  # fmt: skip
    head = ("", "1000 images", "the pass", "an hour", "seconds", "hosts")
    cost = known[0][1]
    dated = f", prices of {cost['date']}" if cost.get("date") else ""
    out = [table("US dollars", head, rows), paragraph(f"Source: {cost['source']}{dated}. Covers {cost['covers']}.")]
    out += [paragraph(f"Not known for {name}: {', '.join(c['unknown'])}.") for name, c in known if c["unknown"]]
    if cost.get("note"):
        out.append(paragraph(cost["note"]))
    return "".join(out)


def settings(metrics: Mapping[str, Any]) -> str:
    """Return the section about what was asked for and what it ran on."""
    asked = metrics["settings"]

    def told(values: Iterable[object], otherwise: str) -> str:
        return ", ".join(str(value) for value in values) or otherwise

    unsaid = "not told by the jobs"
    rows = [
        ("engine", told(metrics.get("engines") or (), unsaid)),
        ("precision", told(metrics.get("precisions") or (), unsaid)),
        ("threads of a job", told(metrics["threads"], "no job ended")),
        ("processors", told(metrics["cpu_models"], unsaid)),
        *((label, json.dumps(asked[key])) for key, label in _MEASURED if asked.get(key)),
        *((f"version of {name}", told(found, "")) for name, found in metrics["versions"].items()),
    ]
    shown = [(key, value if isinstance(value, str) else json.dumps(value)) for key, value in asked.items()]
    return table("What it ran with", ("", ""), rows) + table("Settings (run.json)", ("setting", "value"), shown)


def not_known(metrics: Mapping[str, Any], compared: Mapping[str, Any]) -> list[str]:
    """Return what the report can't say or what to keep in mind, a sentence each."""
    counts, times, out = metrics["counts"], metrics["times"], []
    if counts["missing"]:
        out.append(f"{counts['missing']:,} images have neither a result nor a reason: the run is not complete.")
    if counts["resumed"]:
        out.append(
            f"{counts['resumed']:,} images were done by earlier submissions: times, slots and images/s are of the newest "
            "pass only, detections and times of single images are of all."
        )
    if times["submit_to_start_seconds"] is None and metrics["jobs"]:
        out.append("How long the first job waited: the submission's time is not known, or the hosts' clocks disagree.")
    if times.get("stage_seconds") is None:
        out.append("How long staging took.")
    if not metrics.get("engines") or not metrics.get("precisions"):
        out.append("Engine or precision, which the jobs did not tell.")
    if not compared:
        out.append("Speed-up and efficiency: this run had one pass.")
    else:
        out.append("How much the figures would vary: each pass was timed once.")
        if (compared.get("host") or {}).get("basis") is None:
            out.append("Speed-up against one whole execute host.")
        elif compared["host"]["basis"] == "parallel pass":
            out.append("What one execute host does alone: it was measured while the others worked too.")
    cost = metrics.get("cost")
    if not cost or cost["dollars"] is None:
        out.append("What it cost.")
    out.append("How right the detections are: there is nothing here to check them against.")
    return out


def page(
    metrics: Mapping[str, Any], compared: Mapping[str, Any], total: Sequence[float], infer: Sequence[float]
) -> str:
    """Return the whole report.

    Args:
        metrics: ``metrics.json``.
        compared: ``compare.json``; empty if the run had one pass.
        total: Milliseconds of each image, all stages.
        infer: Milliseconds of each image, ``infer``.
    """
    per_class = metrics["detections_per_class"]
    ranked = sorted(per_class.items(), key=lambda item: (-item[1], item[0]))
    detections = (
        figure("Detections by class", plots.classes("classes", per_class), "Detections above the run's confidence.")
        + table("Detections of each class", ("class", "detections"), ranked[:SHOWN])
        + more(len(ranked) - SHOWN, "metrics.json")
        if per_class
        else paragraph("Nothing was detected.")
    )
    unknown = "".join(f"<li>{text(sentence)}</li>" for sentence in not_known(metrics, compared))
    sections = [
        ("compare", "One slot against all", comparison(compared)),
        ("time", "Where the time went", where_time_went(metrics)),
        ("images", "Times of single images", latencies(metrics, total, infer)),
        ("classes-section", "Detections", detections),
        ("trouble", "Slowest and failed images", troubled(metrics)),
        ("cost", "Cost", costs(metrics, compared)),
        ("prediction", "More execute hosts: a prediction", predicted(compared)),
        ("settings", "Settings, versions, processors", settings(metrics)),
        ("unknown", "What is not known", f"<ul>{unknown}</ul>"),
    ]
    title = f"Run {metrics['run_id']}"
    weights = metrics["settings"].get("weights_name") or "weights not named"
    passed = {"parallel": "on all slots", "single": "on one slot"}.get(metrics["pass"], metrics["pass"])
    lead = f"YOLOv5 on an HTCondor pool, {passed}{', compared with one slot' if compared else ''}; weights {weights}."
    notes = "".join(paragraph(f"Note: {note}", "bad") for note in metrics.get("notes", ()))
    links = "".join(f'<li><a href="#{name}">{text(head)}</a></li>' for name, head, _ in sections)
    body = "".join(
        f'<section aria-labelledby="{name}"><h2 id="{name}">{text(head)}</h2>{content}</section>'
        for name, head, content in sections
    )
    # Were a name to get through as markup after all, the policy would still let no script run and nothing be fetched.
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{_STYLE}</style></head>\n<body><main>"
        f"<h1>{text(title)}</h1>{paragraph(lead)}{notes}{headline(metrics, compared)}"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>{body}</main></body></html>\n'
    )


def _read(path: Path, needed: Sequence[str]) -> dict[str, Any]:
    try:
        value = fsio.read_json(path)
        if lacking := [name for name in needed if name not in value]:
            raise ValueError(f"without {', '.join(lacking)}")
    except FileNotFoundError:
        raise YoloError("no figures to report", path, remedy="give the folder results/<run_id> of a run") from None
    except (ValueError, TypeError) as error:
        raise YoloError(
            f"the figures are damaged or of an older version ({error})",
            path,
            remedy="run the same run_id again, which merges and pulls them anew",
        ) from None
    return dict(value)


def report(folder: Path) -> bool:
    """Write ``report.html`` of a results folder; tell whether it is another one than before.

    Args:
        folder: Holds ``metrics.json``, ``metrics.csv`` and, of a run with mode=compare, ``compare.json``.

    Raises:
        YoloError: The figures are missing or damaged.
        OSError: A file can't be read or written.
    """
    files = Pass(folder)
    metrics = _read(files.metrics_json, _METRICS)
    compared = _read(folder / "compare.json", _COMPARED) if metrics["mode"] == "compare" else {}
    content = page(metrics, compared, *read_latencies(files.metrics_csv)).encode()
    path = folder / NAME
    if path.is_file() and path.read_bytes() == content:
        return False
    fsio.write_bytes(path, content)
    return True


def main(argv: Sequence[str] | None = None) -> int:
    """Write the report and print as JSON what was made."""
    parser = argparse.ArgumentParser(prog="yolo.results.report", description=__doc__)
    parser.add_argument("--results", type=Path, required=True, help="results/<run_id>")
    args = parser.parse_args(argv)
    changed = report(args.results)
    out = Path(os.path.abspath(args.results / NAME))
    print(fsio.dumps({"report": str(out), "bytes": out.stat().st_size, "changed": changed}))
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
