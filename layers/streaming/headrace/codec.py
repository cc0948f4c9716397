"""From a record's bytes to a value with named fields, a batch at a time.

A codec never fails: what cannot be decoded comes back as poison beside what could.
"""

from bisect import bisect_left
from collections.abc import Sequence
from decimal import Decimal
from operator import attrgetter
from typing import Any, Protocol

import msgspec

from headrace import json_object, schema
from headrace.duplicate_keys import DuplicateKeys, earlier
from headrace.errors import PoisonError, SchemaError
from headrace.json_spelling import JsonSpelling
from headrace.log_event import LogEvent
from headrace.log_formats.cloudwatch import Batch
from headrace.logs import AUTO, Continuation, Lines
from headrace.patterns import pattern_of
from headrace.readers import RecordReader
from headrace.records import Record
from headrace.rescued import Rescued, Unusable, child
from headrace.schema import Schema
from headrace.spelling import spelled

Value = Any
"""An object with one attribute per field of the codec's schema."""

RESCUED = "_rescued"
"""The attribute and column that keeps what the schema has no place for, as a JSON object by path; None if nothing."""

_offset = attrgetter("offset")
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Decoded(msgspec.Struct):
    """What became of a batch of records, each list in offset order; each record is in one of them."""

    records: list[Record]
    """The records with values: a record as often as it has some …"""
    values: list[Value]
    """… and the values, side by side."""
    poison: list[tuple[Record, PoisonError]]
    """Those that cannot be read, and why."""
    continuations: list[tuple[Record, str]] = []
    """Text that goes on with the value before it: of a record without a value, or of one before its own values."""
    silent: list[Record] = []
    """Those that can be read and say nothing."""

    def keep(self, end: int) -> int:
        """Leave out the records from this offset on; how many values are left."""
        kept = bisect_left(self.records, end, key=_offset)
        del self.records[kept:], self.values[kept:]
        self.poison[:] = [item for item in self.poison if item[0].offset < end]
        self.continuations[:] = [item for item in self.continuations if item[0].offset < end]
        self.silent[:] = [record for record in self.silent if record.offset < end]
        return kept


class Codec(Protocol):
    """Turns payloads into values."""

    @property
    def schema(self) -> Schema:
        """The fields that every value has."""
        ...

    @property
    def rescues(self) -> bool:
        """Whether values have a `_rescued` attribute besides."""
        ...

    def decode(self, records: Sequence[Record]) -> Decoded:
        """Decode each record."""
        ...


class JsonCodec:
    """One JSON object per record, validated against a schema.

    What fits the schema takes one call into C. What does not is looked at field by field, at any depth: unknown fields,
    and optional values of a wrong type, go to `_rescued` under their path; rarer spellings are accepted (an RFC 3339
    text where a timestamp is declared, …); a required field that is missing or wrong makes the record poison. Of a key
    that comes twice the last value counts; those before it go to `_rescued`, too.
    """

    rescues = True

    def __init__(self, schema: Schema, *, keep_unknown: bool = True, keep_duplicates: bool = True) -> None:
        """Prepare the decoder.

        Args:
            schema: the fields to decode.
            keep_unknown: put unknown fields into `_rescued`; False skips over them, for who only needs some fields.
            keep_duplicates: put the earlier values of a key that comes twice there, too.
        """
        self.schema = schema
        self._reader = schema.reader(JsonSpelling(), forbid_unknown_fields=keep_unknown)
        self._rescuing = rescuing(self._reader.type)
        self._duplicates = DuplicateKeys(schema.record_type) if keep_unknown and keep_duplicates else None
        # Numbers for decimals must not become floats on the way.
        self._decode = msgspec.json.Decoder(self._reader.type, dec_hook=spelled, float_hook=Decimal).decode

    def decode(self, records: Sequence[Record]) -> Decoded:
        """See `Codec.decode`."""
        decode: Any = self._decode  # of None it raises a TypeError, which means what the other errors do
        try:
            decoded = Decoded(list(records), [decode(record.value) for record in records], [])
        except (*_UNREADABLE, TypeError):
            return self._decode_one_by_one(records)
        self._keep_duplicates(decoded)
        return decoded

    def _decode_one_by_one(self, records: Sequence[Record]) -> Decoded:
        """At least one needs a second look."""
        decoded = Decoded([], [], [])
        as_declared = []
        for record in records:
            try:
                value = self._decode(record.value)  # type: ignore[arg-type] # as above
            except (*_UNREADABLE, TypeError):
                self._decode_leniently(record, decoded)
            else:
                as_declared.append(len(decoded.values))
                decoded.records.append(record)
                decoded.values.append(value)
        self._keep_duplicates(decoded, as_declared)
        return decoded

    def _keep_duplicates(self, decoded: Decoded, indices: Sequence[int] | None = None) -> None:
        """Of all values, or of those at these indices, which are as declared."""
        if self._duplicates is None:
            return
        values, payloads = decoded.values, [record.value or b"" for record in decoded.records]
        if indices is not None:
            values, payloads = [values[index] for index in indices], [payloads[index] for index in indices]
        for number, left_out in self._duplicates.found(payloads, values):
            index = number if indices is None else indices[number]
            decoded.values[index] = self._with(values[number], left_out)

    def _with(self, value: Value, more: Rescued) -> Value:
        known = {} if value._rescued is None else json_object.parse(value._rescued.encode(), exact=True)  # noqa: SLF001 - a column's name
        fields = {name: getattr(value, name) for name in self._reader.type.__struct_fields__}
        return self._rescuing(**fields, _rescued=_text_of(known | more))

    def _decode_leniently(self, record: Record, decoded: Decoded) -> None:
        try:
            payload = payload_of(record.value)
            members = json_object.parse(payload, exact=True)
            value = rescue(self._reader, self._rescuing, members)
            if self._duplicates is not None and (left_out := earlier(payload, members)):
                value = self._with(value, left_out)
        except PoisonError as poison:
            decoded.poison.append((record, poison.without_frames()))
        else:
            decoded.records.append(record)
            decoded.values.append(value)


def rescue(reader: RecordReader, rescuing_type: type[msgspec.Struct], members: dict[str, Any]) -> Value:
    """What of a record can be used.

    Raises:
        PoisonError: `missing_field` or `invalid_field`, with the path.
    """
    if known := reader.known(members):
        unknown = {child("", name): members[name] for name in members.keys() - known.keys()}
        try:
            return msgspec.convert(known | {RESCUED: _text_of(unknown)}, rescuing_type, dec_hook=spelled)
        except msgspec.ValidationError:
            pass  # more is wrong
    rescued: Rescued = {}
    try:
        values = reader.members(members, "", rescued)
    except Unusable as error:
        if error.missing:
            raise PoisonError("missing_field", error.path) from None
        raise PoisonError("invalid_field", f"{error.path}: {error.problem}") from None
    return rescuing_type(**values, _rescued=_text_of(rescued))


class RawCodec:
    """The payload's bytes as they are, in one field `value`; a tombstone is a row without one."""

    rescues = False
    schema = schema.parse('{"type":"record","name":"Raw","fields":[{"name":"value","type":["null","bytes"]}]}')

    def decode(self, records: Sequence[Record]) -> Decoded:
        """See `Codec.decode`; nothing is poison."""
        return Decoded(list(records), list(records), [])


class LogCodec:
    """Log lines, in any format that `headrace.logs` reads.

    A line that names no service (an access log's) gets the record's key, which is how log shippers tell hosts and
    services apart; without one, the topic's name.
    """

    rescues = False

    def __init__(self, schema: Schema, declared: str = AUTO, *, patterns: bool = True) -> None:
        """Check that the schema is the parser's.

        Args:
            schema: of the events.
            declared: the lines' format, see `headrace.logs.declared_format`.
            patterns: whether to fill the events' patterns: that takes about as long as to read a line whose message
                has not come before.

        Raises:
            SchemaError: the schema's fields are not `LogEvent`'s.
            ConfigurationError: there is no such format, or its parameters are wrong.
        """
        if [field.name for field in schema.fields] != list(LogEvent.__struct_fields__):
            raise SchemaError(f"the fields of {schema.name} are not those of headrace.log_event.LogEvent")
        self.schema = schema
        self._read = Lines(declared).read
        self._patterns = patterns

    def decode(self, records: Sequence[Record]) -> Decoded:
        """See `Codec.decode`."""
        decoded = Decoded([], [], [])
        add_record, add_value, read = decoded.records.append, decoded.values.append, self._read
        for record in records:
            if record.value is None:
                decoded.poison.append((record, PoisonError("tombstone", "the record has no value")))
                continue
            try:
                found = read(record.value, record.timestamp_ms)
            except PoisonError as poison:
                decoded.poison.append((record, poison.without_frames()))
                continue
            if isinstance(found, LogEvent):
                add_record(record)
                if found.service is None:
                    _set_service(found, record)
                add_value(found)
            elif isinstance(found, Continuation):
                decoded.continuations.append((record, found.text))
            else:
                _take_batch(found, record, decoded)
        if self._patterns:
            _fill_patterns(decoded.values)
        return decoded


def _take_batch(found: Batch, record: Record, decoded: Decoded) -> None:
    if found.continued is not None:
        decoded.continuations.append((record, found.continued))
    elif not found.events:
        decoded.silent.append(record)
    decoded.records += [record] * len(found.events)
    decoded.values += found.events
    for event in found.events:
        if event.service is None:
            _set_service(event, record)


def _fill_patterns(events: Sequence[LogEvent]) -> None:
    for event in events:
        if event.message is not None:
            msgspec.structs.force_setattr(event, "pattern", pattern_of(event.message))


def _set_service(event: LogEvent, record: Record) -> None:
    # Nobody else has seen the event yet, and a copy would cost a tenth of the line's time.
    msgspec.structs.force_setattr(event, "service", service_of(record))


def service_of(record: Record) -> str:
    """Who wrote a line that does not say it: the record's key; without one, the topic."""
    return _text(record.key) or record.topic


def _text_of(rescued: Rescued) -> str | None:
    return json_object.text(rescued) if rescued else None


def rescuing(strict: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """A struct like the decoder's with `_rescued` besides; the decoder's own values answer None for it."""
    strict._rescued = None  # type: ignore[attr-defined]  # noqa: SLF001 - a class attribute: no payload can set it
    return msgspec.defstruct(strict.__name__, [(RESCUED, str | None)], bases=(strict,), gc=False, kw_only=True)


def payload_of(value: bytes | None) -> bytes:
    """The payload, unless there is none.

    Raises:
        PoisonError: `tombstone` or `empty`.
    """
    if value is None:
        raise PoisonError("tombstone", "the record has no value")
    if not value.strip():
        raise PoisonError("empty", "nothing but white space")
    return value


def _text(key: bytes | None) -> str | None:
    try:
        return key.decode() if key else None
    except UnicodeDecodeError:
        return None
