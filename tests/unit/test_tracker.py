import json
from pathlib import Path

import pytest
from yolo.pool import ads
from yolo.pool.condor import CommandFailed, Condor
from yolo.pool.tracker import EventLog, Tracker, apply


class Pool:
    """Stands in for HTCondor's commands."""

    def __init__(self, queue=(), history=()):
        self.queue, self.history, self.slots = list(queue), list(history), [{"Machine": "e1"}]
        self.commands = []

    def __call__(self, command):
        self.commands.append(command[0])
        answer = {"condor_q": self.queue, "condor_history": self.history, "condor_status": self.slots}[command[0]]
        if isinstance(answer, Exception):
            raise answer
        return json.dumps(answer)


class Log:
    """Stands in for the event log."""

    def __init__(self, *events):
        self.events = list(events)

    def read(self):
        new, self.events = self.events, []
        return new


def job(proc, status, **more):
    return {"ClusterId": 7, "ProcId": proc, "JobStatus": status, "Err": "x.err", **more}


def event(proc, kind, time=1000.0, **more):
    return {"cluster": 7, "proc": proc, "type": kind, "time": time, **more}


class Follower:
    """A tracker, with a clock to move on."""

    def __init__(self, pool, log=None):
        self.now, self.pool, self.log = 0.0, pool, log
        self.tracker = Tracker(Condor(7, run=pool), self.open, lambda: self.now)

    def open(self):
        if self.log is None:
            raise FileNotFoundError("no log")
        return self.log

    def states(self, seconds=0):
        self.now += seconds
        queued = {ads.number(ad, "ProcId"): ads.state(ad) for ad in self.tracker.queue()}
        return queued | {ads.number(ad, "ProcId"): ads.state(ad) for ad in self.tracker.history(2 - len(queued))}


def test_the_log_tells_what_happens_and_the_schedd_is_asked_once():
    log = Log(event(0, "SUBMIT"), event(1, "SUBMIT"))
    follower = Follower(Pool([job(0, 1), job(1, 1)]), log)
    assert follower.states() == {0: "idle", 1: "idle"}
    log.events = [event(0, "EXECUTE", SlotName="slot1_1@e1"), event(1, "EXECUTE")]
    assert follower.states(1) == {0: "running", 1: "running"}
    log.events = [event(0, "JOB_TERMINATED", TerminatedNormally=True, ReturnValue=0)]
    assert follower.states(1) == {0: "completed", 1: "running"}
    log.events = [event(1, "JOB_TERMINATED", TerminatedNormally=True, ReturnValue=3)]
    assert follower.states(1) == {0: "completed", 1: "completed"}
    (failed,) = [ad for ad in follower.tracker.history(2) if ads.failed_exit(ad)]
    assert ads.failed_exit(failed) == "ended with exit code 3"
    assert failed["Err"] == "x.err"
    assert follower.pool.commands == ["condor_q"]


def test_while_jobs_run_the_schedd_is_asked_once_a_minute():
    log = Log(event(0, "EXECUTE"), event(1, "EXECUTE"))
    follower = Follower(Pool([job(0, 2), job(1, 2)]), log)
    for _ in range(180):
        follower.states(1)
    assert follower.pool.commands == ["condor_q"] * 3


def test_while_jobs_wait_the_schedd_is_asked_each_ten_seconds():
    follower = Follower(Pool([job(0, 1), job(1, 1)]), Log())
    for _ in range(60):
        follower.states(1)
    assert follower.pool.commands == ["condor_q"] * 6


def test_without_a_log_the_schedd_is_asked_each_ten_seconds():
    follower = Follower(Pool([job(0, 2), job(1, 2)]))
    for _ in range(60):
        assert follower.states(1) == {0: "running", 1: "running"}
    assert follower.pool.commands == ["condor_q"] * 6


def test_what_a_power_cut_took_from_the_log_is_found_in_the_history():
    follower = Follower(Pool([job(0, 2), job(1, 2)]), Log(event(0, "EXECUTE"), event(1, "EXECUTE")))
    follower.states()
    follower.pool.queue = []
    follower.pool.history = [job(0, 4, ExitCode=0), job(1, 4, ExitCode=0)]
    assert follower.states(30) == {0: "running", 1: "running"}
    assert follower.states(31) == {0: "completed", 1: "completed"}


def test_a_schedd_that_does_not_answer_is_told_until_it_does():
    follower = Follower(Pool(), Log())
    follower.pool.queue = CommandFailed("condor_q: no answer")
    for _ in range(3):
        with pytest.raises(CommandFailed, match="no answer"):
            follower.states(1)
    follower.pool.queue = [job(0, 1), job(1, 1)]
    assert follower.states(10) == {0: "idle", 1: "idle"}


def test_slots_are_asked_for_each_ten_seconds():
    follower = Follower(Pool(), Log())
    for _ in range(20):
        assert follower.tracker.slots() == [{"Machine": "e1"}]
        follower.now += 1
    assert follower.pool.commands == ["condor_status"] * 2


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([event(0, "EXECUTE"), event(0, "JOB_EVICTED")], "idle"),
        ([event(0, "EXECUTE"), event(0, "SHADOW_EXCEPTION")], "idle"),
        ([event(0, "EXECUTE"), event(0, "JOB_DISCONNECTED")], "running"),
        ([event(0, "EXECUTE"), event(0, "JOB_RECONNECT_FAILED")], "idle"),
        ([event(0, "EXECUTE"), event(0, "JOB_SUSPENDED"), event(0, "JOB_UNSUSPENDED")], "running"),
        ([event(0, "JOB_HELD", HoldReason="no", HoldReasonCode=7, HoldReasonSubCode=13)], "held"),
        ([event(0, "JOB_HELD", HoldReasonCode=1), event(0, "JOB_RELEASED")], "idle"),
        ([event(0, "JOB_ABORTED", Reason="by condor_rm")], "removed"),
        ([event(0, "IMAGE_SIZE")], "idle"),
    ],
)
def test_what_events_make_of_a_job(events, state):
    ad = job(0, 1)
    for happened in events:
        ad = apply(happened, ad)
    assert ads.state(ad) == state


def test_a_jobs_end_by_a_signal_its_hold_and_its_removal_are_told():
    killed = apply(event(0, "JOB_TERMINATED", TerminatedNormally=False, TerminatedBySignal=9), job(0, 2))
    assert ads.failed_exit(killed) == "was killed by signal 9"
    held = apply(event(0, "JOB_HELD", HoldReason="disk", HoldReasonCode=7, HoldReasonSubCode=28), job(0, 2))
    assert (held["HoldReason"], held["HoldReasonCode"], held["HoldReasonSubCode"]) == ("disk", 7, 28)
    assert apply(event(0, "JOB_ABORTED", Reason="by condor_rm"), job(0, 2))["RemoveReason"] == "by condor_rm"


def test_the_first_start_counts():
    ad = apply(event(0, "EXECUTE", 1000.0), job(0, 1))
    ad = apply(event(0, "EXECUTE", 2000.0), apply(event(0, "JOB_EVICTED"), ad))
    assert ad["JobStartDate"] == 1000


def test_a_log_that_is_not_there_is_one_error():
    with pytest.raises(OSError, match=r"Python package|no-log"):
        EventLog(Path("/no-log"))


def test_the_history_is_not_asked_for_jobs_that_are_not_made_yet():
    log = Log(
        event(0, "EXECUTE"), event(0, "JOB_TERMINATED", TerminatedNormally=True, ReturnValue=0), event(1, "EXECUTE")
    )
    follower = Follower(Pool([job(1, 2)]), log)
    follower.states()
    for _ in range(5):
        follower.now += 20
        assert [ad["ProcId"] for ad in follower.tracker.history(9)] == [0]
    assert "condor_history" not in follower.pool.commands
    # The schedd says that one has gone whose end the log does not have.
    follower.pool.queue, follower.pool.history = [job(2, 2)], [job(1, 4, ExitCode=0)]
    follower.states(100)
    assert {ad["ProcId"] for ad in follower.tracker.history(9)} == {0, 1}
