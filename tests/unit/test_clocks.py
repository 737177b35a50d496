import os
import time
from dataclasses import replace

import pytest
from make_run import make_run, put_job, put_record
from yolo.results import merge
from yolo.share import clocks, fsio
from yolo.share.records import JobReport

HOUR = 3600.0
JOB = JobReport("s001", "c00000", "execute1", "slot1_1", 1, 1, 1000.0, 1010.0, {"start": 1.0}, 4, clock_ahead=0.0)


def job(host, start, end, ahead=0.0, jump=0.0):
    """A job that ran from start to end by the share's clock, on a host whose clock is ahead of it."""
    return replace(JOB, host=host, start=start + ahead, end=end + ahead, clock_ahead=ahead, clock_jump=jump)


def span(jobs):
    return min(j.start for j in jobs), max(j.end for j in jobs)


def test_clocks_that_agree_say_nothing():
    found = clocks.align([job("execute1", 100, 110, 0.02), job("execute2", 101, 111, -0.3)])
    assert (found.notes, found.reference) == ([], "share")
    assert span(found.jobs) == (100, 111)
    assert found.ahead == {"execute1": 0.02, "execute2": -0.3}


@pytest.mark.parametrize(("ahead", "words"), [(HOUR, "3600 s ahead of"), (-HOUR, "3600 s behind")])
def test_a_host_that_disagrees_is_named_and_put_right(ahead, words):
    found = clocks.align([job("execute1", 100, 109), job("execute2", 101, 111, ahead)])
    assert span(found.jobs) == (100, 111)
    (note,) = found.notes
    assert f"the clock of execute2 is {words} the share's" in note
    assert "timedatectl" in note


def test_all_hosts_may_be_ahead_of_the_share():
    found = clocks.align([job("execute1", 100, 109, HOUR), job("execute2", 101, 111, HOUR)])
    assert span(found.jobs) == (100, 111)
    assert len(found.notes) == 2


def test_a_host_whose_clock_jumped_between_its_jobs():
    found = clocks.align([job("execute1", 100, 105), job("execute1", 105, 110, HOUR), job("execute2", 100, 110)])
    assert found.reference == "share"
    assert span(found.jobs) == (100, 110)
    (note,) = found.notes
    assert "the clock of execute1 jumped by 3600 s" in note


def test_a_clock_that_jumped_while_a_job_ran():
    found = clocks.align([job("execute1", 100, 110, jump=-HOUR)])
    assert span(found.jobs) == (100, 110)
    assert "the clock of execute1 jumped by 3600 s" in found.notes[0]


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_where_the_shares_own_clock_jumped_the_hosts_agree(jump):
    early = [job("execute1", 100, 105), job("execute2", 100, 105)]
    # By the share's clock they begin an hour later or earlier; by their own they follow at once.
    late = [replace(JOB, host=f"execute{n}", start=105.0, end=110.0, clock_ahead=-jump) for n in (1, 2)]
    found = clocks.align([*early, *late])
    assert found.reference == "hosts"
    assert span(found.jobs) == (100, 110)
    assert len(found.notes) == 2


def test_jobs_that_do_not_say_it_stay_as_they_are():
    jobs = [replace(JOB, clock_ahead=None), job("execute2", 1, 2, HOUR)]
    found = clocks.align(jobs)
    assert (found.jobs, found.notes, found.ahead) == (jobs, [], {})
    assert clocks.align([]).jobs == []


def test_the_shares_clock_is_the_date_of_a_file(tmp_path):
    path = tmp_path / "x"

    def write():
        path.write_text("")
        os.utime(path, (5000, 5000))

    share, host = clocks.share_clock(write, path)
    assert share == 5000
    assert abs(host - time.time()) < 5


def test_the_figures_of_a_pass_are_by_the_clock_that_agrees(tmp_path):
    run, entries = make_run(tmp_path, ["a.jpg", "b.jpg"])
    run_pass = run.get_pass("parallel")
    put_record(run_pass, entries[0])
    put_record(run_pass, entries[1], job="s001-c00001", host="execute2")
    put_job(run_pass, start=1000.0, end=1008.0, clock_ahead=0.0)
    put_job(run_pass, chunk="c00001", host="execute2", start=4601.0, end=4610.0, clock_ahead=3600.0)
    merge.merge(run, "parallel", submitted=999.0)
    metrics = fsio.read_json(run_pass.metrics_json)
    times = metrics["times"]
    assert (times["wall_seconds"], times["submit_to_start_seconds"], times["idle_seconds"]) == (10.0, 1.0, 3.0)
    assert metrics["images_per_second"] == 0.2
    assert "execute2" in metrics["notes"][0]
    assert metrics["clocks"] == {"reference": "share", "ahead_seconds": {"execute1": 0.0, "execute2": 3600.0}}
