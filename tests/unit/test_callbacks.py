from types import SimpleNamespace

import pytest
from command_line import group_names, left_out, split_value, unknown_tags, wrong_start
from interrupted import CallbackModule


@pytest.mark.parametrize(
    "option",
    [
        "images=/x/y",
        "images=/x/y weights=demo",
        "images='/x/with space'",
        '{"images": "/x/with space"}',
        "@some file.yml",
        "/a/path that Ansible refuses itself",
        "conf=",
        "",
        " ",
    ],
)
def test_a_value_that_arrives_whole_is_left_alone(option):
    assert split_value(option) is None


@pytest.mark.parametrize(
    ("option", "becomes", "instead"),
    [
        ("images=/x/with space", "images would be /x/with.", """-e '{"images": "/x/with space"}'"""),
        ("images=/x/a b c weights=demo", "images would be /x/a.", """-e '{"images": "/x/a b c"}'"""),
        ("conf=1 images=/x/a b", "images would be /x/a.", """-e '{"images": "/x/a b"}'"""),
        ("images=/x/größe und", "images would be /x/größe.", """-e '{"images": "/x/größe und"}'"""),
    ],
)
def test_a_value_that_ansible_would_split_is_shown_as_it_is_to_be_given(option, becomes, instead):
    said = split_value(option)
    assert becomes in said
    assert said.endswith(instead)


def test_what_is_no_assignment_is_named():
    assert "images is none of them" in split_value("images")


def test_tags_that_a_playbook_has_are_right():
    known = {"python", "always"}
    assert unknown_tags("site.yml", ["all"], [], set()) is None
    assert unknown_tags("site.yml", ["python"], [], known) is None
    assert unknown_tags("site.yml", ["all"], ["python"], known) is None
    assert unknown_tags("site.yml", ["all"], ["molecule-notest", "notest"], set()) is None


@pytest.mark.parametrize(
    ("asked", "skipped", "known", "said"),
    [
        (["report"], [], set(), "--tags report: x.yml has no tags. Leave --tags out."),
        (["python", "report"], [], {"python"}, "--tags report: x.yml has the tags python."),
        # Only what checks inputs has it.
        (["always"], [], {"always"}, "--tags always: x.yml has no tags."),
        (["tagged"], [], {"always"}, "--tags tagged: x.yml has no tags."),
        (["all"], ["all"], {"python"}, "--skip-tags all:"),
        (["all"], ["untagged"], set(), "--skip-tags untagged:"),
        (["all"], ["report"], {"python"}, "--skip-tags report: x.yml has the tags python. Leave --skip-tags out."),
    ],
)
def test_tags_that_would_do_nothing_are_named(asked, skipped, known, said):
    assert unknown_tags("x.yml", asked, skipped, known).startswith(said)


def test_a_limit_that_leaves_a_host_out_names_it():
    assert left_out("x.yml", "all,localhost", ["localhost", "a"], {"a", "localhost"}) is None
    assert left_out("x.yml", "a", ["localhost", "a", "b"], {"a"}).startswith("--limit a leaves out localhost, b: x.yml")
    many = [f"e{number}" for number in range(9)]
    assert "leaves out e1, e2, e3, e4, e5 and 3 more:" in left_out("x.yml", "e0", many, {"e0"})


def test_only_a_playbook_whose_tasks_stand_alone_starts_in_the_middle():
    assert wrong_start("site.yml", "nfs_server : *", ["nfs_server : Export the share"]) is None
    assert "site.yml has no such task" in wrong_start("site.yml", "Foo", ["Bar"])
    assert "need what those before them find" in wrong_start("run_inference.yml", "Bar", ["Bar"])


def test_hosts_of_a_play_are_taken_apart():
    assert group_names("manager[0]:submit[0]") == ["manager", "submit"]
    assert group_names(["all", "localhost, execute"]) == ["all", "localhost", "execute"]


class Task:
    """A task that waits, with the word that it leaves."""

    def __init__(self, **variables: str) -> None:
        self.vars = variables

    def get_variable_manager(self):
        return SimpleNamespace(get_vars=lambda **_: {"run": "x", **self.vars})

    def get_loader(self):
        return None


@pytest.fixture
def said(monkeypatch):
    """What the callback says at the end, as a list that grows."""
    texts = []
    monkeypatch.setattr("interrupted.atexit.register", lambda _: None)
    callback = CallbackModule()
    callback._display = SimpleNamespace(display=lambda text, **_: texts.append(text))
    callback.v2_playbook_on_play_start(object())
    return callback, texts


def test_the_word_of_a_task_that_still_runs_is_said_at_the_end(said):
    callback, texts = said
    callback.v2_runner_on_start(None, Task(when_interrupted="{{ run }} goes on\n"))
    callback._say()
    # Not marked as a template: nothing that a host sent is evaluated.
    assert [text.strip() for text in texts] == ["{{ run }} goes on"]


@pytest.mark.parametrize(
    ("end", "options"),
    # As Ansible calls them.
    [("v2_runner_on_ok", {}), ("v2_runner_on_failed", {"ignore_errors": True}), ("v2_runner_on_unreachable", {})],
)
def test_a_task_that_ended_says_nothing(said, end, options):
    callback, texts = said
    callback.v2_runner_on_start(None, Task(when_interrupted="goes on"))
    getattr(callback, end)(None, **options)
    callback._say()
    callback.v2_runner_on_start(None, Task())
    callback._say()
    assert texts == []
