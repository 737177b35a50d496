"""The job that prepares a run's model: submitted once, looked at, explained."""

import json
from dataclasses import asdict

import pytest
from yolo.model.info import ModelInfo
from yolo.model.selection import ModelRequest
from yolo.pool import hosts, prepare
from yolo.pool.condor import CommandFailed, Condor
from yolo.pool.prepare import ASKED, known, memory, poll, start
from yolo.share import fsio
from yolo.share.errors import YoloError
from yolo.share.layout import Share

NOW = 1000.0
SLOT = {
    "Name": "slot1@execute1", "Machine": "execute1.yolo.internal", "PartitionableSlot": True, "State": "Unclaimed",
    "Cpus": 2, "Memory": 2000, "Disk": 9000000, "TotalSlotCpus": 2, "TotalSlotMemory": 2000, "TotalSlotDisk": 9000000,
}  # fmt: skip
REQUEST = {"RequestCpus": 1, "RequestMemory": 800, "RequestDisk": 100000}
ANSWER = {"made": True, "model": "/m", "engine": "openvino"}


class Pool:
    """Stands in for HTCondor's commands."""

    def __init__(self, queue=(), history=(), slots=(SLOT,)):
        self.answers = {"condor_q": list(queue), "condor_history": list(history), "condor_status": list(slots)}
        self.commands = []

    def __call__(self, command):
        self.commands.append(list(command))
        if command[0] == "condor_submit":
            return "12.0 - 12.0\n"
        if command[0] == "condor_rm":
            return ""
        answer = self.answers[command[0]]
        if isinstance(answer, Exception):
            raise answer
        return json.dumps(answer) if answer else ""

    def did(self, name):
        return [command for command in self.commands if command[0] == name]


def job(status, **more):
    return {"ClusterId": 12, "ProcId": 0, "JobStatus": status, **REQUEST, **more}


@pytest.fixture
def asked(tmp_path):
    share = Share(tmp_path)
    asked = ModelRequest(share.weights("0123456789abcdef"), "pt", share.run("r1"), share.input("in"))
    fsio.write_bytes(asked.weights.source / "best.pt", b"x" * 1000)
    return asked


def prepared(asked: ModelRequest) -> None:
    info = ModelInfo(("cat",), 32, (640, 640), True, "classic", "fp32")
    fsio.write_json(asked.weights.model / "model.json", info.to_dict())


def keep(asked: ModelRequest, **changes) -> None:
    """Write the settings as the playbook does."""
    prepared(asked)
    settings = {
        "weights_id": asked.weights.root.name, "imgsz": 0, "engine_asked": "auto", "engine": "openvino",
        "engine_measured": {}, "precision": "fp32", "precision_difference": {}, "model_dir": str(asked.weights.model),
    }  # fmt: skip
    fsio.write_json(asked.run.settings, settings | changes)


def look_at(asked: ModelRequest, pool: Pool) -> prepare.Status:
    return poll(asked.run, Condor(12, run=pool), now=lambda: NOW, sleep=lambda _: None)


def put(asked: ModelRequest, out: str = "", err: str = "") -> None:
    fsio.write_text(asked.run.prepare_dir / "12.out", out)
    fsio.write_text(asked.run.prepare_dir / "12.err", err)


# --- what is kept --------------------------------------------------------------------------------------------


def test_a_kept_choice_needs_no_job(asked):
    assert known(asked) is None
    keep(asked)
    found = known(asked)
    assert (found["made"], found["engine"], found["input"]) == (False, "openvino", (640, 640))
    assert found["model"] == str(asked.weights.model)
    # Other wishes are another question.
    keep(asked, precision="int8")
    assert known(asked) is None


def test_a_kept_choice_that_differs_too_much_is_refused(asked):
    worse = {"difference": 0.3, "images": 4, "matched": 7, "reference": 10, "found": 7, "f1": 0.7, "score": 0}
    keep(asked, precision_difference=worse)
    with pytest.raises(YoloError, match="changes the detections too much"):
        known(asked)


# --- submitting ----------------------------------------------------------------------------------------------


def test_it_is_submitted_once(asked):
    pool = Pool()
    assert start(asked, "queue\n", asked.input_dir / "logs", 900, run=pool) == 12
    (command,) = pool.did("condor_submit")
    assert "request_memory = 900" in command
    assert (asked.input_dir / "logs").is_dir()
    digest = next(word for word in command if word.startswith(f"+{ASKED}")).split('"')[1]
    log = asked.input_dir / "logs/r1-prepare.log"
    assert (asked.run.prepare_dir / "prepare.sub").read_text() == f"event_log = {log}\nqueue\n"
    # A wait that was cut off left it in the queue: the same call finds it.
    pool = Pool(queue=[job(1, **{ASKED: digest})])
    assert start(asked, "queue\n", asked.input_dir / "logs", 900, run=pool) == 12
    assert pool.did("condor_submit") == pool.did("condor_rm") == []


@pytest.mark.parametrize("left", [job(1, **{ASKED: "other"}), job(2, **{ASKED: "other"}), job(5)])
def test_one_that_was_asked_something_else_or_is_held_is_replaced(asked, left):
    pool = Pool(queue=[left | {"ClusterId": 9}])
    assert start(asked, "queue\n", asked.input_dir / "logs", run=pool) == 12
    assert pool.did("condor_rm") == [["condor_rm", "9"]]


def test_a_queue_that_does_not_answer_is_named(asked):
    pool = Pool()
    pool.answers["condor_q"] = CommandFailed("condor_q: can't reach the schedd")
    with pytest.raises(YoloError, match="can't be submitted: condor_q: can't reach the schedd"):
        start(asked, "queue\n", asked.input_dir / "logs", run=pool)


def test_large_weights_get_more_memory_as_far_as_a_slot_has_it(asked):
    assert memory(asked, "800M", 2700) is None
    with open(asked.weights.source / "best.pt", "r+b") as file:
        file.truncate(50 * 2**20)
    assert memory(asked, "800M", 2700) == 1400
    assert memory(asked, "2G", 2700) is None
    assert memory(asked, "1400", 2700) is None
    assert memory(asked, "800M", 1000) == 1000
    assert memory(asked, "800M", 500) is None
    prepared(asked)
    assert memory(asked, "800M", 2700) is None


# --- looking -------------------------------------------------------------------------------------------------


def test_its_answer_is_the_last_line_of_its_output(asked):
    put(asked, "noise\n" + json.dumps(ANSWER) + "\n")
    found = look_at(asked, Pool(history=[job(4, ExitCode=0, ExitBySignal=False)]))
    assert (found.state, found.answer) == ("done", ANSWER)
    # Also where the history lost it.
    assert look_at(asked, Pool()).state == "done"


def test_weights_that_cant_be_used_are_named_by_the_jobs_own_line(asked):
    put(asked, err="noise\nerror: the weights are corrupt: broken.pt; copy it again\n")
    found = look_at(asked, Pool(history=[job(4, ExitCode=2, ExitBySignal=False)]))
    assert (found.state, found.reason) == ("failed", "the weights are corrupt: broken.pt; copy it again")
    assert found.remedy is None


@pytest.mark.parametrize(
    ("queue", "history", "reason"),
    [
        ([job(5, HoldReasonCode=34, HoldReason="too much")], [], "job 12.0 was held: it used more memory"),
        ([], [job(3, RemoveReason="via condor_rm")], "job 12.0 was removed: someone did it with condor_rm"),
        ([], [job(4, ExitBySignal=True, ExitSignal=9)], "job 12.0 was killed by signal 9"),
        ([], [job(4, ExitCode=1, ExitBySignal=False)], "job 12.0 ended with exit code 1. Its last words: Traceback"),
        ([], [job(4, ExitCode=0, ExitBySignal=False)], "job 12.0, which prepares the model, left no answer"),
    ],
)
def test_what_stops_it_is_explained(asked, queue, history, reason):
    put(asked, err="Traceback\n")
    found = look_at(asked, Pool(queue, history))
    assert found.state == "failed"
    assert found.reason.startswith(reason)
    assert found.remedy


def test_a_wait_for_a_slot_is_said_once_it_lasts(asked):
    busy = SLOT | {"Cpus": 0}
    early = look_at(asked, Pool([job(1, EnteredCurrentStatus=995)], slots=[busy]))
    assert (early.state, early.notices) == ("waiting", ())
    late = look_at(asked, Pool([job(1, EnteredCurrentStatus=970)], slots=[busy]))
    assert late.line == "preparing the model: waits for a slot for 30 s"
    assert [notice.reason for notice in late.notices] == ["the pool's only execute host is busy with other jobs"]
    assert late.stuck is None
    lost = look_at(asked, Pool([job(1, EnteredCurrentStatus=970, JobStartDate=960)], slots=[SLOT]))
    assert "the host that had it is lost" in lost.line
    assert lost.notices == ()


def test_a_job_that_fits_no_host_is_stuck(asked):
    found = look_at(asked, Pool([job(1, RequestMemory=4000, EnteredCurrentStatus=969)]))
    assert found.state == "waiting"
    assert found.stuck.reason == "each job asks for 4000 MB of memory, the largest slot has 2000"
    assert found.notices == (found.stuck,)
    assert found.give_up(found.stuck).state == "failed"


def test_a_pool_without_hosts_is_waited_for_but_not_for_ever(asked):
    assert look_at(asked, Pool([job(1, EnteredCurrentStatus=900)], slots=[])).state == "waiting"
    found = look_at(asked, Pool([job(1, EnteredCurrentStatus=700)], slots=[]))
    assert (found.state, found.reason) == ("failed", "no execute host is in the pool")


def test_it_says_where_it_runs_and_that_htcondor_does_not_answer(asked):
    ad = job(2, EnteredCurrentStatus=900, LastRemoteHost="slot1_1@execute2.yolo.internal")
    assert look_at(asked, Pool([ad])).line == "preparing the model on execute2 for 2 min"
    pool = Pool()
    pool.answers["condor_q"] = CommandFailed("condor_q: no answer")
    found = look_at(asked, pool)
    assert (found.state, [notice.reason for notice in found.notices]) == ("waiting", ["condor_q: no answer"])


# --- the pool's hosts ----------------------------------------------------------------------------------------


def test_the_pools_hosts_are_counted_and_waited_for():
    other = SLOT | {"Machine": "execute2.yolo.internal", "TotalSlotCpus": 1, "TotalSlotMemory": 3000}
    assert asdict(hosts.poll(2, Pool(slots=[other, SLOT]))) == {
        "state": "done", "line": "2 execute hosts with 3 processors in the pool", "memory": 3000,
        "machines": [("execute1.yolo.internal", 2), ("execute2.yolo.internal", 1)], "reason": None, "remedy": None,
    }  # fmt: skip
    empty = hosts.poll(2, Pool(slots=[]))
    assert (empty.state, empty.machines) == ("waiting", [])
    assert "waiting for the execute hosts" in empty.line
    pool = Pool()
    pool.answers["condor_status"] = CommandFailed("condor_status: no answer")
    assert (hosts.poll(2, pool).state, hosts.poll(2, pool).reason) == ("waiting", "condor_status: no answer")


@pytest.mark.parametrize(("age", "state"), [(30, "waiting"), (90, "done")])
def test_a_manager_that_has_just_started_is_given_time_and_a_lost_host_is_not_waited_for(age, state):
    pool = Pool(slots=[SLOT | {"DaemonStartTime": NOW - age}])
    found = hosts.poll(2, pool, now=lambda: NOW)
    assert (found.state, found.machines) == (state, [("execute1.yolo.internal", 2)])
    assert ("1 of 2 have reported" in found.line) == (state == "waiting")
