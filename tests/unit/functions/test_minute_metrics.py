"""Minutes of services as metrics: of recent minutes, under a bounded number of names that CloudWatch can have."""

import json

import pytest
from samples import NOON_MS, record

from headrace.logs import AUTO
from headrace.records import TopicPartition
from headrace.settings import Settings
from logs import minute_metrics
from logs.minute_metrics import RECENT_MS, MinuteMetrics
from logs.topology import SERVICE_MINUTES, topology
from observability import metrics

MINUTE_MS = 60_000


@pytest.fixture(autouse=True)
def _of_an_environment(monkeypatch):
    """A made-up noon is long ago for Powertools, which warns; the minutes' own clock is a parameter."""
    monkeypatch.setattr(metrics.provider, "namespace", "Headrace/dev")
    monkeypatch.setattr(minute_metrics, "emit", _without_clock(minute_metrics.emit))


def _without_clock(emit):
    return lambda counts, service, *, at_ms, **dimensions: emit(counts, service, **dimensions | {"minute": str(at_ms)})


def rows_of(*services, level="INFO", minutes=1):
    """The closed minutes of lines of these services."""
    logic = topology(Settings(max_skew_ms=10**12), AUTO).build(TopicPartition("logs", 0), None)
    lines = [
        {"timestamp": NOON_MS + n * MINUTE_MS, "level": level, "service": service, "message": "m"}
        for n in range(minutes)
        for service in services
    ]
    logic.apply([record(n, json.dumps(line).encode(), topic="logs") for n, line in enumerate(lines)])
    logic.tick()
    return logic.rows


def written(capsys):
    found = []
    for line in capsys.readouterr().out.splitlines():
        fields = json.loads(line)
        (sent,) = fields["_aws"]["CloudWatchMetrics"]
        assert {*sent["Dimensions"][0]} == {"service", "log_service", "minute"}
        values = {each["Name"]: fields[each["Name"]][0] for each in sent["Metrics"]}
        found.append((int(fields["minute"]) - NOON_MS, fields["log_service"], values["LogEvents"], values["LogErrors"]))
    return found


def test_a_minute_of_a_service_is_a_line_with_its_time(capsys):
    show = MinuteMetrics(SERVICE_MINUTES.table, lambda: NOON_MS)
    show(rows_of("shop", "shop", "cart", level="ERROR", minutes=2))
    assert written(capsys) == [
        (0, "cart", 1, 1),
        (0, "shop", 2, 2),
        (MINUTE_MS, "cart", 1, 1),
        (MINUTE_MS, "shop", 2, 2),
    ]


def test_services_beyond_the_bound_are_one(capsys):
    show = MinuteMetrics(SERVICE_MINUTES.table, lambda: NOON_MS)
    show(rows_of(*(f"s{n:02}" for n in range(25)), "s24"))
    lines = written(capsys)
    assert len(lines) == minute_metrics.MAX_SERVICES + 1
    assert lines[0] == (0, "other", 6, 0)
    show(rows_of("s24", "s00"))
    assert written(capsys) == [(0, "other", 1, 0), (0, "s00", 1, 0)]


def test_minutes_of_long_ago_are_left_out(capsys):
    show = MinuteMetrics(SERVICE_MINUTES.table, lambda: NOON_MS + RECENT_MS + 1)
    show(rows_of("shop", minutes=2))
    assert written(capsys) == [(MINUTE_MS, "shop", 1, 0)]


@pytest.mark.parametrize(
    ("service", "name"), [("caf\u00e9\n", "caf??"), (" ", "other"), ("x" * 2000, "x" * 250), (":a", "?a")]
)
def test_a_name_is_made_one_that_cloudwatch_takes(capsys, service, name):
    MinuteMetrics(SERVICE_MINUTES.table, lambda: NOON_MS)(rows_of(service))
    assert [line[1] for line in written(capsys)] == [name]
