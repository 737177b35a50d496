import argparse
import subprocess
import sys
from pathlib import Path

import pytest
import yolo
from yolo.cli import detect
from yolo.share.errors import YoloError


@pytest.mark.parametrize(
    "text", ["s001/c00003", "/share/runs/r/parallel/chunks/s001/c00003.jsonl", "s001/c00003.jsonl"]
)
def test_a_chunk_by_name_or_by_file(text):
    assert detect.parse_chunk(text) == ("s001", "c00003")


@pytest.mark.parametrize("text", ["", "c00003", "p1/c00003", "s001/c3", "s001/c00003.txt", "s001/c00003/"])
def test_what_is_no_chunk(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected submission/chunk"):
        detect.parse_chunk(text)


@pytest.mark.parametrize("threads", ["-1", "1025"])
def test_threads_on_the_command_line(tmp_path, threads):
    with pytest.raises(YoloError, match=f"threads out of range: {threads}; expected 0 .*to 1024"):
        detect.main(["--run-dir", str(tmp_path), "--pass", "single", "--chunk", "s001/c00000", "--threads", threads])


@pytest.mark.parametrize("command", ["detect", "prepare-model"])
def test_the_commands_of_jobs_explain_themselves_where_no_package_is_installed(command):
    code = f"import sys; sys.path.insert(0, {str(Path(yolo.__file__).parents[1])!r})\n"
    code += f"from yolo.cli.main import run; sys.exit(run([{command!r}, '--help']))"
    done = subprocess.run([sys.executable, "-I", "-S", "-B", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"usage: python -m yolo {command} [-h] ")
