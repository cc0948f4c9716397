"""`headrace demo` as a user runs it: a process of its own, its exit status, what it prints and what it leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import duckdb
import pytest

from headrace_cli.generator.streams import OUTAGE_MESSAGES, OUTAGE_SERVICE
from kafka_esm import EmbeddedBroker

HEADRACE = [sys.executable, "-c", "from headrace_cli.main import main; main()"]
TIMEOUT_S = 300
WINDOW_TABLES = {
    "clickstream/page_minutes",
    "clickstream/sessions",
    "logs/service_minutes",
    "logs/severity_minutes",
    "logs/alerts",
}


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where the command puts temporary files; nothing may be left there."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def headrace(*arguments):
    return subprocess.run(
        [*HEADRACE, *map(str, arguments)], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def exact(done):
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    result = json.loads(line)
    assert result["exact"] is True
    assert result["differences"] == []
    for counts in result["topics"].values():
        assert counts["produced"] == counts["landed"] + counts["joined"] + counts["dead"]
        assert counts["skipped"] == 0
    return result


def the_outage(result):
    """Its one alert; generated streams have one outage, of payments."""
    (alert,) = [alert for alert in result["alerts"] if alert["rule"] == "error-ratio"]
    assert json.loads(alert["key"]) == {"service": OUTAGE_SERVICE}
    assert alert["value"] > alert["threshold"]
    assert len(alert["samples"]) == 3
    assert set(alert["samples"]) <= set(OUTAGE_MESSAGES), "lines of the outage"
    assert max(Counter(alert["alert_id"] for alert in result["alerts"]).values()) == 1, "none twice"
    return alert


def processes_of(scratch):
    """Processes whose environment names the folder: what a run started and did not end."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if str(scratch).encode() in environment.read_bytes() and int(environment.parent.name) != os.getpid():
                found.append(environment.parent.name)
        except OSError:
            continue
    return found


def test_a_small_run_is_exact_and_leaves_nothing_behind(scratch, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    done = headrace("demo", "--records", "3000", "--json")
    result = exact(done)
    assert done.stderr == ""
    assert sum(counts["produced"] for counts in result["topics"].values()) == 3000
    # The generator's bad records, of every kind, and its late ones; some of the bad lines are events without a format.
    assert all(counts["dead"] > 3 and counts["late"] > 0 for counts in result["topics"].values())
    assert all(result["tables"][table] > 0 for table in WINDOW_TABLES)
    assert result["tables"]["landing/dead_letters"] == sum(counts["dead"] for counts in result["topics"].values())
    assert result["records_per_second"] > 0
    assert result["topics"]["logs"]["joined"] > 5, "lines of stack traces"
    assert result["as_landed"] == 0, "the audit has read every line itself"
    the_outage(result)
    assert list(scratch.iterdir()) == []


def test_in_the_outage_the_error_ratio_rises_and_an_alert_says_so_at_its_beginning(tmp_path):
    out = tmp_path / "out"
    result = exact(headrace("demo", "--records", "12000", "--seed", "3", "--json", "--out", out))
    minutes = duckdb.execute(
        "SELECT epoch_ms(window_start), sum(errors) / sum(events), sum(events) "
        f"FROM read_parquet('{out}/lake/logs/service_minutes/**/*.parquet') WHERE service = '{OUTAGE_SERVICE}' "
        "GROUP BY 1 ORDER BY 1"
    ).fetchall()
    troubled = [start_ms for start_ms, ratio, events in minutes if ratio > 0.25 and events >= 20]
    alert = the_outage(result)
    assert alert["window_end"] == troubled[0] + 60_000, "the first minute of it raises the alert"
    assert troubled == list(range(troubled[0], troubled[0] + 4 * 60_000, 60_000))
    usual = [ratio * events for start_ms, ratio, events in minutes if start_ms not in troubled]
    assert sum(usual) / sum(events for start_ms, _, events in minutes if start_ms not in troubled) < 0.05


def test_another_seed_for_a_person_with_a_lake_that_stays(scratch, tmp_path):
    out = tmp_path / "out"
    done = headrace("demo", "--records", "3000", "--seed", "2", "--out", out)
    assert done.returncode == 0, done.stderr
    for title in (
        "Top pages of the busiest minutes",
        "sessions",
        "most errors",
        "Alerts: ",
        "The lake",
        "Audit",
        "EXACT",
    ):
        assert title in done.stdout
    assert list(scratch.iterdir()) == []

    listed = headrace("lake", "tables", out, "--json")
    tables = {row["table"]: row for row in map(json.loads, listed.stdout.splitlines())}
    assert tables.keys() >= WINDOW_TABLES | {"landing/clicks", "landing/logs", "landing/dead_letters"}
    for table, row in tables.items():
        query = f"SELECT count(*) FROM read_parquet('{out}/lake/{table}/**/*.parquet')"
        ((count,),) = duckdb.execute(query).fetchall()
        assert count == row["rows"], table

    again = headrace("demo", "--records", "3000", "--out", out)
    assert again.returncode == 1
    assert again.stderr == f"headrace: --out {out}: the folder is not empty; name a new one, or empty it\n"


def test_a_row_that_disappears_is_noticed(scratch, tmp_path):
    """A published file is deleted while the run goes on: exit status 1, the differences, the functions' log."""
    out = tmp_path / "out"
    command = [*HEADRACE, "demo", "--records", "6000", "--json", "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        _settled_file(process, out / "lake" / "landing" / "clicks").unlink()
        stdout, stderr = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1, stderr
    (log,) = scratch.iterdir()
    assert stderr == f"what the functions printed is in {log}\n"
    result = json.loads(stdout)
    assert result["exact"] is False
    assert 0 < len(result["differences"]) <= 20
    assert "landing/clicks: missing: " in result["differences"][0]
    assert result["topics"]["clicks"]["landed"] < result["topics"]["clicks"]["produced"]


def _settled_file(process, folder):
    """A file of the folder that was published a while ago, so that nobody touches it any more."""
    while process.poll() is None:
        for file in folder.glob("**/*.parquet"):
            if time.time() - file.stat().st_mtime > 0.5:
                return file
        time.sleep(0.05)
    raise AssertionError(process.stderr.read())


def test_real_clicks_and_real_logs(shared_data, tmp_path):
    """31,106 clicks of 600 users with 3,605 sessions, and 2,000 lines of Apache's that are not in order.

    In a folder, because the clicks span half a year: over ten thousand files.
    """
    files = ("--clicks", shared_data / "clicks/ecom.csv.gz", "--logs", shared_data / "logs/apache_access_2000.log")
    result = exact(headrace("demo", *files, "--json", "--out", tmp_path / "out"))
    clicks, logs = result["topics"]["clicks"], result["topics"]["logs"]
    assert (clicks["produced"], clicks["landed"], clicks["dead"], clicks["late"]) == (31_106, 31_106, 0, 0)
    assert (logs["produced"], logs["landed"], logs["joined"]) == (2_000, 2_000, 0)
    assert result["as_landed"] == 0
    assert result["tables"]["clickstream/sessions"] == 3_605
    assert result["tables"]["landing/clicks"] == 31_106


def test_a_broker_of_ones_own(tmp_path):
    """It has topics of its own there, beside whatever else the broker holds."""
    with EmbeddedBroker() as broker:
        servers = broker.bootstrap_servers
        done = headrace("demo", "--records", "1000", "--kafka", servers, "--json", "--out", tmp_path / "out")
    result = exact(done)
    assert set(result["tables"]) >= WINDOW_TABLES - {"logs/alerts"}
    assert done.stderr.startswith("the topics headrace-demo-")
    assert done.stderr.endswith(f" stay at {servers}\n")


@pytest.mark.runtime
def test_the_real_runtime(scratch):
    exact(headrace("demo", "--records", "3000", "--runtime", "rie", "--json"))
    assert list(scratch.iterdir()) == []
    assert processes_of(scratch) == []


@pytest.mark.parametrize("runtime", ["inprocess", pytest.param("rie", marks=pytest.mark.runtime)])
def test_ctrl_c_leaves_nothing_behind(runtime, scratch):
    command = [*HEADRACE, "demo", "--records", "200000", "--runtime", runtime]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_until_functions_work(process, scratch)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (stdout, stderr.strip()) == ("", "")
    assert list(scratch.iterdir()) == []
    assert processes_of(scratch) == []


def wait_until_functions_work(process, scratch, sign="batch processed"):
    """Until the log has a sign of it, as a function that has said that a batch is done: there are some thirty."""
    while not any(sign in log.read_text() for log in scratch.glob("headrace-demo-*.log")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)


def test_a_broker_that_does_not_answer_is_one_line():
    started_s = time.monotonic()
    done = headrace("demo", "--kafka", "127.0.0.1:1")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("headrace: --kafka 127.0.0.1:1: no answer in 6 s")
    assert "Connection refused" in line
    assert time.monotonic() - started_s < 15


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--clicks", "nowhere.csv"], 2, "File 'nowhere.csv' does not exist"),
        (["--records", "0"], 2, "--records"),
        (["--runtime", "docker"], 2, "--runtime"),
        (["--out", "/proc/nowhere"], 1, "--out /proc/nowhere: No such file or directory"),
    ],
)
def test_bad_options_are_one_line(arguments, status, message, scratch):
    done = headrace("demo", *arguments)
    assert done.returncode == status
    (line,) = done.stderr.splitlines()
    assert message in line
    assert list(scratch.iterdir()) == []
