"""Avro payloads to values, read with fastavro.

    bytes ─► framing: the writer's schema ─► fastavro, laid out for the wanted fields ─► msgspec ─► values as from JSON

fastavro is imported where a codec is made, because a pipeline without Avro must not pay for it; the layer carries it
only with `headrace[avro]`. It gets no reader's schema, because resolving it per record costs a third more than reading
all fields: `avro_layout` resolves once.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import msgspec

from headrace.avro_layout import layout
from headrace.avro_types import Branch, Decimal, Enum, Fixed, Scalar, Union
from headrace.codec import Decoded, Value, rescue, rescuing
from headrace.errors import ConfigurationError, PoisonError, SchemaError
from headrace.json_spelling import JsonSpelling, decimal_of, one_of
from headrace.records import Record
from headrace.schema import Schema
from headrace.spelling import spelled

Framing: TypeAlias = Callable[[bytes], tuple[Schema, bytes]]
"""From a payload to its writer's schema and the record's own bytes, or PoisonError: the place for a registry, whose
serializers put a schema's number before the record. Equal schemas have to be one object: it is looked up by that."""

_Reading: TypeAlias = Callable[[bytes | None], dict[str, Any]]


class AvroCodec:
    """One Avro record per Kafka record.

    Its own schema says which fields are wanted, the writer's what the bytes are. A field that the writer does not have
    gets its default; the writer's others are dropped, as Avro's rules have it. Optional values that a column could not
    hold (a time in the year 10000, an enum's unknown symbol) go to `_rescued`, as from JSON.
    """

    rescues = True

    def __init__(self, schema: Schema, writer: Schema | Framing) -> None:
        """Prepare the decoder.

        Args:
            schema: the fields to decode.
            writer: what every payload was written with, bare; or how to find out.

        Raises:
            SchemaError: a field cannot be read from what the writer writes.
            ConfigurationError: fastavro is not installed.
        """
        self.schema = schema
        self._wanted = schema.record_type
        self._reader = schema.reader(AvroSpelling(), forbid_unknown_fields=False)
        self._rescuing = rescuing(self._reader.type)
        self._readings: dict[int, tuple[Schema, _Reading]] = {}
        self._read = self._reading(writer) if isinstance(writer, Schema) else self._framed(writer)

    def decode(self, records: Sequence[Record]) -> Decoded:
        """See `Codec.decode`."""
        read = self._read
        readable: list[Record] = []
        objects: list[dict[str, Any]] = []
        poison: list[tuple[Record, PoisonError]] = []
        for record in records:
            try:
                objects.append(read(record.value))
            except PoisonError as error:
                poison.append((record, error.without_frames()))
            else:
                readable.append(record)
        try:
            values = msgspec.convert(objects, list[self._reader.type], dec_hook=spelled)  # type: ignore[name-defined] # built at run time
        except (msgspec.ValidationError, UnicodeEncodeError):
            return self._one_by_one(readable, objects, poison)
        return Decoded(readable, values, poison)

    def _framed(self, framing: Framing) -> _Reading:
        fastavro()

        def read(payload: bytes | None) -> dict[str, Any]:
            if not payload:
                raise _absent(payload)
            writer, content = framing(payload)
            try:
                reading = self._reading(writer)
            except SchemaError as error:
                raise PoisonError("unreadable_schema", str(error)) from None
            return reading(content)

        return read

    def _reading(self, writer: Schema) -> _Reading:
        known = self._readings.get(id(writer))
        if known is None:
            # With the schema itself, so that no other one gets its id.
            known = self._readings[id(writer)] = (writer, _reading(layout(writer.record_type, self._wanted)))
        return known[1]

    def _one_by_one(
        self, records: Sequence[Record], objects: Sequence[dict[str, Any]], poison: list[tuple[Record, PoisonError]]
    ) -> Decoded:
        decoded = Decoded([], [], poison)
        for record, fields in zip(records, objects, strict=True):
            try:
                value = self._value(fields)
            except PoisonError as error:
                poison.append((record, error.without_frames()))
            else:
                decoded.records.append(record)
                decoded.values.append(value)
        poison.sort(key=lambda item: item[0].offset)
        return decoded

    def _value(self, fields: dict[str, Any]) -> Value:
        try:
            return msgspec.convert(fields, self._reader.type, dec_hook=spelled)
        except (msgspec.ValidationError, UnicodeEncodeError):
            return rescue(self._reader, self._rescuing, fields)


class AvroSpelling(JsonSpelling):
    """What fastavro makes of bytes by an `avro_layout`: numbers, bytes, text, unions that say which they are."""

    guesses = False

    def scalar(self, of: Scalar | Decimal | Fixed | Enum, raw: Any) -> Any:
        """See `JsonSpelling.scalar`."""
        match of:
            case Decimal() if isinstance(raw, bytes):
                return decimal_of(raw, of)
            case Scalar("uuid") if isinstance(raw, bytes):
                text = raw.hex()
                return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
            case Scalar("float" | "double") if isinstance(raw, float):
                return raw  # NaN and the infinities are values here
            case Enum():
                return one_of(of, raw)
            case _ if isinstance(raw, str) and not (isinstance(of, Scalar) and of.base == "string"):
                raise ValueError(f"Expected `{of}`, got `str`")
        return super().scalar(of, raw)

    def branches(self, of: Union, raw: Any) -> Iterator[tuple[Branch, Any]]:
        """The one that it says it is."""
        if isinstance(raw, dict) and len(raw) == 1:
            (member,) = raw
            yield from ((branch, raw[member]) for branch in of.branches if branch.member == member)

    def tagged(self, tag: str, raw: Any) -> Any:
        """Nothing is."""
        return msgspec.UNSET


def fastavro() -> Any:
    """The library, imported by the first codec.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        import fastavro as library  # noqa: PLC0415 - see the module's docstring
    except ImportError as error:
        raise ConfigurationError(f"Avro needs fastavro: build the layer with headrace[avro] ({error})") from None
    return library


def _reading(definition: dict[str, Any]) -> _Reading:
    """One payload's fields, or PoisonError."""
    parsed = fastavro().parse_schema(definition)
    decode: Callable[..., Any] = fastavro().schemaless_reader

    def read(payload: bytes | None) -> dict[str, Any]:
        if not payload:
            raise _absent(payload)
        stream = io.BytesIO(payload)
        try:
            fields: dict[str, Any] = decode(stream, parsed)
        except MemoryError:
            raise  # the machine's trouble, not the record's
        except UnicodeDecodeError as error:
            raise PoisonError("not_utf8", str(error)) from None
        except Exception as error:  # noqa: BLE001 - bytes that are no record fail in many ways: EOF, struct, index, …
            raise PoisonError("invalid_avro", f"{type(error).__name__}: {error}") from None
        if surplus := len(payload) - stream.tell():
            raise PoisonError("invalid_avro", f"{surplus} byte(s) after the record")
        return fields

    return read


def _absent(payload: bytes | None) -> PoisonError:
    if payload is None:
        return PoisonError("tombstone", "the record has no value")
    return PoisonError("empty", "no bytes")
