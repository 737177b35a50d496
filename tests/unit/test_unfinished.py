import csv

import pytest
from make_run import make_run, put_record
from yolo.pool import plan
from yolo.results import merge, unfinished
from yolo.share import fsio
from yolo.share.chunks import write_chunks
from yolo.share.errors import YoloError


def test_what_a_job_left_undone_is_a_named_failure(tmp_path):
    run, entries = make_run(tmp_path, [f"{i}.jpg" for i in range(6)])
    plan.plan_submission(run, "parallel", slots=2, chunk_size=2)
    run_pass = run.get_pass("parallel")
    # The job of the first chunk is whole; that of the second did one image before it was held.
    for item, chunk in ((entries[0], "c00000"), (entries[1], "c00000"), (entries[2], "c00001")):
        put_record(run_pass, item, job=f"s001-{chunk}")
    reason, failed = "its job was held: someone held it", "its job ended with exit code 2"
    jobs = {"s001-c00001": reason, "s001-c00002": failed, "s001-c00003": failed}
    merged = merge.merge(run, "parallel", unfinished_jobs=jobs)
    assert merged.missing_error() is None
    assert merged.unfinished == 3
    metrics = fsio.read_json(run_pass.metrics_json)
    with open(run_pass.metrics_csv, newline="") as file:
        rows = list(csv.DictReader(file))
    assert metrics["counts"] | {"ok": 3, "failed": 3, "missing": 0} == metrics["counts"]
    expected = [("3.jpg", reason), ("4.jpg", failed), ("5.jpg", failed)]
    assert [(item["path"], item["reason"]) for item in metrics["failures"]] == expected
    assert [(row["path"], row["error"]) for row in rows if row["status"] == "failed"] == expected
    # They are what the next submission does.
    assert plan.plan_submission(run, "parallel", slots=2).images == 3


@pytest.mark.parametrize("text", ["", "[]", '{"s001-c00001": 1}'])
def test_what_does_not_say_which_jobs_are_unfinished(text):
    with pytest.raises(YoloError, match="can't read which jobs are unfinished"):
        unfinished.parse(text)


def test_a_chunk_that_is_damaged_or_absent_is_named(tmp_path):
    run_pass = make_run(tmp_path, ["a.jpg"])[0].get_pass("parallel")
    with pytest.raises(YoloError, match="no such submission"):
        unfinished.reasons_by_key(run_pass, {"s001-c00000": "x"})
    run_pass.submission_dir("s001").mkdir(parents=True)
    write_chunks(run_pass.submission_dir("s001"), [b"{\n"], [1])
    with pytest.raises(YoloError, match="no such chunk c00007"):
        unfinished.reasons_by_key(run_pass, {"s001-c00007": "x"})
    with pytest.raises(YoloError, match="chunk c00000 is damaged"):
        unfinished.reasons_by_key(run_pass, {"s001-c00000": "x"})
