"""The logs function's own topology and landing's, run over the lines of one file as one partition; nothing is stored.

Kafka's timestamp is one for all lines: when the file was written, say. Were that the event time of lines that state
none, as it is in a topic, the first of them would close every window and make the rest of the file late. In a topic
they come when the lines around them come; so here each counts at the latest time before it.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from headrace.codec import Codec, Decoded
from headrace.errors import PoisonError
from headrace.lake import Rows
from headrace.log_formats.vpc_flow import VpcFlow, header_fields
from headrace.records import Record, TopicPartition
from headrace.settings import MEMORY, Settings
from headrace.topology import Logic, Topology
from headrace_cli.functions import function_module, function_settings
from headrace_cli.trial.tally import Tally

TOPIC = "logs"
"""What lines without a service are called by, if they have no key: the name of the topic."""
BATCH_LINES = 5_000
BATCH_BYTES = 4 << 20
"""A batch has so many lines or bytes, whichever comes first: memory does not grow with the file."""

MAX_HEADER_BYTES = 4096

_FUNCTION = "LogsFunction"
_timestamp = attrgetter("timestamp")


def trial_settings(declared: str) -> Settings:
    """The logs function's settings without its stores; the topic's lines are of this format, as the setting takes it.

    Raises:
        CommandError: there is no template.
        ConfigurationError: a HEADRACE_ variable of this environment is wrong.
    """
    fixed = {
        "HEADRACE_CHECKPOINTS": MEMORY,
        "HEADRACE_LAKE": MEMORY,
        "HEADRACE_LANDING_CODECS": f"{TOPIC}=log",
    }
    return msgspec.structs.replace(function_settings(_FUNCTION, fixed), log_formats={TOPIC: declared})


def named_format(first_line: bytes) -> str | None:
    """The declared format, if the first line of a file names the fields of a flow log; then it is no record."""
    fields = header_fields(first_line[:MAX_HEADER_BYTES].decode(errors="replace"))
    return None if fields is None else f"{VpcFlow.name}:{fields}"


class Turn(NamedTuple):
    """What became final with one batch."""

    events: list[dict[str, Any]]
    """Landed rows: the columns of `LogEvent` and `line`, the number of the first line."""
    dead: list[tuple[Record, PoisonError]]
    """Dead letters."""


class Trial:
    """One run."""

    def __init__(self, settings: Settings, kafka_ms: int, *, key: bytes | None, events: int | None) -> None:
        """Build both topologies.

        Args:
            settings: of the functions; they land `TOPIC` as logs.
            kafka_ms: Kafka's timestamp of every line.
            key: the key of every record.
            events: how many landed rows are wanted; None: all.

        Raises:
            ConfigurationError: the settings declare a format that there is not.
        """
        self.tally = Tally()
        self._kafka_ms, self._key, self._wanted = kafka_ms, key, events
        place = TopicPartition(TOPIC, 0)
        topology = _logs_topology(settings)
        self._watched = _Watched(topology.codec, kafka_ms + topology.max_skew_ms, kafka_ms)
        self._logs = _with_codec(topology, self._watched).build(place, None)
        landing = _landing_topology(settings)
        self._landing = _with_codec(landing, self._watched.again()).build(place, None)

    def turns(self, lines: Iterable[bytes], number: int = 1) -> Iterator[Turn]:
        """Take the lines in, a batch at a time; the last turn is the tick that closes everything.

        Args:
            lines: of the file.
            number: of the first one.
        """
        for records in self._batches(lines, number):
            rest: Sequence[Record] = records
            while rest:
                taken = self._apply(rest)
                yield self._seen(self._watched.decoded, rest[:taken])
                rest = rest[taken:]
        self._logs.tick(final=True)  # that the file ends is no silence
        self._landing.tick(final=True)
        self._watched.decoded = Decoded([], [], [])
        yield self._seen(self._watched.decoded, [])

    def _apply(self, records: Sequence[Record]) -> int:
        started_s = time.thread_time()
        parsing_s = self._watched.cpu_s
        taken = self._logs.apply(records)
        applying_s = time.thread_time() - started_s - self._watched.watching_s
        self._watched.watching_s = 0.0
        self.tally.took(taken, self._watched.cpu_s - parsing_s, applying_s)
        if self._wants_more:
            self._landing.apply(records[:taken])
        return taken

    def _seen(self, decoded: Decoded, records: Sequence[Record]) -> Turn:
        """What a batch, or the tick, has given; both topologies are then ready for the next one."""
        self.tally.saw(decoded)
        for rows in _taken(self._logs):
            self.tally.closed(rows)
        events = [event for rows in _taken(self._landing) for event in _events(rows)] if self._wants_more else []
        if self._wanted is not None:
            events = events[: self._wanted]
            self._wanted -= len(events)
        return Turn(events, decoded.poison)

    @property
    def _wants_more(self) -> bool:
        return self._wanted is None or self._wanted > 0

    def _batches(self, lines: Iterable[bytes], number: int) -> Iterator[list[Record]]:
        records: list[Record] = []
        size = 0
        for offset, line in enumerate(lines, number - 1):
            if not line.strip():
                continue  # as `headrace produce` has it
            records.append(Record(TOPIC, 0, offset, self._kafka_ms, key=self._key, value=line))
            size += len(line)
            if len(records) >= BATCH_LINES or size >= BATCH_BYTES:
                yield records
                records, size = [], 0
        if records:
            yield records


class _Watched:
    """The codec of the logs function: what it decoded last, and the time that took."""

    rescues = False

    def __init__(self, codec: Codec, latest_ms: int, kafka_ms: int) -> None:
        self.schema = codec.schema
        self.decoded = Decoded([], [], [])
        self.cpu_s = 0.0
        """CPU time of decoding."""
        self.watching_s = 0.0
        """CPU time of what only this class does, since somebody set it to 0."""
        self._codec = codec
        self._latest_ms = latest_ms
        self._kafka_ms = kafka_ms
        self._now_ms: int | None = None

    def decode(self, records: Sequence[Record]) -> Decoded:
        started_s = time.thread_time()
        self.decoded = self._codec.decode(records)
        decoded_s = time.thread_time()
        self._arrange()
        self.cpu_s += decoded_s - started_s
        self.watching_s += time.thread_time() - decoded_s
        return self.decoded

    def again(self) -> Codec:
        """A codec that gives out what was decoded last: the lines are parsed once."""
        return _Again(self)

    def _arrange(self) -> None:
        """Let each event without a time have come at the latest time before it; the first ones, at the first time."""
        values, records = self.decoded.values, self.decoded.records
        times_ms = list(map(_timestamp, values))
        if self._now_ms is None:
            self._now_ms = next(self._believable(times_ms), self._kafka_ms)
        if None not in times_ms:
            self._now_ms = max([self._now_ms, *self._believable(times_ms)])
            return
        for place, time_ms in enumerate(times_ms):
            if time_ms is None:
                records[place] = msgspec.structs.replace(records[place], timestamp_ms=self._now_ms)
            elif self._now_ms < time_ms <= self._latest_ms:
                self._now_ms = time_ms

    def _believable(self, times_ms: Iterable[int | None]) -> Iterator[int]:
        return (time_ms for time_ms in times_ms if time_ms is not None and time_ms <= self._latest_ms)


class _Again:
    rescues = False

    def __init__(self, watched: _Watched) -> None:
        self.schema = watched.schema
        self._watched = watched

    def decode(self, records: Sequence[Record]) -> Decoded:
        del records
        return self._watched.decoded


def _logs_topology(settings: Settings) -> Topology:
    topology: Topology = function_module("logs.topology").topologies(settings)(TOPIC)
    return topology


def _landing_topology(settings: Settings) -> Topology:
    topology: Topology = function_module("landing.topology").topologies(settings)(TOPIC)
    return topology


def _with_codec(topology: Topology, codec: Codec) -> Topology:
    return msgspec.structs.replace(topology, codec=codec)


def _taken(logic: Logic) -> list[Rows]:
    """What became final; it is forgotten there."""
    rows = logic.rows
    logic.committed()
    return rows


def _events(rows: Rows) -> Iterator[dict[str, Any]]:
    """Rows of the landed table, without the columns that say where a record was but for its line."""
    names = [field.name for field in rows.table.fields]
    if rows.table.name != TOPIC:
        return
    for values in zip(*(column.to_pylist() for column in rows.columns), strict=True):
        row = dict(zip(names, values, strict=True))
        yield {"line": row["_offset"] + 1} | {name: value for name, value in row.items() if not name.startswith("_")}
