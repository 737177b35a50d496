import pytest
from make_ads import held, job
from yolo.pool import explain

SLOT = {
    "Name": "slot1@execute1",
    "Machine": "execute1",
    "State": "Unclaimed",
    "Activity": "Idle",
    "PartitionableSlot": True,
    "Cpus": 1,
    "Memory": 1900,
    "Disk": 9000000,
    "TotalSlotCpus": 1,
    "TotalSlotMemory": 1900,
    "TotalSlotDisk": 9000000.0,
}


# Code, sub-code, HTCondor's own words, and what must be said about it.
HOLDS = [
    (1, 0, "via condor_hold (by user admin)", "someone held it", "condor_release 12"),
    (3, 0, "The job attribute OnExitHold expression ...", "its own hold rule", "c00003.err"),
    (5, 0, "", "a rule of the job can't be evaluated", "periodic expressions"),
    (
        6, 2, "Error from slot1_1@execute1: Failed to execute '/opt/yolo/venv/bin/python': "
        "(errno=2: 'No such file or directory')",
        "could not start the job's program (No such file or directory)", "site.yml",
    ),
    (6, 8, "", "(Exec format error)", "#! line"),
    (6, 13, "", "(Permission denied)", "UID"),
    (
        7, 2, "Error from slot1_1@execute1: Failed to open '/srv/share/x.err' as standard error",
        "could not open the job's output or error file", "the share is mounted there",
    ),
    (7, 13, "", "(Permission denied)", "same UID|one UID"),
    (7, 28, "", "No space left", "free space on the share"),
    (7, 116, "", "Stale file handle", "mount it again"),
    (8, 2, "", "input file", "mounted"),
    (12, 2, "", "bring its output files back", "should_transfer_files = NO"),
    (13, 2, "", "send its input files", "should_transfer_files = NO"),
    (14, 2, "Cannot access initial working directory /srv/share/runs/r1/parallel: No such file "
     "or directory", "the job's working directory (No such", "the share is mounted there"),
    (15, 0, "", "submitted on hold", "condor_release 12"),
    (16, 0, "Spooling input data files", "being sent", "wait"),
    (21, 0, "", "WANT_HOLD", "condor_release 12"),
    (21, 102, "memory usage exceeded request_memory", "more memory than its slot", "now 900 MB"),
    (21, 104, "disk usage exceeded allocated disk", "more disk", "inference_run_disk"),
    (22, 0, "Failed to initialize user log", "event log", "own disk"),
    (23, 0, "", "the job user does not exist", "site.yml"),
    (26, 0, "", "SYSTEM_PERIODIC_HOLD", "condor_config_val"),
    (32, 0, "", "MAX_TRANSFER_INPUT_MB", "should_transfer_files = NO"),
    (33, 0, "", "MAX_TRANSFER_OUTPUT_MB", "should_transfer_files = NO"),
    (
        34, 0, "Error from slot1_1@execute2: Job has gone over cgroup memory limit of 900 "
        "megabytes. Peak usage: 901 megabytes.", "more memory than its slot", "now 900 MB",
    ),
    (35, 0, "", "container image", "no container"),
    (46, 0, "", "allowed_job_duration", "smaller chunks"),
    (47, 0, "", "allowed_execute_duration", "smaller chunks"),
    (0, 0, "Something", "no code", "see the reason"),
    (77, 5, "", "hold code is 77, sub-code 5", "manual"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "sub", "words", "reason", "remedy"), HOLDS)
def test_a_hold_is_said_in_plain_words_with_a_remedy(code, sub, words, reason, remedy):
    found = explain.explain_hold(held(code, sub, words))
    assert found.reason.startswith("job 12.3 is held: ")
    assert reason in found.reason
    assert any(part in found.remedy for part in remedy.split("|"))
    assert "{" not in found.reason + found.remedy
    assert words in found.reason


@pytest.mark.parametrize(("code", "sub", "words", "reason", "remedy"), HOLDS)
def test_a_job_that_is_about_to_go_cannot_be_released(code, sub, words, reason, remedy):
    found = explain.explain_hold(held(code, sub, words), gone=True)
    assert found.reason == explain.explain_hold(held(code, sub, words)).reason.replace(" is held", " was held", 1)
    assert "condor_release" not in found.remedy
    assert "condor_rm" not in found.remedy
    assert found.remedy.endswith("run the same run_id again: only what is missing or failed is done")


def test_a_job_that_needs_more_is_not_to_be_released():
    assert "condor_release" not in explain.explain_hold(held(34)).remedy
    assert "inference_run_memory" in explain.explain_hold(held(34)).remedy


def test_who_held_a_job():
    assert explain.held_by_hand(held(1))
    assert explain.held_by_hand(held(15))
    assert not explain.held_by_hand(held(34))
    assert not explain.held_by_hand(job(JobStatus=1, HoldReasonCode=1))


@pytest.mark.parametrize(
    ("ad", "expected"),
    [
        (held(1, 0, "by me"), "its job was held: someone held it with condor_hold. HTCondor says: by me"),
        (job(JobStatus=3), "its job was removed: HTCondor gave no reason for it"),
        (job(JobStatus=4, ExitCode=2), "its job ended with exit code 2. Its last words: bad"),
        (job(JobStatus=4, ExitBySignal=True, ExitSignal=9), "its job was killed by signal 9. Its last words: bad"),
    ],
)
def test_why_the_images_of_a_job_have_no_result(ad, expected):
    assert explain.reason_for_images(ad, "bad") == expected


def test_every_code_that_can_come_up_here_is_explained():
    asked = {1, 3, 6, 7, 12, 13, 14, 16, 21, 22, 26, 32, 33, 34, 35}
    assert asked <= {code for code, *_ in HOLDS}
    known = set(explain._HOLDS) | set(explain._ERRNO_PLACES)
    for code in known:
        assert "hold code is" not in explain.explain_hold(held(code)).reason


def test_an_unknown_error_number_still_has_a_remedy():
    assert "site.yml" in explain.explain_hold(held(7, 99)).remedy


def test_braces_in_htcondors_words_do_no_harm():
    assert "{x}" in explain.explain_hold(held(6, 2, "Failed to execute '{x}'")).reason


def test_reasons_stay_one_line():
    found = explain.explain_hold(held(6, 2, "one\ntwo"))
    assert "\n" not in found.reason


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("via condor_rm (by user yolo)", "someone did it with condor_rm"),
        (
            "The job attribute PeriodicRemove expression 'NumJobStarts > 5' evaluated to TRUE",
            "a rule of the job did it",
        ),
        ("The system macro SYSTEM_PERIODIC_REMOVE expression ...", "a rule of the submit host"),
        ("", "HTCondor gave no reason for it"),
    ],
)
def test_a_removed_job_says_why(words, expected):
    found = explain.explain_removed(job(JobStatus=3, RemoveReason=words))
    assert found.reason.startswith(f"job 12.3 was removed: {expected}")
    assert words in found.reason
    assert "run the same run_id again" in found.remedy
    assert "other jobs go on" in explain.explain_removed(job(JobStatus=3), gone=False).remedy


def test_a_job_that_failed_shows_its_last_words_and_where_there_are_more():
    ad = job(JobStatus=4, ExitCode=2, LastRemoteHost="slot1_1@execute2")
    found = explain.explain_exit(ad, "error: model damaged")
    assert found.reason == ("job 12.3 ended with exit code 2 on slot1_1@execute2. Its last words: error: model damaged")
    assert "s001-c00003.err" in found.remedy


def test_a_job_that_could_not_say_why_it_failed_was_on_a_share_that_was_full_or_gone():
    found = explain.explain_exit(job(JobStatus=4, ExitCode=74), "what an earlier attempt said")
    assert found.reason.endswith("ended with exit code 74: it could not write to the share, which was full or gone")


def test_an_empty_pool_is_named():
    assert "no execute host" in explain.explain_idle(job(), []).reason
    dynamic_only = [{**SLOT, "PartitionableSlot": False, "DynamicSlot": True}]
    assert "no execute host" in explain.explain_idle(job(), dynamic_only).reason


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"RequestMemory": 4000}, "each job asks for 4000 MB of memory, the largest slot has 1900"),
        ({"RequestCpus": 2}, "each job asks for 2 CPUs, the largest slot has 1"),
        ({"RequestDisk": 10**8}, "the largest slot has 9000000"),
    ],
)
def test_a_request_that_no_slot_can_meet_is_named(change, expected):
    small = {**SLOT, "TotalSlotMemory": 500}
    found = explain.explain_idle(job(**change), [small, SLOT])
    assert expected in found.reason
    assert found == explain.explain_too_large(job(**change), [small, SLOT])


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ({"RequestMemory": 4000}, "lower inference_run_memory to 1900M or less (-e inference_run_memory=1900M)"),
        ({"RequestCpus": 2}, "lower cpus to 1 or less (-e cpus=1)"),
        ({"RequestDisk": 10**8}, "lower inference_run_disk to 9000000K or less (-e inference_run_disk=9000000K)"),
    ],
)
def test_what_would_fit_is_said(change, remedy):
    assert remedy in explain.explain_too_large(job(**change), [SLOT]).remedy


def test_a_full_slot_of_the_right_size_is_busy_not_too_small():
    full = {**SLOT, "Cpus": 0, "Memory": 1000}
    found = explain.explain_idle(job(), [full, full])
    assert found.reason == "all execute hosts are busy with other jobs"
    found = explain.explain_idle(job(), [full])
    assert found.reason == "the pool's only execute host is busy with other jobs"
    assert "by themselves" in found.remedy
    claimed = {**SLOT, "PartitionableSlot": False, "DynamicSlot": True, "State": "Claimed"}
    assert "busy" in explain.explain_idle(job(), [full, {**claimed, "Activity": "Busy"}]).reason
    # Kept for the next job by one that has ended.
    assert "next round" in explain.explain_idle(job(), [full, claimed]).reason


def test_requests_that_only_different_hosts_can_meet_are_named():
    wide, deep = {**SLOT, "TotalSlotCpus": 4}, {**SLOT, "TotalSlotMemory": 9000}
    found = explain.explain_too_large(job(RequestCpus=4, RequestMemory=9000), [wide, deep])
    assert found.reason == "each job asks for 4 CPUs, 9000 MB of memory, 50000 KB of disk; no slot has all of that"
    assert explain.explain_too_large(job(RequestCpus=4, RequestMemory=1900), [wide, deep]) is None


def test_nothing_is_too_large_for_a_pool_without_hosts():
    assert explain.explain_too_large(job(RequestCpus=64), []) is None


def test_drained_hosts_are_named():
    found = explain.explain_idle(job(), [{**SLOT, "State": "Drained", "Activity": "Idle"}])
    assert "drained" in found.reason
    assert "condor_drain -cancel" in found.remedy


def test_requirements_that_match_none_are_named():
    found = explain.explain_idle(job(LastRejMatchReason="no match found "), [SLOT, SLOT])
    assert "match none of the execute hosts" in found.reason
    assert "next round" in explain.explain_idle(job(LastRejMatchReason="no match found "), [SLOT], ran=True).reason
    assert "condor_q -better-analyze 12.3" in found.remedy


def test_a_request_that_is_an_expression_is_no_obstacle():
    ad = job(RequestDisk="\\/Expr(DiskUsage)\\/", RequestMemory="\\/Expr(ifThenElse(...))\\/")
    assert "next round" in explain.explain_idle(ad, [SLOT]).reason


def test_a_job_that_fits_waits_for_matchmaking():
    assert "next round" in explain.explain_idle(job(), [SLOT]).reason
    static = {**SLOT, "PartitionableSlot": False}
    assert "next round" in explain.explain_idle(job(), [static]).reason
    assert "busy" in explain.explain_idle(job(), [{**static, "State": "Claimed"}]).reason
