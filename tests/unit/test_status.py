import json
import os
import stat
from dataclasses import replace

import pytest
from make_run import make_run, put_job, put_progress
from yolo.pool import condor, plan, room, status
from yolo.pool.condor import CommandFailed, Condor
from yolo.pool.follow import clean_up
from yolo.share import fsio, words
from yolo.share.errors import YoloError

NOW = 1100.0


class Pool:
    """Stands in for HTCondor's commands: answers from lists, and keeps what it was asked."""

    def __init__(self, queue=(), history=(), slots=()):
        self.queue, self.history, self.slots = list(queue), list(history), list(slots)
        self.commands = []

    def __call__(self, command):
        self.commands.append(list(command))
        name = os.path.basename(command[0])
        answer = {
            "condor_q": self.queue, "condor_history": self.history, "condor_status": self.slots
        }[name]  # fmt: skip
        if isinstance(answer, Exception):
            raise answer
        return json.dumps(answer) if answer else ""

    def asked(self, name):
        return [command for command in self.commands if command[0] == name]


def job(proc, status, **more):
    return {"ClusterId": 7, "ProcId": proc, "JobStatus": status, **more}


def done(proc, **more):
    return job(proc, 4, ExitCode=0, ExitBySignal=False, JobStartDate=1000, **more)


@pytest.fixture
def run_pass(tmp_path):
    """A pass with a submission of four chunks of two images each."""
    run, _ = make_run(tmp_path, [f"{i}.jpg" for i in range(8)])
    plan.plan_submission(run, "parallel", slots=2, chunk_size=2)
    return run.get_pass("parallel")


def poll(run_pass, pool, sleeps=None, **more):
    return status.poll(
        run_pass, "s001", Condor(7, run=pool), now=lambda: NOW,
        sleep=(sleeps if sleeps is not None else []).append, **more,
    )  # fmt: skip


def held(proc, code=7, sub=13, reason="Failed to open '/srv/share/x' as standard error", **more):
    return job(proc, 5, HoldReasonCode=code, HoldReasonSubCode=sub, HoldReason=reason, **more)


def test_a_held_job_is_told_while_the_others_go_on(run_pass):
    found = poll(run_pass, Pool(queue=[job(0, 2, JobStartDate=1000), held(1), job(2, 1), held(3)]))
    assert found.state == "waiting"
    assert (found.running, found.idle, found.held) == (1, 1, 2)
    (notice,) = found.notices
    assert notice.reason.startswith("job 7.1 is held: the host could not open the job's output")
    assert "condor_release 7.1" in notice.remedy
    assert (found.reason, found.unfinished) == (None, {})


def test_each_cause_is_told(run_pass):
    pool = Pool(queue=[job(0, 2), held(1, 1, 0), held(2, 34, 0)], history=[job(3, 4, ExitCode=2)])
    notices = poll(run_pass, pool).notices
    assert [notice.reason.split(":")[0] for notice in notices] == [
        "job 7.1 is held", "job 7.2 is held", "job 7.3 ended with exit code 2"
    ]  # fmt: skip
    assert all("other jobs go on" in notice.remedy for notice in notices)


def test_when_only_jobs_that_ended_badly_are_left_it_is_done_without_their_chunks(run_pass):
    run_pass.stderr("s001", "c00002").write_text("error: bad model\n")
    pool = Pool(
        queue=[held(1)],
        history=[done(0), job(2, 4, ExitCode=2), job(3, 3, RemoveReason="via condor_rm (by user yolo)")],
    )
    found = poll(run_pass, pool)
    assert found.state == "done"
    assert list(found.unfinished) == ["s001-c00001", "s001-c00002", "s001-c00003"]
    assert found.unfinished["s001-c00001"].startswith("its job was held: the host could not open")
    assert found.unfinished["s001-c00002"] == "its job ended with exit code 2. Its last words: error: bad model"
    assert found.unfinished["s001-c00003"].startswith("its job was removed: someone did it with condor_rm")
    assert found.reason.startswith("job 7.1 was held: ")
    assert found.reason.endswith("(and 2 jobs that ended badly for other reasons)")
    assert "condor_release" not in found.remedy


def test_when_no_job_ended_well_it_failed(run_pass):
    found = poll(run_pass, Pool(queue=[held(i) for i in range(4)]))
    assert found.state == "failed"
    assert found.reason.startswith("job 7.0 was held: the host could not open the job's output")
    assert found.reason.endswith("(and 3 more jobs like it)")
    assert "UID" in found.remedy
    assert "condor_release" not in found.remedy


def test_a_fault_of_all_jobs_ends_the_wait_early(run_pass):
    assert poll(run_pass, Pool(queue=[held(0), held(1), job(2, 1), job(3, 1)])).state == "waiting"
    pool = Pool(queue=[held(0), held(1), job(3, 1)], history=[job(2, 4, ExitCode=1)])
    assert poll(run_pass, pool).state == "failed"
    # One that ends well shows that it is no fault of all.
    assert poll(run_pass, Pool(queue=[held(0), held(1), held(2), job(3, 2)])).state == "failed"
    assert poll(run_pass, Pool(queue=[held(0), held(1), held(2)], history=[done(3)])).state == "done"


def test_what_someone_holds_or_removes_is_no_fault_of_all(run_pass):
    by_hand = [held(0, 1, 0), held(1, 1, 0), held(2, 1, 0)]
    assert poll(run_pass, Pool(queue=[*by_hand, job(3, 2)])).state == "waiting"
    removed = [job(0, 3), job(1, 3), job(2, 3)]
    assert poll(run_pass, Pool(queue=[job(3, 1)], history=removed)).state == "waiting"


def test_a_removed_job_is_told(run_pass):
    pool = Pool(
        queue=[job(0, 2, JobStartDate=1000), job(2, 1), job(3, 1)],
        history=[job(1, 3, RemoveReason="via condor_rm (by user yolo)")],
    )
    found = poll(run_pass, pool)
    assert (found.state, found.removed) == ("waiting", 1)
    assert "someone did it with condor_rm" in found.notices[0].reason
    assert "1 removed" in found.line


def test_a_job_that_failed_is_told_with_the_end_of_its_error_file(run_pass):
    run_pass.stderr("s001", "c00002").write_text("noise\n" * 5000 + "Traceback\n\nerror: bad model\n")
    pool = Pool(history=[done(0), done(1), job(2, 4, ExitCode=2), done(3)])
    found = poll(run_pass, pool)
    assert found.state == "done"
    assert found.reason.startswith("job 7.2 ended with exit code 2. Its last words: noise | noise")
    assert found.reason.endswith("Traceback | error: bad model")


def test_the_error_file_is_where_the_job_says(run_pass, tmp_path):
    (tmp_path / "elsewhere.err").write_text("here\n")
    pool = Pool(
        queue=[job(1, 2), job(2, 2), job(3, 2)],
        history=[job(0, 4, ExitCode=1, Err="elsewhere.err", Iwd=str(tmp_path))],
    )
    assert poll(run_pass, pool).notices[0].reason.endswith("Its last words: here")


def test_a_job_killed_by_a_signal_without_words_is_told(run_pass):
    pool = Pool(history=[done(0), done(1), job(2, 4, ExitBySignal=True, ExitSignal=9), done(3)])
    found = poll(run_pass, pool)
    assert found.reason == "job 7.2 was killed by signal 9"
    assert found.unfinished == {"s001-c00002": "its job was killed by signal 9"}


MIB = 1 << 20


def test_a_full_share_is_told_with_what_is_missing(run_pass):
    put_progress(run_pass, "c00000", 2, 2)
    pool = Pool(queue=[job(i, 1) for i in range(1, 4)], history=[done(0)], slots=[])
    room = poll(run_pass, pool, image_bytes=10 * MIB, free_bytes=lambda _: MIB).notices[0]
    share = run_pass.root.parents[2]
    assert room.reason == f"the share is full: {share} has 1.0 MiB free, the 6 images that are left need about 60.0 MiB"
    assert "free at least 59.0 MiB there" in room.remedy


def test_a_share_that_is_about_to_be_full_is_told(run_pass):
    pool = Pool(queue=[job(i, 2) for i in range(4)])
    (room,) = poll(run_pass, pool, image_bytes=10 * MIB, free_bytes=lambda _: 79 * MIB).notices
    assert room.reason.startswith("the share will be full before the run ends: ")
    assert poll(run_pass, pool, image_bytes=10 * MIB, free_bytes=lambda _: 81 * MIB).notices == ()
    # Without annotated copies.
    assert poll(run_pass, pool, free_bytes=lambda _: 20 * MIB).notices == ()
    assert (
        "8 images that are left need about 0.1 MiB" in poll(run_pass, pool, free_bytes=lambda _: MIB).notices[0].reason
    )


def test_a_full_share_is_told_also_while_htcondor_does_not_answer(run_pass):
    pool = Pool()
    pool.queue = CommandFailed("condor_q: can't connect")
    notices = poll(run_pass, pool, free_bytes=lambda _: 0).notices
    assert ["the share is full" in notice.reason for notice in notices] == [True, False]


def test_jobs_that_die_of_a_full_share_end_the_wait_with_that_reason(run_pass):
    pool = Pool(queue=[job(2, 1), job(3, 1)], history=[done(0), job(1, 4, ExitCode=2)])
    found = poll(run_pass, pool, free_bytes=lambda _: MIB)
    assert found.state == "failed"
    assert found.reason.startswith("the share is full: ")
    assert "job 7.1 ended with exit code 2" in found.reason
    assert "free at least" in found.remedy
    assert poll(run_pass, pool, free_bytes=lambda _: 99 * MIB).state == "waiting"


def test_the_share_is_asked_how_much_is_free(tmp_path):
    assert 0 < room.free_bytes_of(tmp_path) < 1 << 60


def test_jobs_that_no_slot_can_take_are_stuck(run_pass):
    slot = {"Name": "slot1@execute1", "TotalSlotCpus": 1, "TotalSlotMemory": 900, "TotalSlotDisk": 900}
    found = poll(run_pass, Pool(queue=[job(i, 1, RequestCpus=2) for i in range(4)], slots=[slot]))
    assert found.state == "waiting"
    assert found.stuck == found.notices[0]
    assert found.stuck.reason == "each job asks for 2 CPUs, the largest slot has 1"
    # A pool without hosts may get some.
    assert poll(run_pass, Pool(queue=[job(i, 1, RequestCpus=2) for i in range(4)])).stuck is None


def test_done_is_every_job_completed_with_exit_code_0(run_pass):
    for number in range(4):
        put_progress(run_pass, f"c0000{number}", 2, 2)
    found = poll(run_pass, Pool(history=[done(0), done(1), done(2), done(3)]))
    assert found.state == "done"
    assert (found.images_done, found.images_total, found.completed) == (8, 8, 4)
    assert found.reason is None
    assert found.eta_seconds == 0


def test_not_done_while_one_job_is_in_the_queue(run_pass):
    pool = Pool(queue=[job(3, 2, JobStartDate=1000)], history=[done(0), done(1), done(2)])
    assert poll(run_pass, pool).state == "waiting"


def test_a_job_on_its_way_from_the_queue_to_the_history_is_waited_for(run_pass):
    class Late(Pool):
        def __call__(self, command):
            if len(self.asked("condor_history")) == 1:
                self.history = [done(0), done(1), done(2), done(3)]
            return super().__call__(command)

    sleeps = []
    pool = Late(history=[done(0), done(1), done(2)])
    assert poll(run_pass, pool, sleeps).state == "done"
    assert sleeps == [1]


def test_jobs_that_left_without_a_trace_end_the_wait(run_pass):
    sleeps = []
    found = poll(run_pass, Pool(history=[done(0), done(1)]), sleeps)
    assert found.state == "done"
    assert list(found.unfinished) == ["s001-c00002", "s001-c00003"]
    assert found.reason.startswith("2 of 4 jobs left the queue without a trace")
    assert len(sleeps) == status.HISTORY_TRIES - 1
    assert found.idle == 0
    found = poll(run_pass, Pool())
    assert (found.state, found.unfinished) == ("failed", {})
    assert found.reason.startswith("4 of 4 jobs left the queue without a trace")


def test_a_jobs_own_report_is_as_good_as_a_history_that_was_rotated(run_pass):
    put_job(run_pass, "s001", "c00000")
    put_job(run_pass, "s001", "c00001")
    run_pass.records("s001", "c00002", 1).write_text('{"submission":"s001",')
    put_job(run_pass, "s002", "c00003")
    assert "2 of 4 jobs" in poll(run_pass, Pool()).reason
    run_pass.records("s001", "c00002", 1).unlink()
    put_job(run_pass, "s001", "c00002")
    put_job(run_pass, "s001", "c00003")
    assert poll(run_pass, Pool()).state == "done"


def test_a_held_job_counts_more_than_others_that_were_removed(run_pass):
    pool = Pool(queue=[job(0, 5, HoldReasonCode=34)], history=[job(1, 3), job(2, 3), job(3, 3)])
    assert "was held" in poll(run_pass, pool).reason


def test_the_history_is_asked_only_for_jobs_that_left(run_pass):
    pool = Pool(queue=[job(i, 2, JobStartDate=1000) for i in range(4)])
    poll(run_pass, pool)
    assert pool.asked("condor_history") == []
    pool = Pool(queue=[job(i, 2, JobStartDate=1000) for i in range(3)], history=[done(3)])
    poll(run_pass, pool)
    (command,) = pool.asked("condor_history")
    assert command[1:4] == ["7", "-limit", "1"]


def test_jobs_that_are_not_made_yet_count_as_idle(run_pass):
    found = poll(run_pass, Pool(queue=[job(0, 2, JobStartDate=1000)]))
    assert (found.state, found.running, found.idle) == ("waiting", 1, 3)


def test_the_named_schedd_is_asked(run_pass):
    pool = Pool(queue=[job(i, 2) for i in range(3)], history=[done(3)])
    status.poll(run_pass, "s001", Condor(7, "submit", pool), now=lambda: NOW)
    for name in ("condor_q", "condor_history"):
        assert pool.asked(name)[0][:4] == [name, "-name", "submit", "7"]


def test_the_line_moves(run_pass):
    put_progress(run_pass, "c00000", 2, 2, failed=1)
    put_progress(run_pass, "c00001", 1, 2)
    pool = Pool(queue=[job(1, 2, JobStartDate=1050), job(2, 1), job(3, 1)], history=[done(0)])
    found = poll(run_pass, pool)
    assert (found.images_done, found.images_total, found.failed) == (3, 8, 1)
    assert found.rate == pytest.approx(0.03)
    assert found.eta_seconds == pytest.approx(5 / 0.03, abs=0.1)
    assert found.line == ("3/8 images  0.0 images/s  about 3 min left  1 running  2 idle  0 held  1 image failed")


def test_before_the_first_job_starts_there_is_no_rate(run_pass):
    found = poll(run_pass, Pool(queue=[job(i, 1) for i in range(4)]))
    assert (found.rate, found.eta_seconds) == (None, None)
    assert found.line == "0/8 images  0 running  4 idle  0 held"


def test_before_the_first_image_there_is_no_rate(run_pass):
    found = poll(run_pass, Pool(queue=[job(i, 2, JobStartDate=1000) for i in range(4)]))
    assert (found.rate, found.eta_seconds) == (None, None)


def test_a_start_that_is_in_the_future_does_not_break_the_rate(run_pass):
    put_progress(run_pass, "c00000", 2, 2)
    found = poll(run_pass, Pool(queue=[job(i, 2, JobStartDate=5000) for i in range(4)]))
    assert found.rate == 2.0


def test_a_resumed_run_says_what_was_done_before(run_pass):
    summary = fsio.read_json(run_pass.submission_summary("s001"))
    fsio.write_json(run_pass.submission_summary("s001"), {**summary, "done_before": 100})
    found = poll(run_pass, Pool(queue=[job(i, 1) for i in range(4)]))
    assert found.line.startswith("0/8 images (and 100 done before)")


def test_heartbeats_of_other_plans_and_damaged_ones_do_not_count(run_pass):
    put_progress(run_pass, "c00000", 2, 2)
    fsio.write_text(run_pass.progress("s002", "c00001"), '{"done":2,"total":2}')
    fsio.write_text(run_pass.progress("s001", "c00002"), "{")
    (run_pass.progress_dir / ".tmp-1").write_text('{"done":2,"total":2}')
    assert poll(run_pass, Pool(queue=[job(i, 1) for i in range(4)])).images_done == 2


def test_why_nothing_runs_is_said_while_waiting(run_pass):
    found = poll(run_pass, Pool(queue=[job(i, 1) for i in range(4)]))
    assert found.state == "waiting"
    assert [notice.reason for notice in found.notices] == ["no execute host is in the pool"]


def test_slots_are_not_asked_for_while_a_job_runs(run_pass):
    pool = Pool(queue=[job(0, 2, JobStartDate=1000), *(job(i, 1) for i in range(1, 4))])
    found = poll(run_pass, pool)
    assert pool.asked("condor_status") == []
    assert found.notices == ()


def test_a_central_manager_that_is_away_does_not_end_the_wait(run_pass):
    pool = Pool(queue=[job(i, 1) for i in range(4)])
    pool.slots = CommandFailed("condor_status: Error: communication error")
    found = poll(run_pass, pool)
    assert found.state == "waiting"
    assert "communication error" in found.notices[0].reason
    assert found.stuck is None


def test_a_schedd_that_is_away_does_not_end_the_wait(run_pass):
    put_progress(run_pass, "c00000", 1, 2)
    pool = Pool()
    pool.queue = CommandFailed("condor_q: can't connect")
    found = poll(run_pass, pool)
    assert found.state == "waiting"
    assert found.images_done == 1
    assert "HTCondor does not answer" in found.line
    assert [notice.reason for notice in found.notices] == ["condor_q: can't connect"]


def test_a_damaged_plan_is_named(run_pass):
    run_pass.submission_summary("s001").write_text("{}")
    with pytest.raises(YoloError, match="the submission is damaged"):
        poll(run_pass, Pool())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (22.4, "22 s"), (89.4, "89 s"), (90, "2 min"), (3000, "50 min"),
     (5400, "1 h 30 min"), (7799, "2 h 10 min")],
)  # fmt: skip
def test_times_as_people_say_them(seconds, text):
    assert words.human_time(seconds) == text


def test_the_line_has_all_its_parts():
    found = status.Status("waiting", 37, 128, 0, 4.1, 22.2, 3, 2, 0)
    expected = "37/128 images  4.1 images/s  about 22 s left  2 running  3 idle  0 held"
    assert status.human_line(found) == expected
    assert status.human_line(replace(found, failed=2)).endswith("2 images failed")


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_a_host_without_htcondor_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(YoloError, match="run this on the submit host"):
        condor.run_command(["condor_q"])


def test_a_command_that_hangs_does_not_hang_the_wait(monkeypatch):
    monkeypatch.setattr(condor, "_COMMAND_SECONDS", 0.1)
    with pytest.raises(CommandFailed, match="no answer"):
        condor.run_command(["sleep", "5"])


class Making(Pool):
    """A pool whose schedd has a factory that makes the jobs, paused or not."""

    def __init__(self, paused=0, **jobs):
        super().__init__(**jobs)
        self.paused = paused

    def __call__(self, command):
        if "-factory" in command:
            self.commands.append(list(command))
            return json.dumps([*self.queue, {"ClusterId": 7, "JobMaterializePaused": self.paused}])
        return super().__call__(command)


def test_jobs_that_are_still_to_be_made_are_not_lost(run_pass):
    sleeps = []
    found = poll(run_pass, Making(history=[done(0), done(1)]), sleeps)
    assert (found.state, found.idle, found.completed, sleeps) == ("waiting", 2, 2, [])
    # Nobody makes them any more.
    found = poll(run_pass, Making(paused=1, history=[done(0), done(1)]), sleeps)
    assert (found.state, list(found.unfinished)) == ("done", ["s001-c00002", "s001-c00003"])


def test_a_schedd_is_not_asked_whether_it_makes_jobs_while_some_are_queued(run_pass):
    pool = Making(queue=[job(0, 2)])
    poll(run_pass, pool)
    assert not any("-factory" in command for command in pool.commands)


def test_held_jobs_that_keep_others_from_being_made_end_the_wait(run_pass, monkeypatch):
    pool = Making(queue=[held(1), held(2)], history=[done(0)])
    assert poll(run_pass, pool).state == "waiting"
    monkeypatch.setattr(status, "MOST_WAITING", 2)
    found = poll(run_pass, pool)
    assert (found.state, list(found.unfinished)) == ("done", ["s001-c00001", "s001-c00002", "s001-c00003"])
    assert "job 7.1 was held" in found.reason
    assert "(and 1 more job like it)" in found.reason
    # The third is not to be made after that either.
    commands = []
    clean_up(7, found, lambda command: commands.append(list(command)) or "")
    assert commands == [["condor_rm", "7"]]
