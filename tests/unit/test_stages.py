import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from stages import duration, failures, last_lines, moving_line, plain, reason, terminal_width

PROJECT = Path(__file__).resolve().parents[2]
PLAYBOOK = str(Path(sys.executable).with_name("ansible-playbook"))
ERASE = "\r\x1b[K"
MOVES = """
import os
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        width = os.environ.get("TERMINAL_WIDTH")
        for text in ("one of two", "two of two"):
            if width:
                Display().display(f"\\r\\x1b[K{text} {width}\\r", newline=False)
            else:
                Display().display(text)
        Display().warning("careful")
        Display().deprecated("old", version="99.1")
        return super().run(tmp, task_vars)
"""


def environment(**more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "TERMINAL_"))}
    return kept | {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"} | more


def task(module, arguments=None, name="Do it", **keys):
    return {"name": name, module: arguments or {}, **keys}


def debug(message, **keys):
    return task("ansible.builtin.debug", {"msg": message}, **keys)


def write(folder, *plays, inventory="localhost ansible_connection=local\n"):
    (folder / "hosts").write_text(inventory)
    (folder / "action_plugins").mkdir()
    (folder / "action_plugins/moves.py").write_text(MOVES)
    given = [
        {"name": f"Stage {number}", "hosts": "all", "gather_facts": False, "tasks": list(tasks)}
        for number, tasks in enumerate(plays, 1)
    ]
    (folder / "play.yml").write_text(yaml.safe_dump(given, sort_keys=False))
    return [PLAYBOOK, "-i", str(folder / "hosts"), str(folder / "play.yml")]


def run(argv, *options, **more):
    done = subprocess.run(
        [*argv, *options], env=environment(**more), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    # Times differ.
    return done.returncode, re.sub(r"(?m)^ +[0-9.]+ s  ", "TIME ", done.stdout)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (119.4, "119 s"), (125, "2 min 5 s"), (7260, "2 h 1 min")],
)
def test_a_duration_is_as_exact_as_it_is_useful(seconds, text):
    assert duration(seconds) == text


def test_what_ansible_puts_before_a_message_is_left_out():
    assert plain("Task failed: Action failed: no such file") == "no such file"
    assert plain(["a", "b"]) == "a\nb"


def test_a_command_is_told_with_its_exit_code_and_the_end_of_its_output():
    result = {"rc": 3, "cmd": ["apt-get", "update"], "msg": "non-zero return code", "stderr": "a\nb", "stdout": "c"}
    assert reason(result) == "apt-get update ended with exit code 3\n    a\n    b"
    assert reason(result | {"stderr": ""}) == "apt-get update ended with exit code 3\n    c"
    assert last_lines("1\n2\n3", 2) == "\n    2\n    3"


def test_a_secret_is_not_told():
    assert "hidden" in reason({"censored": "the output has been hidden", "msg": "secret"})


def test_of_a_loop_each_item_that_failed_is_told():
    items = [{"failed": True, "msg": "a"}, {"failed": False, "msg": "b"}, {"failed": True, "msg": "c"}]
    assert list(failures({"msg": "One or more items failed", "results": items})) == ["a", "c"]
    assert list(failures({"msg": "a", "results": []})) == ["a"]


def test_a_line_that_moves_is_never_wider_than_the_terminal():
    assert moving_line("short", 20) == f"{ERASE}short\r"
    assert moving_line("x" * 30, 20) == f"{ERASE}{'x' * 18}…\r"
    assert moving_line("two\nlines", 20) == f"{ERASE}two lines\r"


def test_a_line_moves_in_a_terminal_only():
    terminal, pipe = SimpleNamespace(isatty=lambda: True), SimpleNamespace(isatty=lambda: False)
    assert terminal_width(terminal, {"TERM": "xterm"}) > 0
    assert terminal_width(terminal, {"TERM": "dumb"}) is None
    assert terminal_width(terminal, {}) is None
    assert terminal_width(pipe, {"TERM": "xterm"}) is None


def test_a_playbook_prints_its_messages_its_stages_and_a_recap(tmp_path):
    argv = write(
        tmp_path,
        [
            debug("about to start\nwith 3 images"),
            debug("{{ item }}", loop=["first", "second"]),
            debug("never", when=False),
            debug("the summary", vars={"print_last": True}),
            task("ansible.builtin.command", {"cmd": "true"}),
            task("ansible.builtin.command", {"cmd": "false"}, ignore_errors=True),
            task("moves"),
        ],
        [task("ansible.builtin.command", {"cmd": "sleep 1.1"})],
        [task("ansible.builtin.command", {"cmd": "true"})],
        [task("ansible.builtin.assert", {"that": True, "success_msg": "it works"})],
    )
    # A run without a terminal inside one that has it.
    code, said = run(argv, TERMINAL_WIDTH="80")
    assert code == 0
    assert said.count("[WARNING]: careful\n") == 1
    said = said.replace("[WARNING]: careful\n", "")
    assert said.splitlines() == [
        *["about to start", "with 3 images", "first", "second", "one of two", "two of two"],
        *["TIME Stage 1", "TIME Stage 2", *(["TIME Stage 3"] if "TIME Stage 3" in said else []), "it works"],
        "TIME Stage 4",
        "localhost : ok=9 changed=4 unreachable=0 failed=0",
        "the summary",
    ]


def test_a_failure_is_printed_once_in_plain_words(tmp_path):
    def on(host, **keys):
        return keys | {"when": f"inventory_hostname in {host.split()}"}

    fail = {"ansible.builtin.fail": {"msg": "2 images\nare missing"}}
    false = task("ansible.builtin.command", {"cmd": "false"}, name="Work")
    also_false = task("ansible.builtin.command", {"cmd": "/bin/false"}, name="Clean up")
    tasks = [
        # Nothing listens there.
        task("ansible.builtin.ping", vars={"ansible_connection": "ssh", "ansible_port": 9}, **on("far")),
        debug("the summary", vars={"print_last": True}, run_once=True),
        task("ansible.builtin.assert", {"that": False, "fail_msg": "conf is 3: expected 0 to 1"}, **on("asserts")),
        on("fails fails2", name="Do it", **fail),
        task("ansible.builtin.command", {"cmd": "ls /no/such"}, name="List it", **on("command")),
        on("rescued", block=[false], rescue=[{"name": "Say it", "ansible.builtin.fail": {"msg": "stopped"}}]),
        on("unrescued", block=[false], rescue=[also_false]),
        on("mended", block=[false], rescue=[task("ansible.builtin.command", {"cmd": "true"})]),
    ]
    names = ["asserts", "fails", "fails2", "command", "rescued", "unrescued", "mended", "localhost"]
    inventory = "".join(f"{name} ansible_connection=local\n" for name in names) + "far ansible_host=127.0.0.1\n"
    code, output = run(write(tmp_path, tasks, inventory=inventory), LC_ALL="C.UTF-8")
    assert code & 6
    said, recap = output.split("TIME Stage 1 (failed)\n")
    assert "far       : ok=0 changed=0 unreachable=1 failed=0\n" in recap
    assert "mended    : ok=1 changed=1 unreachable=0 failed=0\n" in recap
    first, said = said.split("\n", 1)
    assert re.fullmatch("ERROR on far: can't be reached: .*(refused|closed|reset).*", first)
    said = re.sub("fails2?", "fails", said)
    assert said.splitlines() == [
        "the summary",
        "ERROR on asserts: conf is 3: expected 0 to 1",
        *["ERROR on fails: 2 images", "are missing", "The same on fails."],
        "ERROR on command: List it: ls /no/such ended with exit code 2",
        "    ls: cannot access '/no/such': No such file or directory",
        "ERROR on rescued: stopped",
        "ERROR on unrescued: Work: false ended with exit code 1",
        "ERROR on unrescued: Clean up: /bin/false ended with exit code 1",
    ]


def test_check_and_diff_say_what_changes(tmp_path):
    target = tmp_path / "written"
    write_it = task("ansible.builtin.copy", {"content": "new\n", "dest": str(target), "mode": "0644"}, name="Write it")
    code, said = run(write(tmp_path, [write_it]), "--check", "--diff")
    assert code == 0
    assert "would change: localhost: Write it\n" in said
    assert "\n+new\n" in said
    assert not target.exists()


def test_verbose_output_is_ansibles_own_with_times(tmp_path):
    said = run(
        write(tmp_path, [debug("hello"), task("ansible.builtin.command", {"cmd": "true"}, name="Run it")]), "-v"
    )[1]
    assert "\nTASK [Run it] *" in said
    assert "changed: [localhost] => " in said
    assert "PLAY RECAP" in said
    assert re.search(r"SLOWEST TASKS \*+\n(TIME .*\n){2}", said)


def test_a_worker_rewrites_a_line_of_the_terminal(tmp_path):
    argv = write(tmp_path, [task("moves"), debug("after")])
    screen, terminal = pty.openpty()
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 70, 0, 0))
    # Not pty.fork(): a child of this process, which has threads of libraries, may crash before it is another program.
    with subprocess.Popen(
        argv, env=environment(TERM="xterm"), stdin=terminal, stdout=terminal, stderr=terminal
    ) as running:
        os.close(terminal)
        said = b""
        try:
            while part := os.read(screen, 4096):
                said += part
        except OSError:  # The program has closed its end.
            pass
    assert running.returncode == 0
    os.close(screen)
    text = said.decode()
    assert re.search(rf"{re.escape(ERASE)}one of two \d+\r{re.escape(ERASE)}two of two \d+\r", text)
    assert "Stage 1: Do it" in text
    assert f"{ERASE}after\r\n" in text
    # What is left on the screen: a line is what was written since it was last erased.
    left = [line.rpartition(ERASE)[2].strip("\r") for line in text.split("\r\n")]
    assert left[:2] == ["[WARNING]: careful", "after"]
    assert left[-2].startswith("localhost : ok=2")
