"""`headrace events`: one sample MSK event of a file's records, as a Lambda function receives it.

Shape: AWS Lambda developer guide, "Using Lambda with Amazon MSK".
"""

import itertools
import time
from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import msgspec

from headrace_cli.commands.examples import examples
from headrace_cli.commands.options import TopicName, field_options
from headrace_cli.errors import CommandError
from headrace_cli.kafka.partitioner import partition_of
from headrace_cli.sources.fields import FieldOptions
from headrace_cli.sources.source import Source, SourceRecord

MAX_EVENT_BYTES = 6 * 1024 * 1024
"""Lambda's limit for the payload of a synchronous invocation, which is what an event source mapping makes."""
CLUSTER_ARN = "arn:aws:kafka:us-east-1:123456789012:cluster/sample/11111111-2222-3333-4444-555555555555-1"
BOOTSTRAP_SERVERS = "b-1.sample.a1b2c3.c1.kafka.us-east-1.amazonaws.com:9098"


@click.command(
    epilog=examples(
        """
        headrace events clicks.ndjson --topic clicks --key user_id --limit 20 --out events/clickstream/mine.json
        sam local invoke ClickstreamFunction -e events/clickstream/mine.json
        """
    )
)
@click.argument("file")
@click.option("--topic", type=TopicName(), required=True, help="The topic that the event is to come from.")
@click.option("--partition-count", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--start-offset", type=click.IntRange(min=0), default=0, show_default=True, help="In each partition.")
@click.option("--timestamp-ms", type=int, help="Kafka timestamp of all records; else the record's time, else now.")
@field_options
@click.option("--limit", type=click.IntRange(min=1), help="Stop after so many records.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write here, not to standard output.")
def events(
    *,
    file: str,
    topic: str,
    partition_count: int,
    start_offset: int,
    timestamp_ms: int | None,
    source_format: str,
    fields: FieldOptions,
    limit: int | None,
    out: Path | None,
) -> None:
    """Make a sample MSK event from the records of FILE (NDJSON, CSV or lines; `-` is standard input).

    A record's partition is the one that Kafka's clients choose for its key; without keys they take turns.
    """
    with Source(file, fields, source_format=source_format) as source:
        event = sample_event(
            itertools.islice(source, limit),
            topic,
            partition_count=partition_count,
            start_offset=start_offset,
            timestamp_ms=timestamp_ms,
        )
    if out is None:
        click.echo(event, nl=False)
    else:
        out.write_bytes(event)
        click.echo(f"{out}: {len(event):,} bytes", err=True)


def sample_event(
    records: Iterable[SourceRecord],
    topic: str,
    *,
    partition_count: int = 2,
    start_offset: int = 0,
    timestamp_ms: int | None = None,
) -> bytes:
    """The event as JSON, a record per line.

    Raises:
        CommandError: there are no records, or the event is too large for Lambda.
    """
    partitions: dict[int, list[bytes]] = {}
    now_ms = time.time_ns() // 1_000_000
    size = len(_envelope({}))
    for number, record in enumerate(records):
        partition = number % partition_count if record.key is None else partition_of(record.key, partition_count)
        lines = partitions.setdefault(partition, [])
        own_ms = now_ms if record.time_ms is None else record.time_ms
        time_ms = own_ms if timestamp_ms is None else timestamp_ms
        lines.append(_record(record, topic, partition, start_offset + len(lines), time_ms))
        size += len(lines[-1]) + len(",\n")
        if size > MAX_EVENT_BYTES:
            raise CommandError(
                f"with record {number + 1} the event is larger than Lambda's {MAX_EVENT_BYTES} bytes:"
                f" take fewer, e.g. --limit {max(number // 2, 1)}"
            )
    if not partitions:
        raise CommandError("there are no records to make an event of")
    return _envelope({f"{topic}-{partition}": lines for partition, lines in sorted(partitions.items())})


def _record(record: SourceRecord, topic: str, partition: int, offset: int, timestamp_ms: int) -> bytes:
    fields: dict[str, Any] = {
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "timestamp": timestamp_ms,
        "timestampType": "CREATE_TIME",
    }
    # A record without key or value has no such member: what the service is last known to send.
    if record.key is not None:
        fields["key"] = b64encode(record.key).decode()
    if record.value is not None:
        fields["value"] = b64encode(record.value).decode()
    fields["headers"] = [{name: None if value is None else _signed(value)} for name, value in record.headers]
    return msgspec.json.encode(fields)


def _signed(value: bytes) -> list[int]:
    # Java's bytes are signed, and so they are in the event.
    return [byte - 256 if byte > 127 else byte for byte in value]  # noqa: PLR2004 - the largest signed byte


def _envelope(partitions: dict[str, list[bytes]]) -> bytes:
    head = {"eventSource": "aws:kafka", "eventSourceArn": CLUSTER_ARN, "bootstrapServers": BOOTSTRAP_SERVERS}
    lists = (msgspec.json.encode(name) + b": [\n" + b",\n".join(lines) + b"\n]" for name, lines in partitions.items())
    return msgspec.json.encode(head)[:-1] + b',"records":{\n' + b",\n".join(lists) + b"\n}}\n"
