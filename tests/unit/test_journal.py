import os
import time
from dataclasses import replace

import pytest
from make_run import entry, make_run, put_job, put_record
from yolo.share import attempt as attempts
from yolo.share import journal
from yolo.share.attempt import Attempt
from yolo.share.journal import Journals, journals, read_records, read_reports
from yolo.share.layout import Pass
from yolo.share.records import JobReport, Record


def record(index: int, **changes: object) -> Record:
    item = entry(index, f"{index}.jpg")
    return Record(**{"key": item.key, "path": item.path, "size": 1, "mtime_ns": 2, "settings_digest": "d"} | changes)


def keys(*indices: int) -> list[str]:
    return [record(index).key for index in indices]


def test_what_is_added_is_read_back(tmp_path):
    run_pass = Pass(tmp_path)
    with Attempt(run_pass, "s001", "c00000") as attempt:
        attempt.flush_seconds = 0.0
        attempt.add(record(0))
        attempt.add(record(1, path="\udce9\n\u2028.jpg"))
        # While the job is at work, too.
        assert list(read_records(run_pass, keys(1, 2, 0))) == [record(1, path="\udce9\n\u2028.jpg"), None, record(0)]


def test_an_attempt_that_does_nothing_leaves_nothing(tmp_path):
    with Attempt(Pass(tmp_path), "s001", "c00000"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_each_attempt_has_a_journal_of_its_own_also_at_the_same_time(tmp_path):
    run_pass = Pass(tmp_path)
    lost, second = Attempt(run_pass, "s001", "c00000"), Attempt(run_pass, "s001", "c00000")
    with lost, second:
        second.add(record(0, error="second"))
        lost.add(record(0, error="lost"))
    assert [path.name for path in journals(run_pass)] == ["s001-c00000-1.jsonl", "s001-c00000-2.jsonl"]
    assert Attempt(run_pass, "s001", "c00000").earlier == journals(run_pass)
    assert Attempt(run_pass, "s001", "c00001").earlier == []


@pytest.mark.parametrize(
    "names",
    [
        ("s001-c00009", "s002-c00000"),
        ("s999-c00000", "s1000-c00000"),
        ("s001-c99999", "s001-c100000"),
        ("s001-c00000", "s001-c00000"),
    ],
)
def test_the_newest_record_counts(tmp_path, names):
    run_pass = Pass(tmp_path)
    for error, name in zip(("old", "new"), names, strict=True):
        with Attempt(run_pass, *name.split("-")) as attempt:
            attempt.add(record(0, error=error))
    assert [found.error for found in read_records(run_pass, keys(0))] == ["new"]


def test_the_eleventh_attempt_is_newer_than_the_second(tmp_path):
    run_pass = Pass(tmp_path)
    for number in range(11):
        with Attempt(run_pass, "s001", "c00000") as attempt:
            attempt.add(record(0, error=str(number)))
    assert [found.error for found in read_records(run_pass, keys(0))] == ["10"]


def test_many_records_come_in_the_order_they_are_asked_for(tmp_path):
    run, entries = make_run(tmp_path, [f"{i}.jpg" for i in range(600)])
    run_pass = run.get_pass("parallel")
    for item in entries[::2]:
        put_record(run_pass, item, job=f"s001-c{item.index % 7:05d}")
    found = list(read_records(run_pass, (e.key for e in entries)))
    assert [r and r.path for r in found] == [e.path if e.index % 2 == 0 else None for e in entries]


@pytest.mark.parametrize("end", [1, 30, 150, -2])
def test_a_line_that_is_cut_short_is_no_record(tmp_path, end):
    run_pass = Pass(tmp_path)
    with Attempt(run_pass, "s001", "c00000") as attempt:
        attempt.add(record(0))
        attempt.add(record(1))
    (path,) = journals(run_pass)
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[:end])
    assert list(read_records(run_pass, keys(0, 1))) == [record(0), None]


def test_a_block_of_zeros_is_no_record_and_spoils_no_other(tmp_path):
    run_pass = Pass(tmp_path)
    with Attempt(run_pass, "s001", "c00000") as attempt:
        for index in range(3):
            attempt.add(record(index))
    (path,) = journals(run_pass)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1][:50] + bytes(20) + lines[1][70:]
    path.write_bytes(b"".join(lines))
    assert list(read_records(run_pass, keys(0, 1, 2))) == [record(0), None, record(2)]


def test_the_share_has_the_records_of_a_second_ago(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda file: flushed.append(os.fstat(file).st_size))
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with Attempt(Pass(tmp_path), "s001", "c00000") as attempt:
        for step in (0.0, 0.5, attempts.FLUSH_SECONDS, 0.1):
            clock[0] += step
            attempt.add(record(0))
        line = len(record(0).to_json()) + 1
        assert flushed == [3 * line]
    assert flushed == [3 * line, 4 * line]


def test_no_records_at_all(tmp_path):
    assert journals(Pass(tmp_path)) == []
    assert list(read_records(Pass(tmp_path), keys(0, 1))) == [None, None]


def test_a_journal_that_cannot_be_read_is_an_error(tmp_path):
    run_pass = Pass(tmp_path)
    run_pass.records("s001", "c00000", 1).mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        list(read_records(run_pass, keys(0)))


def test_the_report_is_the_last_line_of_a_journal_and_no_record(tmp_path):
    run_pass = Pass(tmp_path)
    put = put_record(run_pass, entry(0, "a.jpg"))
    first = put_job(run_pass)
    assert list(read_records(run_pass, [put.key])) == [put]
    assert Journals(run_pass).reports == read_reports(run_pass, "s001") == [first]
    assert read_reports(run_pass, "s002") == []
    # Of two attempts that came to their end the newer one counts.
    second = replace(first, host="execute2")
    run_pass.records("s001", "c00000", 2).write_text(second.to_json() + "\n")
    assert Journals(run_pass).reports == [second]


def test_an_attempt_that_finds_nothing_to_do_leaves_the_report_of_an_earlier_one(tmp_path):
    run_pass = Pass(tmp_path)
    put_record(run_pass, entry(0, "a.jpg"))
    report = JobReport("s001", "c00000", "execute1", "slot1_1", 1, 1, 1.0, 2.0, {}, 1)
    for _ in range(2):
        # The first attempt was lost before its report.
        with Attempt(run_pass, "s001", "c00000") as attempt:
            attempt.seal()
            attempt.report(report)
    assert len(journals(run_pass)) == 2
    assert read_reports(run_pass, "s001") == [report]


@pytest.mark.parametrize("limit", ["_KEPT_BYTES", "_SMALL"])
def test_journals_too_large_to_keep_are_read_again(tmp_path, monkeypatch, limit):
    run_pass = Pass(tmp_path)
    monkeypatch.setattr(journal, limit, 300)
    put = [put_record(run_pass, entry(i, f"{i}.jpg"), job=f"s001-c{i % 3:05d}") for i in range(9)]
    wanted = [record.key for record in put]
    assert list(Journals(run_pass).records([*wanted, "0" * 16])) == [*put, None]
    assert put_job(run_pass) in Journals(run_pass).reports
    assert Journals(run_pass)._kept is None
