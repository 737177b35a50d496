import json
import os
import sys
import time
from pathlib import Path

import pool_check
import pytest
from pool_check import CheckError, Slots, check_result, compare_slots, explain_slots, read_events

DOMAIN = "cluster.internal"


def ad(host: str, state: str = "Unclaimed", cpus: int = 2) -> dict:
    return {"Machine": f"{host}.{DOMAIN}", "State": state, "Cpus": cpus}


# --- slots -------------------------------------------------------------------------------------------------


def test_the_pool_as_expected():
    assert compare_slots([ad("e2"), ad("e1", cpus=1)], ["e1", "e2"], DOMAIN) == Slots()
    assert compare_slots([ad("e2"), ad("e1")], ["e1", "e2"], DOMAIN).exact


def test_a_host_whose_processors_are_in_use_is_busy_and_still_there():
    slots = compare_slots([ad("e2", cpus=0), ad("e1")], ["e1", "e2"], DOMAIN)
    assert slots == Slots(busy=["e2"])
    assert slots.exact


@pytest.mark.parametrize(
    ("ads", "slots"),
    [
        ([ad("e2")], Slots(missing=["e1"])),
        ([], Slots(missing=["e1", "e2"])),
        ([ad("e1"), ad("e2"), ad("e3"), ad("e10")], Slots(unexpected=["e10", "e3"])),
        ([ad("e1"), ad("e2"), ad("e2")], Slots(repeated=["e2"])),
        ([ad("e1", "Drained"), ad("e2")], Slots(drained=["e1"])),
        # The same name in another domain is another host.
        ([ad("e1"), {"Machine": "e2.elsewhere"}], Slots(missing=["e2"], unexpected=["e2.elsewhere"])),
        ([ad("e1"), {}], Slots(missing=["e2"], unexpected=[""])),
        # Others' troubles are their own.
        ([ad("e1"), ad("e2"), ad("e3", "Drained", 0)], Slots(unexpected=["e3"])),
    ],
)
def test_a_pool_that_is_not_as_expected(ads, slots):
    found = compare_slots(iter(ads), iter(["e1", "e2"]), DOMAIN)
    assert found == slots
    assert not found.exact


def test_what_is_wrong_is_told_for_each_kind_with_where_to_look():
    text = explain_slots(Slots(["a", "b"], ["c"], ["d"], ["e"], ["f"]), 12.6)
    lines = text.splitlines()
    assert lines[0] == "The pool is not whole after 13 s."
    assert lines[1].startswith("No slot from: a, b. Look there at `systemctl status condor`")
    assert lines[2].startswith("Slots from hosts that are not in the inventory's group: c. ")
    assert lines[3].startswith("More than one slot from: d. ")
    assert lines[4] == "Drained: e. `condor_drain -cancel HOST` on the manager lets them work again."
    assert len(lines) == 5
    assert explain_slots(Slots(missing=["a"]), 1).count("\n") == 1


# --- jobs ----------------------------------------------------------------------------------------------------

LOG = """\
000 (041.000.000) 2026-01-02 10:00:00 Job submitted from host: <192.0.2.1:9618>
...
000 (041.001.000) 2026-01-02 10:00:00 Job submitted from host: <192.0.2.1:9618>
...
001 (041.000.000) 2026-01-02 10:00:01 Job executing on host: <192.0.2.2:9618>
\tSlotName: slot1_1@e1
...
005 (041.000.000) 2026-01-02 10:00:02 Job terminated.
\t(1) Normal termination (return value 0)
\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Run Remote Usage
...
012 (041.001.000) 2026-01-02 10:00:03 Job was held.
\tCannot access initial working directory /share
\tCode 6 Subcode 2
...
"""


def test_the_last_state_of_each_job():
    assert read_events(LOG) == {
        0: ("done", "(1) Normal termination (return value 0)"),
        1: ("held", "Cannot access initial working directory /share"),
    }


def test_a_log_that_is_being_written():
    assert read_events("") == {}
    assert read_events(LOG[: LOG.index("005")]) == {0: ("running", "SlotName: slot1_1@e1")}
    # The event's lines are not all there: the job is not done yet in the sense of the caller.
    half = LOG[: LOG.index("(1) Normal")]
    assert read_events(half)[0] == ("done", "")


def test_a_job_that_was_put_back_is_idle_again():
    later = LOG + "013 (041.001.000) 2026-01-02 10:00:09 Job was released.\n\tvia condor_release\n...\n"
    assert read_events(later)[1] == ("idle", "via condor_release")


GOOD = {"machine": f"e1.{DOMAIN}", "node": "e1", "uid": 1500, "gid": 1500, "filesystem": "nfs"}


def problems(record: object = None, owner: tuple[int, int] | None = (1500, 1500), **changes: object) -> list[str]:
    text = record if isinstance(record, str) or changes == {"gone": 1} else json.dumps(GOOD | changes)
    return check_result("e1", None if changes == {"gone": 1} else text, owner, 1500, 1500, DOMAIN)


def test_a_good_result():
    assert problems() == []
    assert problems(filesystem="nfs4") == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"gone": 1}, "e1: the job is done, but its result is not in the folder that the manager exports"),
        ({"owner": None}, "e1: the job is done, but its result is not in the folder that the manager exports"),
        ({"record": ""}, "e1: cannot read the job's result '': "),
        ({"record": "[]"}, "e1: cannot read the job's result '[]': "),
        ({"record": "{}"}, "e1: cannot read the job's result '{}': 'machine'"),
        ({"machine": "e2.x"}, f"e1: the job ran on e2.x, expected e1.{DOMAIN}"),
        ({"uid": 0}, "e1: the job ran as 0:1500, expected 1500:1500"),
        ({"gid": 0}, "e1: the job ran as 1500:0, expected 1500:1500"),
        ({"owner": (65534, 1500)}, "e1: its file belongs to 65534:1500 on the manager, expected 1500:1500"),
        ({"filesystem": "xfs"}, "e1: the job saw a xfs file system, expected NFS"),
    ],
)
def test_a_result_that_is_not_as_expected(arguments, text):
    (found,) = problems(**arguments)
    assert found.startswith(text)


def test_all_that_is_wrong_with_a_result_is_told_at_once():
    assert len(problems(machine="e2", uid=0, filesystem="ext4", owner=(0, 0))) == 4


# --- programs ------------------------------------------------------------------------------------------------

SUBMIT = """
import os, re, subprocess, sys
text = open(sys.argv[2]).read()
values = dict(line.split(" = ", 1) for line in text.splitlines() if " = " in line)
hosts = re.search(r"queue host in \\((.*)\\)", text)[1].split()
pinned = values["requirements"]
assert values["transfer_executable"] == values["should_transfer_files"].lower().replace("no", "false") == "false"
mode = os.environ.get("POOL", "")
with open(values["log"], "a") as log:
    for number, host in enumerate(hosts):
        machine = re.search(r'== "(.*)"', pinned)[1].replace("$(host)", host)
        words = values["arguments"].strip('"').replace("$(host)", host).replace("$$(Machine)", machine).split()
        event = f"(007.{number:03}.000) 2026-01-02 10:00:00"
        if mode == f"idle {host}":
            log.write(f"000 {event} Job submitted\\n...\\n")
            continue
        if mode == f"held {host}":
            log.write(f"012 {event} Job was held.\\n\\tno such folder\\n\\tCode 6\\n...\\n")
            continue
        error = os.path.join(values["initialdir"], values["error"].replace("$(host)", host))
        with open(error, "w") as stderr:
            script = ["sh", "-c", "echo no share >&2; exit 2"] if mode == f"fails {host}" else ["/bin/sh", *words]
            code = subprocess.run(script, cwd=values["initialdir"], env={}, stderr=stderr).returncode
        log.write(f"005 {event} Job terminated.\\n\\t(1) Normal termination (return value {code})\\n...\\n")
print("7.0 - 7.1")
"""

STATUS = """
import json, os, sys
if os.environ.get("POOL") == "down":
    sys.exit("Failed to connect to the collector")
print(os.environ.get("ADS", ""))
"""

REMOVE = """
import os, sys
open(os.environ["REMOVED"], "a").write(sys.argv[1] + "\\n")
"""


@pytest.fixture
def pool(tmp_path, monkeypatch):
    """Programs in HTCondor's place; the jobs run at once, on this machine."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, code in (("condor_submit", SUBMIT), ("condor_status", STATUS), ("condor_rm", REMOVE)):
        (folder / name).write_text(f"#!{sys.executable}{code}")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("ADS", json.dumps([ad("e1"), ad("e2")]))
    monkeypatch.setenv("REMOVED", str(tmp_path / "removed"))
    monkeypatch.delenv("POOL", raising=False)
    share = tmp_path / "share"
    share.mkdir()
    return share


def run(share: Path, *more: str) -> int:
    words = ["run", "--hosts", "e1,e2", "--domain", DOMAIN, "--share", str(share), "--timeout", "0.5"]
    return pool_check.main([*words, *more])


def verify(directory: str, *more: str) -> int:
    words = ["verify", "--hosts", "e1,e2", "--domain", DOMAIN, "--directory", directory]
    return pool_check.main([*words, "--uid", str(os.getuid()), "--gid", str(os.getgid()), *more])


def test_a_job_on_each_host_leaves_its_result_on_the_share(pool, capsys):
    assert run(pool) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert (outcome["hosts"], outcome["busy"]) == (["e1", "e2"], [])
    directory = Path(outcome["directory"])
    assert directory.parent == pool
    # Whole files only.
    assert sorted(os.listdir(directory)) == ["e1.err", "e1.json", "e2.err", "e2.json", "job.sh"]
    result = json.loads((directory / "e1.json").read_text())
    assert (result["machine"], result["uid"], result["gid"]) == (f"e1.{DOMAIN}", os.getuid(), os.getgid())
    assert result["node"] == os.uname().nodename
    # This machine's folder is no NFS.
    assert verify(str(directory)) == 1
    complaints = capsys.readouterr().err.splitlines()
    assert [line.split(" a ")[0] for line in complaints] == ["e1: the job saw", "e2: the job saw"]
    assert os.listdir(pool) == []


def test_results_that_are_as_expected_are_read_and_removed(tmp_path):
    directory = tmp_path / "results"
    directory.mkdir()
    for host in ("e1", "e2"):
        record = GOOD | {"machine": f"{host}.{DOMAIN}", "uid": os.getuid(), "gid": os.getgid()}
        (directory / f"{host}.json").write_text(json.dumps(record))
    assert verify(str(directory)) == 0
    assert not directory.exists()


def test_a_busy_host_gets_no_job(pool, capsys, monkeypatch):
    monkeypatch.setenv("ADS", json.dumps([ad("e1", cpus=0), ad("e2")]))
    assert run(pool) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert (outcome["hosts"], outcome["busy"]) == (["e2"], ["e1"])
    assert not (Path(outcome["directory"]) / "e1.json").exists()


def test_where_nothing_may_change_no_job_runs(pool, capsys):
    assert run(pool, "--slots-only") == 0
    assert json.loads(capsys.readouterr().out)["directory"] is None
    assert os.listdir(pool) == []


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        ("held e2", "e2: its job is held: no such folder. Look at /var/log/condor/StarterLog.slot1_1 there."),
        ("fails e1", "e1: its job is done: (1) Normal termination (return value 2); it says: no share. Look at"),
        (
            "idle e1",
            "Not all canary jobs were done in time.\ne1: its job is still idle. No match, or the match was ref",
        ),
    ],
)
def test_a_job_that_goes_wrong_is_explained_and_removed(pool, capsys, monkeypatch, tmp_path, mode, text):
    monkeypatch.setenv("POOL", mode)
    assert run(pool) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith(text)
    assert captured.out == ""
    assert (tmp_path / "removed").read_text() == "7\n"
    assert os.listdir(pool) == []


def test_a_pool_that_stays_incomplete_is_told_after_the_time(pool, capsys, monkeypatch):
    monkeypatch.setenv("ADS", json.dumps([ad("e1")]))
    start = time.monotonic()
    assert run(pool) == 1
    assert time.monotonic() - start > 0.5
    assert "No slot from: e2. " in capsys.readouterr().err
    assert os.listdir(pool) == []


def test_a_pool_that_is_starting_is_waited_for(monkeypatch):
    answers = iter([CheckError("no collector"), [], [ad("e1")], [ad("e1"), ad("e2")]])

    def call(*_: str) -> str:
        answer = next(answers)
        if isinstance(answer, CheckError):
            raise answer
        return json.dumps(answer)

    slept = []
    monkeypatch.setattr(pool_check, "call", call)
    monkeypatch.setattr(pool_check.time, "sleep", slept.append)
    start = time.monotonic()
    assert pool_check.wait_for_slots(["e1", "e2"], DOMAIN, start + 60, start) == Slots()
    assert slept == [1, 1, 1]


@pytest.mark.parametrize(
    ("mode", "ads", "text"),
    [("down", "", "Failed to connect to the collector\nLook at `systemctl status"), ("", "", "No slot from: e1, e2.")],
)
def test_a_collector_that_does_not_answer_or_knows_nobody(pool, capsys, monkeypatch, mode, ads, text):
    monkeypatch.setenv("POOL", mode)
    monkeypatch.setenv("ADS", ads)
    assert run(pool) == 1
    assert text in capsys.readouterr().err


def test_what_a_killed_check_left_is_removed_after_an_hour(pool):
    for name, age in ((".pool_check-old", 4000), (".pool_check-new", 10), ("runs", 9000)):
        (pool / name).mkdir()
        os.utime(pool / name, (time.time() - age,) * 2)
    assert run(pool) == 0
    left = {p.name for p in pool.iterdir()}
    assert {".pool_check-new", "runs"} < left
    assert ".pool_check-old" not in left


def test_a_program_that_is_missing_or_fails():
    with pytest.raises(CheckError, match="Failed to run condor_nothing: "):
        pool_check.call("condor_nothing")
    with pytest.raises(CheckError, match=r"sh -c echo why >&2; exit 3 ended with 3: why"):
        pool_check.call("sh", "-c", "echo why >&2; exit 3")
