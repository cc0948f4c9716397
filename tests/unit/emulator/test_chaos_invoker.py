"""Invocations that are refused, said to have timed out, or made twice: with real handlers in real threads."""

import threading
import time
from collections import Counter

import pytest
from chaos_script import ScriptedPlan

from kafka_esm import Fault, Function, FunctionError, FunctionThrottled, FunctionTimeout, InProcessInvoker
from kafka_esm.chaos_invoker import LATE_SECONDS, ChaosInvoker

WAIT_SECONDS = 10


@pytest.fixture
def function(tmp_path):
    return Function("F", "app.handler", tmp_path, timeout_seconds=30)


@pytest.fixture
def chaotic(function):
    """Return a function that makes an invoker of a handler, and the list of environments it made."""
    invokers = []

    def make(handler, *faults):
        environments = []

        def environment():
            environments.append(InProcessInvoker(function, handler=handler))
            return environments[-1]

        plan = ScriptedPlan(invocations=faults)
        invokers.append(ChaosInvoker(environment, function.timeout_seconds, plan))
        return invokers[-1], plan, environments

    yield make
    for invoker in invokers:
        invoker.close()


class Calls:
    """A handler whose nth call does the nth of these; what it answers is the call's number, from 0."""

    def __init__(self, *actions):
        self._actions = actions
        self._lock = threading.Lock()
        self.begun, self.ended = [], []

    def __call__(self, event, _context):
        with self._lock:
            number = len(self.begun)
            self.begun.append(event)
        if number < len(self._actions):
            self._actions[number]()
        self.ended.append(event)
        return number


def nothing():
    pass


def fail():
    raise ValueError("broken")


def waiting_for(event):
    def wait():
        assert event.wait(WAIT_SECONDS)

    return wait


def test_without_a_fault_it_is_an_invoker_like_any_other(chaotic):
    calls = Calls(nothing, fail)
    invoker, plan, environments = chaotic(calls)

    assert invoker.invoke(b"1") == 0
    with pytest.raises(FunctionError, match="ValueError: broken") as caught:
        invoker.invoke(b"2")
    assert (caught.value.injected, plan.told, len(environments)) == (False, [], 1)


def test_a_throttled_invocation_does_not_reach_the_function(chaotic):
    calls = Calls()
    invoker, plan, _ = chaotic(calls, Fault.THROTTLED)

    with pytest.raises(FunctionThrottled, match="TooManyRequestsException: Rate Exceeded") as caught:
        invoker.invoke(b"1")
    assert (caught.value.injected, calls.begun) == (True, [])
    assert invoker.invoke(b"1") == 0
    assert plan.told == [Fault.THROTTLED]


def test_a_time_out_comes_after_the_effect(chaotic):
    calls = Calls()
    invoker, plan, _ = chaotic(calls, Fault.TIMED_OUT)

    with pytest.raises(FunctionTimeout, match=r"Task timed out after 30\.00 seconds") as caught:
        invoker.invoke(b"1")
    assert (caught.value.injected, calls.ended) == (True, [1])
    assert plan.told == [Fault.TIMED_OUT]


def test_a_function_that_fails_by_itself_is_not_said_to_have_timed_out(chaotic):
    invoker, plan, _ = chaotic(Calls(fail), Fault.TIMED_OUT)

    with pytest.raises(FunctionError, match="ValueError: broken") as caught:
        invoker.invoke(b"1")
    assert (caught.value.injected, plan.told) == (False, [])


def test_a_batch_delivered_twice_runs_in_two_environments_at_once(chaotic):
    """Each call waits until both have begun."""
    both = threading.Barrier(2, timeout=WAIT_SECONDS)
    calls = Calls(both.wait, both.wait)
    invoker, plan, environments = chaotic(calls, Fault.DELIVERED_TWICE)

    assert invoker.invoke(b"1") in {0, 1}
    assert invoker.wait_idle(WAIT_SECONDS)
    assert (calls.ended, len(environments), plan.told) == ([1, 1], 2, [Fault.DELIVERED_TWICE])


def test_the_first_success_settles_and_the_straggler_ends_during_a_later_batch(chaotic):
    gate = threading.Event()
    calls = Calls(waiting_for(gate))
    invoker, _, _ = chaotic(calls, Fault.DELIVERED_TWICE)

    assert invoker.invoke(b"1") == 1
    assert invoker.busy
    assert invoker.invoke(b"2") == 2
    assert calls.ended == [1, 2]
    assert not invoker.wait_idle(0.01)
    gate.set()
    assert invoker.wait_idle(WAIT_SECONDS)
    assert calls.ended == [1, 2, 1]


@pytest.mark.parametrize("actions", [(fail, nothing), (nothing, fail)])
def test_of_two_invocations_one_success_is_enough(chaotic, actions):
    invoker, _, _ = chaotic(Calls(*actions), Fault.DELIVERED_TWICE)

    assert invoker.invoke(b"1") == actions.index(nothing)


def test_two_failures_are_a_failure(chaotic):
    invoker, _, _ = chaotic(Calls(fail, fail), Fault.DELIVERED_TWICE)

    with pytest.raises(FunctionError, match="ValueError: broken") as caught:
        invoker.invoke(b"1")
    assert not caught.value.injected


def test_a_late_delivery_runs_while_the_next_batch_does(chaotic):
    """The calls after the first wait until both have begun."""
    both = threading.Barrier(2, timeout=WAIT_SECONDS)
    calls = Calls(nothing, both.wait, both.wait)
    invoker, plan, _ = chaotic(calls, Fault.DELIVERED_LATE)

    assert invoker.invoke(b"1") == 0
    assert (calls.begun, invoker.busy) == ([1], True)
    assert invoker.invoke(b"2") in {1, 2}
    assert invoker.wait_idle(WAIT_SECONDS)
    assert Counter(calls.ended) == {1: 2, 2: 1}
    assert plan.told == [Fault.DELIVERED_LATE]


def test_a_late_delivery_does_not_wait_for_a_batch_that_never_comes(chaotic):
    calls = Calls()
    invoker, _, _ = chaotic(calls, Fault.DELIVERED_LATE)
    invoker.invoke(b"1")

    deadline = time.monotonic() + LATE_SECONDS + WAIT_SECONDS
    while invoker.busy:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert calls.ended == [1, 1]


def test_a_late_delivery_that_has_not_begun_never_does_once_the_invoker_is_closed(chaotic):
    calls = Calls()
    invoker, _, _ = chaotic(calls, Fault.DELIVERED_LATE)
    invoker.invoke(b"1")

    invoker.close()

    assert not invoker.busy
    assert calls.begun == [1]


def test_there_is_one_straggler_at_most(chaotic):
    """The second batch that is delivered twice waits for the straggler of the first."""
    gate = threading.Event()
    calls = Calls(waiting_for(gate))
    invoker, _, environments = chaotic(calls, Fault.DELIVERED_TWICE, Fault.DELIVERED_TWICE)
    invoker.invoke(b"1")
    timer = threading.Timer(0.2, gate.set)
    timer.start()

    invoker.invoke(b"2")

    assert invoker.wait_idle(WAIT_SECONDS)
    assert calls.begun == [1, 1, 2, 2]
    assert calls.ended == [1, 1, 2, 2]
    assert len(environments) == 2
    timer.join()
