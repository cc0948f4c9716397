"""What an `.avsc` file says, as `avro_types`: names resolved, what could have no column refused in a sentence.

Unknown logical types are ignored, as Avro's specification demands; one that is known but stands on another type than
its own is refused, because it is a mistake.
"""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from headrace.avro_types import (
    MAX_PRECISION,
    ArrayType,
    AvroType,
    Branch,
    Decimal,
    Enum,
    Fixed,
    MapType,
    Nullable,
    RecordField,
    RecordType,
    Scalar,
    Union,
    tag_of,
    unqualified,
)
from headrace.errors import SchemaError

MAX_DEPTH = 32
"""How deep types may nest: columns of more levels serve nobody, and every reader follows them by recursion."""
MAX_COLUMNS = 10_000
"""How many columns, nested ones counted: a few definitions that refer to each other could stand for billions."""

PRIMITIVES = ("boolean", "int", "long", "float", "double", "bytes", "string")
_LOGICAL_BASES = {
    "date": ("int",),
    "time-millis": ("int",),
    "time-micros": ("long",),
    "timestamp-millis": ("long",),
    "timestamp-micros": ("long",),
    "timestamp-nanos": ("long",),
    "local-timestamp-millis": ("long",),
    "local-timestamp-micros": ("long",),
    "local-timestamp-nanos": ("long",),
    "uuid": ("string", "fixed"),
    "decimal": ("bytes", "fixed"),
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_UUID_BYTES = 16


def record(text: bytes | str) -> tuple[RecordType, list[str]]:
    """The record that the text defines, and each of its fields' meaning in canonical JSON, names resolved.

    Raises:
        SchemaError: not JSON, not a record, or a type that has no column; the message names the field.
    """
    try:
        definition = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise SchemaError(f"not JSON: {error}") from None
    except RecursionError:
        raise SchemaError("nested too deeply") from None
    if not isinstance(definition, dict) or definition.get("type") != "record":
        raise SchemaError("an Avro schema of type 'record' is needed")
    reading = _Reading()
    found = reading.record(definition, "", "", 0)
    return found, [reading.meaning(field, found.full_name) for field in definition["fields"]]


_Named = TypeVar("_Named", RecordType, Enum, Fixed, Decimal, Scalar)


class _Reading:
    """One file being read: the names that it has defined so far."""

    def __init__(self) -> None:
        self._types: dict[str, AvroType] = {}
        self._definitions: dict[str, Any] = {}
        self._open: list[str] = []
        self._columns = 0
        self._columns_of: dict[str, int] = {}

    def any(self, definition: Any, path: str, namespace: str, depth: int) -> AvroType:
        """The type of the field at this path."""
        if depth > MAX_DEPTH:
            raise SchemaError(f"field {path!r}: nested too deeply, more than {MAX_DEPTH} levels")
        if isinstance(definition, list):
            return self._union(definition, path, namespace, depth + 1)
        if isinstance(definition, str):
            return self._named(definition, path, namespace)
        if not isinstance(definition, Mapping):
            raise _unsupported(path, definition)
        return self._defined(definition, path, namespace, depth + 1)

    def _named(self, name: str, path: str, namespace: str) -> AvroType:
        if name in PRIMITIVES:
            self._count(1, path)
            return Scalar(name, name)
        for full_name in (_qualified(name, namespace), name):
            if full_name in self._open:
                raise SchemaError(f"field {path!r}: record {name!r} contains itself: a recursive type has no column")
            if full_name in self._types:
                self._count(self._columns_of[full_name], path)
                return self._types[full_name]
        raise _unsupported(path, name)

    def _count(self, columns: int, path: str) -> None:
        self._columns += columns
        if self._columns > MAX_COLUMNS:
            raise SchemaError(f"field {path!r}: more than {MAX_COLUMNS} columns")

    def _defined(self, definition: Mapping[str, Any], path: str, namespace: str, depth: int) -> AvroType:  # noqa: PLR0911 - a case per type
        kind = definition.get("type")
        logical = definition.get("logicalType")
        if isinstance(logical, str) and kind not in _LOGICAL_BASES.get(logical, (kind,)):
            raise SchemaError(f"field {path!r}: logical type {logical!r} of {kind!r} is not supported")
        match kind:
            case "array":
                return ArrayType(self.any(definition.get("items"), f"{path}[]", namespace, depth))
            case "map":
                return MapType(self.any(definition.get("values"), f"{path}{{}}", namespace, depth))
            case "record":
                return self.record(definition, path, namespace, depth)
            case "enum":
                return self._enum(definition, path, namespace)
            case "fixed":
                return self._fixed(definition, path, namespace)
            case "bytes" if logical == "decimal":
                self._count(1, path)
                return _decimal(definition, path, None, "bytes")
            case str() if kind in PRIMITIVES:
                self._count(1, path)
                return Scalar(logical if isinstance(logical, str) and logical in _LOGICAL_BASES else kind, kind)
            case str():
                return self._named(kind, path, namespace)
        raise _unsupported(path, kind)

    def _union(self, definition: list[Any], path: str, namespace: str, depth: int) -> AvroType:
        if any(isinstance(branch, list) for branch in definition):
            raise SchemaError(f"field {path!r}: a union directly in a union is not allowed")
        found = [self.any(branch, path, namespace, depth) for branch in definition if branch != "null"]
        if not found or definition.count("null") > 1:
            raise SchemaError(f"field {path!r}: a union needs one type besides null, not {definition}")
        of = found[0] if len(found) == 1 else _branches(found, path)
        return Nullable(of, definition.index("null")) if "null" in definition else of

    def record(self, definition: Mapping[str, Any], path: str, namespace: str, depth: int) -> RecordType:
        """The record that is defined at this path; an empty one: the file's own."""
        full_name, aliases = self._name(definition, path, namespace, "record")
        fields = definition.get("fields")
        if not isinstance(fields, list) or not fields:
            raise SchemaError(f"{_at(path)}a record needs at least one field")
        self._open.append(full_name)
        before = self._columns
        inner = full_name.rpartition(".")[0]
        found = RecordType(full_name, tuple(self._field(f, path, inner, depth) for f in fields), aliases)
        self._open.pop()
        _check_names(found, path)
        return self._define(found, definition, self._columns - before)

    def _field(self, definition: Any, path: str, namespace: str, depth: int) -> RecordField:
        name = definition.get("name") if isinstance(definition, dict) else None
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise SchemaError(f"{_at(path)}a field needs a name of letters, digits and underscores, not {name!r}")
        if not path and name.startswith("_"):
            raise SchemaError(f"field {name!r}: names that start with an underscore are the lake's own columns")
        of = self.any(definition.get("type"), f"{path}.{name}" if path else name, namespace, depth)
        default = definition.get("default", None if isinstance(of, Nullable) else msgspec.UNSET)
        return RecordField(name, of, default, _aliases(definition, f"field {name!r}"))

    def _enum(self, definition: Mapping[str, Any], path: str, namespace: str) -> AvroType:
        symbols = definition.get("symbols")
        if not isinstance(symbols, list) or not symbols or not all(isinstance(symbol, str) for symbol in symbols):
            raise SchemaError(f"field {path!r}: an enum needs a list of symbols, not {symbols!r}")
        default = definition.get("default")
        if default not in {None, *symbols}:
            raise SchemaError(f"field {path!r}: the enum's default {default!r} is none of its symbols")
        full_name, aliases = self._name(definition, path, namespace, "enum")
        self._count(1, path)
        return self._define(Enum(full_name, tuple(symbols), default, aliases), definition)

    def _fixed(self, definition: Mapping[str, Any], path: str, namespace: str) -> AvroType:
        size = definition.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 < size < 2**31:
            raise SchemaError(f"field {path!r}: a fixed needs a size of at least one byte, not {size!r}")
        full_name, _ = self._name(definition, path, namespace, "fixed")
        self._count(1, path)
        match definition.get("logicalType"):
            case "decimal":
                return self._define(_decimal(definition, path, size, full_name), definition)
            case "uuid" if size != _UUID_BYTES:
                raise SchemaError(f"field {path!r}: a uuid has {_UUID_BYTES} bytes, not {size}")
            case "uuid":
                return self._define(Scalar("uuid", "fixed", full_name), definition)
        return self._define(Fixed(full_name, size), definition)

    def _name(self, definition: Mapping[str, Any], path: str, namespace: str, kind: str) -> tuple[str, tuple[str, ...]]:
        name = definition.get("name")
        if not isinstance(name, str) or not all(map(_NAME.fullmatch, name.split("."))):
            raise SchemaError(f"{_at(path)}a {kind} needs a name of letters, digits and underscores, not {name!r}")
        own = definition.get("namespace", namespace)
        full_name = _qualified(name, own if isinstance(own, str) else "")
        if full_name in self._types or full_name in self._open:
            raise SchemaError(f"{_at(path)}the name {full_name!r} is defined twice")
        return full_name, _aliases(definition, f"{kind} {name!r}")

    def _define(self, found: _Named, definition: Mapping[str, Any], columns: int = 1) -> _Named:
        self._types[found.full_name] = found
        self._columns_of[found.full_name] = columns
        self._definitions[found.full_name] = definition
        return found

    def meaning(self, definition: Mapping[str, Any], record_name: str) -> str:
        """A field's type and default in canonical JSON, with the definitions of the names that it refers to."""
        namespace = record_name.rpartition(".")[0]
        meaning = {name: definition[name] for name in ("type", "default") if name in definition}
        meaning["type"] = self._spelled_out(meaning["type"], namespace)
        return msgspec.json.encode(meaning, order="sorted").decode()

    def _spelled_out(self, definition: Any, namespace: str) -> Any:
        if isinstance(definition, str):
            names = (_qualified(definition, namespace), definition)
            found = next((name for name in names if name in self._definitions), None)
            if found is None:
                return definition
            return self._spelled_out(self._definitions[found], found.rpartition(".")[0])
        if isinstance(definition, list):
            return [self._spelled_out(branch, namespace) for branch in definition]
        if isinstance(definition, Mapping):
            own = definition.get("namespace") or str(definition.get("name", "")).rpartition(".")[0] or namespace
            inner = {name: self._spelled_out(definition[name], own) for name in _INNER if name in definition}
            return {**definition, **inner}
        return definition


_INNER = ("type", "items", "values", "fields")
"""The members of a definition that contain types."""


def _branches(found: list[AvroType], path: str) -> Union:
    branches = []
    for of in found:
        tag = tag_of(of)
        branches.append(Branch(tag, f"member_{unqualified(tag).lower()}", of))
    members = [branch.member for branch in branches]
    for member in members:
        if members.count(member) > 1:
            raise SchemaError(f"field {path!r}: two types of a union would both be its {member!r}")
    return Union(tuple(branches))


def _decimal(definition: Mapping[str, Any], path: str, size: int | None, full_name: str) -> Decimal:
    precision, scale = definition.get("precision"), definition.get("scale", 0)
    if type(precision) is not int or not 1 <= precision <= MAX_PRECISION:
        raise SchemaError(f"field {path!r}: a decimal needs a precision of 1 to {MAX_PRECISION}, not {precision!r}")
    if type(scale) is not int or not 0 <= scale <= precision:
        raise SchemaError(f"field {path!r}: a decimal needs a scale of 0 to its precision, not {scale!r}")
    return Decimal(precision, scale, size, full_name)


def _check_names(found: RecordType, path: str) -> None:
    seen: dict[str, str] = {}
    for name in [name for field in found.fields for name in (field.name, *field.aliases)]:
        other = seen.get(name.lower())
        seen[name.lower()] = name
        if other == name:
            raise SchemaError(f"{_at(path)}field {name!r} is declared twice")
        if other is not None:
            raise SchemaError(f"{_at(path)}fields {other!r} and {name!r}: query engines do not tell capitals apart")


def _aliases(definition: Mapping[str, Any], owner: str) -> tuple[str, ...]:
    aliases = definition.get("aliases", [])
    if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
        raise SchemaError(f"{owner}: aliases are a list of names, not {aliases!r}")
    return tuple(aliases)


def _qualified(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _at(path: str) -> str:
    return f"field {path!r}: " if path else ""


def _unsupported(path: str, kind: Any) -> SchemaError:
    return SchemaError(f"field {path!r}: type {kind!r} is not supported")
