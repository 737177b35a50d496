from make_run import put_progress
from yolo.pool.heartbeats import Heartbeats
from yolo.share.layout import Pass


def test_heartbeats_of_jobs_that_are_through_are_read_once(tmp_path):
    run_pass = Pass(tmp_path)
    put_progress(run_pass, "c00000", 2, 2, failed=1)
    put_progress(run_pass, "c00001", 1, 2)
    beats = Heartbeats(run_pass, "s001")
    assert (beats.read(4).done, beats.read(4).failed) == (3, 1)
    # What is through does not move any more; what is not is read again.
    put_progress(run_pass, "c00000", 0, 2)
    put_progress(run_pass, "c00001", 2, 2)
    assert (beats.read(4).done, beats.read(4).failed) == (4, 1)
    assert beats.read(3).done == 3


def test_before_the_first_job_there_are_none(tmp_path):
    assert Heartbeats(Pass(tmp_path), "s001").read(4).done == 0
