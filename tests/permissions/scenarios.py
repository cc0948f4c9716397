"""Everything the functions do that reaches AWS in a way of its own, one scenario after the other in one account.

Partitions 0 to 3 of both topics: 0 starts and grows a large state, 1 gets many files, 2 and 3 crash.
"""

import json
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

import pytest
from confluent_kafka import Producer
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from permissions.deployed import DATABASE, TOPIC, by_default
from permissions.recording import Account, Call
from samples import NOON_MS, lambda_event, record

from headrace.checksum import opened
from kafka_esm import FunctionError

HOUR_MS = 3_600_000
CLICKSTREAM, LOGS, LANDING, SWEEPER = "ClickstreamFunction", "LogsFunction", "LandingFunction", "SweeperFunction"
CATALOG = "CatalogFunction"
ICEBERG = "IcebergFunction"
ALERTS = "AlertsFunction"
TOPIC_OF = {CLICKSTREAM: "clicks", LOGS: "logs", LANDING: "clicks"}
CONSUMERS = tuple(TOPIC_OF)
MANIFEST_HOURS = 103
"""A file per hour and table: more than the 100 that a checkpoint lists itself."""
STATE_KEYS = 400
"""Their open windows are more than the 4096 bytes that a checkpoint holds itself."""
LOG_ENDS = {0: STATE_KEYS + 3, 1: MANIFEST_HOURS, 2: 3}
"""Records in each partition of the broker: a log that ends before its checkpoint would be another topic's."""
MANY_ERRORS = 30
"""In a minute: enough for an alert."""
SCHEDULED: dict[str, Any] = {}


class Scenario(NamedTuple):
    """Something the functions go through."""

    name: str
    run: Callable[[Account], None]


def first_batch(account: Account) -> None:
    for function in CONSUMERS:
        _deliver(account, function, 0, 0, [NOON_MS, NOON_MS + HOUR_MS])


def large_state(account: Account) -> None:
    for function in (CLICKSTREAM, LOGS):
        _deliver(account, function, 0, 2, [NOON_MS + 2 * HOUR_MS] * STATE_KEYS)
        assert "state_keys" in account.committed(function, TOPIC_OF[function], 0)
        # Where the partition comes to another environment: what stays in memory is not read.
        _deliver(account, function, 0, 2 + STATE_KEYS, [NOON_MS + 2 * HOUR_MS], HEADRACE_WARM_ROWS="0")


def held_lines(account: Account) -> None:
    """A line that is larger than what a checkpoint holds itself, and the one that continues it."""
    line = json.dumps({"timestamp": NOON_MS, "message": "x" * 5000}).encode()
    for offset, value in enumerate((line, b"\tat a.B.c"), start=LOG_ENDS[0] - 2):
        batch = [record(offset, value, topic="logs", timestamp_ms=NOON_MS)]
        account.invoke(LANDING, lambda_event(batch), HEADRACE_WARM_ROWS="0")
    assert "state_keys" in account.committed(LANDING, "logs", 0)


def many_files(account: Account) -> None:
    for function in CONSUMERS:
        _deliver(account, function, 1, 0, [NOON_MS + hour * HOUR_MS for hour in range(MANIFEST_HOURS)])
        assert "outbox_manifest" in account.committed(function, TOPIC_OF[function], 1)


def crash_before_publishing(account: Account) -> None:
    for function in CONSUMERS:
        _deliver(account, function, 2, 0, [NOON_MS, NOON_MS + HOUR_MS])
        _forget_publication(account, function, 2)
        _deliver(account, function, 2, 2, [NOON_MS + 2 * HOUR_MS])


def second_generation(account: Account) -> None:
    for function in CONSUMERS:
        _deliver(account, function, 0, 0, [NOON_MS, NOON_MS + HOUR_MS], HEADRACE_GENERATION="2")


def sweep_after_crashes(account: Account) -> None:
    for function in CONSUMERS:
        _forget_publication(account, function, 1)
        _forget_publication(account, function, 2)
    answer = account.invoke(SWEEPER, SCHEDULED)
    assert (answer["recovered"], answer["ticked"]) == (6, 0)


def sweep_of_idle_partitions(account: Account) -> None:
    # Clicks and logs in partitions 0, 1 and 2, and 0 of the second generation; of landing, the line that it holds.
    assert account.invoke(SWEEPER, SCHEDULED, HEADRACE_IDLE_TIMEOUT_MS="1")["ticked"] == 9


def sweep_of_leftovers(account: Account) -> None:
    for key in ("staging/left/0", "state/left"):
        account.aws.client("s3").put_object(Bucket=account.aws.bucket, Key=key, Body=b"")
    _forget_publication(account, LANDING, 1)  # what its manifest names is none
    _grow_old(account, days=2)
    assert account.invoke(SWEEPER, SCHEDULED)["removed"] > 1


def new_hours(account: Account) -> None:
    account.aws.client("glue").create_database(DatabaseInput={"Name": DATABASE})
    assert account.invoke(CATALOG, SCHEDULED)["added"] > MANIFEST_HOURS


def changed_catalog(account: Account) -> None:
    """Somebody takes a column away; the partitions are then not what they were registered for."""
    glue = account.aws.client("glue")
    table = glue.get_table(DatabaseName=DATABASE, Name="landing_clicks")["Table"]
    storage = table["StorageDescriptor"] | {"Columns": table["StorageDescriptor"]["Columns"][1:]}
    changed = {"Name": table["Name"], "PartitionKeys": table["PartitionKeys"], "StorageDescriptor": storage}
    glue.update_table(DatabaseName=DATABASE, TableInput=changed | {"Parameters": table["Parameters"]})
    answer = account.invoke(CATALOG, SCHEDULED)
    assert answer["changed_tables"] == 1
    assert answer["replaced"] > 0


def expired_hours(account: Account) -> None:
    s3 = account.aws.client("s3")
    prefix = "lake/landing/clicks/date=2024-03-14/"
    for found in s3.list_objects_v2(Bucket=account.aws.bucket, Prefix=prefix)["Contents"]:
        s3.delete_object(Bucket=account.aws.bucket, Key=found["Key"])
    assert account.invoke(CATALOG, SCHEDULED)["removed"] == 24


def iceberg_upkeep(account: Account) -> None:
    """Its hours are long over: what is committed is compacted at once."""
    _make_database(account)
    answer = account.invoke(ICEBERG, SCHEDULED)
    assert (answer["files"], answer["compacted"], answer["failed"]) == (2, 2, 0)


def iceberg_orphans(account: Account) -> None:
    folder = "tables/landing/clicks/1/data"
    account.aws.client("s3").put_object(Bucket=account.aws.bucket, Key=f"{folder}/orphan.parquet", Body=b"")
    _grow_old(account, days=4)
    assert account.invoke(ICEBERG, SCHEDULED)["removed"] >= 1


def alerts_of_an_outage(account: Account) -> None:
    """A minute of errors, and a line of later so that it is over."""
    account.aws.client("sns").create_topic(Name=TOPIC)
    now_ms = int(datetime.now(UTC).timestamp() * 1000) // HOUR_MS * HOUR_MS
    lines = [_log_line(0, now_ms - HOUR_MS + n, "ERROR") for n in range(MANY_ERRORS)] + [_log_line(0, now_ms)]
    records = [record(n, line, topic="logs", partition=4, timestamp_ms=now_ms) for n, line in enumerate(lines)]
    account.invoke(LOGS, lambda_event(records))
    for key in _files_of_alerts(account):
        assert account.invoke(ALERTS, _announcement(account, key))["sent"] >= 1


def expired_alerts(account: Account) -> None:
    key = _files_of_alerts(account)[0]
    account.aws.client("s3").delete_object(Bucket=account.aws.bucket, Key=key)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No application metrics to publish")
        with pytest.raises(FunctionError, match="FileMissing"):
            account.invoke(ALERTS, _announcement(account, key))


def _files_of_alerts(account: Account) -> list[str]:
    """Of the last hours: other scenarios' services fell silent long ago."""
    recent = f"/date={datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}", f"/date={datetime.now(UTC):%Y-%m-%d}"
    listed = account.aws.client("s3").list_objects_v2(Bucket=account.aws.bucket, Prefix="lake/logs/alerts/")
    return [each["Key"] for each in listed["Contents"] if any(day in each["Key"] for day in recent)]


def _announcement(account: Account, key: str) -> dict[str, Any]:
    detail = {"bucket": {"name": account.aws.bucket}, "object": {"key": key, "size": 1}}
    return {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}


def _make_database(account: Account) -> None:
    name = by_default().environment(ICEBERG)["HEADRACE_ICEBERG_CATALOG"].partition(":")[2]
    account.aws.client("glue").create_database(DatabaseInput={"Name": name})


def _grow_old(account: Account, days: int) -> None:
    for each in s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[account.aws.bucket].keys.values():
        each.last_modified = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=days)


def lost_object(account: Account) -> None:
    """A person has to look; IAM has to let the functions tell that from a fault of S3's."""
    with warnings.catch_warnings():
        # Powertools has nothing to publish for an invocation that failed.
        warnings.filterwarnings("ignore", "No application metrics to publish")
        _lose_objects(account)


def _lose_objects(account: Account) -> None:
    for function in CONSUMERS:
        _deliver(account, function, 3, 0, [NOON_MS, NOON_MS + HOUR_MS])
        staged = _forget_publication(account, function, 3)
        account.aws.client("s3").delete_object(Bucket=account.aws.bucket, Key=staged)
        with pytest.raises(FunctionError, match="ObjectMissing"):
            _deliver(account, function, 3, 2, [NOON_MS + 2 * HOUR_MS])
    with pytest.raises(FunctionError, match="ObjectMissing"):
        account.invoke(SWEEPER, SCHEDULED)


SCENARIOS = (
    Scenario("first batch", first_batch),
    Scenario("Iceberg upkeep", iceberg_upkeep),
    Scenario("Iceberg orphans", iceberg_orphans),
    Scenario("large state", large_state),
    Scenario("held lines", held_lines),
    Scenario("more than 100 files", many_files),
    Scenario("crash before publishing", crash_before_publishing),
    Scenario("second generation", second_generation),
    Scenario("sweep after crashes", sweep_after_crashes),
    Scenario("sweep of idle partitions", sweep_of_idle_partitions),
    Scenario("sweep of leftovers", sweep_of_leftovers),
    Scenario("lost object", lost_object),
    Scenario("new hours", new_hours),
    Scenario("changed catalog", changed_catalog),
    Scenario("expired hours", expired_hours),
    Scenario("alerts", alerts_of_an_outage),
    Scenario("expired alerts", expired_alerts),
)


@cache
def recorded() -> tuple[Call, ...]:
    """Every call of every scenario. Takes some seconds, once per process."""
    producer = Producer({"test.mock.num.brokers": 1, "log_level": 0})
    (broker,) = producer.list_topics(timeout=10).brokers.values()
    for topic in set(TOPIC_OF.values()):
        for partition, count in LOG_ENDS.items():
            for _ in range(count):
                producer.produce(topic, b"delivered before", partition=partition)
    assert producer.flush(10) == 0
    account = Account(f"{broker.host}:{broker.port}")
    with ExitStack() as stack:
        stack.enter_context(account.aws)
        for scenario in SCENARIOS:
            with account.scenario(scenario.name):
                scenario.run(account)
        return tuple(account.calls())


def _deliver(
    account: Account, function: str, partition: int, offset: int, times_ms: Sequence[int], **variables: str
) -> None:
    topic = TOPIC_OF[function]
    value = _log_line if topic == "logs" else _click
    records = [
        record(offset + n, value(n, time_ms), topic=topic, partition=partition, timestamp_ms=time_ms)
        for n, time_ms in enumerate(times_ms)
    ]
    account.invoke(function, lambda_event(records), **variables)


def _click(number: int, time_ms: int) -> bytes:
    return json.dumps({"user_id": f"user-{number}", "page": "/", "event_type": "view", "timestamp": time_ms}).encode()


def _log_line(number: int, time_ms: int, level: str = "INFO") -> bytes:
    at = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat()
    return json.dumps({"timestamp": at, "level": level, "service": f"service-{number}", "message": "hello"}).encode()


def _forget_publication(account: Account, function: str, partition: int) -> str:
    """Leave what a crash between commit and publication leaves: the item as committed, and nothing at its final keys.

    Returns what the item names first: a staged object, or its manifest.
    """
    item = account.committed(function, TOPIC_OF[function], partition)
    account.aws.client("dynamodb").put_item(TableName=account.aws.table, Item=item)
    s3 = account.aws.client("s3")
    if "outbox" in item:
        entries = json.loads(item["outbox"]["S"])
    else:
        manifest = s3.get_object(Bucket=account.aws.bucket, Key=item["outbox_manifest"]["S"])["Body"].read()
        entries = json.loads(opened(manifest, "manifest"))
    for _, final_key in entries:
        s3.delete_object(Bucket=account.aws.bucket, Key=final_key)
    return str(entries[0][0] if "outbox" in item else item["outbox_manifest"]["S"])
