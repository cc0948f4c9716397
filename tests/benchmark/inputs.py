"""The events that every contestant gets: full batches of clicks and of log lines, the same for a number every time.

Times go on from batch to batch, so that windows opened by one are closed by the next: a minute a batch, out of
order by up to 20 s. Two fifths of the 20,000 users are seen in each, so sessions (gap: 5 minutes) close as well.
"""

import base64
import io
import json
import random
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RECORDS = 10_000
"""Records of a batch: the most that an event source mapping puts into one."""
CLICK_BYTES = 245
BATCH_MS = 60_000
DISORDER_MS = 20_000
USERS, PAGES, HOSTS = 20_000, 500, 200
SERVICES = [f"service-{number:02}" for number in range(20)]
EVENT_TYPES = ["view"] * 12 + ["click"] * 5 + ["add_to_cart"] * 2 + ["purchase"]
WEB_SERVERS = [f"web-{number:02}".encode() for number in range(20)]
LEVELS = ["INFO"] * 16 + ["WARN"] * 3 + ["ERROR"]
SYSLOG_SEVERITIES = [6] * 16 + [4] * 3 + [3]
STATUSES = [200] * 16 + [304, 404, 404, 500]
NOON_MS = 1_710_331_200_000
"""2024-03-13T12:00:00Z."""

AVSC = Path(__file__).resolve().parents[2] / "functions" / "schemas" / "clicks.avsc"

# As in AWS's own sample event for MSK.
HEADERS = [{"headerKey": list(b"headerValue")}]

Payload = tuple[bytes, bytes]
"""Key and value of a record."""


def clicks(number: int, partitions: int) -> str:
    """The JSON text of a batch of clicks."""
    return event("clicks", number, partitions, _click)


def avro_clicks(number: int, partitions: int) -> str:
    """The same clicks, their values in Avro: bare, as functions/schemas/clicks.avsc declares them."""
    import fastavro  # noqa: PLC0415 - only this input needs it

    schema = fastavro.schema.load_schema(AVSC)

    def payload(chance: random.Random, index: int, time_ms: int) -> Payload:
        key, click = _click(chance, index, time_ms)
        value = io.BytesIO()
        fastavro.schemaless_writer(value, schema, json.loads(click))
        return key, value.getvalue()

    return event("clicks", number, partitions, payload)


def log_lines(number: int, partitions: int) -> str:
    """The JSON text of a batch of log lines: half of them JSON, half in the combined access log format."""
    return event("logs", number, partitions, _log_line)


def json_lines(number: int, partitions: int) -> str:
    """The JSON text of a batch of JSON log lines."""
    return event("logs", number, partitions, _json_line)


def combined_lines(number: int, partitions: int) -> str:
    """The JSON text of a batch of lines in the combined access log format."""
    return event("logs", number, partitions, _combined_line)


def syslog_lines(number: int, partitions: int) -> str:
    """The JSON text of a batch of RFC 5424 lines with structured data."""
    return event("logs", number, partitions, _syslog_line)


def java_lines(number: int, partitions: int) -> str:
    """The JSON text of a batch of lines as log4j writes them: time, thread, level, logger, message."""
    return event("logs", number, partitions, _java_line)


def event(
    topic: str,
    number: int,
    partitions: int,
    payload: Callable[[random.Random, int, int], Payload],
    records: int = RECORDS,
) -> str:
    """The JSON text of a batch: `payload` makes a record of its chance, its index and its time."""
    chance = random.Random(f"{topic} {number}")
    by_partition: dict[str, list[dict[str, Any]]] = {}
    for index in range(records):
        arrival_ms = NOON_MS + number * BATCH_MS + index * BATCH_MS // records
        key, value = payload(chance, index, arrival_ms - chance.randrange(DISORDER_MS))
        partition = zlib.crc32(key) % partitions
        record = {
            "topic": topic,
            "partition": partition,
            "offset": number * records + index,
            "timestamp": arrival_ms,
            "timestampType": "CREATE_TIME",
            "key": base64.b64encode(key).decode(),
            "value": base64.b64encode(value).decode(),
            "headers": HEADERS,
        }
        by_partition.setdefault(f"{topic}-{partition}", []).append(record)
    source = {"eventSource": "aws:kafka", "eventSourceArn": "arn:aws:kafka:::cluster", "bootstrapServers": "b-1:9098"}
    return json.dumps(source | {"records": by_partition})


def _click(chance: random.Random, _index: int, time_ms: int) -> Payload:
    user = f"user-{chance.randrange(USERS):05}"
    event_type = chance.choice(EVENT_TYPES)
    click = {
        "user_id": user,
        # Squared: some pages are seen much more often than others.
        "page": f"/product/{int(PAGES * chance.random() ** 2)}",
        "event_type": event_type,
        "timestamp": time_ms,
        "session_id": f"{chance.getrandbits(64):016x}",
        "value": chance.randrange(100, 20_000) / 100 if event_type == "purchase" else None,
        "referrer": "https://www.example.com/search?q=",
        "platform": chance.choice(["ios", "android", "web"]),
    }
    missing = CLICK_BYTES - len(compact(click))
    click["referrer"] += f"{chance.getrandbits(256):064x}"[:missing]
    return user.encode(), compact(click)


def _log_line(chance: random.Random, index: int, time_ms: int) -> Payload:
    return (_combined_line if index % 2 else _json_line)(chance, index, time_ms)


def _combined_line(chance: random.Random, _index: int, time_ms: int) -> Payload:
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    host, path = f"10.0.0.{chance.randrange(HOSTS)}", f"/api/v1/orders/{chance.randrange(100_000)}"
    line = (
        f'{host} - - [{moment:%d/%b/%Y:%H:%M:%S} +0000] "GET {path} HTTP/1.1" {chance.choice(STATUSES)} '
        f'{chance.randrange(100_000)} "https://www.example.com/" '
        '"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/122.0.0.0"'
    )
    return chance.choice(WEB_SERVERS), line.encode()


def _syslog_line(chance: random.Random, _index: int, time_ms: int) -> Payload:
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    service, host = chance.choice(SERVICES), f"web-{chance.randrange(HOSTS)}.example.com"
    order = chance.getrandbits(128)
    line = (
        f"<{16 * 8 + chance.choice(SYSLOG_SEVERITIES)}>1 {moment.isoformat(timespec='milliseconds')} {host} {service} "
        f'{chance.randrange(100_000)} ID{chance.randrange(50)} [order@32473 id="{order:032x}" region="eu-central-1"] '
        f"order {order:032x} was looked up in the catalogue"
    )
    return service.encode(), line.encode()


def _java_line(chance: random.Random, _index: int, time_ms: int) -> Payload:
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    service = chance.choice(SERVICES)
    line = (
        f"{moment:%Y-%m-%d %H:%M:%S},{time_ms % 1000:03} [http-nio-8080-exec-{chance.randrange(20)}] "
        f"{chance.choice(LEVELS)} com.example.shop.{service.replace('-', '')}.Catalogue - "
        f"order {chance.getrandbits(128):032x} was looked up in the catalogue"
    )
    return service.encode(), line.encode()


def _json_line(chance: random.Random, _index: int, time_ms: int) -> Payload:
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    service = chance.choice(SERVICES)
    line = {
        "timestamp": moment.isoformat(timespec="milliseconds"),
        "level": chance.choice(LEVELS),
        "service": service,
        "message": f"order {chance.getrandbits(128):032x} was looked up in the catalogue",
        "latency_ms": chance.randrange(1, 900),
        "host": f"10.0.0.{chance.randrange(HOSTS)}",
        "path": f"/api/v1/orders/{chance.randrange(100_000)}",
    }
    return service.encode(), compact(line)


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
