import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import watch_run
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure, AnsibleModuleError
from watch_run import ActionModule, MovingLine, Notices


class Shown:
    """What a line shows, and a clock to move on."""

    def __init__(self, terminal: bool) -> None:
        self.texts: list[tuple[str, bool]] = []
        self.now = 50.0
        self.line = MovingLine(lambda text, newline: self.texts.append((text, newline)), terminal, lambda: self.now)

    def screen(self) -> list[str]:
        """The lines that a terminal would show."""
        lines = [""]
        for text, newline in self.texts:
            for part in text.split("\r")[1:]:
                lines[-1] = part + lines[-1][len(part) :]
            if newline:
                lines.append("")
        return [line.rstrip() for line in lines]


def test_on_a_terminal_one_line_is_rewritten_and_stays_at_the_end():
    shown = Shown(terminal=True)
    for text in ("9 of 10 images, 2 failed", "10 of 10 images", "10 of 10 images, 1.0 images/s"):
        shown.line.update(text)
        assert shown.screen() == [text]
    shown.line.update("x")
    assert shown.screen() == ["x"]
    shown.line.finish("done")
    assert shown.screen() == ["done", ""]


def test_the_end_covers_a_longer_line():
    shown = Shown(terminal=True)
    shown.line.update("a long line of progress")
    shown.line.finish("done")
    assert shown.screen() == ["done", ""]


def test_in_a_log_a_changed_line_is_printed_now_and_then():
    shown = Shown(terminal=False)
    for second, text in enumerate(["1 of 9", "2 of 9", "3 of 9", "4 of 9", "5 of 9", "6 of 9", "7 of 9"]):
        shown.now = 50.0 + second
        shown.line.update(text)
    assert shown.texts == [("1 of 9", True), ("6 of 9", True)]
    shown.line.finish("9 of 9")
    assert shown.texts[-1] == ("9 of 9", True)


def test_in_a_log_an_equal_line_is_not_printed_again():
    shown = Shown(terminal=False)
    for _ in range(3):
        shown.line.update("1 of 9")
        shown.now += 60
    shown.line.finish("1 of 9")
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


class Told:
    """What notices tell, and a clock to move on."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.now = 50.0
        self.notices = Notices(self.texts.append, lambda: self.now)

    def for_seconds(self, seconds: int, *reasons: str) -> None:
        for _ in range(seconds):
            self.notices.update([{"reason": reason, "remedy": "wait"} for reason in reasons])
            self.now += 1


def test_what_stays_is_told_once():
    told = Told()
    told.for_seconds(4, "no slot is free")
    assert told.texts == []
    told.for_seconds(99, "no slot is free")
    assert told.texts == ["NOTE: no slot is free. What to do: wait"]
    told.for_seconds(9, "no slot is free", "job 7.1 is held")
    assert told.texts[1:] == ["NOTE: job 7.1 is held. What to do: wait"]


def test_another_figure_is_no_news():
    told = Told()
    told.for_seconds(9, "1.5 MiB free")
    told.for_seconds(9, "1.4 MiB free")
    assert told.texts == ["NOTE: 1.5 MiB free. What to do: wait"]


def test_what_was_gone_for_long_is_told_again():
    told = Told()
    told.for_seconds(9, "no slot is free")
    told.for_seconds(30)
    told.for_seconds(9, "no slot is free")
    assert len(told.texts) == 1
    told.for_seconds(70)
    told.for_seconds(5, "no slot is free")
    assert len(told.texts) == 1
    told.for_seconds(1, "no slot is free")
    assert len(told.texts) == 2


# --- the action --------------------------------------------------------------------------------------------


def status(state: str, line: str = "", reason: str | None = None, remedy: str | None = None, **more: object) -> dict:
    return {"state": state, "line": line, "reason": reason, "remedy": remedy} | more


class StreamError(Exception):
    """As Mitogen's own."""

    __module__ = "mitogen.core"


@pytest.fixture
def watch(monkeypatch):
    """Run the action on a host that gives these answers, one after the other; a second passes between two."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(watch_run.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(watch_run.time, "sleep", lambda seconds: setattr(clock, "now", clock.now + seconds))
    printed, asked, resets = [], [], []
    display = SimpleNamespace(display=lambda text, newline=True: printed.append(text))
    monkeypatch.setattr(watch_run, "display", display)
    monkeypatch.setattr(watch_run.ActionBase, "run", lambda *_: {})

    def run(*answers: object, **arguments: object) -> SimpleNamespace:
        given = {"command": ["status"], "time_limit": 60, "every": 1.0} | arguments
        action = ActionModule.__new__(ActionModule)
        monkeypatch.setattr(action, "validate_argument_spec", lambda _: (None, given), raising=False)
        rest = list(answers)

        def module(name: str, parameters: dict, task_vars: object) -> dict:
            asked.append((name, parameters))
            answer = rest.pop(0)
            assert connection.context is None
            connection.context = "of this look"
            if isinstance(answer, Exception):
                raise answer
            if isinstance(answer, dict) and "rc" in answer:
                return answer
            return {"rc": 0, "stdout": answer if isinstance(answer, str) else f"noise\n{json.dumps(answer)}\n"}

        class Connection:
            context = "of the last look"

            def reset(self) -> None:
                resets.append(clock.now)
                raise AnsibleConnectionFailure("it is away")

        connection = Connection()
        monkeypatch.setattr(action, "_connection", connection, raising=False)
        monkeypatch.setattr(action, "_execute_module", module, raising=False)
        result = action.run(task_vars={"inventory_hostname": "submit"})
        return SimpleNamespace(
            result=result, printed=printed, notes=[text for text in printed if text.startswith("NOTE")],
            asked=asked, rest=rest, now=clock.now, resets=resets,
        )  # fmt: skip

    return run


def test_it_waits_until_the_run_is_done(watch):
    seen = watch(status("waiting", "1 of 2"), status("waiting", "1 of 2"), status("done", "2 of 2"), "never asked")
    assert seen.result == {"changed": True, "away": False, "status": status("done", "2 of 2")}
    assert seen.printed == ["1 of 2", "2 of 2"]
    assert seen.asked == [("ansible.builtin.command", {"argv": ["status"]})] * 3
    assert seen.now == 2
    assert seen.rest == ["never asked"]


def test_a_run_that_failed_fails_the_task_with_its_reason_and_remedy(watch):
    seen = watch(status("failed", "1 of 2", "2 jobs are held", "release them"))
    assert seen.result["failed"]
    assert seen.result["msg"] == "2 jobs are held. Remedy: release them"


def test_a_reason_to_worry_is_told_while_it_waits(watch):
    idle = status("waiting", "0 of 2", notices=[{"reason": "no slot is free", "remedy": "wait"}])
    seen = watch(*[idle] * 20, status("done", "2 of 2"))
    assert seen.printed == ["0 of 2", "NOTE: no slot is free. What to do: wait", "2 of 2"]


STUCK = status("waiting", "0 of 2", stuck={"reason": "each job asks for 2 CPUs", "remedy": "lower cpus to 1"})


def test_jobs_that_fit_no_host_are_given_up_after_half_a_minute(watch):
    seen = watch(*[STUCK] * 99)
    assert seen.result["failed"]
    assert seen.result["msg"] == "each job asks for 2 CPUs. Remedy: lower cpus to 1"
    assert seen.now == 30


def test_a_host_that_boots_may_be_the_one_that_they_fit(watch):
    seen = watch(*[STUCK] * 29, status("waiting", "0 of 2"), *[STUCK] * 29, status("done", "2 of 2"))
    assert "failed" not in seen.result


AWAY = AnsibleConnectionFailure("Failed to connect\nto the host")


@pytest.mark.parametrize("error", [AWAY, AnsibleModuleError("sudo: no"), StreamError("EOF")])
def test_a_host_that_boots_is_waited_for(watch, error):
    waits = status("waiting", "1 of 2")
    seen = watch(waits, *[error] * 50, waits, error, waits, status("done", "2 of 2"))
    assert "failed" not in seen.result
    away, back, *again = seen.notes
    assert away.startswith(
        "NOTE: submit does not answer. Its jobs go on as far as they can, and it is asked again for 10 "
    )
    assert away.endswith(" ".join(str(error).split()))
    assert back == "NOTE: submit answers again"
    assert again == [away, back]
    assert len(seen.resets) == 51, "each look makes a connection of its own until one answers"


def test_mitogens_words_are_not_shown(watch):
    gone = AnsibleConnectionFailure(
        "Mitogen was disconnected from the remote environment while a call was in-progress."
    )
    seen = watch(gone, status("done", "2 of 2"))
    assert seen.notes[0].endswith("It said: the connection ended")


def test_a_host_whose_share_is_not_mounted_yet_is_waited_for(watch):
    no_code = {
        "rc": 1,
        "stderr": "Traceback\n/usr/bin/python3: Error while finding module specification for 'yolo.pool.status'",
    }
    waits = status("waiting", "1 of 2")
    seen = watch(waits, AWAY, no_code, {"rc": 2, "stderr": "error: No such file"}, "cut o", status("done", "2 of 2"))
    assert "failed" not in seen.result
    assert [note.partition(".")[0] for note in seen.notes] == [
        "NOTE: submit does not answer",
        "NOTE: submit answers again",
    ]
    seen = watch(waits, no_code, status("done", "2 of 2"))
    assert seen.notes[2].startswith("NOTE: submit can't say how the run is. ")
    assert "It said: /usr/bin/python3" in seen.notes[2]


def test_a_host_that_stays_away_is_given_up_and_its_jobs_are_not(watch):
    seen = watch(status("waiting", "1 of 2"), *[AWAY] * 999, time_limit=9999)
    assert seen.result["failed"]
    assert seen.result["away"]
    assert seen.result["msg"].startswith("submit has given no status of the run for 10 minutes: Failed to connect to ")
    assert 600 <= seen.now <= 610


def test_the_time_limit_holds_while_the_host_is_away(watch):
    seen = watch(status("waiting", "1 of 2"), *[AWAY] * 99, time_limit=20)
    assert seen.result["msg"].startswith("the run has not ended after 20 s")
    assert seen.result["away"], "nobody can remove its jobs now"


def test_a_fault_of_this_program_is_not_taken_for_an_outage(watch):
    with pytest.raises(ZeroDivisionError):
        watch(ZeroDivisionError())


def test_after_the_time_limit_it_gives_up_and_says_how_to_go_on(watch):
    seen = watch(*[status("waiting", "1 of 2")] * 9, time_limit=3, every=2.0)
    assert seen.result["failed"]
    assert seen.result["msg"].startswith("the run has not ended after 3 s. Remedy: what is done is kept: run the same ")
    assert seen.now == 4
    assert len(seen.asked) == 3


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"rc": 2, "stderr": "error: no such run\n"}, r"run's status \(exit 2\): error: no such run"),
        ({"rc": 1, "stdout": "said here"}, r"\(exit 1\): said here"),
        ({"rc": None, "msg": "unreachable"}, r"\(exit None\): unreachable"),
        ("", r"run's status \(list index out of range\); it was: ''"),
        ("not JSON", r"run's status \(Expecting value: .*\); it was: 'not JSON'"),
    ],
)
def test_an_answer_that_is_no_status(watch, answer, text):
    with pytest.raises(AnsibleActionFail, match=text):
        watch(answer)


CTRL_C = """
import signal
import watch_run
came = []
watch_run.display.display = lambda *_, **__: came.extend([signal.raise_signal(signal.SIGINT), "shown"])
signal.signal(signal.SIGINT, lambda *_: came.append("ended"))
watch_run.ActionModule._show(None, "9 of 10", True)
assert came == [None, "shown", "ended"], came
"""


def test_ctrl_c_comes_after_what_is_shown():
    """A worker that ends within would take the lock of Ansible's queue with it."""
    # In a process of its own: what other tests loaded has handlers of signals too.
    folder = Path(watch_run.__file__).parent
    subprocess.run([sys.executable, "-c", CTRL_C], env=os.environ | {"PYTHONPATH": str(folder)}, check=True)
