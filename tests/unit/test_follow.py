from types import SimpleNamespace

import pytest
from yolo.pool.condor import CommandFailed
from yolo.pool.explain import Explanation
from yolo.pool.follow import clean_up, follow
from yolo.pool.status import Status


def status(state, line="", **more):
    return Status(state, 1, 2, 0, line=line, **more)


def run(*answers, time_limit=60.0, **more):
    """Follow these statuses, one after the other; a second passes between two."""
    clock = SimpleNamespace(now=0.0)
    rest, shown, told = list(answers), [], []
    found = follow(
        lambda: rest.pop(0), shown.append, told.append, time_limit,
        clock=lambda: clock.now, sleep=lambda seconds: setattr(clock, "now", clock.now + seconds), **more,
    )  # fmt: skip
    return SimpleNamespace(found=found, shown=shown, told=told, rest=rest, now=clock.now)


def test_it_follows_until_the_jobs_have_ended():
    seen = run(status("waiting", "1 of 2"), status("waiting", "1 of 2"), status("done", "2 of 2"), "never asked")
    assert seen.found == status("done", "2 of 2")
    assert seen.shown == ["1 of 2", "1 of 2", "2 of 2"]
    assert seen.rest == ["never asked"]
    assert seen.now == 2


def test_a_reason_to_worry_is_told_while_it_waits():
    idle = status("waiting", "0 of 2", notices=(Explanation("no slot is free", "wait"),))
    assert run(*[idle] * 20, status("done")).told == ["no slot is free. What to do: wait"]


STUCK = status("waiting", "0 of 2", stuck=Explanation("each job asks for 2 CPUs", "lower cpus to 1"))


def test_jobs_that_fit_no_host_are_given_up_after_half_a_minute():
    seen = run(*[STUCK] * 99)
    assert (seen.found.state, seen.found.reason, seen.found.remedy) == (
        "failed", "each job asks for 2 CPUs", "lower cpus to 1"
    )  # fmt: skip
    assert seen.now == 30


def test_a_host_that_boots_may_be_the_one_that_they_fit():
    assert run(*[STUCK] * 29, status("waiting"), *[STUCK] * 29, status("done")).found.state == "done"


def test_after_the_time_limit_it_gives_up_and_says_how_to_go_on():
    seen = run(*[status("waiting", "1 of 2")] * 9, time_limit=3)
    assert (seen.found.state, seen.found.reason) == ("failed", "the run has not ended after 3 s")
    assert "what is done is kept: run the same run_id again" in seen.found.remedy
    assert seen.now == 4


def test_a_part_of_a_wait_ends_without_a_status():
    seen = run(*[status("waiting")] * 99, most=10)
    assert seen.found is None
    assert seen.now == 10
    assert run(status("waiting"), status("done"), most=10).found.state == "done"


@pytest.mark.parametrize(
    ("found", "command"),
    [
        (status("failed"), ["condor_rm", "7"]),
        (status("done", held=2), ["condor_rm", "-constraint", "ClusterId == 7 && JobStatus == 5"]),
        (status("done"), None),
    ],
)
def test_no_job_is_left_in_the_queue(found, command):
    commands = []
    clean_up(7, found, lambda command: commands.append(command) or "")
    assert commands == ([command] if command else [])


def test_a_queue_that_does_not_answer_is_no_failure():
    def fail(_):
        raise CommandFailed("condor_rm: no")

    clean_up(7, status("failed"), fail)
