import heapq
import io
import json
import os
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
from make_run import DIGEST, entry, make_run, put_job, put_record, restamp
from yolo.pool import plan
from yolo.pool import throughput as history
from yolo.pool.throughput import DEFAULT, Throughput
from yolo.results import merge
from yolo.share import chunks, fsio, manifest
from yolo.share.chunks import read_chunk, read_chunks
from yolo.share.done import Done
from yolo.share.errors import YoloError
from yolo.share.records import fingerprint, settings_digest
from yolo.share.settings import read_digest, run_at


def paths(count):
    return [f"{number:03d}.jpg" for number in range(count)]


def planned(run_pass, name):
    """Return the paths of each chunk of a submission."""
    names = run_pass.queue(name).read_text().splitlines()
    return [[item.path for item in items] for _, items in read_chunks(run_pass, name, names)]


@pytest.mark.parametrize(
    ("images", "slots", "chunk_size", "expected"),
    [
        (0, 2, None, []),
        (1, 2, None, [1]),
        (1, 100, None, [1]),
        (7, 2, None, [4, 3]),
        (10, 2, None, [5, 5]),
        (10, 64, None, [1] * 10),
        (48, 2, None, [12] * 4),
        (30, 2, None, [8, 8, 7, 7]),
        (400, 2, None, [67, 67, 67, 67, 33, 33, 17, 17, 16, 16]),
        (10, 1, 4, [4, 3, 3]),
        (10, 1, 100, [10]),
        (10, 1, 1, [1] * 10),
        (9, 1, 3, [3, 3, 3]),
        (100, 2, 15, [15, 15, 15, 15, 14, 13, 13]),
    ],
)
def test_sizes_of_chunks(images, slots, chunk_size, expected):
    assert plan.chunk_sizes(images, slots, chunk_size=chunk_size) == expected


PACES = [DEFAULT, Throughput(8.0, 0.5), Throughput(0.3, 4.0), Throughput(1.0, 20.0), Throughput(100.0, 0.2)]


@pytest.mark.parametrize("chunk_size", [None, 1, 64])
@pytest.mark.parametrize("images", [1, 2, 63, 64, 65, 511, 512, 513, 5000, 12345])
@pytest.mark.parametrize("slots", [1, 2, 7, 64])
def test_sizes_add_up_and_never_grow(images, slots, chunk_size):
    for throughput in PACES:
        sizes = plan.chunk_sizes(images, slots, throughput, chunk_size)
        assert sum(sizes) == images
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[-1] >= 1
        assert sizes[0] <= (chunk_size or images)
        assert len(sizes) >= min(images, slots), "a slot gets nothing"


@pytest.mark.parametrize("throughput", PACES)
def test_a_job_lasts_long_enough_to_hide_its_start_and_not_too_long(throughput):
    sizes = plan.chunk_sizes(1_000_000, 8, throughput)
    assert sizes[-1] / throughput.images_per_second >= plan.STARTS_HIDDEN * throughput.start_seconds
    assert sizes[0] / throughput.images_per_second <= plan.LONGEST_SECONDS
    assert sizes[0] <= -(-1_000_000 // (plan.FIRST_SHARE * 8))


def simulate(sizes, speeds, throughput, lost_at=None):
    """Return when the last chunk ends, seconds: idle slots take chunks in order.

    ``speeds`` are those of the slots relative to the throughput. From ``lost_at`` on the first slot is no
    more; after the lease its chunk stands first in the queue, less what is recorded.
    """
    lease = 120.0
    waiting = [(0.0, images) for images in sizes]
    slots = [(0.0, number) for number in range(len(speeds))]
    end = 0.0
    while waiting:
        free, number = heapq.heappop(slots)
        ready = [chunk for chunk in waiting if chunk[0] <= free]
        if not ready:
            heapq.heappush(slots, (min(waiting)[0], number))
            continue
        waiting.remove(ready[0])
        rate = throughput.images_per_second * speeds[number]
        done = free + throughput.start_seconds + ready[0][1] / rate
        if number == 0 and lost_at is not None and done > lost_at:
            recorded = max(lost_at - free - throughput.start_seconds, 0) * rate
            waiting.insert(0, (lost_at + lease, ready[0][1] - recorded))
            continue
        end = max(end, done)
        heapq.heappush(slots, (done, number))
    return end


def equal_sizes(images, slots):
    """Sizes by the rule before this one: four chunks a slot, at most 64 images."""
    return plan._even(images, -(-images // min(max(-(-images // (slots * 4)), 1), 64)))


EQUAL = [1.0] * 8
UNEQUAL = [1.0, 0.6] * 4
ONE_SLOW = [0.35, *[1.0] * 7]


@pytest.mark.parametrize(
    ("images", "speeds", "within"),
    [
        (10_000, EQUAL, 1.12),
        (10_000, UNEQUAL, 1.12),
        (10_000, ONE_SLOW, 1.15),
        (1_000, EQUAL[:2], 1.15),
        (1_000, UNEQUAL[:2], 1.2),
    ],
)
def test_a_pass_ends_near_the_bound_and_before_one_of_equal_chunks(images, speeds, within):
    for throughput in (Throughput(8.0, 2.0), Throughput(3.0, 4.0), Throughput(20.0, 1.0)):
        bound = images / (throughput.images_per_second * sum(speeds)) + throughput.start_seconds
        took = simulate(plan.chunk_sizes(images, len(speeds), throughput), speeds, throughput)
        assert bound <= took <= bound * within
        assert took < simulate(equal_sizes(images, len(speeds)), speeds, throughput)


@pytest.mark.parametrize("part", [0.05, 0.3, 0.6])
def test_a_lost_host_does_not_stretch_the_end(part):
    throughput, images = Throughput(3.0, 4.0), 10_000
    sizes = plan.chunk_sizes(images, 8, throughput)
    lost_at = part * simulate(sizes, EQUAL, throughput)
    rate = throughput.images_per_second
    bound = throughput.start_seconds + (images - (lost_at - throughput.start_seconds) * rate) / (rate * 7)
    took = simulate(sizes, EQUAL, throughput, lost_at)
    assert took <= bound * 1.2
    assert took < simulate(equal_sizes(images, 8), EQUAL, throughput, lost_at)


def test_the_plan_follows_the_throughput_of_earlier_jobs(tmp_path):
    run, _ = make_run(tmp_path, paths(200))
    assert plan.plan_submission(run, "parallel", slots=2, dry_run=True).throughput == DEFAULT
    put_job(run.get_pass("single"), start=0.0, end=51.0, images=100, seconds={"start": 1.0})
    merged = merge.merge(run, "single")
    history.remember(run, merged.settings, merged.jobs)
    made = plan.plan_submission(run, "parallel", slots=2)
    assert made.throughput == Throughput(2.0, 1.0, 100, "r1")
    assert [len(chunk) for chunk in planned(run.get_pass("parallel"), made.submission)] == plan.chunk_sizes(
        200, 2, made.throughput
    )
    fsio.write_json(run.settings, {**fsio.read_json(run.settings), "save_images": False})
    assert plan.plan_submission(run, "parallel", slots=2).throughput == DEFAULT, "drawing nothing is another throughput"


@pytest.mark.parametrize(("slots", "size"), [(0, None), (-1, None), (1, 0), (1, -5)])
def test_numbers_out_of_range_are_refused(slots, size):
    with pytest.raises(YoloError, match="expected a number above 0"):
        plan.chunk_sizes(10, slots, chunk_size=size)


def test_a_first_plan_holds_every_image_once_and_no_skipped_file(tmp_path):
    run, entries = make_run(tmp_path, paths(10), skipped=("003.jpg",))
    made = plan.plan_submission(run, "parallel", slots=1, chunk_size=4)
    run_pass = run.get_pass("parallel")
    assert made == plan.Submission("s001", 3, 9, 0, 0, 1, str(run_pass.queue("s001")))
    chunks = planned(run_pass, "s001")
    assert [len(chunk) for chunk in chunks] == [3, 3, 3]
    assert list(chain(*chunks)) == [e.path for e in entries if e.path != "003.jpg"]
    assert read_chunk(run_pass, "s001", "c00001")[0] == entries[4]


def test_a_dry_run_counts_and_writes_nothing(tmp_path):
    run, _ = make_run(tmp_path, paths(10), skipped=("003.jpg",))
    before = sorted(tmp_path.rglob("*"))
    made = plan.plan_submission(run, "parallel", slots=1, chunk_size=4, dry_run=True)
    assert made == plan.Submission(None, 3, 9, 0, 0, 1)
    assert plan.plan_submission(run, "single", 1, single_chunk=True, dry_run=True).images == 9
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_of_a_run_without_settings_has_all_to_do(tmp_path):
    run, _ = make_run(tmp_path, paths(3))
    run.settings.unlink()
    assert plan.plan_submission(run, "parallel", slots=1, dry_run=True).images == 3
    with pytest.raises(FileNotFoundError):
        plan.plan_submission(run, "parallel", slots=1)


def test_the_queue_lists_the_chunks_in_order_and_there_is_no_file_for_each(tmp_path, monkeypatch):
    make_run(tmp_path / "share", paths(20))
    monkeypatch.chdir(tmp_path)
    plan.plan_submission(run_at(Path("share/runs/r1")), "single", 1, chunk_size=1)
    root = tmp_path / "share" / "runs" / "r1" / "single" / "chunks" / "s001"
    assert (root / "queue.txt").read_text().splitlines() == [f"c{number:05d}" for number in range(20)]
    assert sorted(os.listdir(root)) == ["chunks.index", "chunks.jsonl", "queue.txt", "submission.json"]


def test_folders_that_jobs_write_to_are_there(tmp_path):
    run, _ = make_run(tmp_path, paths(1))
    plan.plan_submission(run, "parallel", 1)
    run_pass = run.get_pass("parallel")
    for folder in (run_pass.logs_dir, run_pass.progress_dir, run_pass.records_dir):
        assert folder.is_dir()


def test_a_single_chunk_holds_all(tmp_path):
    run, _ = make_run(tmp_path, paths(200))
    assert plan.plan_submission(run, "single", slots=8, single_chunk=True).chunks == 1


def test_only_what_is_missing_or_failed_is_planned_again(tmp_path):
    run, entries = make_run(tmp_path, paths(6), skipped=("005.jpg",))
    run_pass = run.get_pass("parallel")
    put_record(run_pass, entries[0])
    put_record(run_pass, entries[1], error="truncated", detections=())
    made = plan.plan_submission(run, "parallel", 1)
    assert (made.images, made.done_before, made.failed_before, made.skipped) == (4, 1, 1, 1)
    assert list(chain(*planned(run_pass, "s001"))) == ["001.jpg", "002.jpg", "003.jpg", "004.jpg"]


def test_a_record_of_another_file_or_other_settings_does_not_count(tmp_path):
    run, entries = make_run(tmp_path, paths(5))
    run_pass = run.get_pass("parallel")
    put_record(run_pass, entries[0], size=99)
    put_record(run_pass, entries[1], mtime_ns=1)
    put_record(run_pass, entries[2], settings_digest="0" * 16)
    put_record(run_pass, entries[3])
    put_record(run_pass, entries[4], error="truncated", mtime_ns=1)
    made = plan.plan_submission(run, "parallel", 1)
    assert (made.images, made.done_before, made.failed_before) == (4, 1, 0)


def test_a_record_of_other_content_does_not_count(tmp_path):
    run, entries = make_run(tmp_path, paths(4))
    run_pass = run.get_pass("parallel")
    one, other = "1f" * 16, "2f" * 16
    known = [replace(item, content=one if item.index < 3 else None) for item in entries]
    manifest.write(tuple(known), run.manifest)
    restamp(run)
    # The same size and date, but another content; the same content under another date; content not known of one side.
    put_record(run_pass, entries[0], content=other)
    put_record(run_pass, entries[1], content=one, mtime_ns=7)
    put_record(run_pass, entries[2])
    put_record(run_pass, entries[3], content=other)
    made = plan.plan_submission(run, "parallel", 1)
    assert (made.images, made.done_before) == (1, 3)
    assert list(chain(*planned(run_pass, "s001"))) == ["000.jpg"]


@pytest.mark.parametrize("left", [b"", b"another run's line\n"])
def test_a_manifest_that_lost_its_lines_is_not_planned(tmp_path, left):
    run, _ = make_run(tmp_path, paths(2))
    run.manifest.write_bytes(left)
    with pytest.raises(YoloError, match="not the one that was sent"):
        plan.plan_submission(run, "parallel", 1)
    assert not run.get_pass("parallel").chunks.exists()


def test_other_settings_plan_everything_again(tmp_path):
    run, entries = make_run(tmp_path, paths(2))
    for item in entries:
        put_record(run.get_pass("parallel"), item)
    assert plan.plan_submission(run, "parallel", 1).chunks == 0
    fsio.write_json(run.settings, {**fsio.read_json(run.settings), "conf": 0.5})
    assert plan.plan_submission(run, "parallel", 1).images == 2


@pytest.mark.parametrize("junk", [b"", b"{", b"[]", b'{"key": 1}', b"\xff"])
def test_a_damaged_record_counts_as_none(tmp_path, junk):
    run, entries = make_run(tmp_path, paths(2))
    run_pass = run.get_pass("parallel")
    put_record(run_pass, entries[0])
    with open(run_pass.records("s001", "c00000", 1), "ab") as journal:
        journal.write(junk + b"\n")
    assert plan.plan_submission(run, "parallel", 1).images == 1


@pytest.mark.parametrize("name", [".tmp-123456789012", "s001-c00000-1.jsonl~", "s001-c00000.jsonl"])
def test_what_is_no_journal_is_not_read(tmp_path, name):
    run, entries = make_run(tmp_path, paths(2))
    run_pass = run.get_pass("parallel")
    put_record(run_pass, entries[0])
    path = run_pass.records("s001", "c00000", 1)
    path.rename(path.with_name(name))
    assert plan.plan_submission(run, "parallel", 1).images == 2


def test_results_that_other_settings_replaced_are_planned_again(tmp_path):
    run, entries = make_run(tmp_path, paths(2))
    run_pass = run.get_pass("parallel")
    put_record(run_pass, entries[0])
    put_record(run_pass, entries[1])
    put_record(run_pass, entries[0], job="s002-c00000", settings_digest="0" * 16)
    made = plan.plan_submission(run, "parallel", 1)
    assert list(chain(*planned(run_pass, made.submission))) == ["000.jpg"]


def test_legs_do_not_see_each_others_records(tmp_path):
    run, entries = make_run(tmp_path, paths(1))
    put_record(run.get_pass("single"), entries[0])
    assert plan.plan_submission(run, "parallel", 1).images == 1


def test_a_float_pass_counts_its_own_records_alone(tmp_path):
    run, entries = make_run(tmp_path, ["a.jpg", "b.jpg", "c.jpg"])
    settings = fsio.read_json(run.settings)
    int8 = str(Path(settings["model_dir"]).with_name("int8-1"))
    fsio.write_json(run.settings, settings | {"precision": "int8", "model_dir": int8})
    in_float = read_digest(run, "float")
    for item in entries[:2]:
        put_record(run.get_pass("float"), item, settings_digest=in_float)
    # By other settings, the quantised model's.
    put_record(run.get_pass("float"), entries[2], settings_digest=read_digest(run, "parallel"))
    assert plan.plan_submission(run, "float", 2).images == 1
    # The digest of float runs is as of old: a float pass over images that are not drawn.
    drawn = settings | {"save_images": False}
    assert in_float == settings_digest(drawn)


def test_nothing_to_do_makes_no_submission(tmp_path):
    run, entries = make_run(tmp_path, paths(1))
    put_record(run.get_pass("parallel"), entries[0])
    made = plan.plan_submission(run, "parallel", 2)
    assert (made.submission, made.chunks, made.images, made.done_before) == (None, 0, 0, 1)
    assert not (run.get_pass("parallel").chunks).exists()


def test_plans_are_numbered_and_none_is_written_over(tmp_path):
    run, _ = make_run(tmp_path, paths(2))
    run_pass = run.get_pass("parallel")
    assert plan.last_submission(run_pass) is None
    assert plan.plan_submission(run, "parallel", 1).submission == "s001"
    (run_pass.chunks / "s1000").mkdir()
    (run_pass.chunks / "sxyz").mkdir()
    (run_pass.chunks / ".tmp-dead").mkdir()
    assert plan.plan_submission(run, "parallel", 1).submission == "s1001"
    assert plan.last_submission(run_pass) == "s1001"


def test_a_plan_made_meanwhile_is_not_written_over(tmp_path, monkeypatch):
    run, _ = make_run(tmp_path, paths(2))
    run_pass = run.get_pass("parallel")
    plan.plan_submission(run, "parallel", 1)
    monkeypatch.setattr(plan, "_last_submission", lambda run_pass: 0)
    before = run_pass.queue("s001").read_text()
    made = plan.plan_submission(run, "parallel", 1)
    assert made.submission == "s002"
    assert run_pass.queue("s001").read_text() == before
    assert planned(run_pass, "s002") == planned(run_pass, "s001")
    assert fsio.read_json(run_pass.submission_summary("s002"))["submission"] == "s002"


def test_a_plan_that_could_not_be_written_leaves_nothing(tmp_path, monkeypatch):
    run, _ = make_run(tmp_path, paths(2))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(plan, "write_chunks", full)
    with pytest.raises(OSError, match="No space"):
        plan.plan_submission(run, "parallel", 1)
    assert os.listdir(run.get_pass("parallel").chunks) == []


def test_a_chunk_that_is_refused_when_it_is_closed_leaves_nothing(tmp_path, monkeypatch):
    run, _ = make_run(tmp_path, paths(40))

    class Full(io.BytesIO):
        def close(self):
            raise OSError(28, "No space left on device")

    def opened(path, mode="r"):
        return Full() if str(path).endswith("chunks.jsonl") else open(path, mode)

    monkeypatch.setattr(chunks, "open", opened, raising=False)
    with pytest.raises(OSError, match="No space"):
        plan.plan_submission(run, "parallel", slots=2, chunk_size=1)
    assert os.listdir(run.get_pass("parallel").chunks) == []


def test_any_name_survives_planning(tmp_path):
    names = ["a\nb.jpg", b"caf\xe9.jpg".decode("utf-8", "surrogateescape"), 'q".jpg', "ü 歩.jpg"]
    run, _ = make_run(tmp_path, names)
    plan.plan_submission(run, "parallel", 1, chunk_size=1)
    assert list(chain(*planned(run.get_pass("parallel"), "s001"))) == names


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"key":"zz","skip":null}', '{"key":7}'])
def test_a_damaged_manifest_is_named_with_its_line(tmp_path, line):
    run, entries = make_run(tmp_path, paths(1))
    run.manifest.write_text(f"{entries[0].to_json()}\n{line}\n")
    restamp(run)
    with pytest.raises(YoloError, match=r"manifest\.jsonl line 2"):
        plan.plan_submission(run, "parallel", 1)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"conf":"high"}'])
def test_damaged_settings_are_named(tmp_path, text):
    run, _ = make_run(tmp_path, paths(1))
    run.settings.write_text(text)
    with pytest.raises(YoloError, match=r"run\.json"):
        plan.plan_submission(run, "parallel", 1)


def test_states_follow_the_lines_of_the_manifest(tmp_path):
    items = [replace(entry(i, p), key=f"{i:016x}") for i, p in enumerate(paths(3))]
    manifest.write(tuple(items), tmp_path / "m")
    done = Done({bytes.fromhex(items[1].key): fingerprint(items[1].size, items[1].mtime_ns, None)}, {})
    assert list(plan.classify(tmp_path / "m", done)) == [plan._TODO, plan._DONE, plan._TODO]
    assert DIGEST


@pytest.mark.parametrize("skip", [None, "empty", 'odd "reason" \\'])
@pytest.mark.parametrize("path", ["a.jpg", 'q".jpg', "b\\", '\\"', "ü\n\udce9", '","skip":null}', ""])
@pytest.mark.parametrize("content", [None, "0f" * 16])
@pytest.mark.parametrize("image", [None, 'a".heic.jpg'])
def test_the_fast_way_to_read_a_line_reads_what_json_reads(path, skip, content, image):
    line = replace(entry(3, path, skip=skip), mtime_ns=-5, content=content, image=image).to_json().encode() + b"\n"
    assert plan._LINE.fullmatch(line)
    expected = (bytes.fromhex(entry(3, path).key), fingerprint(100, -5, content), skip is not None)
    assert plan.parse_line(line) == expected
    spaced = json.dumps(json.loads(line)).encode()
    assert not plan._LINE.fullmatch(spaced)
    assert plan.parse_line(spaced) == expected
