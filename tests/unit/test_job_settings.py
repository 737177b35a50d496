import os
from pathlib import Path

import pytest
from make_run import SETTINGS
from yolo.detector.settings import Settings
from yolo.detector.slot import Slot, choose_threads, find_slot
from yolo.share.errors import YoloError

pytestmark = pytest.mark.usefixtures("outside_a_pool")

AD = """\
AccountingGroup = undefined
Cpus = 3
Machine = "execute1.example.org"
Name = "slot1_2@execute1.example.org"
TotalCpus = 8
"""


def test_the_slot_as_htcondor_tells_it(tmp_path):
    (tmp_path / ".machine.ad").write_text(AD)
    environment = {"_CONDOR_MACHINE_AD": str(tmp_path / ".machine.ad")}
    assert find_slot(environment) == Slot("execute1.example.org", "slot1_2", 3)
    assert find_slot(environment | {"_CONDOR_SLOT": "slot1_9"}).name == "slot1_9"


@pytest.mark.parametrize("environment", [{}, {"_CONDOR_MACHINE_AD": "/nonexistent"}])
def test_the_slot_outside_a_pool(environment):
    assert find_slot(environment) == Slot(os.uname().nodename, "", len(os.sched_getaffinity(0)))


@pytest.mark.parametrize(
    ("asked", "set_for_run", "omp", "threads"),
    [(5, 4, "2", 5), (0, 4, "2", 4), (0, 0, "2", 2), (0, 0, "", 3), (0, 0, "many", 3), (0, 0, "0", 3)],
)
def test_threads_are_those_asked_for_then_the_runs_then_the_slots(asked, set_for_run, omp, threads):
    settings = Settings(Path(), Path(), 0.25, 0.7, threads=set_for_run)
    assert choose_threads(asked, settings, Slot("h", "s", 3), {"OMP_NUM_THREADS": omp}) == threads


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"conf": None}, "lacks a usable setting: TypeError"),
        ({"iou": "much"}, "lacks a usable setting: ValueError"),
        ({"max_det": ...}, "lacks a usable setting: KeyError: 'max_det'"),
        ({"conf": 1.5}, "conf in run.json out of range: 1.5; expected 0 to 1"),
        ({"iou": -0.1}, "iou in run.json out of range: -0.1; expected 0 to 1"),
        ({"conf": float("nan")}, "conf in run.json out of range: nan"),
        ({"max_det": 0}, "max_det in run.json out of range: 0; expected 1 to 30000"),
        ({"imgsz": 9000}, "imgsz in run.json out of range: 9000; expected 0 to 8192"),
        ({"threads": -1}, "threads in run.json out of range: -1"),
        ({"annotated_size": 70_000}, "annotated_size in run.json out of range: 70000; expected 0 to 65535"),
        ({"decode": "faster"}, "unknown decode in run.json: faster; expected one of exact, fast"),
    ],
)
def test_settings_that_are_missing_or_out_of_range(change, text):
    value = SETTINGS | {"input_dir": "/in", "model_dir": "/m"} | change
    with pytest.raises(YoloError) as error:
        Settings.from_run({name: setting for name, setting in value.items() if setting is not ...})
    assert text in str(error.value)


def test_settings_that_are_left_out_have_defaults():
    value = {
        "input_dir": "/in",
        "model_dir": "/m",
        "conf": 0.5,
        "iou": "0.7",
        "max_det": 10,
        "classes": None,
        "imgsz": None,
    }
    assert Settings.from_run(value) == Settings(Path("/in"), Path("/m"), 0.5, 0.7, max_det=10)
    settings = Settings.from_run(value | {"classes": [0, "cat"], "imgsz": 320, "save_images": False})
    assert (settings.classes, settings.imgsz, settings.save_images) == ((0, "cat"), 320, False)
