import json
import re
import subprocess
import sys
from dataclasses import fields, is_dataclass
from html.parser import HTMLParser
from pathlib import Path

import pytest
from jinja2 import Environment, UndefinedError
from make_run import make_compared_run, make_run, pull, put_job, put_record
from yolo.results import archive, merge
from yolo.results.figures import read_figures
from yolo.results.report import comparison, page, parts, plots, timing, view, write
from yolo.share import fsio
from yolo.share.errors import YoloError, one_line
from yolo.share.records import Detection

#: Names that would be markup, end an attribute, break a line, turn the text's direction, or are no UTF-8.
HOSTILE = [
    "<script>alert(1)</script>.jpg",
    "</title></style><img src=x onerror=alert(1)>.jpg",
    '" onload="alert(1)\' autofocus.jpg',
    "a\nb\r\t\x00\x1b[31m.jpg",
    "gpj.\u202excod\u2066\u200b.jpg",
    b"caf\xe9.jpg".decode("utf-8", "surrogateescape"),
    "$\\frac{1}{0}$ & &lt;.jpg",
]
ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "main", "section", "nav", "h1", "h2", "h3", "p", "ul", "li", "a",
    "strong", "small", "div", "table", "caption", "thead", "tbody", "tr", "th", "td", "figure", "figcaption",
    "code", "svg", "desc", "g", "defs", "path", "use", "text", "tspan", "clippath", "rect", "pattern",
}  # fmt: skip


FILES = str(Path(write.__file__).parents[3])


class Page(HTMLParser):
    """Tags, attributes and text of a page, as a browser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.headings: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data):
        self.text.append(data)
        if self.tags and self.tags[-1] in ("h1", "h2"):
            self.headings.append(data)

    def ids(self) -> list[str]:
        return [value for name, value in self.attributes if name == "id"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The results folder of a run of 100 images with mode=compare."""
    root = tmp_path_factory.mktemp("run")
    return pull(make_compared_run(root, [f"street/{i:04d}.jpg" for i in range(100)]), root / "results")


@pytest.fixture(scope="module")
def content(results):
    write.write(read_figures(results))
    return (results / "report.html").read_text(encoding="utf-8")


def render_without_plots(metrics, compared) -> str:
    """The report of these figures; drawing takes most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "render", lambda *_: "<svg></svg>")
        return page.render(view.build(metrics, compared, [5.0], [4.0]))


def section(title: str, metrics, compared) -> str:
    """A section of the report of these figures, as markup."""
    whole = render_without_plots(metrics, compared)
    return whole.partition(f">{title}</h2>")[2].partition("</section>")[0]


def told(markup: str) -> str:
    """What a reader reads, in one line."""
    return " ".join("".join(Page(markup).text).split())


def hostile_run(root: Path) -> Path:
    """A run whose files, classes, hosts, processors and reasons all have hostile names."""
    run, entries = make_run(root, HOSTILE, names=HOSTILE)
    for entry in entries:
        found = (Detection(entry.index, 0.9, (0.0, 0.0, 1.0, 1.0)),)
        put_record(run.get_pass("parallel"), entry, detections=found)
    fsio.write_json(run.settings, {**fsio.read_json(run.settings), "weights_name": HOSTILE[0], "x": HOSTILE})
    for number, name in enumerate(HOSTILE):
        put_job(
            run.get_pass("parallel"),
            chunk=f"c{number:05d}",
            host=name,
            slot=name,
            cpu_model=name,
            versions={name: name},
        )
    merge.merge(run, "parallel")
    metrics = fsio.read_json(run.get_pass("parallel").metrics_json)
    metrics["run_id"] = HOSTILE[1]
    metrics["failures"] = [{"path": name, "status": "failed", "reason": name} for name in HOSTILE]
    metrics["missing"] = HOSTILE
    fsio.write_json(run.get_pass("parallel").metrics_json, metrics)
    return pull(run, root / "results")


def test_hostile_names_are_text_and_nothing_else(tmp_path):
    folder = hostile_run(tmp_path)
    assert write.write(read_figures(folder)) is True
    content = (folder / "report.html").read_bytes().decode("utf-8")
    seen = Page(content)
    assert set(seen.tags) - ALLOWED == set()
    assert [name for name, _ in seen.attributes if name.startswith("on")] == []
    # Whatever a reader could not see, or that changes what they see, is escaped.
    assert [c for c in set(content) - {"\n"} if not c.isprintable()] == []
    shown = "".join(seen.text)
    for name in HOSTILE:
        assert one_line(name) in shown


def test_the_test_of_hostile_names_can_fail(tmp_path, monkeypatch):
    folder = hostile_run(tmp_path)
    monkeypatch.setattr(page, "Environment", lambda **given: Environment(**{**given, "autoescape": False}))
    write.write(read_figures(folder))
    assert "img" in set(Page((folder / "report.html").read_text(encoding="utf-8")).tags) - ALLOWED


def test_the_page_needs_nothing_else_and_runs_nothing(content):
    seen = Page(content)
    assert "script" not in seen.tags
    links = [value for name, value in seen.attributes if name in ("href", "src", "xlink:href", "action", "data")]
    assert links
    assert [value for value in links if not value.startswith("#")] == []
    assert re.findall(r"url\((?!#)|@import", content) == []
    # The names of XML's vocabularies are no addresses that anyone opens.
    assert set(re.findall(r"https?://[^\"' <]+", content)) <= {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in dict(seen.attributes)["content"] or "default-src 'none'" in content


def test_ids_are_unique_and_links_lead_somewhere(content):
    seen = Page(content)
    ids = seen.ids()
    assert sorted(set(ids)) == sorted(ids)
    wanted = [value[1:] for name, value in seen.attributes if name == "href"]
    wanted += re.findall(r"url\(#([^)]+)\)", content)
    for name, value in seen.attributes:
        if name == "aria-labelledby":
            wanted += value.split()
    assert set(wanted) - set(ids) == set()


def test_it_can_be_used_without_seeing_it(content):
    plots_found = re.findall(r"<svg.*?</svg>", content, re.DOTALL)
    assert len(plots_found) == 7
    for plot in plots_found:
        assert 'role="img"' in plot
        assert re.search(r"<title[^>]*>[^<]{10,}</title>", plot)
        assert re.search(r"<desc[^>]*>[^<]{20,}</desc>", plot)
    seen = Page(content)
    assert seen.tags.count("h1") == 1
    assert "en" in [value for name, value in seen.attributes if name == "lang"]
    assert seen.tags.count("caption") == seen.tags.count("table")


def test_all_that_was_asked_for_is_there(content, results):
    shown = " ".join("".join(Page(content).text).split())
    metrics, compared = fsio.read_json(results / "metrics.json"), fsio.read_json(results / "compare.json")
    assert compared["identical"]
    for wanted in (
        "97 of 100",
        "3 failed",
        parts.number(metrics["images_per_second"]),
        parts.number(compared["speed_up"]),
        "The detections of both passes are identical",
        "the single pass's one slot is a whole host",
        "PREDICTION, not measured",
        "Karp and Flatt",
        "AMD EPYC 9R14",
        "version of openvino",
        "yolov5s",
        metrics["slowest"][0]["path"],
        "truncated JPEG",
        parts.dollars(metrics["cost"]["dollars_per_1000_images"]),
        "not told by the jobs",
        "each pass was timed once",
        "What this report does not know",
    ):
        assert wanted in shown
    for stage in ("stage", "queue", "start", "read", "infer", "draw", "write", "idle", "merge"):
        assert f"{stage} (" in shown
    for mark in ("p50", "p90", "p95", "p99", "max"):
        assert parts.number(metrics["latency_ms"]["total"][mark]) in shown


def test_each_prediction_is_called_one(content, results):
    fit = fsio.read_json(results / "compare.json")["amdahl"]
    assert len(fit["predictions"]) == 4
    table = re.search(r'<div class="scroll"[^>]*aria-label="PREDICTION, not measured".*?</table>', content, re.DOTALL)[
        0
    ]
    for row in fit["predictions"]:
        assert parts.number(row["images_per_second"]) in table
    assert table.count('<tr class="predicted">') == 4


def test_the_same_figures_make_the_same_bytes(results, content, tmp_path):
    before = (results / "report.html").stat()
    assert write.write(read_figures(results)) is False
    assert (results / "report.html").stat().st_mtime_ns == before.st_mtime_ns
    # Another process, another folder, another hash seed, settings of the user's own.
    for name in ("metrics.json", "metrics.csv", "compare.json"):
        (tmp_path / name).write_bytes((results / name).read_bytes())
    (tmp_path / "matplotlibrc").write_text("font.size: 20\nsvg.fonttype: path\nlines.linewidth: 9\n")
    environment = {"PYTHONPATH": FILES, "PYTHONHASHSEED": "7", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "yolo", "publish", "--json", "."], cwd=tmp_path, capture_output=True, text=True,
        check=True, env=environment,
    )  # fmt: skip
    assert json.loads(done.stdout)["result"]["changed"] is True
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == content


def test_a_report_of_other_figures_is_replaced(results, content, tmp_path):
    for name in ("metrics.json", "metrics.csv", "compare.json"):
        (tmp_path / name).write_bytes((results / name).read_bytes())
    (tmp_path / "report.html").write_text(content.replace("1,", "2,"), encoding="utf-8")
    assert write.write(read_figures(tmp_path)) is True
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == content


def test_it_is_in_the_zip(results, content):
    assert "report.html" in list(archive.members(results))


def test_a_run_of_one_pass_does_not_show_an_old_comparison(results, tmp_path):
    for name in ("metrics.json", "metrics.csv", "compare.json"):
        (tmp_path / name).write_bytes((results / name).read_bytes())
    metrics = fsio.read_json(tmp_path / "metrics.json")
    fsio.write_json(tmp_path / "metrics.json", {**metrics, "mode": "parallel"})
    write.write(read_figures(tmp_path))
    shown = "".join(Page((tmp_path / "report.html").read_text(encoding="utf-8")).text)
    assert "Not known: this run had one pass" in shown
    assert "identical" not in shown


def test_detections_that_differ_are_said_so(results):
    compared = fsio.read_json(results / "compare.json")
    compared |= {"identical": False, "images_that_differ": 2, "comparable": False}
    compared["differences"] = [{"path": "<b>.jpg", "what": "detection", "single": [0, 0.5], "parallel": None}]
    markup = section("One slot against all slots", fsio.read_json(results / "metrics.json"), compared)
    shown = told(markup)
    assert "NOT identical: 2 images differ" in shown
    assert "did not do the same images" in shown
    assert "<b>.jpg" in shown
    assert "b" not in Page(markup).tags


def test_why_there_is_no_figure_is_said(results):
    compared = fsio.read_json(results / "compare.json")
    compared["amdahl"] = {"predictions": [], "why": "the parallel pass had one slot too"}
    metrics = fsio.read_json(results / "metrics.json") | {"cost": None}
    shown = told(section("Prediction for more execute hosts", metrics, compared))
    assert shown == "No prediction: the parallel pass had one slot too."
    assert "No price is known" in told(section("Cost", metrics, {}))
    assert "The cost." in told(section("What this report does not know", metrics, {}))


def test_a_run_in_which_nothing_worked_has_a_report(tmp_path):
    run, _ = make_run(tmp_path, ["a.jpg", "b.txt"], skipped=("b.txt",))
    merge.merge(run, "parallel")
    assert write.write(read_figures(pull(run, tmp_path / "results"))) is True
    shown = "".join(Page((tmp_path / "results/report.html").read_text(encoding="utf-8")).text)
    assert "0 of 1" in shown
    assert "1 without a result; 1 other file skipped" in shown
    assert "No job of this pass has ended" in shown
    assert "1 image has neither a result nor a reason" in shown


def test_engine_and_precision_are_told_where_jobs_tell_them(results):
    metrics = fsio.read_json(results / "metrics.json")
    title = "Settings, versions and processors"
    assert told(section(title, metrics, {})).count("not told by the jobs") == 2
    shown = section(title, {**metrics, "engines": ["openvino"], "precisions": ["int8"]}, {})
    assert ">openvino<" in shown
    assert ">int8<" in shown
    assert "not told by the jobs" not in shown
    measured = {**metrics["settings"], "precision_difference": {"f1": 0.97}}
    assert "difference of the detections from fp32" in section(title, {**metrics, "settings": measured}, {})
    assert "decode=exact" not in section(title, {**metrics, "settings": measured}, {})
    measured = {**metrics["settings"], "decode_difference": {"f1": 0.97, "images": 16}}
    assert "difference of the detections from decode=exact" in section(title, {**metrics, "settings": measured}, {})


def test_long_tables_are_cut_and_say_so(results):
    metrics = fsio.read_json(results / "metrics.json")
    metrics["failures"] = [{"path": f"{i}.jpg", "status": "failed", "reason": "truncated"} for i in range(1234)]
    shown = told(section("Slowest and failed images", metrics, {}))
    assert shown.count("truncated") == view.SHOWN
    assert "Files without a result (1,234)" in shown
    assert f"... and {1234 - view.SHOWN:,} more in metrics.json" in shown


def test_failed_images_stand_before_skipped_files(results):
    skipped = [{"path": f"{i}.txt", "status": "skipped", "reason": "not an image"} for i in range(view.SHOWN)]
    failed = {"path": "z.jpg", "status": "failed", "reason": "truncated"}
    metrics = fsio.read_json(results / "metrics.json") | {"failures": [*skipped, failed]}
    rows = view.view_trouble(metrics).failures.rows
    assert rows[0] == ("z.jpg", "failed", "truncated")


def test_odd_images_are_listed_with_their_warning(results):
    metrics = fsio.read_json(results / "metrics.json")
    metrics["warnings"] = [{"path": "odd.jpg", "status": "warning", "reason": "it has no end-of-image marker"}]
    shown = told(section("Slowest and failed images", metrics, {}))
    assert "odd.jpg" in shown
    assert "it has no end-of-image marker" in shown


def test_the_view_is_plain_data(results):
    metrics, compared = fsio.read_json(results / "metrics.json"), fsio.read_json(results / "compare.json")
    made = view.build(metrics, compared, [5.0], [4.0])
    assert (made.headline.ok, made.headline.images, made.headline.failed) == (97, 100, 3)
    assert (made.comparison.speed_up, made.comparison.slots) == (compared["speed_up"], 2)
    assert made.comparison == comparison.view_comparison(compared)
    assert [row[0] for row in made.prediction.fit.predictions.rows] == [4, 8, 16, 64]
    assert made.detections.classes.rows == (("person", 73), ("cup", 49), ("bus", 25))
    assert view.build({**metrics, "mode": "parallel"}, {}, [], []).per_image is None


def test_numbers_stand_right_and_what_is_not_known_is_a_dash(results):
    found = parts.table("Caption", ("what", "seconds"), [("a", 1.5), ("b", None), ("c", 2.0)], limit=2)
    assert (found.numeric, found.left_out) == ([False, True], 1)
    assert [parts.cell(value) for value in (None, 1234, 0.5, "x")] == ["-", "1,234", "0.5", "x"]
    assert parts.dollars(0.0207) == "$0.0207"
    assert parts.number(12345.6) == "12,346"


def test_one_of_a_thing_is_in_the_singular(results):
    metrics = fsio.read_json(results / "metrics.json")
    one = {**metrics["counts"], "processed": 1, "skipped": 1, "missing": 1, "images": 99}
    page_text = told(render_without_plots({**metrics, "counts": one, "slots": metrics["slots"][:1]}, {}))
    assert re.search(r"1 image in [\d.]+ s on 1 slot\b", page_text)
    assert "1 other file skipped" in page_text
    assert "1 image has neither" in page_text


def test_a_value_that_a_template_misspells_is_an_error():
    with pytest.raises(UndefinedError):
        page.environment().from_string("{{ view.nothing }}").render(view=object())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metrics.json", None, "no figures to report"),
        ("metrics.json", "{", "the figures are damaged"),
        ("metrics.json", "3", "the figures are damaged"),
        ("metrics.json", "{}", "older version .without run_id, mode"),
        ("compare.json", "[]", "older version .without single"),
        ("metrics.csv", "path,status\na,ok\n", "damaged or of an older version"),
    ],
)
def test_figures_that_cannot_be_used_are_one_clear_error(results, tmp_path, name, content, message):
    for file in ("metrics.json", "metrics.csv", "compare.json"):
        (tmp_path / file).write_bytes((results / file).read_bytes())
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(content)
    with pytest.raises(YoloError, match=message):
        write.write(read_figures(tmp_path))
    assert not (tmp_path / "report.html").exists()


def test_the_templates_show_all_of_the_view():
    templates = "".join(path.read_text(encoding="utf-8") for path in page.TEMPLATES.glob("*.j2"))
    classes = [
        kind
        for module in (view, timing, comparison, parts)
        for kind in vars(module).values()
        if is_dataclass(kind) and kind.__module__ == module.__name__
    ]
    assert len(classes) == 15
    names = {field.name for kind in classes for field in fields(kind)}
    assert {name for name in names if not re.search(rf"\.{name}\b", templates)} == set()
