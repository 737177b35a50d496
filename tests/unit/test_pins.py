"""Versions stand in several files; where they mean the same they have to be the same."""

import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = Path(__file__).resolve().parents[2]
LOCK = "roles/yolo_venv/files/requirements-standalone.txt"
DETECTOR = ("numpy", "opencv-python-headless", "openvino", "onnxruntime", "onnx")


def normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(file: str) -> dict[str, str]:
    lines = (PROJECT / file).read_text().splitlines()
    return {normalise(m[1]): m[2] for line in lines if (m := re.match(r"([\w.-]+)==([^\s;\\]+)", line))}


@pytest.mark.parametrize("name", DETECTOR)
def test_tests_run_with_what_the_execute_hosts_have(name):
    assert (pins("requirements.txt") | pins("requirements-test.txt"))[name] == pins(LOCK)[name]
    assert metadata.version(name) == pins(LOCK)[name]


@pytest.mark.parametrize(
    "file", ["files/demo/requirements.txt", "files/demo/requirements-train.txt", "bench/requirements.txt"]
)
def test_the_demo_and_the_benchmark_have_the_same_versions(file):
    known = pins("requirements.txt") | pins("requirements-test.txt") | pins("constraints.txt") | pins(LOCK)
    both = pins(file).keys() & known.keys()
    assert {name: pins(file)[name] for name in both} == {name: known[name] for name in both}
    assert "numpy" in both


def test_both_lock_files_agree():
    one, other = pins(LOCK), pins("roles/yolo_venv/files/requirements-debian.txt")
    assert other
    assert {name: one[name] for name in other} == other


def brought(names: set[str]) -> set[str]:
    """Everything that these packages need, and what that needs, in this environment."""
    found: set[str] = set()
    todo = [(normalise(name), "") for name in names]
    while todo:
        name, extra = todo.pop()
        for text in metadata.requires(name) or ():
            needed = Requirement(text)
            if needed.marker and not needed.marker.evaluate({"extra": extra}):
                continue
            for wanted in ("", *needed.extras):
                if (normalise(needed.name), wanted) not in todo and normalise(needed.name) not in found:
                    todo.append((normalise(needed.name), wanted))
            found.add(normalise(needed.name))
    return found


def test_all_that_is_installed_with_it_has_a_version():
    asked = pins("requirements.txt") | pins("requirements-test.txt")
    pinned = asked | pins("constraints.txt")
    needed = brought(set(asked))
    assert needed - pinned.keys() == set()
    assert {name: metadata.version(name) for name in needed} == {name: pinned[name] for name in needed}


def test_no_version_stands_in_two_of_the_files():
    files = ("requirements.txt", "requirements-test.txt", "constraints.txt")
    names = [name for file in files for name in pins(file)]
    assert sorted(names) == sorted(set(names))


def test_versions_are_exact_and_from_an_index():
    for file in (
        "constraints.txt",
        "requirements.txt",
        "requirements-test.txt",
        "bench/requirements.txt",
        "bench/constraints.txt",
    ):
        for line in (PROJECT / file).read_text().splitlines():
            if line and not line.startswith(("#", "-c ", "-r ")):
                pin = line.removesuffix('; python_version < "3.14"')
                assert re.fullmatch(r"[\w.-]+(\[\w+\])?==[\w.+-]+", pin), f"{file}: {line}"
