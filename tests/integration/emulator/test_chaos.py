"""Mappings under chaos against a broker: everything is delivered, in order, and every fault is told."""

import json
import threading
from collections import Counter
from dataclasses import replace

import pytest

from kafka_esm import DrainTimeoutError, Fault, RetriesExhaustedError
from kafka_esm.chaos import ChaosPlan
from kafka_esm.cli import main

from .conftest import Recorder, renamed
from .test_cli import arguments
from .test_emulator import committed

SEEDS = (1, 7, 42)
KINDS = {str(fault) for fault in Fault}
OF_INVOCATIONS = {Fault.THROTTLED, Fault.TIMED_OUT, Fault.DELIVERED_TWICE, Fault.DELIVERED_LATE}
TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Parameters: {Topic: {Type: String}}
Resources:
  F:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.handler
      CodeUri: code/
      Events:
        E:
          Type: MSK
          Properties: {Stream: a, Topics: [!Ref Topic], StartingPosition: TRIM_HORIZON, BatchSize: 20}
"""
APP = """
import os
def handler(event, context):
    print("process", os.getpid())
    return {name: [record["offset"] for record in records] for name, records in event["records"].items()}
"""


def first_times(applied):
    """The offsets of each partition in the order in which they were applied first."""
    return {int(name.rsplit("-", 1)[1]): list(dict.fromkeys(offsets)) for name, offsets in applied.items()}


@pytest.mark.parametrize("seed", SEEDS)
def test_every_record_is_delivered_at_least_once_and_in_order_at_first(broker, mapping, produce, emulate, seed):
    handler, invocations, notices = Recorder(), [], []
    produce(range(300))
    watched = {"on_invocation": invocations.append, "on_event": notices.append}

    with emulate((mapping, handler), chaos=seed, max_attempts=1, **watched) as emulator:
        emulator.wait_drained(30)
        assert set(emulator.positions().values()) == {300}

    assert first_times(handler.applied) == {number: list(range(300)) for number in range(4)}
    assert committed(broker, mapping) == [300] * 4
    assert Counter(len(offsets) > 300 for offsets in handler.applied.values()) == {True: 4}
    injected = emulator.injected()
    assert injected == Counter(str(notice.fault) for notice in notices if notice.fault)
    assert injected.keys() == KINDS
    assert min(injected.values()) > 0
    outcomes = Counter(one.outcome for one in invocations)
    assert outcomes.keys() == {"success", "TooManyRequestsException", "Sandbox.Timedout"}
    assert outcomes["TooManyRequestsException"] == injected["throttled"]
    assert outcomes["Sandbox.Timedout"] == injected["timed_out"]
    assert {one.error.injected for one in invocations if one.error} == {True}


def test_nothing_newer_is_delivered_before_what_has_not_succeeded(mapping, produce, emulate):
    """As the mapping sees it: where each invocation begins, compared with what had succeeded before."""
    reached, invocations = Counter(), []
    produce(range(200))

    with emulate((mapping, Recorder()), chaos=7, on_invocation=invocations.append) as emulator:
        emulator.wait_drained(30)

    for invocation in invocations:
        assert invocation.records <= mapping.batch_size
        for source, first, end in invocation.partitions:
            assert first <= reached[source]
            if invocation.error is None:
                reached[source] = max(reached[source], end)
    assert set(reached.values()) == {200}


def test_the_committed_offsets_never_go_back(mapping, produce, emulate):
    seen = []
    produce(range(200))

    with emulate((mapping, Recorder()), chaos=7, on_invocation=lambda _: seen.append(emulator.positions())) as emulator:
        emulator.wait_drained(30)

    for place in seen[0]:
        offsets = [positions[place] for positions in seen]
        assert offsets == sorted(offsets)


def test_the_same_seed_injects_the_same_faults(mapping, produce, emulate):
    """The faults of the nth invocation; how many invocations there are depends on how fast the broker answers."""
    produce(range(200))
    faults = []
    for run in ("one", "two"):
        notices = []
        again = replace(mapping, consumer_group=f"{mapping.consumer_group}-{run}")
        with emulate((again, Recorder()), chaos=7, on_event=notices.append) as emulator:
            emulator.wait_drained(30)
        faults.append([notice.fault for notice in notices if notice.fault in OF_INVOCATIONS])
    common = min(map(len, faults))

    assert common > 10
    assert faults[0][:common] == faults[1][:common]


def test_mappings_of_one_topic_have_plans_of_their_own(mapping, produce, emulate):
    notices, names = [], ("One", "Two")
    pairs = [(renamed(mapping, name), Recorder()) for name in names]
    produce(range(200))

    with emulate(*pairs, chaos=7, on_event=notices.append) as emulator:
        emulator.wait_drained(30)

    one, two = ([notice.fault for notice in notices if notice.mapping == name and notice.fault] for name in names)
    assert one[:10] != two[:10]
    for _, handler in pairs:
        assert first_times(handler.applied) == {number: list(range(200)) for number in range(4)}


def test_functions_that_fail_too_are_tried_until_all_is_delivered(broker, mapping, produce, emulate):
    handler = Recorder(*[None, ValueError("x")] * 15)
    produce(range(200))

    with emulate((mapping, handler), chaos=7) as emulator:
        emulator.wait_drained(30)

    assert first_times(handler.applied) == {number: list(range(200)) for number in range(4)}
    assert committed(broker, mapping) == [200] * 4


def test_injected_failures_are_no_attempts_of_the_function(mapping, produce, emulate):
    produce(range(50))
    invocations = []
    handler = Recorder(*[ValueError("broken")] * 1_000)

    with (
        pytest.raises(RetriesExhaustedError, match=r"the function failed 8 times on one batch, last with ValueError"),
        emulate((mapping, handler), chaos=7, max_attempts=8, on_invocation=invocations.append) as emulator,
    ):
        emulator.wait_drained(30)
    assert Counter(one.error.injected for one in invocations)[False] == 8
    assert Counter(one.error.injected for one in invocations)[True] > 0
    assert [one.attempt for one in invocations] == list(range(1, len(invocations) + 1))


def test_nothing_is_drained_while_a_second_delivery_is_still_running(mapping, produce, emulate):
    """A seed whose first batch is delivered twice and not forgotten; the slower invocation waits at a gate."""
    plans = ((seed, ChaosPlan(seed, mapping.name)) for seed in range(1_000))
    seed = next(seed for seed, plan in plans if (plan.invocation(), plan.rewind()) == (Fault.DELIVERED_TWICE, 0))
    handler, opened = Recorder(), threading.Event()

    def gated(event, context):
        if handler.events:
            assert opened.wait(20)
        return handler(event, context)

    produce([1], partitions=[0])
    with emulate((mapping, gated), chaos=seed) as emulator:
        with pytest.raises(DrainTimeoutError, match="FE: the second invocation of a batch is still running"):
            emulator.wait_drained(3)
        opened.set()
        emulator.wait_drained(20)
    assert list(handler.applied.values()) == [[0, 0]]


def test_without_chaos_nothing_is_injected(mapping, produce, emulate):
    produce([1])

    with emulate((mapping, Recorder())) as emulator:
        emulator.wait_drained(10)

    assert emulator.injected() == {}


@pytest.mark.parametrize("runtime", ["inprocess", pytest.param("rie", marks=pytest.mark.runtime)])
def test_the_command_reports_what_was_injected(broker, topic, produce, tmp_path, capsys, runtime):
    produce(range(100))
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    (tmp_path / "code").mkdir()
    (tmp_path / "code/app.py").write_text(APP)
    more = ["--kafka", broker.bootstrap_servers, "--until-drained", "--json", "--runtime", runtime, "--chaos", "7"]

    assert main(arguments("run", tmp_path, topic, *more)) == 0

    output = capsys.readouterr()
    *invocations, sums = [json.loads(line) for line in output.out.splitlines()]
    assert sums["chaos"].pop("seed") == 7
    assert sums["chaos"].keys() == KINDS
    assert min(sums["chaos"].values()) > 0
    assert sum(one["injected"] for one in invocations) == sums["failures"]
    assert output.err.count("FE: chaos: ") == sum(sums["chaos"].values())
    applied = {}
    for invocation in invocations:
        for name, offsets in (invocation["response"] or {}).items():
            applied.setdefault(name, []).extend(offsets)
    assert first_times(applied) == {number: list(range(100)) for number in range(4)}
    processes = {line.split("process ")[1] for line in output.err.splitlines() if "process " in line}
    assert len(processes) == (2 if runtime == "rie" else 1)
