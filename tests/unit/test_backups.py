import re

import pytest
from make_run import make_run, put_progress
from test_tracker import Log, Pool, event, job
from yolo.pool.backups import Backups
from yolo.pool.condor import CommandFailed, Condor
from yolo.pool.status import Status
from yolo.pool.tracker import Tracker
from yolo.share import fsio

FREE = [
    {"Machine": "e1.x", "PartitionableSlot": True, "State": "Unclaimed", "Cpus": 0},
    {"Machine": "e1.x", "DynamicSlot": True, "State": "Claimed", "Activity": "Idle"},
    {"Machine": "e2.x", "DynamicSlot": True, "State": "Claimed", "Activity": "Busy"},
]
DETECT = "submission = s001\nevent_log = /log\nchunks = /queue.txt\nuniverse = vanilla\nqueue chunk from $(chunks)\n"


class Watch:
    """Two jobs of cluster 7, one on e1 and one on e2, and a clock to move on."""

    def __init__(self, root):
        self.run, _ = make_run(root, ["a.jpg", "b.jpg"])
        self.run_pass = self.run.get_pass("parallel")
        self.folder = self.run_pass.submission_dir("s001")
        self.folder.mkdir(parents=True)
        (self.folder / "detect.sub").write_text(DETECT)
        self.run_pass.queue("s001").write_text("/c00000.jsonl\n/c00001.jsonl\n")
        self.pool, self.log, self.now, self.told = Pool(queue=[job(0, 2), job(1, 2)]), Log(), 1000.0, []
        self.pool.slots = FREE
        self.commands, self.refused, self.cluster = [], False, 7
        self.open()

    def open(self):
        self.tracker = Tracker(Condor(7, run=self.pool), lambda: self.log, lambda: self.now)
        self.backups = Backups(self.run_pass, "s001", self.tracker, self.told.append, self.condor, lambda: self.now)

    def condor(self, command):
        self.commands.append(list(command))
        if self.refused:
            raise CommandFailed("no schedd")
        if command[0] != "condor_submit":
            return ""
        self.cluster += 1
        return f"{self.cluster}.0 - {self.cluster}.0\n"

    def happen(self, *events):
        self.log.events += events

    def pass_by(self, seconds, rate=10.0, running=1):
        """Poll each second; return the last line."""
        status = Status("waiting", 1, 2, 0, rate, 4.0, 0, running)
        for _ in range(seconds):
            self.now += 1
            shown = self.backups.update(status)
        return shown.line


@pytest.fixture
def watch(tmp_path):
    watch = Watch(tmp_path)
    watch.happen(event(0, "EXECUTE", SlotName="slot1_1@e1.x"), event(1, "EXECUTE", SlotName="slot1_1@e2.x"))
    put_progress(watch.run_pass, "c00001", 3, 9)
    watch.pass_by(2)
    # The chunk of e1 is done, its slot is free.
    watch.happen(event(0, "JOB_TERMINATED", TerminatedNormally=True, ReturnValue=0))
    watch.pool.queue, watch.pool.history = [job(1, 2)], [job(0, 4, ExitCode=0)]
    return watch


def test_a_chunk_that_stands_still_is_queued_once_more_where_a_slot_is_free(watch):
    watch.pass_by(10)
    assert watch.commands == []
    watch.pass_by(8)
    assert watch.commands == [["condor_submit", "-terse", str(watch.folder / "backup-1-1.sub")]]
    text = (watch.folder / "backup-1-1.sub").read_text()
    queue = watch.folder / "backup-1-1.txt"
    assert text == DETECT.replace("chunks = /queue.txt", f"chunks = {queue}\npriority = 5\n+YoloBackup = True")
    assert queue.read_text() == "/c00001.jsonl\n"
    assert fsio.read_json(watch.folder / "backups.json") == {"8": 1}
    (told,) = watch.told
    assert told.startswith("e2 has finished no image for 1")
    watch.pass_by(60)
    assert len(watch.commands) == 1


def test_a_chunk_that_moves_is_left_alone(watch):
    for done in range(4, 9):
        watch.pass_by(12)
        put_progress(watch.run_pass, "c00001", done, 9)
    assert watch.commands == []


def test_where_other_jobs_wait_the_backup_comes_later_and_goes_ahead_of_them(watch):
    watch.happen(event(2, "SUBMIT"))
    watch.pool.slots = []
    watch.pool.queue.append(job(2, 1))
    watch.pass_by(25)
    assert watch.commands == []
    watch.pass_by(12)
    assert [command[0] for command in watch.commands] == ["condor_submit"]


@pytest.mark.parametrize("reason", ["no slot", "slow images", "no answer"])
def test_there_is_no_backup_where_it_would_be_of_no_use(watch, reason):
    rate = 10.0
    if reason == "no slot":
        watch.pool.slots = FREE[2:]
    elif reason == "slow images":
        rate = 0.1
    else:
        watch.pool.slots = CommandFailed("no manager")
    watch.pass_by(35, rate)
    assert watch.commands == []


def test_the_backup_that_ends_first_stands_for_its_job_which_is_removed(watch):
    watch.pass_by(20)
    watch.happen(event(0, "EXECUTE", cluster=8, SlotName="slot1_1@e1.x"))
    watch.pass_by(4)
    assert len(watch.tracker.queue()) == 1
    done = event(0, "JOB_TERMINATED", cluster=8, TerminatedNormally=True, ReturnValue=0)
    watch.happen(done)
    watch.pass_by(4)
    assert watch.commands[1:] == [["condor_rm", "7.1"]]
    assert watch.tracker.queue() == []
    # Whatever HTCondor says of it later.
    watch.happen(event(1, "JOB_ABORTED"))
    watch.pool.queue = [job(1, 3)]
    watch.pass_by(80)
    assert {ad["ProcId"]: (ad["JobStatus"], ad["ExitCode"]) for ad in watch.tracker.history(2)} == {
        0: (4, 0),
        1: (4, 0),
    }
    watch.backups.close()
    assert len(watch.commands) == 2


def test_the_backup_of_a_job_that_ends_first_is_removed(watch):
    watch.pass_by(20)
    watch.happen(event(1, "JOB_TERMINATED", TerminatedNormally=True, ReturnValue=0))
    watch.pass_by(4)
    watch.happen(event(0, "JOB_ABORTED", cluster=8))
    watch.pass_by(4)
    assert watch.commands[1:] == [["condor_rm", "8"]]


def test_a_backup_that_fails_leaves_the_job_to_itself_and_there_are_two_at_most(watch):
    watch.pass_by(20)
    for cluster in (8, 9):
        watch.happen(event(0, "JOB_TERMINATED", cluster=cluster, TerminatedNormally=True, ReturnValue=1))
        watch.pass_by(20)
    assert [command[0] for command in watch.commands] == ["condor_submit", "condor_rm"] * 2
    assert len(watch.tracker.queue()) == 1


def test_a_wait_that_goes_on_knows_the_backups(watch):
    watch.pass_by(20)
    watch.commands.clear()
    watch.log = Log(
        event(0, "JOB_TERMINATED", TerminatedNormally=True, ReturnValue=0),
        event(1, "EXECUTE", SlotName="slot1_1@e2.x"),
        event(0, "JOB_TERMINATED", cluster=8, TerminatedNormally=True, ReturnValue=0),
    )
    watch.open()
    watch.pass_by(2)
    assert watch.commands == [["condor_rm", "7.1"]]


def test_a_schedd_that_is_gone_ends_nothing(watch):
    watch.refused = True
    watch.pass_by(20)
    watch.refused = False
    watch.pass_by(20)
    assert [command[0] for command in watch.commands] == ["condor_submit"] * 2


def test_the_line_says_what_is_waited_for_when_nothing_moves(watch):
    watch.pool.slots = []
    assert watch.pass_by(4) == ""
    line = watch.pass_by(10)
    assert line.startswith("1/2 images  10.0 images/s  1 running")
    assert re.search(r"waiting for e2, no image for 1\d s$", line)
    put_progress(watch.run_pass, "c00001", 5, 9)
    assert "waiting for" not in watch.pass_by(4)
