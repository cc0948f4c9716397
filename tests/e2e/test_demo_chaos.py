"""`headrace demo --chaos SEED`: everything goes wrong, and the results are exact."""

import json
import signal
import subprocess
from collections import Counter

import pytest

from kafka_esm import Fault

from .test_demo import HEADRACE, exact, headrace, processes_of, the_outage, wait_until_functions_work

KINDS = {str(fault) for fault in Fault}


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where the command puts temporary files; nothing may be left there."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.mark.parametrize("runtime", ["inprocess", pytest.param("rie", marks=pytest.mark.runtime)])
def test_with_every_kind_of_fault_the_results_are_exact(runtime, scratch):
    done = headrace("demo", "--records", "12000", "--chaos", "7", "--runtime", runtime, "--json")

    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert (result["exact"], result["differences"]) == (True, [])
    assert result["chaos"].pop("seed") == 7
    assert result["chaos"].keys() == KINDS
    assert min(result["chaos"].values()) > 0
    for counts in result["topics"].values():
        assert counts["produced"] == counts["landed"] + counts["joined"] + counts["dead"]
        assert counts["skipped"] > 0, "nothing was applied before it came again"
    the_outage(result)
    assert (list(scratch.iterdir()), processes_of(scratch)) == ([], [])


@pytest.fixture(scope="module")
def calm():
    """What a run without faults shows."""
    return exact(headrace("demo", "--records", "12000", "--json"))


@pytest.mark.parametrize("seed", [1, 11])
def test_an_outage_is_one_alert_whatever_happens_to_the_batches(seed, calm):
    done = headrace("demo", "--records", "12000", "--chaos", str(seed), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    chaotic = json.loads(done.stdout)
    assert chaotic["exact"]
    assert chaotic["chaos"].pop("seed") == seed
    assert sum(chaotic["chaos"].values()) > 10
    for result in (calm, chaotic):
        the_outage(result)
    assert new_errors(calm) == new_errors(chaotic)


def new_errors(result):
    """How often each key is told to be new: once per partition."""
    return Counter(alert["key"] for alert in result["alerts"] if alert["rule"] == "new-error")


@pytest.mark.runtime
def test_ctrl_c_ends_the_second_execution_environments_too(scratch):
    command = [*HEADRACE, "demo", "--records", "200000", "--runtime", "rie", "--chaos", "7"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_until_functions_work(process, scratch, "two execution environments")
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (stdout, stderr.strip()) == ("", "")
    assert (list(scratch.iterdir()), processes_of(scratch)) == ([], [])
