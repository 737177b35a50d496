import os
import subprocess
import sys

from yolo.request.code_id import code_id, pack_code


def package(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def test_what_no_job_runs_does_not_count(tmp_path):
    before = code_id(package(tmp_path / "a", one="1", two="2"))
    (tmp_path / "a" / "README.md").write_text("x")
    (tmp_path / "a" / "__pycache__").mkdir()
    (tmp_path / "a" / "__pycache__" / "one.pyc").write_text("x")
    assert code_id(tmp_path / "a") == before


def test_the_same_content_elsewhere_has_the_same_id(tmp_path):
    first = code_id(package(tmp_path / "a", one="1", two="2"))
    assert code_id(package(tmp_path / "b", two="2", one="1")) == first


def test_content_names_and_where_content_stands_count(tmp_path):
    ids = {
        code_id(package(tmp_path / "a", one="1", two="2")),
        code_id(package(tmp_path / "b", one="2", two="1")),
        code_id(package(tmp_path / "c", one="12", two="")),
        code_id(package(tmp_path / "d", one="1", tow="2")),
        code_id(package(tmp_path / "e", one="1")),
        code_id(package(tmp_path / "f", one="1two.py2")),
    }
    assert len(ids) == 6


def test_the_id_of_this_package_counts_its_packages():
    assert len(bytes.fromhex(code_id())) == 8


def test_a_module_in_a_folder_counts(tmp_path):
    before = code_id(package(tmp_path / "a", one="1"))
    (tmp_path / "a" / "share").mkdir()
    (tmp_path / "a" / "share" / "two.py").write_text("2")
    assert code_id(tmp_path / "a") != before


def test_the_packed_code_is_the_same_for_the_same_code_and_runs(tmp_path):
    for name in ("a.zip", "b.zip"):
        pack_code(tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path / "a.zip")}
    command = [sys.executable, "-P", "-m", "yolo", "status", "--help"]
    said = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=True)
    assert said.stdout.startswith("usage: python -m yolo status")
    assert said.stderr == ""
