"""When each record happened, as its payload or Kafka says, and which records' clocks cannot be believed."""

from collections.abc import Sequence
from itertools import compress
from operator import attrgetter, sub

from headrace import lake
from headrace.codec import Decoded, Value
from headrace.errors import ConfigurationError, PoisonError
from headrace.records import Record
from headrace.schema import Schema


class EventClock:
    """Of one topic."""

    def __init__(self, schema: Schema, field: str | None, max_skew_ms: int) -> None:
        """Look at the field.

        Args:
            schema: of the values.
            field: the one that says when; None: Kafka's timestamp does.
            max_skew_ms: how far an event time may be ahead of Kafka's timestamp.

        Raises:
            SchemaError: there is no such field.
            ConfigurationError: it is not a timestamp.
        """
        self._field = field
        self._max_skew_ms = max_skew_ms
        self._ticks_per_ms = 1 if field is None else _ticks_per_ms(schema, field)

    def times_ms(self, decoded: Decoded) -> list[int]:
        """Event times of the readable records; those that are not to be believed are moved to the poison."""
        times_ms = self._read(decoded.records, decoded.values)
        if self._all_believable(times_ms, [record.timestamp_ms for record in decoded.records]):
            return times_ms
        return self._sort_out(decoded, times_ms)

    def _all_believable(self, times_ms: list[int], arrivals_ms: list[int]) -> bool:
        """Whether nothing needs a second look: stricter than `_believable`, and without a call per record."""
        if not times_ms:
            return True
        first_arrival_ms, newest_ms = min(arrivals_ms), max(times_ms)
        return (
            first_arrival_ms >= 0
            and min(times_ms) >= lake.MIN_TIME_MS
            and newest_ms <= lake.MAX_TIME_MS
            and (
                newest_ms - first_arrival_ms <= self._max_skew_ms
                or max(map(sub, times_ms, arrivals_ms)) <= self._max_skew_ms
            )
        )

    def _read(self, records: Sequence[Record], values: Sequence[Value]) -> list[int]:
        if self._field is None:
            return [record.timestamp_ms for record in records]
        ticks = list(map(attrgetter(self._field), values))
        if None in ticks:
            return [
                record.timestamp_ms if tick is None else tick // self._ticks_per_ms
                for record, tick in zip(records, ticks, strict=True)
            ]
        return ticks if self._ticks_per_ms == 1 else [tick // self._ticks_per_ms for tick in ticks]

    def _believable(self, time_ms: int, record: Record) -> bool:
        # Kafka's own timestamp is -1 when the producer's message format had none.
        limit_ms = record.timestamp_ms + self._max_skew_ms if record.timestamp_ms >= 0 else lake.MAX_TIME_MS
        return lake.MIN_TIME_MS <= time_ms <= min(limit_ms, lake.MAX_TIME_MS)

    def _sort_out(self, decoded: Decoded, times_ms: list[int]) -> list[int]:
        """A record is a dead letter as a whole, if one of its events is not to be believed: so it can be sent again."""
        disbelieved: dict[int, tuple[Record, PoisonError]] = {}
        for record, time_ms in zip(decoded.records, times_ms, strict=True):
            if not self._believable(time_ms, record):
                disbelieved.setdefault(record.offset, (record, self._disbelief(time_ms, record)))
        decoded.poison.extend(disbelieved.values())
        believed = [record.offset not in disbelieved for record in decoded.records]
        decoded.records[:] = compress(decoded.records, believed)
        decoded.values[:] = compress(decoded.values, believed)
        decoded.continuations[:] = [item for item in decoded.continuations if item[0].offset not in disbelieved]
        return list(compress(times_ms, believed))

    def _disbelief(self, time_ms: int, record: Record) -> PoisonError:
        if not lake.MIN_TIME_MS <= time_ms <= lake.MAX_TIME_MS:
            return PoisonError("time_out_of_range", f"event time {time_ms} ms is outside of the years 1 to 9999")
        return PoisonError(
            "from_the_future",
            f"event time {time_ms} ms is more than {self._max_skew_ms} ms after Kafka's {record.timestamp_ms} ms",
        )


def _ticks_per_ms(schema: Schema, name: str) -> int:
    (field,) = schema.project((name,)).fields
    if field.ticks_per_ms is None:
        raise ConfigurationError(f"event time field {name!r} is not a timestamp-millis, -micros or -nanos")
    return field.ticks_per_ms
