import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from make_run import make_compared_run, make_run, pull, put_job, put_record
from yolo.results import archive, merge, report
from yolo.share import fsio
from yolo.share.errors import YoloError
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
    "svg", "desc", "g", "defs", "path", "use", "text", "tspan", "clippath", "rect", "pattern",
}  # fmt: skip


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
    report.report(results)
    return (results / "report.html").read_text(encoding="utf-8")


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
    assert report.report(folder) is True
    content = (folder / "report.html").read_bytes().decode("utf-8")
    page = Page(content)
    assert set(page.tags) - ALLOWED == set()
    assert [name for name, _ in page.attributes if name.startswith("on")] == []
    # Whatever a reader could not see, or that changes what they see, is escaped.
    assert [c for c in set(content) - {"\n"} if not c.isprintable()] == []
    shown = "".join(page.text)
    for name in HOSTILE:
        assert report.one_line(name) in shown


def test_the_test_of_hostile_names_can_fail(tmp_path, monkeypatch):
    folder = hostile_run(tmp_path)
    monkeypatch.setattr(report, "text", report.one_line)
    report.report(folder)
    assert "img" in set(Page((folder / "report.html").read_text(encoding="utf-8")).tags) - ALLOWED


def test_the_page_needs_nothing_else_and_runs_nothing(content):
    page = Page(content)
    assert "script" not in page.tags
    links = [value for name, value in page.attributes if name in ("href", "src", "xlink:href", "action", "data")]
    assert links
    assert [value for value in links if not value.startswith("#")] == []
    assert re.findall(r"url\((?!#)|@import", content) == []
    # The names of XML's vocabularies are no addresses that anyone opens.
    assert set(re.findall(r"https?://[^\"' <]+", content)) <= {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in dict(page.attributes)["content"] or "default-src 'none'" in content


def test_ids_are_unique_and_links_lead_somewhere(content):
    page = Page(content)
    ids = page.ids()
    assert sorted(set(ids)) == sorted(ids)
    wanted = [value[1:] for name, value in page.attributes if name == "href"]
    wanted += re.findall(r"url\(#([^)]+)\)", content)
    for name, value in page.attributes:
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
    page = Page(content)
    assert page.tags.count("h1") == 1
    assert "en" in [value for name, value in page.attributes if name == "lang"]
    assert page.tags.count("caption") == page.tags.count("table")


def test_all_that_was_asked_for_is_there(content, results):
    shown = " ".join("".join(Page(content).text).split())
    metrics, compared = fsio.read_json(results / "metrics.json"), fsio.read_json(results / "compare.json")
    assert compared["identical"]
    for wanted in (
        "97 of 100",
        "3 failed",
        report.number(metrics["images_per_second"]),
        report.number(compared["speed_up"]),
        "The detections of both passes are identical",
        "the single pass's one slot is a whole host",
        "PREDICTION, not measured",
        "Karp and Flatt",
        "AMD EPYC 9R14",
        "version of openvino",
        "yolov5s",
        metrics["slowest"][0]["path"],
        "truncated JPEG",
        report.dollars(metrics["cost"]["dollars_per_1000_images"]),
        "not told by the jobs",
        "each pass was timed once",
        "What is not known",
    ):
        assert wanted in shown
    for stage in ("stage", "queue", "start", "read", "infer", "draw", "write", "idle", "merge"):
        assert f"{stage} (" in shown
    for mark in ("p50", "p90", "p95", "p99", "max"):
        assert report.number(metrics["latency_ms"]["total"][mark]) in shown


def test_each_prediction_is_called_one(content, results):
    fit = fsio.read_json(results / "compare.json")["amdahl"]
    assert len(fit["predictions"]) == 4
    table = re.search(r'<div class="scroll"[^>]*aria-label="PREDICTION, not measured".*?</table>', content, re.DOTALL)[
        0
    ]
    for row in fit["predictions"]:
        assert report.number(row["images_per_second"]) in table
    assert table.count('<tr class="predicted">') == 4


def test_the_same_figures_make_the_same_bytes(results, content, tmp_path):
    before = (results / "report.html").stat()
    assert report.report(results) is False
    assert (results / "report.html").stat().st_mtime_ns == before.st_mtime_ns
    # Another process, another folder, another hash seed, settings of the user's own.
    for name in ("metrics.json", "metrics.csv", "compare.json"):
        (tmp_path / name).write_bytes((results / name).read_bytes())
    (tmp_path / "matplotlibrc").write_text("font.size: 20\nsvg.fonttype: path\nlines.linewidth: 9\n")
    environment = {"PYTHONPATH": str(Path(report.__file__).parents[2]), "PYTHONHASHSEED": "7", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "yolo.results.report", "--results", "."], cwd=tmp_path, capture_output=True, text=True,
        check=True, env=environment,
    )  # fmt: skip
    assert json.loads(done.stdout)["changed"] is True
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == content


def test_a_report_of_other_figures_is_replaced(results, content, tmp_path):
    for name in ("metrics.json", "metrics.csv", "compare.json"):
        (tmp_path / name).write_bytes((results / name).read_bytes())
    (tmp_path / "report.html").write_text(content.replace("1,", "2,"), encoding="utf-8")
    assert report.report(tmp_path) is True
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == content


def test_it_is_in_the_zip(results, content):
    assert "report.html" in list(archive.members(results))


def test_a_run_of_one_pass_does_not_show_an_old_comparison(results, tmp_path):
    for name in ("metrics.json", "metrics.csv", "compare.json"):
        (tmp_path / name).write_bytes((results / name).read_bytes())
    metrics = fsio.read_json(tmp_path / "metrics.json")
    fsio.write_json(tmp_path / "metrics.json", {**metrics, "mode": "parallel"})
    report.report(tmp_path)
    shown = "".join(Page((tmp_path / "report.html").read_text(encoding="utf-8")).text)
    assert "Not known: this run had one pass" in shown
    assert "identical" not in shown


def test_detections_that_differ_are_said_so(results):
    compared = fsio.read_json(results / "compare.json")
    compared |= {"identical": False, "images_that_differ": 2, "comparable": False}
    compared["differences"] = [{"path": "<b>.jpg", "what": "detection", "single": [0, 0.5], "parallel": None}]
    page = Page(report.comparison(compared))
    shown = "".join(page.text)
    assert "NOT identical: 2 images differ" in shown
    assert "did not do the same images" in shown
    assert "<b>.jpg" in shown
    assert "b" not in page.tags


def test_why_there_is_no_figure_is_said(results):
    compared = fsio.read_json(results / "compare.json")
    compared["amdahl"] = {"predictions": [], "why": "the parallel pass had one slot too"}
    assert "No prediction: the parallel pass had one slot too." in report.predicted(compared)
    metrics = fsio.read_json(results / "metrics.json") | {"cost": None}
    assert "No price is known" in report.costs(metrics, {})
    assert "What it cost." in report.not_known(metrics, {})


def test_a_run_in_which_nothing_worked_has_a_report(tmp_path):
    run, _ = make_run(tmp_path, ["a.jpg", "b.txt"], skipped=("b.txt",))
    merge.merge(run, "parallel")
    assert report.report(pull(run, tmp_path / "results")) is True
    shown = "".join(Page((tmp_path / "results/report.html").read_text(encoding="utf-8")).text)
    assert "0 of 2" in shown
    assert "No job of this pass has ended" in shown
    assert "1 images have neither a result nor a reason" in shown


def test_engine_and_precision_are_told_where_jobs_tell_them(results):
    metrics = fsio.read_json(results / "metrics.json")
    assert "not told by the jobs" in report.settings(metrics)
    shown = report.settings({**metrics, "engines": ["openvino"], "precisions": ["int8"]})
    assert ">openvino<" in shown
    assert ">int8<" in shown
    measured = {**metrics["settings"], "precision_difference": {"f1": 0.97}}
    assert "how far detections differ from fp32" in report.settings({**metrics, "settings": measured})
    assert "not told by the jobs" not in shown


def test_long_tables_are_cut_and_say_so(results):
    metrics = fsio.read_json(results / "metrics.json")
    metrics["failures"] = [{"path": f"{i}.jpg", "status": "failed", "reason": "truncated"} for i in range(1234)]
    found = report.troubled(metrics)
    assert found.count("truncated") == report.SHOWN
    assert "Images without a result (1,234)" in found
    assert f"... and {1234 - report.SHOWN:,} more in metrics.json" in found


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
        report.report(tmp_path)
    assert not (tmp_path / "report.html").exists()
