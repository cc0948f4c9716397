"""The topic of a schedule: logs of partitions with everything in them that real ones have."""

import base64
import json
from typing import Any

from chaos.choices import Choices
from chaos.oracle.rules import Logged
from samples import NOON_MS

TOPIC = "hits"
MAX_SKEW_MS = 300_000
HOUR_MS = 3_600_000
_STEPS = (1, 3, 0, 11, 6, -7, 25, -18, 40, 2)
"""How far event time goes on from one record to the next."""


class PartitionLog:
    """One partition: its records, and how many of them were produced so far."""

    def __init__(self, number: int, records: list[Logged], end_offset: int) -> None:
        self.number = number
        self.records = records
        self.produced = 0
        self._end_offset = end_offset
        self.fields = [_event_fields(record) for record in records]
        """The records as an event has them."""

    @property
    def complete(self) -> bool:
        """Whether all is produced."""
        return self.produced == len(self.records)

    @property
    def end_offset(self) -> int:
        """The log's end: behind the last record, and behind the markers after it."""
        if self.complete:
            return self._end_offset
        return self.records[self.produced].offset

    def has_record_from(self, offset: int) -> bool:
        """Whether a record is left to read."""
        return bool(self.produced) and self.records[self.produced - 1].offset >= offset


class Topic:
    """All partitions of one incarnation of a topic."""

    def __init__(
        self,
        choices: Choices,
        partitions: int,
        records_at_most: int,
        *,
        gaps: bool = True,
        timestamp_ms: int = NOON_MS,
        starts_at_ms: int = 0,
        step_ms: int = 1,
        again: bool = False,
    ) -> None:
        """Make the records.

        Args:
            choices: what they are.
            partitions: how many there are at first.
            records_at_most: in each.
            gaps: whether offsets may be missing.
            timestamp_ms: they are newer than that, by Kafka's clock.
            starts_at_ms: about when the first events happened.
            step_ms: the unit of what lies between them.
            again: the topic was there before: it starts at offset 0. (Were its first records gone before anybody read
                them, nothing in a record would tell it from the old one.)
        """
        self._choices = choices
        self._gaps = gaps
        self._again = again
        self._timestamp_ms = timestamp_ms
        self._starts_at_ms, self._step_ms = starts_at_ms, step_ms
        self._records_at_most = records_at_most
        self.kinds: dict[str, int] = {}
        """What was put in, and how often."""
        self.logs: list[PartitionLog] = []
        self.grow(partitions)

    @property
    def newest_timestamp_ms(self) -> int:
        """Of all records."""
        return self._timestamp_ms

    def grow(self, partitions: int) -> None:
        """Add partitions up to this number."""
        for number in range(len(self.logs), partitions):
            self.logs.append(self._log(number))

    def produce(self) -> None:
        """Some records more, in each partition."""
        for log in self.logs:
            log.produced = min(len(log.records), log.produced + self._choices.below(6))

    def produce_all(self) -> None:
        """Everything that is left."""
        for log in self.logs:
            log.produced = len(log.records)

    def _log(self, number: int) -> PartitionLog:
        choices, records, offset, at_ms = self._choices, [], 0, self._starts_at_ms
        if choices.chance(20) and not self._again:
            offset = choices.below(5)  # retention has passed the first records
        for _ in range(1 + choices.below(self._records_at_most)):
            if self._gaps and choices.chance(6) and (records or not self._again):
                self._count("offset gap")
                offset += 1 + choices.below(3)
            at_ms += choices.among(_STEPS) * self._step_ms if not choices.chance(2) else HOUR_MS
            self._timestamp_ms += 1
            records.append(Logged(TOPIC, number, offset, self._timestamp_ms, *self._key_and_value(at_ms)))
            offset += 1
        return PartitionLog(number, records, offset + (choices.below(3) if choices.chance(15) else 0))

    def _key_and_value(self, at_ms: int) -> tuple[bytes | None, bytes | None]:
        choices = self._choices
        user = choices.among(("ann", "bob", "eve"))
        key = user.encode()
        if choices.chance(10):
            kind = choices.among(("poison", "tombstone", "from the future", "missing field", "unknown field"))
            self._count(kind)
            return key, self._odd_value(kind, user, at_ms)
        value = choices.below(8) / 2 if choices.chance(70) else None
        return key, _json(user=user, page=choices.among(("/", "/b")), at=at_ms, value=value)

    def _odd_value(self, kind: str, user: str, at_ms: int) -> bytes | None:
        match kind:
            case "poison":
                return b'{"user": "'
            case "tombstone":
                return None
            case "from the future":
                return _json(user=user, page="/", at=self._timestamp_ms + MAX_SKEW_MS + 1 + at_ms % 100, value=None)
            case "missing field":
                return _json(page="/", at=at_ms)
        return _json(user=user, page="/", at=at_ms, value=1.5, extra=[at_ms])

    def _count(self, kind: str) -> None:
        self.kinds[kind] = self.kinds.get(kind, 0) + 1


def _json(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def _event_fields(record: Logged) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp_ms,
        "timestampType": "CREATE_TIME",
        "headers": [],
    }
    for name, data in (("key", record.key), ("value", record.value)):
        if data is not None:
            fields[name] = base64.b64encode(data).decode()
    return fields
