from dataclasses import replace

import pytest
from make_run import make_run, put_job, put_record
from yolo.results import compare, differences, merge
from yolo.share import fsio, manifest
from yolo.share.errors import YoloError
from yolo.share.records import Detection, Record

BOX = (1.0, 2.0, 3.0, 4.0)
RECORD = Record("k", "a.jpg", 1, 1, "d", 10, 20, (Detection(0, 0.5, BOX), Detection(1, 0.4, BOX)))


@pytest.fixture
def run(tmp_path):
    """A run of four images, done on one slot in 20 s and on two slots in 12.5 s."""
    run, entries = make_run(tmp_path, [f"{i}.jpg" for i in range(4)])
    for run_pass in (run.get_pass("single"), run.get_pass("parallel")):
        for item in entries:
            put_record(run_pass, item)
    put_job(run.get_pass("single"), start=1000, end=1020)
    put_job(run.get_pass("parallel"), chunk="c00000", start=2000, end=2012.5)
    put_job(run.get_pass("parallel"), chunk="c00001", start=2001, end=2011, host="execute2")
    for name in ("single", "parallel"):
        merge.merge(run, name)
    return run


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"detections": RECORD.detections[:1]}, "detection"),
        ({"detections": (*RECORD.detections, Detection(1, 0.3, BOX))}, "detection"),
        ({"detections": RECORD.detections[::-1]}, "detection"),
        ({"detections": ()}, "detection"),
        ({"detections": (Detection(1, 0.5, BOX), RECORD.detections[1])}, "detection"),
        ({"detections": (Detection(0, 0.5 + 1e-12, BOX), RECORD.detections[1])}, "detection"),
        (
            {"detections": (Detection(0, 0.5, (1.0, 2.0, 3.0, 4.0 + 1e-12)), RECORD.detections[1])},
            "detection",
        ),
        ({"width": 11}, "size"),
        ({"error": "truncated", "detections": ()}, "failure"),
    ],
)
def test_the_smallest_difference_is_seen_from_both_sides(change, what):
    other = replace(RECORD, **change)
    assert differences.difference(RECORD, other)[0] == what
    assert differences.difference(other, RECORD)[0] == what


def test_where_and_how_fast_an_image_was_done_does_not_count():
    other = replace(RECORD, host="h", slot="s", job="j", times={"read_ms": 9.0})
    assert differences.difference(RECORD, other) is None


def test_two_failures_are_equal_whatever_their_words():
    first = replace(RECORD, error="truncated", detections=())
    second = replace(RECORD, error="truncated at byte 5", detections=())
    assert differences.difference(first, second) is None


def test_no_result_is_never_equal():
    assert differences.difference(None, None)[0] == "no result"
    assert differences.difference(RECORD, None) == ("no result", True, False)


def test_equal_passes(run):
    found = compare.compare(run)
    assert found["identical"] is True
    assert found["differences"] == []
    assert found["speed_up"] == 1.6
    assert found["slots"] == 2
    assert found["efficiency"] == 0.8
    assert found["comparable"] is True
    assert found["single"]["wall_seconds"] == 20
    assert found["parallel"]["images_per_second"] == 0.32
    assert fsio.read_json(run.compare) == found


def test_the_number_of_slots_may_be_given(run):
    assert compare.compare(run, 4)["efficiency"] == 0.4


def test_no_slots_are_refused(run):
    with pytest.raises(YoloError, match="no slots to compare by: 0"):
        compare.compare(run, 0)


def test_passes_that_differ_show_where(run):
    item = next(manifest.read(run.manifest))
    put_record(run.get_pass("parallel"), item, detections=())
    found = compare.compare(run)
    assert found["identical"] is False
    assert found["images_that_differ"] == 1
    assert found["differences"] == [
        {
            "path": "0.jpg",
            "what": "detection",
            "single": [1, 0.912345678, 10.0, 20.0, 110.5, 220.25],
            "parallel": None,
        }
    ]


def test_at_most_twenty_differences_are_shown(tmp_path):
    run, entries = make_run(tmp_path, [f"{i}.jpg" for i in range(30)])
    for item in entries:
        put_record(run.get_pass("single"), item)
    found = differences.find_differences(run, run.get_pass("single"), run.get_pass("parallel"))
    assert (found.count, len(found.examples)) == (30, 20)


def test_a_pass_that_only_did_the_rest_is_not_comparable(run):
    item = next(manifest.read(run.manifest))
    put_record(run.get_pass("parallel"), item, job="s002-c00000")
    put_job(run.get_pass("parallel"), "s002", start=3000, end=3001)
    merge.merge(run, "parallel")
    found = compare.compare(run)
    assert found["comparable"] is False
    assert found["identical"] is True


def test_passes_without_times_have_no_speed_up(tmp_path):
    run, _ = make_run(tmp_path, ["a.jpg"])
    for name in ("single", "parallel"):
        merge.merge(run, name)
    found = compare.compare(run)
    assert (found["speed_up"], found["efficiency"], found["identical"]) == (None, None, False)


def test_a_pass_that_was_not_merged_is_named(tmp_path):
    run, _ = make_run(tmp_path, ["a.jpg"])
    merge.merge(run, "single")
    with pytest.raises(YoloError, match="the parallel pass was not merged"):
        compare.compare(run)


def test_damaged_figures_are_named(run):
    run.get_pass("single").metrics_json.write_text("{}")
    with pytest.raises(YoloError, match="the single pass's figures are damaged"):
        compare.compare(run)


def test_hosts_of_one_processor_are_set_against_the_single_pass(run):
    host = compare.compare(run, slots=2, cpus={"execute1": 1, "execute2": 1})["host"]
    assert host["basis"] == "single pass"
    assert host["hosts"] == 2
    assert (host["images_per_second"], host["speed_up"], host["efficiency"]) == (0.2, 1.6, 0.8)


def test_a_host_of_the_pool_that_did_nothing_counts(run):
    host = compare.compare(run, slots=4, cpus={f"execute{i}": 1 for i in (1, 2, 3, 4)})["host"]
    assert (host["hosts"], host["efficiency"]) == (4, 0.4)


def test_hosts_of_more_processors_are_measured_in_the_parallel_pass(run):
    run_pass = run.get_pass("parallel")
    put_job(run_pass, chunk="c00002", slot="slot1_2", start=2000, end=2010)
    put_job(run_pass, chunk="c00003", slot="slot1_2", start=2000, end=2012.5, host="execute2")
    merge.merge(run, "parallel")
    host = compare.compare(run, slots=4, cpus={"execute1": 2, "execute2": 2})["host"]
    assert host["basis"] == "parallel pass"
    assert [(row["slots"], row["used_cpus"], row["images"], row["seconds"]) for row in host["by_host"]] == [
        (2, 2, 8, 12.5), (2, 2, 8, 12.5),
    ]  # fmt: skip
    assert host["images_per_second"] == 0.64
    # The pass's images/s are of its records: four, in this pretended run.
    assert host["speed_up"] == 0.5


@pytest.mark.parametrize(
    ("cpus", "why"),
    [(None, "was not given"), ({"execute1": 2, "execute2": 2}, "did not use all processors of execute1, execute2")],
)
def test_no_figure_is_invented_for_a_whole_host(run, cpus, why):
    host = compare.compare(run, cpus=cpus)["host"]
    assert (host["basis"], host["images_per_second"], host["speed_up"], host["efficiency"]) == (None,) * 4
    assert why in host["why"]


def test_what_is_predicted_follows_from_the_two_passes(run):
    found = compare.compare(run, slots=2, cpus={"execute1": 1, "execute2": 1})["amdahl"]
    assert found["points"] == [{"slots": 1, "speed_up": 1.0}, {"slots": 2, "speed_up": 1.6}]
    assert found["serial_fraction"] == 0.25
    assert [row["hosts"] for row in found["predictions"]] == [4, 8, 16, 64]
    assert all(row["prediction"] for row in found["predictions"])
    # 0.2 images/s on one slot, and four images at most keep four slots busy.
    assert [row["images_per_second"] for row in found["predictions"]] == [0.457] * 4


def test_fixed_costs_are_in_the_prediction(run):
    merge.merge(run, "parallel", submitted=1990, stage_seconds=20)
    found = compare.compare(run, slots=2)["amdahl"]
    fixed = found["fixed_seconds"]
    assert (fixed["stage"], fixed["submit_to_start"]) == (20, 10)
    assert fixed["sum"] == pytest.approx(30 + fixed["merge"])
    # Four images in 8.75 s of work.
    assert found["predictions"][0]["whole_run_images_per_second"] == pytest.approx(4 / (fixed["sum"] + 8.75), abs=1e-3)


def test_nothing_is_predicted_from_passes_that_do_not_compare(run):
    put_job(run.get_pass("parallel"), "s002", start=3000, end=3001)
    merge.merge(run, "parallel")
    found = compare.compare(run)["amdahl"]
    assert (found["predictions"], found["why"]) == ([], "the passes did not do the same images")
