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
