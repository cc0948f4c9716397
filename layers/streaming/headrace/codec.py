"""From a record's bytes to a value with named fields, a batch at a time.

A codec never fails: what cannot be decoded comes back as poison beside what could.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import msgspec
from arro3.core import DataType

from headrace import json_object, logs
from headrace.errors import PoisonError, SchemaError
from headrace.records import Record
from headrace.schema import Field, Schema

Value = Any
"""An object with one attribute per field of the codec's schema."""

RESCUED = "_rescued"
"""The attribute and column that keeps what the schema has no place for, as a JSON object; None if nothing."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Decoded(msgspec.Struct):
    """What became of a batch of records, each list in offset order."""

    records: list[Record]
    """The readable records …"""
    values: list[Value]
    """… and their values, side by side."""
    poison: list[tuple[Record, PoisonError]]
    """The others, and why."""


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

    What fits the schema takes one call into C. What does not is looked at field by field: unknown fields, and
    optional fields of a wrong type, go to `_rescued`; an RFC 3339 text is accepted where a timestamp is declared;
    a required field that is missing or wrong makes the record poison.
    """

    rescues = True

    def __init__(self, schema: Schema, *, keep_unknown: bool = True) -> None:
        """Prepare the decoder.

        Args:
            schema: the fields to decode.
            keep_unknown: put unknown fields into `_rescued`; False skips over them, for who only needs some fields.
        """
        self.schema = schema
        self._keep_unknown = keep_unknown
        strict = schema.struct_type(forbid_unknown_fields=keep_unknown)
        self._rescuing = _rescuing(strict)
        self._decode = msgspec.json.Decoder(strict).decode

    def decode(self, records: Sequence[Record]) -> Decoded:
        """See `Codec.decode`."""
        decode: Any = self._decode  # of None it raises a TypeError, which means what the other errors do
        try:
            return Decoded(list(records), [decode(record.value) for record in records], [])
        except (*_UNREADABLE, TypeError):
            pass  # at least one needs a second look: take them one by one
        decoded = Decoded([], [], [])
        for record in records:
            try:
                value = decode(record.value)
            except (*_UNREADABLE, TypeError):
                self._decode_leniently(record, decoded)
            else:
                decoded.records.append(record)
                decoded.values.append(value)
        return decoded

    def _decode_leniently(self, record: Record, decoded: Decoded) -> None:
        try:
            value = self._rescue(json_object.parse(_payload(record.value)))
        except PoisonError as poison:
            decoded.poison.append((record, poison))
        else:
            decoded.records.append(record)
            decoded.values.append(value)

    def _rescue(self, fields: dict[str, Any]) -> Value:
        rescued: dict[str, Any] = {}
        values: dict[str, Any] = {}
        for field in self.schema.fields:
            if field.name in fields:
                raw = fields.pop(field.name)
                try:
                    values[field.name] = _convert(raw, field)
                except msgspec.ValidationError as error:
                    if not field.optional:
                        raise PoisonError("invalid_field", f"{field.name}: {error}") from None
                    values[field.name] = None
                    rescued[field.name] = raw
            elif field.default is msgspec.NODEFAULT:
                raise PoisonError("missing_field", field.name)
        if self._keep_unknown:
            rescued |= fields
        return self._rescuing(**values, _rescued=_json_text(rescued) if rescued else None)


class RawCodec:
    """The payload's bytes as they are, in one field `value`; a tombstone is a row without one."""

    rescues = False
    schema = Schema("Raw", (Field("value", bytes | None, DataType.binary(), optional=True, default=None),))

    def decode(self, records: Sequence[Record]) -> Decoded:
        """See `Codec.decode`; nothing is poison."""
        return Decoded(list(records), list(records), [])


class LogCodec:
    """One log line per record, in any format that `headrace.logs` reads.

    A line that names no service (an access log's) gets the record's key, which is how log shippers tell hosts and
    services apart; without one, the topic's name.
    """

    rescues = False

    def __init__(self, schema: Schema) -> None:
        """Check that the schema is the parser's.

        Raises:
            SchemaError: the schema's fields are not `LogEvent`'s.
        """
        if [field.name for field in schema.fields] != list(logs.LogEvent.__struct_fields__):
            raise SchemaError(f"the fields of {schema.name} are not those of headrace.logs.LogEvent")
        self.schema = schema

    def decode(self, records: Sequence[Record]) -> Decoded:
        """See `Codec.decode`."""
        decoded = Decoded([], [], [])
        for record in records:
            try:
                event = logs.parse(_payload(record.value))
            except PoisonError as poison:
                decoded.poison.append((record, poison))
                continue
            if event.service is None:
                event = msgspec.structs.replace(event, service=_text(record.key) or record.topic)
            decoded.records.append(record)
            decoded.values.append(event)
        return decoded


def _rescuing(strict: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """A struct like the decoder's with `_rescued` besides; the decoder's own values answer None for it."""
    strict._rescued = None  # type: ignore[attr-defined]  # noqa: SLF001 - a class attribute: no payload can set it
    return msgspec.defstruct(strict.__name__, [(RESCUED, str | None)], bases=(strict,), gc=False, kw_only=True)


def _payload(value: bytes | None) -> bytes:
    if value is None:
        raise PoisonError("tombstone", "the record has no value")
    if not value.strip():
        raise PoisonError("empty", "nothing but white space")
    return value


def _convert(raw: Any, field: Field) -> Any:
    if isinstance(raw, str) and field.ticks_per_ms is not None:
        raw = _epoch(msgspec.convert(raw, datetime), field.ticks_per_ms)
    if type(raw) is int and DataType.is_floating(field.arrow_type):
        raw = _float(raw)  # as the typed decoder does, whatever the integer's size
    return msgspec.convert(raw, field.value_type)


def _float(raw: int) -> float | int:
    try:
        return float(raw)
    except OverflowError:
        return raw


def _epoch(moment: datetime, ticks_per_ms: int) -> int:
    """Epoch milliseconds or microseconds, cut off to the past; a text without a zone is taken as UTC.

    What is finer than a microsecond was rounded before.
    """
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1000 // ticks_per_ms)


def _json_text(fields: dict[str, Any]) -> str:
    return msgspec.json.encode(fields).decode()


def _text(key: bytes | None) -> str | None:
    try:
        return key.decode() if key else None
    except UnicodeDecodeError:
        return None
