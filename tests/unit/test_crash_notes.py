import os
from pathlib import Path

import pytest
from yolo.detector.crash_notes import CrashNotes

KEYS = [f"{i:016x}" for i in range(4)]


def crash(path: Path, *keys: str) -> None:
    """Do these one after the other, and die at the last."""
    notes = CrashNotes(path)
    for key in keys:
        notes.begin(key)
        if key != keys[-1]:
            notes.end(key)
    os.close(notes._file)


def test_of_a_crash_the_image_in_work_is_remembered(tmp_path):
    path = tmp_path / "inflight" / "s001-c00000"
    crash(path, KEYS[0], KEYS[1])
    assert path.read_text() == f"{KEYS[1]}\n"
    crash(path, KEYS[2])
    assert path.read_text() == f"{KEYS[1]}\n{KEYS[2]}\n"
    crash(path, KEYS[0], KEYS[1])
    notes = CrashNotes(path)
    assert notes.crashed
    assert [notes.begin(key) for key in KEYS] == [True, False, True, True]
    notes.close(finished=False)
    assert path.read_text() == f"{KEYS[1]}\n{KEYS[2]}\n{KEYS[1]}\n"


def test_of_a_crash_all_images_in_work_are_remembered(tmp_path):
    path = tmp_path / "notes"
    notes = CrashNotes(path)
    assert not notes.crashed
    for key in KEYS[:3]:
        notes.begin(key)
    notes.end(KEYS[0])
    notes.end(KEYS[0])
    notes.begin(KEYS[3])
    notes.end(KEYS[1])
    os.close(notes._file)
    crash(path, KEYS[2])
    notes = CrashNotes(path)
    # Once each, and one of them twice: that one is given up.
    assert [notes.begin(key) for key in KEYS] == [True, True, False, True]
    notes.close(finished=False)


def test_of_an_end_without_a_crash_nothing_is_remembered(tmp_path):
    path = tmp_path / "notes"
    notes = CrashNotes(path)
    notes.begin(KEYS[0])
    notes.close(finished=False)
    assert not path.exists()
    crash(path, KEYS[0])
    notes = CrashNotes(path)
    notes.begin(KEYS[1])
    notes.close(finished=True)
    assert not path.exists()


@pytest.mark.parametrize("spoilt", [b"\0" * 34, b"0123", f"{KEYS[0]}\n".encode() + b"\0" * 17, b"\xff" * 40])
def test_notes_that_a_power_cut_spoilt_do_no_harm(tmp_path, spoilt):
    path = tmp_path / "notes"
    path.write_bytes(spoilt)
    crash(path, KEYS[2])
    assert path.read_text().splitlines()[-1] == KEYS[2]
    assert "\0" not in path.read_text()
