"""An Avro schema file as the one source of a topic's decoder and of its table's columns.

    page.avsc ─► avsc: names resolved ─► Schema ──► readers: what msgspec decodes and validates
                                               └─► columns: Arrow fields (the Parquet columns)

docs/lake.md lists what every Avro type becomes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from arro3.core import DataType
from arro3.core import Field as ArrowField

from headrace import avsc, columns
from headrace.avro_types import AvroType, Nullable, RecordField, RecordType, Scalar
from headrace.errors import SchemaError
from headrace.json_spelling import JsonSpelling
from headrace.readers import RecordReader, default_of, reader_of
from headrace.spelling import Spelling

FOLDERS = {"date", "hour"}
"""What the folders of landed files are called: `date=2024-03-13/hour=10`."""
REQUIRED = msgspec.UNSET
"""The written default of a field that has none."""

_TICKS_PER_MS = {"timestamp-millis": 1, "timestamp-micros": 1000, "timestamp-nanos": 1_000_000}


class Field(msgspec.Struct, frozen=True):
    """One field of the record."""

    name: str
    avro_type: AvroType
    """Its type, names resolved."""
    arrow_type: DataType
    """The column's type."""
    default: Any = msgspec.NODEFAULT
    """What stands in for an absent field; NODEFAULT where it is required."""
    declared: str = ""
    """The Avro type as it was written, in canonical JSON: what identifies the field's meaning over releases."""
    written_default: Any = REQUIRED
    """The default as the file has it; null for a nullable field without one."""
    aliases: tuple[str, ...] = ()
    """What the field was called before."""

    @property
    def optional(self) -> bool:
        """Whether a row can do without it: then an unusable value goes to `_rescued`, not to the dead letters."""
        return isinstance(self.avro_type, Nullable)

    @property
    def value_type(self) -> Any:
        """What msgspec decodes and validates; `X | None` where the field may be absent or null."""
        return reader_of(self.avro_type, JsonSpelling()).type

    @property
    def ticks_per_ms(self) -> int | None:
        """For moments in time, how many of the field's units are a millisecond; None for anything else.

        A local timestamp is none: which moment it was depends on where.
        """
        plain = self.avro_type.of if isinstance(self.avro_type, Nullable) else self.avro_type
        return _TICKS_PER_MS.get(plain.kind) if isinstance(plain, Scalar) else None


class Schema(msgspec.Struct, frozen=True):
    """A record of named, typed fields."""

    name: str
    fields: tuple[Field, ...]

    def project(self, names: Sequence[str]) -> "Schema":
        """The same record with only these fields, for who needs no more.

        Raises:
            SchemaError: there is no such field.
        """
        by_name = {field.name: field for field in self.fields}
        if missing := [name for name in names if name not in by_name]:
            raise SchemaError(f"{self.name} has no field {missing[0]!r}, only {', '.join(by_name)}")
        return Schema(self.name, tuple(by_name[name] for name in names))

    def arrow_type(self, name: str) -> DataType:
        """The column type of one field."""
        return self.project((name,)).fields[0].arrow_type

    def arrow_fields(self) -> list[ArrowField]:
        """The columns, times in the schema's units."""
        return [ArrowField(f.name, f.arrow_type, nullable=f.optional) for f in self.fields]

    def landed_fields(self) -> list[ArrowField]:
        """The columns of a table of records.

        Raises:
            SchemaError: one has the name of the lake's folders. Readers of a path take those for columns: DuckDB gives
                their values for the field's without a word, pyarrow fails.
        """
        if taken := [field.name for field in self.fields if field.name.lower() in FOLDERS]:
            raise SchemaError(
                f"field {taken[0]!r}: landed files lie in folders date=…/hour=…, which readers take for columns of "
                f"these names; call it something else, with the alias {taken[0]!r} for the records"
            )
        return [ArrowField(f.name, columns.landed_type(f.avro_type), nullable=f.optional) for f in self.fields]

    @property
    def aliases(self) -> dict[str, tuple[str, ...]]:
        """What fields were called before, of those that were called something else."""
        return {field.name: field.aliases for field in self.fields if field.aliases}

    @property
    def record_type(self) -> RecordType:
        """The Avro record."""
        fields = [RecordField(f.name, f.avro_type, f.written_default, f.aliases) for f in self.fields]
        return RecordType(self.name, tuple(fields))

    def reader(self, spelling: Spelling, *, forbid_unknown_fields: bool) -> RecordReader:
        """What reads the record; its `type` is the struct that the decoder fills."""
        found = reader_of(self.record_type, spelling, forbid_unknown_fields=forbid_unknown_fields)
        assert isinstance(found, RecordReader)  # noqa: S101 - a record's reader is one
        return found

    def struct_type(self, *, forbid_unknown_fields: bool) -> type[msgspec.Struct]:
        """The struct that the decoder of JSON fills."""
        return self.reader(JsonSpelling(), forbid_unknown_fields=forbid_unknown_fields).type


def load(path: Path) -> Schema:
    """Read an `.avsc` file.

    Raises:
        SchemaError: it cannot be read or used; the message names the file.
    """
    try:
        return parse(path.read_bytes())
    except OSError as error:
        raise SchemaError(f"{path}: {error.strerror}") from None
    except SchemaError as error:
        raise SchemaError(f"{path}: {error}") from None


def parse(text: bytes | str) -> Schema:
    """Read an Avro record schema.

    Raises:
        SchemaError: not JSON, not a record, or a type that has no column; the message names the field.
    """
    record, meanings = avsc.record(text)
    reader_of(record, JsonSpelling())  # finds defaults that do not fit, nested ones too
    return Schema(record.name, tuple(_field(f, meaning) for f, meaning in zip(record.fields, meanings, strict=True)))


def _field(field: RecordField, declared: str) -> Field:
    arrow_type = columns.arrow_type(field.of)
    return Field(field.name, field.of, arrow_type, default_of(field), declared, field.default, field.aliases)
