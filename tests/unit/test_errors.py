import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from yolo.share.errors import YoloError, from_os_error, one_line, run_cli


def test_a_message_says_what_value_expected_and_remedy_in_one_line():
    error = YoloError("bad size", 0, "a number above 0", "give another")
    assert str(error) == "bad size: 0; expected a number above 0; give another"


def test_parts_that_are_not_given_leave_no_trace():
    assert str(YoloError("bad size")) == "bad size"
    assert str(YoloError("bad size", remedy="give another")) == "bad size; give another"


@pytest.mark.parametrize("name", ["a\nb", "a\udce9b", "a\x1b[31mb", "a\u2028b"])
def test_a_message_stays_one_printable_line_whatever_the_file_is_called(name):
    message = str(YoloError("no such file", name))
    message.encode("utf-8")
    assert message.isprintable()


def test_names_people_can_read_are_left_alone():
    assert one_line("Fußgänger 歩行者.jpg") == "Fußgänger 歩行者.jpg"


def test_a_full_disk_says_what_to_do():
    error = from_os_error(OSError(errno.ENOSPC, "No space left on device", "/srv/share/x"))
    assert "No space left on device: /srv/share/x" in str(error)
    assert "free space" in str(error)


def test_an_os_error_without_a_file_still_has_a_text():
    assert "boom" in str(from_os_error(OSError("boom")))


def test_the_command_line_prints_one_line_and_returns_2(capsys):
    def main(argv):
        raise YoloError("no image", "/tmp/a\nb")

    assert run_cli(main) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: no image: /tmp/a\\nb\n"


def test_an_os_error_is_the_users_too(capsys):
    def main(argv):
        Path("/nonexistent/file").read_bytes()

    assert run_cli(main) == 2
    assert "/nonexistent/file" in capsys.readouterr().err


def test_a_bug_keeps_its_traceback():
    def main(argv):
        raise KeyError("x")

    with pytest.raises(KeyError):
        run_cli(main)


def test_the_exit_code_of_main_is_kept():
    assert run_cli(lambda argv: 3) == 3
    assert run_cli(lambda argv: None) == 0


def test_an_error_that_cannot_be_said_has_an_exit_code_of_its_own():
    script = """
import sys
from yolo.share.errors import YoloError, run_cli
def main(_):
    raise YoloError("full")
sys.exit(run_cli(main))
"""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2] / "files")}
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", script], stderr=full, env=environment, check=False)
    assert done.returncode == 74
