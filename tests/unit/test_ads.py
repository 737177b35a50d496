import json

import pytest
from make_ads import JOB, held, job
from yolo.pool import ads
from yolo.share.errors import YoloError


@pytest.mark.parametrize("text", ["", " \n", "[]", "[\n]\n", "[ ]\n[ ]"])
def test_no_jobs_are_printed_in_several_ways(text):
    assert ads.parse_ads(text) == []


def test_lists_of_several_schedds_are_one():
    text = f"[\n{json.dumps(JOB)}\n]\n\n[\n{json.dumps(JOB)},\n{json.dumps(JOB)}\n]\n"
    assert len(ads.parse_ads(text)) == 3


def test_what_is_no_json_is_shown():
    with pytest.raises(YoloError, match=r"can't read HTCondor's output.*-- Failed to fetch ads"):
        ads.parse_ads("-- Failed to fetch ads from: <10.0.0.2:9618>")


def test_a_job_in_both_lists_counts_once_as_the_history_says():
    jobs = ads.merge([job(JobStatus=2), job(ProcId=4)], [job(JobStatus=4, ExitCode=0)])
    assert sorted(jobs) == [3, 4]
    assert ads.count(jobs.values()) == ads.Counts(idle=1, completed=1)


def test_an_ad_without_a_proc_is_no_job():
    assert ads.merge([{"ClusterId": 12}], []) == {}


@pytest.mark.parametrize(
    ("status", "field"),
    [
        (1, "idle"),
        (2, "running"),
        (3, "removed"),
        (4, "completed"),
        (5, "held"),
        (6, "running"),
        (7, "running"),
        (None, "idle"),
        (0, "idle"),
    ],
)
def test_every_status_is_counted(status, field):
    assert ads.count([job(JobStatus=status)]) == ads.Counts(**{field: 1})
    assert ads.count([job(JobStatus=status)]).total == 1


def test_a_job_whose_files_are_being_spooled_only_waits():
    assert ads.state(held(16)) == "idle"


@pytest.mark.parametrize(
    ("ad", "expected"),
    [
        (job(JobStatus=4, ExitCode=0, ExitBySignal=False), None),
        (job(JobStatus=4, ExitCode=1, ExitBySignal=False), "ended with exit code 1"),
        (job(JobStatus=4, ExitBySignal=True, ExitSignal=9), "was killed by signal 9"),
        (job(JobStatus=4), "ended without an exit code"),
        (job(JobStatus=4, ExitCode="\\/Expr(undefined)\\/"), "ended without an exit code"),
        (job(JobStatus=2, ExitCode=1), None),
        (job(JobStatus=3), None),
        (held(3, ExitCode=1), None),
    ],
)
def test_only_a_completed_job_fails_by_its_exit(ad, expected):
    assert ads.failed_exit(ad) == expected
