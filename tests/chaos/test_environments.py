"""Execution environments are given out as Lambda does it."""

import pytest
from chaos.calls import Process
from chaos.choices import Choices
from chaos.environments import Environments


@pytest.fixture
def environments():
    return Environments(Choices(seed=1), object)


def taken(environments, times=100):
    return {environments.take() for _ in range(times)}


def invoked(environment, work=lambda: None):
    environment.process = Process("turn 1", "turn", 0, work)
    return environment.process


def finish(process):
    while process.alive:
        process.resume()


def fail():
    raise ValueError


def test_one_is_used_again_and_sometimes_there_is_a_new_one(environments):
    assert 5 < len(taken(environments)) < 60


def test_one_that_is_busy_is_not_given_out(environments):
    busy = environments.take()
    process = invoked(busy)
    assert busy not in taken(environments)
    finish(process)
    assert busy in taken(environments, times=20)


def test_one_whose_invocation_failed_comes_again(environments):
    failed = environments.take()
    finish(invoked(failed, fail))
    assert failed.process.error is not None
    assert failed in taken(environments, times=20)


def test_one_whose_invocation_was_killed_does_not(environments):
    killed = environments.take()
    process = invoked(killed)
    process.kill()
    assert killed not in taken(environments)


def test_the_harmless_choice_is_a_new_one():
    environments = Environments(Choices(script=[]), object)
    assert len(taken(environments, times=10)) == 10
