"""Machines unlike the authors': another processor, home and time zone, and nothing beside the project."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# OpenVINO's own name for it; oneDNN by itself takes the other one.
OLD_PROCESSOR = {"OV_CPU_MAX_ISA": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
# What computes, what depends on the test data, what writes below the home.
TESTS = ("test_engines.py", "test_reference.py", "test_request_images.py")


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python with nothing of this machine's environment but PATH."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=HERE.parents[1],
        env={"PATH": os.environ["PATH"], **environment},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def test_an_older_processor_can_be_pretended():
    can = "import openvino; print(openvino.Core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES'))"
    answer = python("-c", can, **OLD_PROCESSOR).stdout
    assert "FP32" in answer
    assert "BF16" not in answer


@pytest.mark.skipif("TEST_DATA" in os.environ, reason="this is that other machine")
def test_the_unit_tests_pass_elsewhere(tmp_path):
    home = tmp_path / "a home"
    home.mkdir()
    elsewhere = {"HOME": str(home), "TZ": "Pacific/Chatham", "TEST_DATA": "/nonexistent", "LC_ALL": "C"}
    tests = [str(HERE / name) for name in TESTS]
    basetemp = tmp_path / "with a space"
    done = python(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={basetemp}", *tests),
        **elsewhere,
        **OLD_PROCESSOR,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("user", "sudo", "asks"), [("0", 1, False), ("1000", 0, False), ("1000", 1, True)])
def test_the_password_of_sudo_is_asked_for_where_it_is_needed(tmp_path, user, sudo, asks):
    for name, script in (("id", f"echo {user}"), ("sudo", f"exit {sudo}")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    said = subprocess.run(
        ["make", "--dry-run", "down"],
        cwd=HERE.parents[1],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "playbooks/local_down.yml" in said
    assert ("--ask-become-pass" in said) is asks
