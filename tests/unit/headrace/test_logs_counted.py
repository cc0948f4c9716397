"""The logs function's minutes over a real access log, against counts that owe it nothing.

The log is of 18 minutes, far from each other, and within each its lines are out of order by up to 59 s: no line comes
after its minute, but many come after their ten seconds.
"""

import json
import re
from collections import Counter
from datetime import datetime

import msgspec
import pytest
from chaos.oracle.partition import LATE, expected
from chaos.oracle.rules import Column, Declared, Logged, Rules, Tumbling

from headrace.aggregates import Count
from headrace.records import Record, TopicPartition
from headrace.settings import Settings
from headrace.windowed import Windowed
from headrace.windows import TumblingWindows
from logs.topology import topologies

MINUTE_MS = 60_000
KAFKA_MS = 1_500_000_000_000
TOTAL = 2000
WRITTEN = re.compile(r'\[(?P<time>[^\]]+)\] ".*?" (?P<status>\d{3}) (?P<size>\d+|-) ')


@pytest.fixture(scope="module")
def lines(shared_data):
    return (shared_data / "logs" / "apache_access_2000.log").read_text().splitlines()


TEN_SECONDS = Windowed(
    table="ten_seconds",
    window=TumblingWindows(size_ms=10_000),
    key=("status",),
    aggregates={"events": Count()},
)


def counted(lines, out_of_orderness_ms, batch=137):
    """The rows of every table of the function and of `TEN_SECONDS`, after the stream's end."""
    deployed = topologies(Settings(out_of_orderness_ms=out_of_orderness_ms))("web")
    topology = msgspec.structs.replace(deployed, operators=(*deployed.operators, TEN_SECONDS))
    logic = topology.build(TopicPartition("web", 0), None)
    tables = {}
    records = [Record("web", 0, n, KAFKA_MS, key=b"www", value=line.encode()) for n, line in enumerate(lines)]
    for start in range(0, len(records), batch):
        part = records[start : start + batch]
        assert logic.apply(part) == len(part)
        assert (logic.applied, logic.dead) == (len(part), 0)
        collect(logic.rows, tables)
        logic.committed()
    logic.tick()
    collect(logic.rows, tables)
    return tables


def collect(found, tables):
    for rows in found:
        columns = [column.to_pylist() for column in rows.columns]
        names = [field.name for field in rows.table.fields]
        tables.setdefault(rows.table.name, []).extend(
            dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)
        )


def written(lines):
    """Time, status and size of each line."""
    for line in lines:
        match = WRITTEN.search(line)
        moment = datetime.strptime(match["time"], "%d/%b/%Y:%H:%M:%S %z")
        yield round(moment.timestamp() * 1000), match["status"], int(match["size"].replace("-", "0"))


def start_of(row):
    return round(row["window_start"].timestamp() * 1000)


def test_with_enough_allowance_minutes_and_statuses_are_those_of_an_independent_count(lines):
    tables = counted(lines, 60_000)
    assert "late" not in tables  # the windows of ten seconds say so, too
    by_class, sizes, errors = Counter(), Counter(), Counter()
    for time_ms, status, size in written(lines):
        minute_ms = time_ms // MINUTE_MS * MINUTE_MS
        by_class[minute_ms, f"{status[0]}xx"] += 1
        sizes[minute_ms] += size
        errors[minute_ms] += status >= "500"
    assert len(sizes) == 18
    assert {(start_of(row), row["status_class"]): row["events"] for row in tables["severity_minutes"]} == by_class
    minutes = {start_of(row): (row["bytes"], row["errors"], row["unparsed"]) for row in tables["service_minutes"]}
    assert minutes == {minute_ms: (sizes[minute_ms], errors[minute_ms], 0) for minute_ms in sizes}
    assert sum(row["events"] for row in tables["service_minutes"]) == TOTAL


@pytest.mark.parametrize("out_of_orderness_ms", [0, 1_000, 5_000, 20_000, 45_000, 49_000, 50_000])
def test_with_any_allowance_counts_and_late_lines_are_the_oracles(lines, out_of_orderness_ms):
    by_status = Declared("ten_seconds", Tumbling(10_000), ("page",), (Column("events", "count"),))
    told = [
        Logged("web", 0, n, KAFKA_MS, b"k", json.dumps({"user": "www", "page": int(status), "at": time_ms}).encode())
        for n, (time_ms, status, _) in enumerate(written(lines))
    ]
    wanted = expected(told, [TOTAL], Rules((by_status,), out_of_orderness_ms, max_skew_ms=300_000)).tables
    tables = counted(lines, out_of_orderness_ms)
    rows = Counter((start_of(row), row["status"], row["events"]) for row in tables["ten_seconds"])
    assert rows == Counter((row[0], row[2], row[3]) for row in wanted["ten_seconds"].elements())
    late = [row for row in tables.get("late", []) if row["operator"] == "ten_seconds"]
    assert len(late) == wanted.get(LATE, Counter()).total()
    assert (len(late) > 0) is (out_of_orderness_ms < 50_000)
    assert sum(row["events"] for row in tables["ten_seconds"]) + len(late) == TOTAL


def test_no_line_is_late_or_counted_differently_because_of_where_batches_are_cut(lines):
    def plain(batch):
        tables = counted(lines, 20_000, batch)
        return {name: Counter(map(repr, rows)) for name, rows in tables.items()}

    assert plain(1) == plain(137) == plain(TOTAL)
