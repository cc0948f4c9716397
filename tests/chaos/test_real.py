"""A round of faults on real parts; `make chaos-real` runs as many as one likes."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from itertools import islice
from pathlib import Path

import pytest
from confluent_kafka import Producer
from java_tools import require_java_tools

from headrace_cli.audit.records import Produced
from headrace_cli.audit.spool import Spool
from kafka_esm import EmbeddedBroker

from .real.kafka_log import lost_or_added
from .real.plan import KINDS, ROUND, faults

TESTS = Path(__file__).resolve().parents[1]


CHAOS = [sys.executable, "-m", "chaos.real"]


def environment(**more):
    return {**os.environ, "PYTHONPATH": str(TESTS), **more}


def chaos(*arguments, **more):
    return subprocess.run(
        [*CHAOS, *arguments], env=environment(**more), capture_output=True, text=True, timeout=280, check=False
    )


def processes_naming(folder):
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found += [path.parent.name] if str(folder) in path.read_text(errors="replace") else []
    return found


@pytest.mark.runtime
def test_every_kind_of_fault_strikes_and_the_results_are_exact(tmp_path):
    require_java_tools()
    answer = chaos("--minutes", "0", "--seed", "7", "--json", TMPDIR=str(tmp_path))
    assert answer.returncode == 0, f"{answer.stderr}\n{answer.stdout}"
    told = json.loads(answer.stdout)
    assert told["exact"] is True
    assert told["differences"] == []
    assert {*told["faults"]} == {*KINDS}, told["missed"]
    assert sum(told["zombies"].values()) == told["faults"]["function paused"]
    assert told["records"] > 1_000
    assert list(tmp_path.iterdir()) == []


@pytest.mark.runtime
@pytest.mark.parametrize(("number", "exit_status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_stopped_leaves_nothing_behind(tmp_path, number, exit_status):
    require_java_tools()
    with subprocess.Popen([*CHAOS], env=environment(TMPDIR=str(tmp_path)), stderr=subprocess.PIPE, text=True) as run:
        told = next(line for line in run.stderr if " starting " in line or " reads " in line)
        assert "Apache Kafka" in told
        if number == signal.SIGINT:  # everything runs by then
            assert any(" reads " in line for line in run.stderr)
            assert processes_naming(tmp_path)
        run.send_signal(number)
        run.communicate(timeout=60)
    assert run.returncode == exit_status
    assert processes_naming(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "complaint"), [(["--minutes", "-1"], "minutes"), (["--rate", "0"], "rate"), (["--brokers", "2"], "2")]
)
def test_what_makes_no_sense_is_refused(arguments, complaint):
    answer = chaos(*arguments)
    assert answer.returncode == 2
    assert complaint in answer.stderr.splitlines()[-1]


def test_help_has_examples():
    answer = chaos("--help")
    assert answer.returncode == 0
    assert "make chaos-real MINUTES=5" in answer.stdout


def test_a_seed_always_makes_the_same_faults_and_every_round_has_each_kind():
    first, again, other = ([*islice(faults(seed), 20)] for seed in (1, 1, 2))
    assert first == again != other
    assert all(sorted(fault.kind for fault in of_round) == sorted(ROUND) for of_round in first)


@pytest.mark.parametrize(
    ("acknowledged", "found"),
    [
        ([b"0", b"1", b"2"], []),
        ([b"0", b"1", b"2", b"3"], ["Kafka has None, acknowledged was Produced"]),
        ([b"0", b"1"], ["Kafka has Produced"]),
        ([b"0", b"x", b"2"], ["value=b'1'"]),
    ],
    ids=["same", "lost", "added", "changed"],
)
def test_a_record_that_is_lost_added_or_changed_in_the_log_is_found(tmp_path, acknowledged, found):
    with EmbeddedBroker() as broker, Spool(tmp_path) as spool:
        broker.create_topic("t")
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
        for number in range(3):
            producer.produce("t", str(number).encode(), partition=0, timestamp=1_000 + number)
        assert producer.flush(10) == 0
        producer.close()
        for offset, value in enumerate(acknowledged):
            spool.add(Produced("t", 0, offset, 1_000 + offset, None, value))
        differences = lost_or_added(broker.bootstrap_servers, ["t"], 1, spool)
    assert len(differences) == len(found)
    assert all(text in difference for text, difference in zip(found, differences, strict=True))
