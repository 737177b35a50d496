import json
import sys
import zipfile

import pytest
from make_run import make_run, pull, put_job, put_record
from yolo.cli import main as command_line
from yolo.cli import publish
from yolo.results import merge, summary
from yolo.results.figures import read_figures
from yolo.share.errors import YoloError


@pytest.fixture
def folder(tmp_path):
    """A results folder as the playbook pulls it: figures, no report, no zip."""
    run, entries = make_run(tmp_path, ["a.jpg", "b.jpg"])
    for item in entries:
        put_record(run.get_pass("parallel"), item)
    put_job(run.get_pass("parallel"), images=2)
    merge.merge(run, "parallel")
    return pull(run, tmp_path / "results/r1")


def test_a_results_folder_gets_its_report_and_its_zip(folder, capsys):
    assert command_line.run(["publish", "--json", str(folder)]) == 0
    printed = json.loads(capsys.readouterr().out)["result"]
    assert printed["changed"] is True
    assert printed["summary"] == summary.lines(read_figures(folder))
    assert "(report.html, predictions.json" not in printed["summary"][-1]
    assert printed["summary"][-1].startswith(f"Results: {folder} (report.html, ")
    assert printed["summary"][-1].endswith(", results.zip)")
    with zipfile.ZipFile(folder / "results.zip") as packed:
        assert packed.read("report.html") == (folder / "report.html").read_bytes()


def test_the_same_figures_change_nothing(folder, capsys):
    publish.main([str(folder)])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    capsys.readouterr()
    assert publish.main(["--json", "--nothing-done", str(folder)]) == 0
    printed = json.loads(capsys.readouterr().out)["result"]
    assert printed["changed"] is False
    assert printed["summary"][0] == "Run r1: nothing was left to do: 2 of 2 images done."
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_lost_zip_alone_is_a_change(folder, capsys):
    publish.main([str(folder)])
    (folder / "results.zip").unlink()
    capsys.readouterr()
    publish.main(["--json", str(folder)])
    assert json.loads(capsys.readouterr().out)["result"]["changed"] is True


def test_a_person_reads_lines_and_the_whole_path(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder.parent)
    publish.main(["r1"])
    printed = capsys.readouterr().out.splitlines()
    assert printed == summary.lines(read_figures(folder))


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(YoloError, match=r"no figures to report: .*/nothing/metrics\.json; give the folder"):
        publish.main([str(tmp_path / "nothing")])


@pytest.mark.parametrize("library", ["jinja2", "matplotlib"])
def test_a_python_without_the_libraries_says_which_one_to_use(folder, monkeypatch, library):
    for name in [name for name in sys.modules if name.startswith("yolo.results.report")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("yolo.results.report", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(YoloError, match=rf"not installed: {library}.*use the project's \.venv/bin/python"):
        publish.main([str(folder)])
