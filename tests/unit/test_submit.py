import json
import time

import pytest
from make_run import make_run
from yolo.pool import submit
from yolo.pool.condor import CommandFailed
from yolo.share import fsio
from yolo.share.errors import YoloError
from yolo.share.submitted import read_submitted


def test_the_jobs_and_when_they_were_submitted(tmp_path):
    run_pass = make_run(tmp_path, ["a.jpg"])[0].get_pass("parallel")
    asked = []

    def run(command):
        asked.append(command)
        time.sleep(0.05)
        return "12.0 - 12.6\n"

    before = time.time()
    found = submit.submit(run_pass, "s001", tmp_path / "detect.sub", run)
    assert asked == [["condor_submit", "-terse", str(tmp_path / "detect.sub")]]
    assert found["cluster"] == 12
    # Before the jobs could start; dates of files go by ticks.
    assert before - 0.02 <= found["submitted"] <= before + 0.04
    assert read_submitted(run_pass, "s001") == found["submitted"]
    assert json.loads(run_pass.submitted("s001").read_bytes()) == found


def fail(_):
    raise CommandFailed("condor_submit: ERROR: no such user")


@pytest.mark.parametrize(("run", "words"), [(fail, "no such user"), (lambda _: "", "does not say the jobs' number")])
def test_jobs_that_are_not_taken_are_one_clear_error(tmp_path, run, words):
    run_pass = make_run(tmp_path, ["a.jpg"])[0].get_pass("parallel")
    with pytest.raises(YoloError, match=words):
        submit.submit(run_pass, "s001", tmp_path / "detect.sub", run)
    assert read_submitted(run_pass, "s001") is None


def test_when_is_not_known_without_a_note(tmp_path):
    run_pass = make_run(tmp_path, ["a.jpg"])[0].get_pass("parallel")
    assert read_submitted(run_pass, None) is None
    assert read_submitted(run_pass, "s001") is None
    fsio.write_text(run_pass.submitted("s001"), "[]")
    assert read_submitted(run_pass, "s001") is None


@pytest.mark.parametrize(("jobs", "line"), [(1000, ""), (1001, "max_idle = 1000\n")])
def test_the_jobs_of_a_large_submission_are_made_as_others_start(tmp_path, jobs, line):
    run_pass = make_run(tmp_path, ["a.jpg"])[0].get_pass("parallel")
    path = submit.write_submit_file(run_pass, "s001", "queue chunk from $(chunks)\n", tmp_path / "log", jobs)
    assert path.read_text().endswith(f"chunks = {run_pass.queue('s001')}\n{line}queue chunk from $(chunks)\n")
