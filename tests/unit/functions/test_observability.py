"""What a batch and a sweep did, as metrics in CloudWatch's embedded format: by service, and by table."""

import io
import json
from collections import Counter

import pytest

import observability
from headrace.sweeper import Sweep
from observability import metrics, report
from sweeper.report import report as report_sweep

TOTALS = Counter(
    {"applied": 5, "files": 3, "rows": 9, "files.clicks": 2, "rows.clicks": 8, "files.late": 1, "rows.late": 1}
)


@pytest.fixture(autouse=True)
def _of_a_service(monkeypatch):
    monkeypatch.setattr(metrics.provider, "service", "landing")
    monkeypatch.setattr(metrics.provider, "namespace", "Headrace/dev")
    monkeypatch.setattr(observability, "_tables", set())
    yield
    metrics.clear_metrics()


def lines(capsys):
    """Dimensions to metrics of each line that was written, in order."""
    found = []
    for line in capsys.readouterr().out.splitlines():
        written = json.loads(line)
        if "_aws" not in written:
            continue
        (sent,) = written["_aws"]["CloudWatchMetrics"]
        assert sent["Namespace"] == "Headrace/dev"
        (dimensions,) = sent["Dimensions"]
        values = {each["Name"]: written[each["Name"]][0] for each in sent["Metrics"]}
        found.append(({name: written[name] for name in dimensions}, values))
    return found


def test_a_batch_counts_files_and_rows_by_table(capsys):
    assert report(TOTALS) == {name: TOTALS[name] for name in observability.METRIC_OF}
    assert lines(capsys) == [
        ({"service": "landing", "table": "clicks"}, {"FilesPublished": 2, "RowsPublished": 8}),
        ({"service": "landing", "table": "late"}, {"FilesPublished": 1, "RowsPublished": 1}),
    ]
    metrics.flush_metrics()
    ((dimensions, values),) = lines(capsys)
    assert dimensions == {"service": "landing"}
    assert (values["FilesPublished"], values["RowsPublished"], values["RecordsApplied"]) == (3, 9, 5)


def test_a_batch_that_wrote_nothing_has_no_line_by_table(capsys):
    report(Counter(skipped=3))
    assert lines(capsys) == []


def test_tables_beyond_the_bound_are_one(capsys, monkeypatch):
    """CloudWatch bills every table's metrics by the month: nobody's topics shall make them endless."""
    monkeypatch.setattr(observability, "MAX_TABLES", 2)
    report(Counter({f"rows.t{n}": 10**n for n in range(4)}))
    report(Counter({"rows.t1": 7, "rows.t9": 5}))
    assert [(dimensions["table"], values["RowsPublished"]) for dimensions, values in lines(capsys)] == [
        ("other", 1100),
        ("t0", 1),
        ("t1", 10),
        ("other", 5),
        ("t1", 7),
    ]


def test_what_a_tick_wrote_counts_for_its_pipeline(capsys):
    sweep = Sweep(
        ticked=2, written={"clickstream": Counter({"ticks": 2, "files": 1, "rows": 4, "files.s": 1, "rows.s": 4})}
    )
    report_sweep(sweep, 0)
    assert lines(capsys) == [
        ({"service": "clickstream"}, {"FilesPublished": 1, "RowsPublished": 4, "Ticks": 2}),
        ({"service": "clickstream", "table": "s"}, {"FilesPublished": 1, "RowsPublished": 4}),
    ]


@pytest.fixture
def log():
    """What is logged; the logger keeps the stream that it found when it was imported."""
    written = io.StringIO()
    stream = observability.logger.registered_handler.setStream(written)
    yield written
    observability.logger.registered_handler.setStream(stream)


def test_books_that_do_not_balance_are_counted_and_named(capsys, log):
    answer = report_sweep(Sweep(unbalanced={"headrace#p#1#t-0": ["offsets passed: 5 is not 4"]}), 0)
    assert answer["unbalanced"] == 1
    (line,) = [line for line in log.getvalue().splitlines() if "do not balance" in line]
    assert json.loads(line).items() >= {"checkpoint": "headrace#p#1#t-0", "level": "ERROR"}.items()
    assert json.loads(line)["imbalances"] == ["offsets passed: 5 is not 4"]
    metrics.flush_metrics()
    ((_, values),) = lines(capsys)
    assert values["UnbalancedCheckpoints"] == 1
