import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible.playbook.block import Block
from pooled import LoaderDisplay, fit_socket, fits

PROJECT = Path(__file__).resolve().parents[2]


def play(hosts, *tasks):
    return SimpleNamespace(hosts=hosts, compile=lambda: list(tasks))


def task(action):
    return SimpleNamespace(action=action)


def block(*tasks, rescue=()):
    made = Block()
    made.block, made.rescue = list(tasks), list(rescue)
    return made


PING = task("ansible.builtin.ping")
REBOOT = task("ansible.builtin.reboot")


@pytest.mark.parametrize(
    ("given", "right"),
    [
        (play("all", PING), True),
        (play("manager:submit", PING), True),
        (play("localhost", PING), False),
        (play("localhost", block(task("amazon.aws.ec2_instance_info"))), True),
        (play(["localhost"], PING), False),
        (play("all", PING, REBOOT), False),
        (play("all", block(PING, block(PING, rescue=[REBOOT]))), False),
        (play("all", task("wait_for_connection")), False),
        (play("all", PING, task("ansible.builtin.raw")), False),
        (play("all", task("ansible.posix.synchronize")), False),
    ],
)
def test_mitogen_does_the_plays_that_it_fits(given, right):
    assert fits(given) is right


@pytest.mark.parametrize(("home", "shared"), [("/root", True), ("/home/" + "x" * 80, False)])
def test_a_socket_whose_path_is_too_long_is_not_made(monkeypatch, home, shared):
    monkeypatch.setenv("HOME", home)
    environment = {}
    fit_socket(environment)
    assert environment == ({} if shared else {"ANSIBLE_SSH_CONTROL_PATH": "none"})


def test_only_the_notice_about_strategies_is_left_out():
    said = []
    display = LoaderDisplay(SimpleNamespace(deprecated=lambda msg, **options: said.append(msg), columns=80))
    display.deprecated(msg="Use of strategy plugins not included in ansible.builtin are deprecated and do not")
    display.deprecated(msg="something else", version="2.23")
    assert said == ["something else"]
    assert display.columns == 80


def test_no_play_has_a_strategy_of_its_own():
    folders = ("playbooks", "roles", "molecule", "tests")
    files = [path for folder in folders for path in (PROJECT / folder).rglob("*.yml")]
    assert len(files) > 50
    assert [path for path in files if re.search(r"(?m)^ +strategy:", path.read_text())] == []
