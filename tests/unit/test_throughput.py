import pytest
from make_run import SETTINGS, make_run, put_job
from yolo.pool import throughput
from yolo.pool.throughput import DEFAULT, Throughput
from yolo.share import fsio


def report(run_pass, chunk, start, end, images, loading=1.0, slot="slot1_1"):
    return put_job(
        run_pass, chunk=chunk, start=start, end=end, images=images, slot=slot, seconds={"start": loading, "infer": 1.0}
    )


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path, ["a.jpg"])[0]


def test_the_rate_is_of_one_slot_at_work_and_the_start_holds_the_gap_before_it(run):
    run_pass = run.get_pass("parallel")
    jobs = [
        report(run_pass, "c00000", 100.0, 111.0, 20),
        report(run_pass, "c00001", 100.0, 111.0, 20, slot="slot1_2"),
        report(run_pass, "c00002", 111.5, 122.5, 20),
        report(run_pass, "c00003", 111.5, 122.5, 20, slot="slot1_2"),
    ]
    assert throughput.measure(jobs, "r1") == Throughput(2.0, 1.5, 80, "r1")


def test_a_job_that_found_its_images_done_does_not_count_for_many(run):
    run_pass = run.get_pass("parallel")
    jobs = [
        report(run_pass, "c00000", 0.0, 51.0, 100),
        report(run_pass, "c00001", 0.0, 52.0, 100, slot="slot1_2"),
        report(run_pass, "c00002", 60.0, 61.001, 90),
    ]
    assert throughput.measure(jobs, "r1").images_per_second == 2.0


def test_jobs_that_say_nothing_have_no_throughput(run):
    run_pass = run.get_pass("parallel")
    assert throughput.measure([], "r1") is None
    assert throughput.measure([report(run_pass, "c00000", 5.0, 5.0, 3)], "r1") is None
    assert throughput.measure([report(run_pass, "c00000", 5.0, 9.0, 0)], "r1") is None
    assert throughput.measure([report(run_pass, "c00000", 5.0, 9.0, 3, loading=0.0)], "r1") is None


def test_figures_that_can_not_be_are_kept_in_bounds(run):
    found = throughput.measure([report(run.get_pass("parallel"), "c00000", 0.0, 5000.0, 1, loading=4999.9999)], "r1")
    assert found.start_seconds == 600.0
    assert found.images_per_second == 1e4


def test_the_newest_pass_is_remembered_for_its_own_settings_only(run):
    run_pass = run.get_pass("parallel")
    assert throughput.recall(run, SETTINGS) == DEFAULT
    throughput.remember(run, SETTINGS, [report(run_pass, "c00000", 0.0, 11.0, 20)])
    assert throughput.recall(run, SETTINGS) == Throughput(2.0, 1.0, 20, "r1")
    throughput.remember(run, SETTINGS, [report(run_pass, "c00000", 0.0, 6.0, 20)])
    assert throughput.recall(run, SETTINGS) == Throughput(4.0, 1.0, 20, "r1")
    for name, value in (("weights_id", "f" * 16), ("engine", "torch"), ("imgsz", 320), ("threads", 2)):
        assert throughput.recall(run, {**SETTINGS, name: value}) == DEFAULT, name
    assert throughput.recall(run, {**SETTINGS, "conf": 0.9}) == Throughput(4.0, 1.0, 20, "r1")


def test_a_few_images_do_not_replace_what_many_showed(run):
    run_pass = run.get_pass("parallel")
    few = [report(run_pass, "c00000", 0.0, 11.0, 1)]
    throughput.remember(run, SETTINGS, few)
    assert throughput.recall(run, SETTINGS).images == 1, "better than nothing"
    throughput.remember(run, SETTINGS, [report(run_pass, "c00000", 0.0, 11.0, 20)])
    throughput.remember(run, SETTINGS, few)
    assert throughput.recall(run, SETTINGS).images == 20


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"images_per_second": 0, "start_seconds": 1, "images": 1, "run_id": "r"}',
        '{"images_per_second": "fast", "start_seconds": 1, "images": 1, "run_id": "r"}',
        '{"images_per_second": NaN, "start_seconds": 1, "images": 1, "run_id": "r"}',
    ],
)
def test_a_damaged_file_counts_as_none(run, text):
    fsio.write_text(throughput.throughput_file(run, SETTINGS), text)
    assert throughput.recall(run, SETTINGS) == DEFAULT


def test_settings_that_name_no_weights_have_no_throughput(run):
    throughput.remember(run, {}, [report(run.get_pass("parallel"), "c00000", 0.0, 11.0, 20)])
    assert throughput.recall(run, {}) == DEFAULT
