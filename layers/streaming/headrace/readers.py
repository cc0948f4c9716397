"""From decoded JSON or Avro to values, type by type: what C decodes at once, and a second look at what it refuses.

Every reader has a `type`, which msgspec fills and validates in C, and `read`, which finds out what of a refused value
can be used. How scalars and unions look is the spelling's to say: JSON's (`json_spelling`) or Avro's (`avro`).
"""

from collections.abc import Iterator
from typing import Any, Literal, Protocol

import msgspec

from headrace.avro_types import (
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
)
from headrace.errors import SchemaError
from headrace.json_spelling import TYPES, DefaultSpelling
from headrace.rescued import Rescued, Unusable, another_type, child
from headrace.spelling import Spelling, custom_type, spelled


class Reader(Protocol):
    """Reads one type."""

    type: Any
    """What msgspec decodes and validates."""

    def read(self, raw: Any, path: str, rescued: Rescued) -> Any:
        """The value of what is at the path.

        Raises:
            Unusable: there is none.
        """
        ...


def reader_of(of: AvroType, spelling: Spelling, *, forbid_unknown_fields: bool = True) -> Reader:  # noqa: PLR0911 - a case per type
    """The reader of a type.

    Args:
        of: the type.
        spelling: how values are written.
        forbid_unknown_fields: whether fields that a record does not have are rescued; else they are skipped over.
    """

    def inner(part: AvroType) -> Reader:
        return reader_of(part, spelling, forbid_unknown_fields=forbid_unknown_fields)

    match of:
        case Nullable():
            return _NullableReader(inner(of.of), _tag(of.of), spelling)
        case ArrayType():
            return _ArrayReader(inner(of.items))
        case MapType():
            return _MapReader(inner(of.values))
        case RecordType():
            readers = [inner(field.of) for field in of.fields]
            return RecordReader(of, readers, forbid_unknown_fields=forbid_unknown_fields)
        case Union():
            # A record that skips over unknown fields could be anything.
            exact = forbid_unknown_fields or spelling.guesses
            readers = [reader_of(branch.of, spelling, forbid_unknown_fields=exact) for branch in of.branches]
            return _UnionReader(of, readers, spelling)
        case Enum():
            return _EnumReader(of, spelling)
    return _ScalarReader(of, spelling)


def _tag(of: AvroType) -> str | None:
    return None if isinstance(of, Union) else tag_of(of)


class _ScalarReader:
    def __init__(self, of: Scalar | Decimal | Fixed, spelling: Spelling) -> None:
        self._of, self._spelling = of, spelling
        if isinstance(of, Scalar) and of.base != "fixed":
            self.type = TYPES[of.kind]
        else:
            self.type = custom_type(type(of).__name__, lambda raw: spelling.scalar(of, raw))

    def read(self, raw: Any, path: str, rescued: Rescued) -> Any:
        try:
            return self._spelling.scalar(self._of, raw)
        except ValueError as error:
            raise Unusable(path, str(error)) from None


class _EnumReader:
    def __init__(self, of: Enum, spelling: Spelling) -> None:
        self._of, self._spelling = of, spelling
        self.type = Literal[of.symbols]

    def read(self, raw: Any, path: str, rescued: Rescued) -> Any:
        try:
            return self._spelling.scalar(self._of, raw)
        except ValueError as error:
            if self._of.default is None or not isinstance(raw, str):
                raise Unusable(path, str(error)) from None
        rescued[path] = raw
        return self._of.default


class _NullableReader:
    def __init__(self, inner: Reader, tag: str | None, spelling: Spelling) -> None:
        self._inner, self._tag, self._spelling = inner, tag, spelling
        self.type = inner.type | None

    def read(self, raw: Any, path: str, rescued: Rescued) -> Any:
        if raw is None:
            return None
        tagged = msgspec.UNSET if self._tag is None else self._spelling.tagged(self._tag, raw)
        for candidate in (raw, tagged):
            found: Rescued = {}
            try:
                value = self._inner.read(candidate, path, found)
            except Unusable:
                if tagged is msgspec.UNSET:
                    break
            else:
                rescued |= found
                return value
        rescued[path] = raw
        return None


class _ArrayReader:
    def __init__(self, items: Reader) -> None:
        self._items = items
        self.type = list[items.type]  # type: ignore[name-defined] # built at run time

    def read(self, raw: Any, path: str, rescued: Rescued) -> Any:
        if not isinstance(raw, list):
            raise another_type(path, "array", raw)
        return [self._items.read(item, f"{path}[{index}]", rescued) for index, item in enumerate(raw)]


class _MapReader:
    def __init__(self, values: Reader) -> None:
        self._values = values
        self.type = dict[str, values.type]  # type: ignore[name-defined] # built at run time

    def read(self, raw: Any, path: str, rescued: Rescued) -> Any:
        if not isinstance(raw, dict):
            raise another_type(path, "object", raw)
        return {key: self._values.read(value, child(path, key), rescued) for key, value in raw.items()}


class RecordReader:
    """Reads a record."""

    def __init__(self, of: RecordType, readers: list[Reader], *, forbid_unknown_fields: bool) -> None:
        self._keeps_unknown = forbid_unknown_fields
        self._fields = [
            (field, (field.name, *field.aliases), reader, default_of(field))
            for field, reader in zip(of.fields, readers, strict=True)
        ]
        self._names = {field.name for field in of.fields}
        self._aliases = {alias for field in of.fields for alias in field.aliases}
        self.type = msgspec.defstruct(
            of.name,
            [_member(field.name, reader.type, default) for field, _, reader, default in self._fields],
            forbid_unknown_fields=forbid_unknown_fields,
            gc=False,  # a row never refers back to itself
            kw_only=True,
        )

    def read(self, raw: Any, path: str, rescued: Rescued) -> Any:
        """See `Reader.read`."""
        if not isinstance(raw, dict):
            raise another_type(path, "object", raw)
        return self.type(**self.members(raw, path, rescued))

    def known(self, raw: dict[str, Any]) -> dict[str, Any] | None:
        """The members of these names alone, where others are too many and none goes by an earlier name."""
        if not self._keeps_unknown or not self._aliases.isdisjoint(raw):
            return None
        return {name: raw[name] for name in raw if name in self._names}

    def members(self, raw: dict[str, Any], path: str, rescued: Rescued) -> dict[str, Any]:
        """The values of those fields that are there.

        Raises:
            Unusable: one that has to be there is not, or is unusable.
        """
        members: dict[str, Any] = {}
        used = []
        for field, names, reader, default in self._fields:
            key = next((name for name in names if name in raw), None)
            if key is not None:
                used.append(key)
                members[field.name] = self._member(reader, raw[key], child(path, key), rescued)
            elif default is msgspec.NODEFAULT:
                raise Unusable(child(path, field.name), "", missing=True)
        if self._keeps_unknown and len(used) < len(raw):
            rescued |= {child(path, key): raw[key] for key in raw.keys() - set(used)}
        return members

    @staticmethod
    def _member(reader: Reader, raw: Any, path: str, rescued: Rescued) -> Any:
        if not isinstance(raw, dict | list):
            return reader.read(raw, path, rescued)
        try:
            return msgspec.convert(raw, reader.type, dec_hook=spelled)
        except msgspec.ValidationError:
            return reader.read(raw, path, rescued)


class _UnionReader:
    """A union's value is a dict of the one member that it is."""

    def __init__(self, of: Union, readers: list[Reader], spelling: Spelling) -> None:
        self._of, self._spelling = of, spelling
        self._readers = {branch.member: reader for branch, reader in zip(of.branches, readers, strict=True)}
        self.type = custom_type("Union", self._value_of)

    def _value_of(self, raw: Any) -> dict[str, Any]:
        for branch, candidate in (*self._spelling.branches(self._of, raw), *self._tagged(raw)):
            try:
                value = msgspec.convert(candidate, self._readers[branch.member].type, dec_hook=spelled)
            except (msgspec.ValidationError, ValueError):
                continue
            return {branch.member: value}
        raise ValueError(f"none of {', '.join(branch.tag for branch in self._of.branches)}")

    def _tagged(self, raw: Any) -> Iterator[tuple[Branch, Any]]:
        for branch in self._of.branches:
            if (candidate := self._spelling.tagged(branch.tag, raw)) is not msgspec.UNSET:
                yield branch, candidate

    def read(self, raw: Any, path: str, rescued: Rescued) -> Any:
        try:
            return self._value_of(raw)
        except ValueError as error:
            problem = str(error)
        for branch, candidate in (*self._tagged(raw), *self._spelling.branches(self._of, raw)):
            found: Rescued = {}
            try:
                value = self._readers[branch.member].read(candidate, path, found)
            except Unusable:
                continue
            rescued |= found
            return {branch.member: value}
        raise Unusable(path, problem)


def default_of(field: RecordField) -> Any:
    """What stands in for the field where it is absent; NODEFAULT where it has to be there.

    Raises:
        SchemaError: the default is no value of the field's type.
    """
    if field.default is msgspec.UNSET:
        return msgspec.NODEFAULT
    rescued: Rescued = {}
    try:
        value = reader_of(field.of, DefaultSpelling()).read(field.default, field.name, rescued)
    except Unusable as error:
        raise SchemaError(f"field {field.name!r}: its default does not fit: {error.problem or error.path}") from None
    if rescued:
        raise SchemaError(f"field {field.name!r}: its default does not fit: {next(iter(rescued))}")
    return value


def _member(name: str, member_type: Any, default: Any) -> Any:
    if default is msgspec.NODEFAULT:
        return name, member_type
    if isinstance(default, list | dict | msgspec.Struct):
        return name, member_type, msgspec.field(default_factory=lambda: default)
    return name, member_type, default
