"""Patterns of messages a CPU second, beside Drain3; and keys seen first, with many known."""

import json
import random
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Self

import peer_interpreter
from measurement import Measurement

from headrace import schema
from headrace.codec import JsonCodec
from headrace.first_seen import FirstSeen
from headrace.operators import Batch, Restored
from headrace.patterns import pattern_of
from headrace.records import Record, TopicPartition
from headrace.watermark import BEFORE_ALL_MS

MESSAGES = 10_000
REMEMBERED = 4_096
"""Messages whose patterns are looked up, in the measurement that shows that this does not pay."""
KNOWN = 100_000
"""Patterns that are known: as many as are remembered."""
UNIT = "messages per CPU second"

_TEXTS = (
    "Receiving block blk_{big} src: /{ip}:{port} dest: /{ip}:50010",
    "order {hash} was looked up in the catalogue",
    "[instance: {uuid}] Took {float} seconds to build instance.",
    "Failed password for invalid user {word} from {ip} port {port} ssh2",
    "[UnifiedLog partition=orders-{small}, dir=/var/lib/kafka] Rolled new log segment at offset {big} in {small} ms.",
    "GET /api/v1/orders/{port}/items took {small}ms for client {ip}",
    "Block rdd_{small}_{small} stored as values in memory (estimated size {float} KB, free {float} MB)",
    "Connection to node {small} could not be established. Node may not be available.",
)
_CONSTANT = (
    "Starting the controller",
    "Have quorum of supporters; starting up",
    "memory limit not specified, defaulting to unlimited",
    "Discovered group coordinator",
)
_CONSTANT_SHARE = 0.25


def messages(number: int) -> list[str]:
    """Of eight statements with variables, and a quarter of four without."""
    chance = random.Random(number)
    return [
        chance.choice(_CONSTANT) if chance.random() < _CONSTANT_SHARE else chance.choice(_TEXTS).format(**_some(chance))
        for _ in range(MESSAGES)
    ]


def _some(chance: random.Random) -> dict[str, Any]:
    bits = f"{chance.getrandbits(128):032x}"
    return {
        "big": chance.getrandbits(62),
        "port": chance.randrange(1024, 65536),
        "small": chance.randrange(1000),
        "float": round(chance.random() * 100, 3),
        "ip": f"10.{chance.randrange(256)}.{chance.randrange(256)}.{chance.randrange(256)}",
        "hash": bits,
        "uuid": f"{bits[:8]}-{bits[8:12]}-{bits[12:16]}-{bits[16:20]}-{bits[20:]}",
        "word": chance.choice(["admin", "guest", "oracle"]),
    }


class Drain3:
    """Drain3's process."""

    def __init__(self) -> None:
        command = [peer_interpreter.python(), Path(__file__).with_name("drain3_patterns.py")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def clusters(self, messages: Sequence[str]) -> list[int]:
        """The number of each message's cluster."""
        clusters: list[int] = self._ask(messages)["clusters"]
        return clusters

    def speed(self, messages: Sequence[str]) -> float:
        """Messages per CPU second."""
        return len(messages) / float(self._ask(messages)["cpu_s"])

    def _ask(self, messages: Sequence[str]) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(messages), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)


def measurements(repeats: int) -> Iterator[Measurement]:
    """Every message masked, and the same with those remembered that come again; then keys.

    Raises:
        Unavailable: Drain3's environment cannot be made.
    """
    batches = [messages(number) for number in range(repeats)]
    with Drain3() as drain3:
        drain3.clusters(messages(-1))
        theirs = [drain3.speed(batch) for batch in batches]
    remembered = lru_cache(REMEMBERED)(pattern_of)
    for name, of in (("patterns", pattern_of), ("patterns, remembered by message", remembered)):
        yield Measurement(name, UNIT, [_speed(of, batch) for batch in batches], "drain3", theirs)
    yield Measurement(f"first seen, {KNOWN:,} keys known", "records per CPU second", _known(repeats))
    yield Measurement(f"first seen, {KNOWN:,} keys known, all new", "records per CPU second", _new(repeats))


def _speed(of: Callable[[str], str], batch: Sequence[str]) -> float:
    start = time.process_time()
    for message in batch:
        of(message)
    return len(batch) / (time.process_time() - start)


class _Event(NamedTuple):
    pattern: str


_AVSC = '{"type": "record", "name": "Event", "fields": [{"name": "pattern", "type": "string"}]}'
_RECORD = Record("logs", 0, 0, 0, "CREATE_TIME", key=None, value=b"")


class _Keys:
    """FirstSeen at work, after so many keys as it remembers."""

    def __init__(self) -> None:
        declared = FirstSeen("new_patterns", ("pattern",), forget_after_ms=10**12, capacity=KNOWN)
        codec = JsonCodec(schema.parse(_AVSC))
        self._running = declared.build(codec, TopicPartition("logs", 0), 0, Restored(BEFORE_ALL_MS, ()))
        self._time_ms = 0
        for start in range(0, KNOWN, MESSAGES):
            self.speed(range(start, start + MESSAGES))

    def speed(self, numbers: Sequence[int]) -> float:
        """Of a batch with these patterns."""
        events = [_Event(f"order <*> of shop {number} took <*> milliseconds to be looked up") for number in numbers]
        times_ms = list(range(self._time_ms, self._time_ms + len(events)))
        batch = Batch([_RECORD] * len(events), list(events), times_ms, [0, *times_ms])
        self._time_ms += len(events)
        start = time.process_time()
        self._running.apply(batch)
        self._running.close(0)
        cpu_s = time.process_time() - start
        assert self._running.state is not None
        self._running.state.written()
        return len(events) / cpu_s


def _known(repeats: int) -> list[float]:
    keys, chance = _Keys(), random.Random(0)
    return [keys.speed([int(KNOWN * chance.random() ** 4) for _ in range(MESSAGES)]) for _ in range(repeats)]


def _new(repeats: int) -> list[float]:
    keys = _Keys()
    return [keys.speed(range(start, start + MESSAGES)) for start in range(KNOWN, KNOWN + repeats * MESSAGES, MESSAGES)]
