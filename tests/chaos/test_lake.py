"""Landing, commit, compaction and expiry at once, killed at every call, and readers that look all the time."""

import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import duckdb
import pytest
from chaos import guards
from chaos.calls import Fault
from chaos.choices import Choices
from chaos.lake_guards import GUARDS
from chaos.lake_simulation import LakeSimulation, schedule
from chaos.lake_world import Reader
from chaos.mutation import changed
from chaos.schedules import played
from chaos.topic import TOPIC

TESTS = Path(__file__).resolve().parents[1]
SCHEDULES = 4
"""Here; `make chaos-lake` runs any number."""


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    return [schedule(seed, tmp_path_factory.mktemp("lake")).world for seed in range(SCHEDULES)]


def test_every_offset_is_there_once_and_no_reader_ever_saw_anything_else(worlds):
    assert {seed: world.watch.differences for seed, world in enumerate(worlds) if world.watch.differences} == {}


def test_schedules_are_hard_enough(worlds):
    coverage = sum((world.calls.coverage for world in worlds), Counter())
    events = sum((world.events for world in worlds), Counter())
    rows = sum((world.reader.table for world in worlds), Counter())
    assert coverage.total() > 20 * SCHEDULES
    assert rows.total() > 10 * SCHEDULES
    for kind in ("commit", "compaction", "expiry"):
        assert events[f"{kind} done"] > SCHEDULES
        assert events[f"{kind} failed"] > 1
    for step in ("commit write", "compaction write", "commit commit table", "compaction commit table"):
        assert coverage[step, Fault.OVERTAKEN] > 0, step
        assert sum(count for (name, _), count in coverage.items() if name == step) > 1, step
    assert events["zombie"] > 0
    assert events["repeated"] > SCHEDULES


class Watcher(threading.Thread):
    """Reads the prefix by DuckDB and the table by pyiceberg for as long as the schedule goes on."""

    def __init__(self, root):
        super().__init__()
        self.root, self.stop = root, threading.Event()
        self.wrong, self.reads = [], Counter()
        self.seen = {"prefix": Counter(), "table": Counter()}

    def run(self):
        while not self.stop.is_set():
            for name, read in (("prefix", self.prefix), ("table", self.table)):
                try:
                    rows = read()
                except FileNotFoundError:
                    self.reads["expired"] += 1  # days pass in no time here: what it had planned is gone
                    continue
                if max(rows.values(), default=1) > 1 or not self.seen[name].keys() <= rows.keys():
                    self.wrong.append((name, rows, self.seen[name]))
                self.seen[name] = rows
                self.reads[name] += bool(rows)

    def prefix(self):
        files = [str(path) for path in Reader(self.root).files(TOPIC)]
        if not files:
            return Counter()
        query = "select parse_filename(filename)[1:1], _partition, _offset from read_parquet(?, filename=true)"
        return Counter(duckdb.connect().execute(query, [files]).fetchall())

    def table(self):
        return Reader(self.root).rows()


def test_a_reader_that_reads_all_the_time_never_sees_a_row_twice_or_one_vanish(tmp_path):
    simulation = LakeSimulation(Choices(seed=2), tmp_path)
    watcher = Watcher(tmp_path)
    watcher.start()
    try:
        played(simulation)
    finally:
        watcher.stop.set()
        watcher.join()
    assert watcher.wrong == []
    assert simulation.world.watch.differences == []
    assert watcher.reads["prefix"] > 5
    assert watcher.reads["table"] > 5


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_a_guard_that_can_be_left_out_is_in_the_source(guard):
    """Whether it is exposed, `make chaos-guards` shows."""
    for each in guard.without:
        assert changed(each.full_name, [each])


@pytest.mark.parametrize(
    ("name", "told"),
    [("publish-after-commit", "in the prefix and not committed"), ("marks-in-the-snapshot", "twice in the table")],
)
def test_without_a_clause_a_reader_sees_it(name, told):
    done = subprocess.run(
        [sys.executable, "-m", "chaos.run_lake", "--without", name, "--seeds", "10"],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert told in done.stdout


def test_no_name_of_a_guard_is_used_twice():
    names = [each.name for each in (*GUARDS, *guards.GUARDS)]
    assert len(set(names)) == len(names)
