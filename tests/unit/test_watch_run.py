import json
import signal
from types import SimpleNamespace

import pytest
import watch_run
from ansible.errors import AnsibleActionFail
from watch_run import ActionModule, MovingLine


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


# --- the action --------------------------------------------------------------------------------------------


def status(state: str, line: str = "", reason: str | None = None, remedy: str | None = None) -> dict:
    return {"state": state, "line": line, "reason": reason, "remedy": remedy}


@pytest.fixture
def watch(monkeypatch):
    """Run the action on a host that gives these answers, one after the other; a second passes between two."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(watch_run.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(watch_run.time, "sleep", lambda seconds: setattr(clock, "now", clock.now + seconds))
    printed, warned, asked = [], [], []
    display = SimpleNamespace(display=lambda text, newline=True: printed.append(text), warning=warned.append)
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
            if isinstance(answer, dict) and "rc" in answer:
                return answer
            return {"rc": 0, "stdout": answer if isinstance(answer, str) else f"noise\n{json.dumps(answer)}\n"}

        monkeypatch.setattr(action, "_execute_module", module, raising=False)
        result = action.run()
        return SimpleNamespace(result=result, printed=printed, warned=warned, asked=asked, rest=rest, now=clock.now)

    return run


def test_it_waits_until_the_run_is_done(watch):
    seen = watch(status("waiting", "1 of 2"), status("waiting", "1 of 2"), status("done", "2 of 2"), "never asked")
    assert seen.result == {"changed": True, "status": status("done", "2 of 2")}
    assert seen.printed == ["1 of 2", "2 of 2"]
    assert seen.asked == [("ansible.builtin.command", {"argv": ["status"]})] * 3
    assert seen.now == 2
    assert seen.rest == ["never asked"]


def test_a_run_that_failed_fails_the_task_with_its_reason_and_remedy(watch):
    seen = watch(status("failed", "1 of 2", "2 jobs are held", "release them"))
    assert seen.result["failed"]
    assert seen.result["msg"] == "2 jobs are held. Remedy: release them"


def test_a_reason_to_worry_is_told_once(watch):
    idle = status("waiting", "0 of 2", "no slot is free", "wait")
    seen = watch(
        idle, idle, status("waiting", "1 of 2"), idle, status("waiting", "1 of 2", "held", None), status("done")
    )
    assert seen.warned == ["no slot is free; wait", "held; "]


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
        ("", "Failed to read the run's status: .*; it was: ''"),
        ("not JSON", "Failed to read the run's status: .*; it was: 'not JSON'"),
    ],
)
def test_an_answer_that_is_no_status(watch, answer, text):
    with pytest.raises(AnsibleActionFail, match=text):
        watch(answer)


def test_ctrl_c_comes_after_what_is_shown(monkeypatch):
    """A worker that ends within would take the lock of Ansible's queue with it."""
    came = []
    monkeypatch.setattr(
        watch_run.display, "display", lambda *_, **__: came.extend([signal.raise_signal(signal.SIGINT), "shown"])
    )
    before = signal.signal(signal.SIGINT, lambda *_: came.append("ended"))
    try:
        ActionModule._show(None, "9 of 10", True)
    finally:
        signal.signal(signal.SIGINT, before)
    assert came == [None, "shown", "ended"]
