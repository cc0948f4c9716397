"""A contest over the same topic of a real broker, Apache Kafka in a process of its own: needs Java and Maven.

What is counted is the CPU time of the consuming process, its client's threads included, from before it connects until
the last row is written and the offsets are committed. Each turn reads the whole topic again, as a new group.

The topic has one partition and is keyed by page and event type, because a counterpart that windows by the record's key
would otherwise have to send every record through a second topic. Its last record is an hour later than all others: it
closes their windows, and its own stays open on both sides.
"""

import json
import tempfile
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import inputs
from confluent_kafka import Producer
from contest import MOST_RUNS, WARM_UP, Contest
from measurement import Measurement, Unavailable

from headrace_cli.errors import CommandError
from headrace_cli.kafka.server import KafkaServer

TOPIC = "clicks"
BATCHES = WARM_UP + MOST_RUNS
END_MS = inputs.NOON_MS + 3_600_000
FLUSH_S = 60.0


class BrokerContest(Contest):
    """Reading from the broker until the rows are written."""

    def measure(self, repeats: int) -> Measurement:
        """Let both read the topic up to `MOST_RUNS` times.

        Raises:
            Unavailable: there is no broker to be had.
            SystemExit: they did not write the same rows.
        """
        turns, rows = [], {}
        with _broker() as servers:
            end_offset = _produce(servers)
            for turn in range(min(repeats, MOST_RUNS)):
                ours, theirs = self._workers()
                with ours, theirs:
                    command = f"consume {servers} {TOPIC} {end_offset} {turn}"
                    turns.append((ours.ask(command), theirs.ask(command)))
                    rows = self._same_rows(ours.ask("rows"), theirs.ask("rows"))
        return self._measurement(turns, rows)


@contextmanager
def _broker() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        try:
            with KafkaServer(Path(folder)) as server:
                # For ever: the records' timestamps are years old.
                server.create_topic(TOPIC, 1, {"retention.ms": "-1"})
                yield server.bootstrap_servers
        except CommandError as error:
            raise Unavailable(str(error)) from None


def _produce(servers: str) -> int:
    """Fill the topic; the offset after its last record."""
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 50})
    for number in range(BATCHES):
        for record in json.loads(inputs.clicks(number, 1))["records"][f"{TOPIC}-0"]:
            value = b64decode(record["value"])
            producer.produce(TOPIC, value, _key(json.loads(value)), timestamp=record["timestamp"])
            producer.poll(0)
        producer.flush(FLUSH_S)
    click = {"user_id": "end", "page": "/end", "event_type": "view", "timestamp": END_MS, "value": None}
    producer.produce(TOPIC, json.dumps(click).encode(), _key(click), timestamp=END_MS)
    if left := producer.flush(FLUSH_S):
        raise SystemExit(f"the broker did not take {left} records within {FLUSH_S:.0f} s")
    return BATCHES * inputs.RECORDS + 1


def _key(click: dict[str, str]) -> bytes:
    return f"{click['page']}\0{click['event_type']}".encode()
