"""What the module sees in virtual environments in all states, good and bad."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import verify_venv as verify
import yolo_venv_info as info

MARKER = "yolo_venv.requirements.txt"


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """A file that stands for /usr/bin/python3.13."""
    path = tmp_path / "usr/bin/python3.13"
    path.parent.mkdir(parents=True)
    path.touch()
    return path


def add_package(venv: Path, name: str, version: str, **files: str) -> None:
    """Install a package as pip would: files and a RECORD of their sizes."""
    site = venv / "lib/python3.13/site-packages"
    record = site / f"{name}-{version}.dist-info/RECORD"
    record.parent.mkdir(parents=True)
    rows = [f"{record.parent.name}/RECORD,,", f"{name}/__pycache__/x.pyc,,"]
    for file, content in files.items():
        (site / file).write_text(content)
        rows.append(f"{file},sha256=x,{len(content)}")
    record.write_text("\n".join(rows) + "\n")


@pytest.fixture
def venv(tmp_path: Path, python: Path) -> Path:
    """A finished environment with Demo_Pkg 1.0."""
    path = tmp_path / "venv"
    (path / "bin").mkdir(parents=True)
    (path / "bin/activate").touch()
    (path / "bin/python").symlink_to(python)
    (path / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = true\nversion = 3.13.5\n")
    (path / MARKER).touch()
    add_package(path, "pip", "25.1.1")
    add_package(path, "Demo_Pkg", "1.0", demo="abc")
    return path


def wanted(python: Path, *pins: str, **changes: object) -> object:
    """What the fixture's environment is to be, but for some changes."""
    values: dict[str, object] = {
        "python": python,
        "python_version": "3.13.9",
        "system_site_packages": True,
        "pins": list(pins or ("demo-pkg==1.0",)),
        "files": [],
    }
    return info.Wanted(**(values | changes))


def test_a_good_environment_has_no_findings(venv: Path, python: Path) -> None:
    """A newer patch release of the interpreter and a missing .pyc are no findings either."""
    assert info.inspect(venv, wanted(python)) == {"broken": [], "outdated": [], "extra": []}


def test_other_and_missing_versions_are_outdated(venv: Path, python: Path) -> None:
    """Pins are compared by normalised name."""
    found = info.inspect(venv, wanted(python, "Demo.Pkg==2.0", "torch==2.14.0+cpu"))
    assert found["outdated"] == [
        "demo-pkg is 1.0, wanted is 2.0",
        "torch is missing, wanted is 2.14.0+cpu",
    ]
    assert found["broken"] == []


def test_packages_without_a_pin_are_extra(venv: Path, python: Path) -> None:
    """The one package without a pin that has to stay is pip."""
    add_package(venv, "six", "1.17.0")
    assert info.inspect(venv, wanted(python))["extra"] == ["six"]


@pytest.mark.parametrize("content", ["", "abcd", None])
def test_a_file_of_another_size_is_damage(venv: Path, python: Path, content: str | None) -> None:
    """Truncated, grown or gone."""
    file = venv / "lib/python3.13/site-packages/demo"
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    assert info.inspect(venv, wanted(python))["broken"] == ["demo-pkg is damaged: demo"]


def test_a_package_without_record_is_damage(venv: Path, python: Path) -> None:
    """Pip was interrupted while it unpacked or removed it."""
    (venv / "lib/python3.13/site-packages/Demo_Pkg-1.0.dist-info/RECORD").unlink()
    assert info.inspect(venv, wanted(python))["broken"] == ["demo-pkg is damaged: Demo_Pkg-1.0.dist-info/RECORD"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"python_version": "3.14.0"}, "it was made with Python 3.13.5, wanted is 3.14"),
        ({"system_site_packages": False}, "include-system-site-packages is not false"),
        ({"python": Path("/opt/python")}, "wanted is /opt/python"),
    ],
)
def test_another_base_needs_another_environment(
    venv: Path, python: Path, changes: dict[str, object], reason: str
) -> None:
    """Nothing of this can be changed in a finished environment."""
    assert reason in "\n".join(info.inspect(venv, wanted(**{"python": python} | changes))["broken"])


def test_an_environment_without_pip_is_broken(venv: Path, python: Path) -> None:
    """Nothing could be installed into it."""
    (venv / "lib/python3.13/site-packages/pip-25.1.1.dist-info/RECORD").unlink()
    (venv / "lib/python3.13/site-packages/pip-25.1.1.dist-info").rmdir()
    assert info.inspect(venv, wanted(python))["broken"] == ["pip is missing"]


def test_an_unfinished_environment_is_continued(tmp_path: Path, python: Path) -> None:
    """Only the folder and the marker are there: venv has not run."""
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / MARKER).touch()
    found = info.inspect(tmp_path / "new", wanted(python))
    assert found["broken"] == []
    assert found["outdated"] == ["demo-pkg is missing, wanted is 1.0"]


def test_expected_files(venv: Path, python: Path) -> None:
    """A file that no package brings."""
    found = info.inspect(venv, wanted(python, "demo-pkg==1.0", files=["env.pth"]))
    assert found["outdated"] == ["env.pth is missing"]


def test_what_is_foreign(tmp_path: Path, venv: Path) -> None:
    """Anything but nothing, an empty folder and our own."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("/nowhere")
    (tmp_path / "file").touch()
    assert not info.is_foreign(tmp_path / "absent", MARKER)
    assert not info.is_foreign(tmp_path / "empty", MARKER)
    assert not info.is_foreign(venv, MARKER)
    assert info.is_foreign(tmp_path / "link", MARKER)
    assert info.is_foreign(tmp_path / "file", MARKER)
    (venv / MARKER).unlink()
    assert info.is_foreign(venv, MARKER)


def test_python_version(tmp_path: Path) -> None:
    """The own interpreter's, and none where there is no interpreter."""
    assert info.python_version(Path(sys.executable)) == ".".join(map(str, sys.version_info[:3]))
    assert info.python_version(tmp_path / "python3") == ""


def test_a_cuda_build_is_found_before_it_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its import would fail, for want of CUDA's libraries."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text("raise OSError('libcudart.so.12')")
    (tmp_path / "torch/version.py").write_text("__version__ = '2.14.0'\ncuda = '12.8'\n")
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(verify.Finding, match=r"build for cuda 12\.8; expected a CPU build"):
        verify.check_no_cuda()
