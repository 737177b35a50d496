import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible.errors import AnsibleActionFail

# By its path: the package has the same name.
ACTION = Path(__file__).resolve().parents[2] / "plugins/action/yolo.py"
spec = importlib.util.spec_from_file_location("yolo_action", ACTION)
action = importlib.util.module_from_spec(spec)
spec.loader.exec_module(action)
Ended, MovingLine = action.Ended, action.MovingLine


class Shown:
    """What a line shows, and a clock to move on."""

    def __init__(self, terminal: bool) -> None:
        self.texts: list[tuple[str, bool]] = []
        self.now = 50.0
        self.line = MovingLine(
            lambda text, newline: self.texts.append((text, newline)), 40 if terminal else 0, lambda: self.now
        )

    def screen(self) -> list[str]:
        """The lines that a terminal would show."""
        lines, column = [""], 0
        for text, newline in self.texts:
            for part in re.split(r"(\r|\x1b\[K)", text):
                if part == "\r":
                    column = 0
                elif part == "\x1b[K":
                    lines[-1] = lines[-1][:column]
                else:
                    lines[-1] = lines[-1][:column] + part + lines[-1][column + len(part) :]
                    column += len(part)
            if newline:
                lines.append("")
                column = 0
        return lines


def test_on_a_terminal_one_line_is_rewritten_and_stays_at_the_end():
    shown = Shown(terminal=True)
    for text in ("9 of 10 images, 2 failed", "10 of 10 images", "10 of 10 images, 1.0 images/s"):
        shown.line.update(text)
        assert shown.screen() == [text]
    shown.line.update("x")
    assert shown.screen() == ["x"]
    shown.line.finish()
    assert shown.screen() == ["x", ""]


def test_the_end_covers_a_longer_line():
    shown = Shown(terminal=True)
    shown.line.update("a long line of progress")
    shown.line.update("done")
    shown.line.finish()
    assert shown.screen() == ["done", ""]


def test_a_line_longer_than_the_terminal_is_cut():
    shown = Shown(terminal=True)
    shown.line.update("x" * 99)
    assert shown.screen() == ["x" * 39]


def test_in_a_log_a_changed_line_is_printed_now_and_then():
    shown = Shown(terminal=False)
    for second in range(3600):
        shown.now = 50.0 + second
        shown.line.update(f"{second} of 3600")
    seconds = [0, 5, 15, 35, 75, 155, 315, *range(615, 3600, 300)]
    assert shown.texts == [(f"{second} of 3600", True) for second in seconds]
    shown.line.finish()
    assert shown.texts[-1] == ("3599 of 3600", True)


def test_in_a_log_an_equal_line_is_not_printed_again():
    shown = Shown(terminal=False)
    for _ in range(3):
        shown.line.update("1 of 9")
        shown.now += 60
    shown.line.finish()
    assert shown.texts == [("1 of 9", True)]


def test_a_text_stays_above_the_line():
    shown = Shown(terminal=True)
    shown.line.update("a long line of progress")
    shown.line.tell("NOTE: short")
    shown.line.update("1 of 9")
    assert shown.screen() == ["NOTE: short", "1 of 9"]
    shown = Shown(terminal=False)
    shown.line.tell("NOTE: short")
    assert shown.texts == [("NOTE: short", True)]


# --- the action --------------------------------------------------------------------------------------------


def said(**message: object) -> str:
    return json.dumps(message) + "\n"


def ended(code: int = 1, complaint: str = "") -> Ended:
    return Ended(code, complaint)


@pytest.fixture
def act(monkeypatch):
    """Run the action on a host whose command says these things, call by call; time passes between two."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(action.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(action.time, "sleep", lambda seconds: setattr(clock, "now", clock.now + seconds))
    printed, started = [], []
    monkeypatch.setattr(action, "display", SimpleNamespace(display=lambda text, newline=True: printed.append(text)))
    monkeypatch.setattr(action.ActionBase, "run", lambda *_: {})
    monkeypatch.delenv(action.TERMINAL, raising=False)

    def run(*calls: object, **arguments: object) -> SimpleNamespace:
        given = {
            "command": "status", "arguments": ["--follow"], "input": {}, "code": "/srv/share/code/x", "waits": True,
            "time_limit": None, "extra_variables": False, "sent": False, "kept": None, **arguments,
        }  # fmt: skip
        module = action.ActionModule.__new__(action.ActionModule)
        monkeypatch.setattr(module, "validate_argument_spec", lambda _: (None, given), raising=False)
        monkeypatch.setattr(module, "_ssh", lambda command: ["ssh", command])
        rest = list(calls)

        def stream(argv, given, take, environment=None):
            started.append((argv, given))
            call = rest.pop(0)
            result = None
            for line in call if isinstance(call, list) else [call]:
                if isinstance(line, Exception):
                    raise line
                result = (take(line.encode()) or {}).get("result", result)
            return action.checked(result, 0, "")

        monkeypatch.setattr(action, "stream", stream)
        result = module.run(task_vars={"inventory_hostname": "submit1"})
        return SimpleNamespace(
            result=result, printed=printed, notes=[text for text in printed if text.startswith("NOTE")],
            started=started, rest=rest, now=clock.now,
        )  # fmt: skip

    return run


DONE = said(result={"state": "done", "ended": True, "changed": True})


def test_what_the_command_says_is_shown_as_it_says_it(act):
    seen = act(["Welcome!\n", said(line="1 of 2"), said(notice="no slot is free"), said(line="2 of 2"), DONE])
    assert seen.printed == ["1 of 2", "NOTE: no slot is free", "2 of 2"]
    assert seen.result["result"]["state"] == "done"
    assert (seen.result["changed"], seen.result["away"]) == (True, False)
    assert "failed" not in seen.result
    assert len(seen.started) == 1


def test_the_command_runs_with_the_code_on_the_share_and_its_input(act):
    ((argv, given),) = act(DONE, arguments=["--run-dir", "/srv/a b"], input={"slots": 2}).started
    assert argv == [
        "ssh",
        "env PYTHONPATH=/srv/share/code/x PYTHONDONTWRITEBYTECODE=1 "
        "python3 -m yolo status --run-dir '/srv/a b' --from -",
    ]
    assert json.loads(given) == {"slots": 2}


def test_a_result_that_failed_fails_the_task_with_its_message(act):
    seen = act(said(result={"failed": True, "msg": "Run x stopped: 2 jobs are held. Remedy: release them"}))
    assert seen.result["failed"]
    assert seen.result["msg"] == "Run x stopped: 2 jobs are held. Remedy: release them"


AWAY = ended(255, "ssh: Failed to connect\nto the host")
WAITS = said(line="1 of 2")


@pytest.mark.parametrize("error", [AWAY, ended(-9), ended(143, "Terminated"), ended(127, "sudo: no")])
def test_a_host_that_boots_is_waited_for(act, error):
    seen = act([WAITS, error], *[error] * 50, [WAITS, error], [WAITS, DONE])
    assert "failed" not in seen.result
    away, back, *again = seen.notes
    assert away.startswith(
        "NOTE: submit1 does not answer. Its jobs go on as far as they can, and it is asked again for 10 "
    )
    assert away.endswith(str(error).splitlines()[-1])
    assert back == "NOTE: submit1 answers again"
    assert again == [away, back]
    assert seen.now == 2 * 52, "it is not asked too often"


def test_a_host_whose_share_is_not_mounted_yet_is_waited_for(act):
    no_code = ended(1, "/usr/bin/python3: No module named yolo")
    seen = act([WAITS, AWAY], no_code, ended(2, "error: No such file"), [WAITS, DONE])
    assert "failed" not in seen.result
    assert [note.partition(".")[0] for note in seen.notes] == [
        "NOTE: submit1 does not answer",
        "NOTE: submit1 answers again",
    ]
    seen = act([WAITS, no_code], [DONE])
    assert seen.notes[2].startswith("NOTE: submit1 can't say how the run is. ")
    assert "It said: /usr/bin/python3" in seen.notes[2]


def test_a_command_that_works_and_then_fails_by_itself_is_one_error(act):
    with pytest.raises(AnsibleActionFail, match=r"^the weights are corrupt; copy them again$"):
        act([WAITS, ended(2, "noise\nerror: the weights are corrupt; copy them again\n")], waits=False)
    # What ends it otherwise is no word of its own.
    assert act([WAITS, AWAY], [DONE], waits=False).result["result"]["state"] == "done"


def test_a_host_that_stays_away_is_given_up_and_its_jobs_are_not(act):
    seen = act([WAITS, AWAY], *[AWAY] * 999)
    assert seen.result["failed"]
    assert seen.result["away"]
    assert seen.result["msg"].startswith(
        "submit1 has given no status of the run for 10 minutes: ssh: Failed to connect"
    )
    assert 600 <= seen.now <= 610


def test_the_time_limit_goes_on_while_the_host_is_away(act):
    seen = act([WAITS, AWAY], AWAY, [DONE], time_limit=60)
    assert [argv[1].partition("--time-limit ")[2] for argv, _ in seen.started] == ["60.0", "58.0", "56.0"]


def test_a_wait_in_parts_goes_on_until_it_has_ended(act):
    part = said(result={"ended": False})
    seen = act(part, part, DONE)
    assert len(seen.started) == 3
    assert seen.result["result"]["state"] == "done"


@pytest.mark.parametrize(
    ("end", "text"),
    [
        (ended(2, "error: conf is '7'\nmode is 'x'\n"), "^conf is '7'\nmode is 'x'$"),
        (ended(1, "Traceback\nKeyError: 'x'"), "Traceback\nKeyError"),
        (ended(0, ""), "ended with exit code 0 and without a result"),
    ],
)
def test_a_command_that_never_worked_is_one_error(act, end, text):
    with pytest.raises(AnsibleActionFail, match=text):
        act(end)


def test_a_command_of_the_control_node_is_run_once(act):
    with pytest.raises(AnsibleActionFail):
        act(ended(-9), code="")
    ((argv, _),) = act(DONE, code="", command="request", arguments=[]).started[1:]
    assert argv == [sys.executable, "-m", "yolo", "request"]


def test_a_command_is_run_on_a_host_that_has_no_code_yet_and_its_long_answer_is_kept(act, tmp_path):
    kept = tmp_path / "cache" / "listed.json"
    answer = said(result={"kept": {"files": [1]}, "changed": False})
    given = {"code": "", "sent": True, "kept": str(kept), "command": "list", "arguments": ["/srv/a b"], "waits": False}
    seen = act(answer, **given)
    assert seen.result["result"] == {"changed": False}
    assert json.loads(kept.read_bytes()) == {"files": [1]}
    assert os.listdir(kept.parent) == ["listed.json"]
    ((argv, sent),) = act(answer, **given).started[1:]
    assert argv[0] == "ssh"
    assert argv[1].endswith("list '/srv/a b' --from -")
    assert json.loads(sent.split(b"\n", 1)[1]) == {"kept": {"files": [1]}}
    with pytest.raises(AnsibleActionFail, match="No route to host"):
        act(ended(255, "ssh: connect to host manager1: No route to host"), **given)


def test_the_code_that_is_sent_runs_by_itself_and_leaves_nothing(tmp_path):
    (tmp_path / "share" / "photos").mkdir(parents=True)
    (tmp_path / "tmp").mkdir()
    command = ["list", "--share", tmp_path / "share", tmp_path / "share" / "photos", "--from", "-"]
    done = subprocess.run(
        ["/usr/bin/env", "-i", f"TMPDIR={tmp_path}/tmp", sys.executable, "-I", "-c", action.RUN_SENT, *command],
        input=action.pack_code(action.PROJECT / "files" / "yolo") + b"{}",
        capture_output=True,
    )
    assert json.loads(done.stdout)["result"]["kept"]["files"] == [], done.stderr
    assert os.listdir(tmp_path / "tmp") == []


def test_a_real_command_streams(tmp_path):
    code = "import sys, time; print(sys.stdin.read(), flush=True); time.sleep(0.2); print('last'); sys.exit(3)"
    came = []
    with pytest.raises(Ended, match=r"^oh no$") as caught:
        action.stream(
            [sys.executable, "-c", code + " if False else sys.stderr.write('oh no') and 3"], b"first",
            lambda line: came.append((line, time.monotonic())),
        )  # fmt: skip
    assert caught.value.error == ""
    assert [line for line, _ in came] == [b"first\n", b"last\n"]
    assert came[1][1] - came[0][1] > 0.1


def test_variables_on_the_command_line_and_what_their_names_may_begin_with(monkeypatch):
    monkeypatch.setattr(action.context, "CLIARGS", {"extra_vars": ('{"imagez": 1}', "conf=0.5")})
    monkeypatch.setattr(action, "load_extra_vars", lambda _: {"imagez": 1, "conf": "0.5"})
    assert action.extra_variables() == {"imagez", "conf"}
    assert {"ec2_", "inference_run_", "ansible_", "cluster_"} <= action.prefixes()


CTRL_C = """
import signal
import importlib.util, os
spec = importlib.util.spec_from_file_location("action", os.environ["ACTION"])
action = importlib.util.module_from_spec(spec)
spec.loader.exec_module(action)
came = []
action.display.display = lambda *_, **__: came.extend([signal.raise_signal(signal.SIGINT), "shown"])
signal.signal(signal.SIGINT, lambda *_: came.append("ended"))
action.ActionModule._show(None, "9 of 10", True)
assert came == [None, "shown", "ended"], came
"""


def test_ctrl_c_comes_after_what_is_shown():
    """A worker that ends within would take the lock of Ansible's queue with it."""
    # In a process of its own: what other tests loaded has handlers of signals too.
    subprocess.run([sys.executable, "-c", CTRL_C], env=os.environ | {"ACTION": str(ACTION)}, check=True)


LATE_WORKER = """
import importlib.util, multiprocessing, os, signal, sys, time
spec = importlib.util.spec_from_file_location("yolo_action", sys.argv[1])
action = importlib.util.module_from_spec(spec)
spec.loader.exec_module(action)

def work(first):
    while os.getppid() == first:
        time.sleep(0.01)
    action.end_with_the_playbook()
    open(sys.argv[2], "w").close()

worker = multiprocessing.get_context("fork").Process(target=work, args=(os.getpid(),))
worker.start()
print(worker.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_worker_whose_playbook_was_killed_before_it_could_ask_to_end_with_it_ends(tmp_path):
    stayed = tmp_path / "stayed"
    with subprocess.Popen(
        [sys.executable, "-c", LATE_WORKER, ACTION, stayed], stdout=subprocess.PIPE, text=True
    ) as first:
        pid = int(first.stdout.readline())
    deadline = time.monotonic() + 30
    # One that ended may wait for whoever adopted it.
    while (status := Path(f"/proc/{pid}/stat")).exists() and status.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not stayed.exists()
