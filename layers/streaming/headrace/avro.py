"""Avro payloads to values: bare records of one configured writer's schema, read with fastavro.

    bytes ──► fastavro, the writer's schema ──► msgspec, the wanted fields ──► values (same bounds as from JSON)

fastavro is imported where a codec is made, because a pipeline without Avro must not pay for it; the layer carries it
only with `headrace[avro]`. What a registry's serializer puts before the record is not expected here.

fastavro gets no reader's schema, because resolving it per record costs a third more than reading all fields; whether
the wanted fields can be read from the written ones is decided once, when the codec is made. It gets no logical types
either: values keep times as numbers, and an object for each would cost as much again.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from headrace.codec import Decoded, Value
from headrace.errors import ConfigurationError, PoisonError, SchemaError
from headrace.records import Record
from headrace.schema import Field, Schema

_PROMOTED = {"int": {"long", "float", "double"}, "long": {"float", "double"}, "float": {"double"}}
"""What may be wanted besides the written type. (Avro also lets text be read as bytes; nobody needs that here.)"""


class AvroCodec:
    """One Avro record per Kafka record, without framing.

    The writer's schema says what the bytes are, the codec's own which fields are wanted. A field that the writer does
    not have gets its default; the writer's others are dropped.
    """

    rescues = False

    def __init__(self, schema: Schema, writer_schema: Schema) -> None:
        """Prepare the decoder.

        Args:
            schema: the fields to decode.
            writer_schema: what every payload was written with.

        Raises:
            SchemaError: a field cannot be read from what the writer writes.
            ConfigurationError: fastavro is not installed.
        """
        self.schema = schema
        written = {field.name: field for field in writer_schema.fields}
        _check(schema, written)
        self._read = _reader(writer_schema)
        self._type = schema.struct_type(forbid_unknown_fields=False)

    def decode(self, records: Sequence[Record]) -> Decoded:
        """See `Codec.decode`."""
        readable: list[Record] = []
        objects: list[dict[str, Any]] = []
        poison: list[tuple[Record, PoisonError]] = []
        for record in records:
            try:
                objects.append(self._read(record.value))
            except PoisonError as error:
                poison.append((record, error))
            else:
                readable.append(record)
        try:
            return Decoded(readable, msgspec.convert(objects, list[self._type]), poison)  # type: ignore[name-defined] # built at run time
        except (msgspec.ValidationError, UnicodeEncodeError):
            return self._one_by_one(readable, objects, poison)

    def _one_by_one(
        self, records: Sequence[Record], objects: Sequence[dict[str, Any]], poison: list[tuple[Record, PoisonError]]
    ) -> Decoded:
        decoded = Decoded([], [], poison)
        for record, fields in zip(records, objects, strict=True):
            try:
                value: Value = msgspec.convert(fields, self._type)
            except msgspec.ValidationError as error:
                poison.append((record, PoisonError("invalid_field", str(error))))
            else:
                decoded.records.append(record)
                decoded.values.append(value)
        poison.sort(key=lambda item: item[0].offset)
        return decoded


def _reader(writer: Schema) -> Callable[[bytes | None], dict[str, Any]]:
    """One payload's fields, or PoisonError."""
    try:
        import fastavro  # noqa: PLC0415 - see the module's docstring
        from fastavro.schema import SchemaParseException  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(f"Avro needs fastavro: build the layer with headrace[avro] ({error})") from None
    try:
        parsed = fastavro.parse_schema(_definition(writer))
    except SchemaParseException as error:
        raise SchemaError(f"{writer.name}: {error}") from None
    decode: Callable[..., Any] = fastavro.schemaless_reader

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


def _definition(schema: Schema) -> dict[str, Any]:
    """What fastavro needs to know of the schema."""
    fields = [{"name": field.name, "type": _without_logical_types(_declared_type(field))} for field in schema.fields]
    return {"type": "record", "name": schema.name, "fields": fields}


def _declared_type(field: Field) -> Any:
    return msgspec.json.decode(field.declared)["type"]


def _without_logical_types(definition: Any) -> Any:
    if isinstance(definition, list):
        return [_without_logical_types(branch) for branch in definition]
    if isinstance(definition, Mapping):
        return {key: _without_logical_types(value) for key, value in definition.items() if key != "logicalType"}
    return definition


def _check(schema: Schema, written: Mapping[str, Field]) -> None:
    for field in schema.fields:
        if (source := written.get(field.name)) is None:
            if field.default is msgspec.NODEFAULT:
                raise SchemaError(f"field {field.name!r} is not in the writer's schema and has no default")
        elif not _readable(_plain(_declared_type(source)), _plain(_declared_type(field))):
            raise SchemaError(f"field {field.name!r} is {field.declared}: it cannot be read from {source.declared}")


def _plain(definition: Any) -> Any:
    """The type apart from null: a writer's null for a reader's field that must not be null is that record's fault."""
    if isinstance(definition, list):
        (definition,) = [branch for branch in definition if branch != "null"]
    return {"type": definition} if isinstance(definition, str) else definition


def _readable(written: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    source, target = written["type"], wanted["type"]
    if written.get("logicalType") != wanted.get("logicalType"):
        return False  # milliseconds for microseconds would be a time a thousand times too early
    if source == target == "array":
        return _readable(_plain(written["items"]), _plain(wanted["items"]))
    return source == target or target in _PROMOTED.get(source, ())
