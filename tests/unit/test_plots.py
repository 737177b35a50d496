import re
from xml.etree import ElementTree

import pytest
from yolo.results.report import plots

JOB = {
    "submission": "s001",
    "host": "execute1.x",
    "slot": "slot1_1",
    "images": 4,
    "seconds": {"start": 1.0, "infer": 8.0},
}


def jobs(count, slots):
    return [
        {
            **JOB,
            "chunk": f"c{i:05d}",
            "slot": f"slot1_{i % slots + 1}",
            "start": 100.0 + i // slots * 10,
            "end": 109.0 + i // slots * 10,
        }
        for i in range(count)
    ]


@pytest.mark.parametrize(
    "name", ["<script>", "$x$", "$\\frac{1}{", "a\nb", "\udce9", "\x00\x1b", "\u202ex", "&amp;", "\u732b", "\uffff"]
)
def test_any_name_of_a_class_stays_a_name(name, recwarn):
    svg = plots.classes("classes", {name: 3, "cat": 2})
    root = ElementTree.fromstring(svg)
    texts = ["".join(e.itertext()) for e in root.iter("{http://www.w3.org/2000/svg}text")]
    assert plots.short(name) in texts
    assert [str(w.message) for w in recwarn] == []


def test_a_long_name_keeps_its_ends():
    assert plots.short("a" * 30 + "b" * 30) == "a" * 11 + "…" + "b" * 12
    assert len(plots.short("a" * 300)) == plots.LABEL
    assert plots.short("short") == "short"


def test_spans_that_follow_each_other_are_joined():
    assert plots.joined([(5, 6), (0, 1), (1.1, 2), (1.5, 3)], 0.2) == [(0, 3), (5, 6)]
    assert plots.joined([], 1) == []


def test_a_timeline_has_a_row_for_each_slot_and_a_bar_for_each_job():
    svg = plots.timeline("timeline", jobs(12, 3), 99.0)
    assert [f"execute1 slot1_{i}" in svg for i in (1, 2, 3)] == [True] * 3
    assert "12 jobs on 3 slots" in svg
    # A box for the start and one for the work of each job.
    assert boxes(svg) - boxes(plots.timeline("timeline", jobs(6, 3), 99.0)) == 12


def boxes(svg):
    return sum(path.count("z") for path in re.findall(r'<path d="([^"]*)"', svg))


def test_plots_of_a_large_run_stay_small():
    many = jobs(5000, 200)
    svg = plots.timeline("timeline", many, 99.0)
    assert "40 slots are shown" in svg
    assert len(svg) < 250_000
    assert len(plots.timeline("timeline", jobs(1900, 40), 99.0)) < 500_000
    bars = plots.job_bars("jobs", many, ("start", "infer"))
    assert "40 groups of the 5000 jobs" in bars
    assert len(bars) < 100_000
    some = plots.classes("classes", {f"class {i}": i for i in range(1000)})
    assert "980 more classes" in some
    assert len(plots.latency("latency", range(1, 100_000), range(1, 100_000), {"p50": 5e4}, "text")) < 60_000


def test_one_job_and_one_image_can_be_shown():
    one = jobs(1, 1)
    assert "<svg" in plots.timeline("timeline", one, 100.0)
    assert "<svg" in plots.job_bars("jobs", one, ("start", "infer"))
    assert "<svg" in plots.latency("latency", [5.0], [0.0], {"p50": 5.0, "max": 5.0}, "text")
    assert "<svg" in plots.sums("run", "title", {"work": 0.0}, "seconds")


def test_ids_of_a_plot_begin_with_its_name():
    svg = plots.classes("classes", {"cat": 1})
    assert {found.partition("-")[0] for found in re.findall(r'id="([^"]+)"', svg)} == {"classes"}
