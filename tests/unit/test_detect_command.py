import argparse

import pytest
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


def test_threads_on_the_command_line(tmp_path):
    with pytest.raises(YoloError, match="threads out of range: -1"):
        detect.main(["--run-dir", str(tmp_path), "--pass", "single", "--chunk", "s001/c00000", "--threads", "-1"])
