"""An Avro schema file as the one source of a topic's decoder and of its table's columns.

    page.avsc ──► Schema ──► value type   (msgspec struct: the typed JSON decoder)
                         └─► Arrow fields (the Parquet columns)

Supported: null, boolean, int, long, float, double, bytes, string, enum, arrays of those, unions of null and one of
those, and the logical types date, timestamp-millis and timestamp-micros (Avro 1.12 specification).
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from arro3.core import DataType
from arro3.core import Field as ArrowField
from msgspec import Meta

from headrace.errors import SchemaError

_INT32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
_INT64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_MAX_FLOAT32 = (2 - 2**-23) * 2.0**127
# The years 1 to 9999: one value beyond makes DuckDB refuse its whole file.
_MILLIS = Annotated[int, Meta(ge=-62_135_596_800_000, le=253_402_300_799_999)]
_MICROS = Annotated[int, Meta(ge=-62_135_596_800_000_000, le=253_402_300_799_999_999)]
_DAYS = Annotated[int, Meta(ge=-719_162, le=2_932_896)]
# Beyond, the column would hold infinity.
_FLOAT32 = Annotated[float, Meta(ge=-_MAX_FLOAT32, le=_MAX_FLOAT32)]

_PRIMITIVES: dict[str, tuple[Any, DataType]] = {
    "boolean": (bool, DataType.bool()),
    "int": (_INT32, DataType.int32()),
    "long": (_INT64, DataType.int64()),
    "float": (_FLOAT32, DataType.float32()),
    "double": (float, DataType.float64()),
    "bytes": (bytes, DataType.binary()),
    "string": (str, DataType.string()),
}
_LOGICAL: dict[tuple[str, str], tuple[Any, DataType]] = {
    ("int", "date"): (_DAYS, DataType.date32()),
    ("long", "timestamp-millis"): (_MILLIS, DataType.timestamp("ms", tz="UTC")),
    ("long", "timestamp-micros"): (_MICROS, DataType.timestamp("us", tz="UTC")),
}

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Field(msgspec.Struct, frozen=True):
    """One field of the record."""

    name: str
    value_type: Any
    """What msgspec decodes and validates; `X | None` where the field may be absent or null."""
    arrow_type: DataType
    """The column's type."""
    optional: bool
    """Whether a row can do without it: then an unusable value goes to `_rescued`, not to the dead letters."""
    default: Any = msgspec.NODEFAULT
    """What stands in for an absent field; NODEFAULT where it is required."""
    declared: str = ""
    """The Avro type as it was written, in canonical JSON: what identifies the field's meaning over releases."""
    ticks_per_ms: int | None = None
    """For timestamps, how many of the field's units are a millisecond; None for anything else."""


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
        """The table's columns."""
        return [ArrowField(f.name, f.arrow_type, nullable=f.optional) for f in self.fields]

    def struct_type(self, *, forbid_unknown_fields: bool) -> type[msgspec.Struct]:
        """The struct that the decoder fills; `gc=False` because a row never refers back to itself."""
        fields = [
            (f.name, f.value_type) if f.default is msgspec.NODEFAULT else (f.name, f.value_type, f.default)
            for f in self.fields
        ]
        return msgspec.defstruct(self.name, fields, forbid_unknown_fields=forbid_unknown_fields, gc=False, kw_only=True)


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


def parse(avsc: bytes | str) -> Schema:
    """Read an Avro record schema.

    Raises:
        SchemaError: not JSON, not a record, or a type that has no column; the message names the field.
    """
    try:
        return _record(msgspec.json.decode(avsc))
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise SchemaError(f"not JSON: {error}") from None
    except RecursionError:
        raise SchemaError("nested too deeply") from None


def _record(definition: Any) -> Schema:
    if not isinstance(definition, dict) or definition.get("type") != "record":
        raise SchemaError("an Avro schema of type 'record' is needed")
    fields = definition.get("fields")
    if not isinstance(fields, list) or not fields:
        raise SchemaError("a record needs at least one field")
    name = definition.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name.rpartition(".")[2]):
        raise SchemaError(f"a record needs a name of letters, digits and underscores, not {name!r}")
    return Schema(name.rpartition(".")[2], tuple(_unique(_field(f) for f in fields)))


def _unique(fields: Any) -> list[Field]:
    found: dict[str, Field] = {}
    for field in fields:
        if field.name in found:
            raise SchemaError(f"field {field.name!r} is declared twice")
        found[field.name] = field
    return list(found.values())


def _field(definition: Any) -> Field:
    name = definition.get("name") if isinstance(definition, dict) else None
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SchemaError(f"a field needs a name of letters, digits and underscores, not {name!r}")
    if name.startswith("_"):
        raise SchemaError(f"field {name!r}: names that start with an underscore are the lake's own columns")
    value_type, arrow_type, nullable = _type(name, definition.get("type"))
    default = definition.get("default", None if nullable else msgspec.NODEFAULT)
    if default is not msgspec.NODEFAULT:
        default = _default(name, default, value_type)
    return Field(name, value_type, arrow_type, nullable, default, _declared(definition), _ticks_per_ms(arrow_type))


def _declared(definition: Mapping[str, Any]) -> str:
    meaning = {name: definition[name] for name in ("type", "default") if name in definition}
    return msgspec.json.encode(meaning, order="sorted").decode()


def _ticks_per_ms(arrow_type: DataType) -> int | None:
    if not DataType.is_timestamp(arrow_type):
        return None
    return 1 if arrow_type.time_unit == "ms" else 1000


def _default(name: str, default: Any, value_type: Any) -> Any:
    if isinstance(default, str) and value_type in (bytes, bytes | None):
        default = _bytes_of(name, default)
    try:
        value = msgspec.convert(default, value_type)
    except msgspec.ValidationError as error:
        raise SchemaError(f"field {name!r}: its default does not fit: {error}") from None
    if isinstance(value, list) and value:
        raise SchemaError(f"field {name!r}: a default of several values is not supported")
    return value


def _bytes_of(name: str, default: str) -> bytes:
    # Avro writes default bytes as characters of these code points, not in base64.
    try:
        return default.encode("latin-1")
    except UnicodeEncodeError:
        raise SchemaError(f"field {name!r}: its default has a code point that is no byte") from None


def _type(name: str, definition: Any) -> tuple[Any, DataType, bool]:
    """The value type, the column type, and whether null is allowed."""
    if not isinstance(definition, list):
        return *_plain_type(name, definition), False
    branches = [branch for branch in definition if branch != "null"]
    if len(branches) != 1 or len(definition) > 2:  # noqa: PLR2004 - null and one more
        raise SchemaError(f"field {name!r}: a union of null and one type is supported, not {definition}")
    value_type, arrow_type = _plain_type(name, branches[0])
    nullable = "null" in definition
    return (value_type | None if nullable else value_type), arrow_type, nullable


def _plain_type(name: str, definition: Any) -> tuple[Any, DataType]:
    kind = definition.get("type") if isinstance(definition, Mapping) else definition
    if isinstance(definition, Mapping):
        if kind == "enum":
            return _enum_type(name, definition.get("symbols")), DataType.string()
        if kind == "array":
            item_type, arrow_type = _plain_type(name, definition.get("items"))
            if DataType.is_list(arrow_type):
                raise SchemaError(f"field {name!r}: an array of arrays is not supported")
            return list[item_type], DataType.list(ArrowField("element", arrow_type, nullable=False))  # type: ignore[valid-type] # built at run time
        logical = definition.get("logicalType")
        if logical is not None:
            if (found := _LOGICAL.get((str(kind), str(logical)))) is None:
                raise SchemaError(f"field {name!r}: logical type {logical!r} of {kind!r} is not supported")
            return found
    if not isinstance(kind, str) or kind not in _PRIMITIVES:
        raise SchemaError(f"field {name!r}: type {kind!r} is not supported")
    return _PRIMITIVES[kind]


def _enum_type(name: str, symbols: Any) -> Any:
    if not isinstance(symbols, list) or not symbols or not all(isinstance(symbol, str) for symbol in symbols):
        raise SchemaError(f"field {name!r}: an enum needs a list of symbols, not {symbols!r}")
    return Literal[tuple(symbols)]
