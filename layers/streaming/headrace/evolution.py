"""What a new schema changes, and whether what an old one wrote can still be read: records, and files as one table.

compatible                                            not
a field added that is nullable or has a default       one added without a default
a field removed                                       null no longer allowed
int → long, float, double; long → float, double;      any other change of type
float → double; a decimal of more digits              a decimal of another scale
a field, renamed with its old name as alias           renamed without: removed and added
an enum's symbol added; removed, if it has a default  removed without a default
a union's type added                                  removed
"""

from collections.abc import Iterator
from typing import Literal

import msgspec

from headrace.avro_types import (
    ArrayType,
    AvroType,
    Decimal,
    Enum,
    Fixed,
    MapType,
    Nullable,
    RecordField,
    RecordType,
    Scalar,
    Union,
    described,
)

WIDER = {"int": ("long", "float", "double"), "long": ("float", "double"), "float": ("double",)}
"""What numbers may become. (Avro also lets text be read as bytes, which are not one column.)"""
_WIDER_IN_ICEBERG = {("int", "long"), ("float", "double")}

_UNITS = {"millis": "milliseconds", "micros": "microseconds", "nanos": "nanoseconds"}

Kind = Literal["added", "removed", "renamed", "widened", "changed"]


class Change(msgspec.Struct, frozen=True):
    """One difference between two schemas."""

    path: str
    """The field, `[]` after it for its items, `{}` for a map's values."""
    kind: Kind
    detail: str
    """What was and what is, in a few words."""
    problem: str | None = None
    """Why old records or files cannot be read with it; None: they can."""
    iceberg: bool = True
    """Whether an Iceberg table can make this change, too."""


def changes(old: RecordType, new: RecordType, path: str = "") -> Iterator[Change]:
    """Every difference, in the new schema's order, removed fields last."""
    read = set()
    for field in new.fields:
        source = source_of(field, old)
        at = f"{path}.{field.name}" if path else field.name
        if source is None:
            yield _added(field, at)
            continue
        read.add(source.name)
        if source.name != field.name:
            yield Change(at, "renamed", f"was {source.name}")
        yield from _of_types(source.of, field.of, at)
    for field in old.fields:
        if field.name not in read:
            yield Change(f"{path}.{field.name}" if path else field.name, "removed", described(field.of))


def source_of(field: RecordField, old: RecordType) -> RecordField | None:
    """Which of an old record's fields this one is read from: that of its name, else of its first alias there is."""
    by_name = {old_field.name: old_field for old_field in old.fields}
    return next((by_name[name] for name in (field.name, *field.aliases) if name in by_name), None)


def _added(field: RecordField, path: str) -> Change:
    problem = None
    if field.default is msgspec.UNSET:
        problem = "old records do not have it: it needs a default, or must be nullable"
    return Change(path, "added", described(field.of), problem)


def _of_types(old: AvroType, new: AvroType, path: str) -> Iterator[Change]:
    match old, new:
        case Nullable(), Nullable():
            yield from _of_types(old.of, new.of, path)
        case Nullable(), _:
            yield Change(path, "changed", "no longer nullable", "old records may have null in it")
            yield from _of_types(old.of, new, path)
        case _, Nullable():
            yield Change(path, "changed", "may be null now")
            yield from _of_types(old, new.of, path)
        case ArrayType(), ArrayType():
            yield from _of_types(old.items, new.items, f"{path}[]")
        case MapType(), MapType():
            yield from _of_types(old.values, new.values, f"{path}{{}}")
        case RecordType(), RecordType():
            yield from changes(old, new, path)
        case Union(), Union():
            yield from _of_unions(old, new, path)
        case Enum(), Enum():
            yield from _of_enums(old, new, path)
        case _:
            yield from _of_plain(old, new, path)


def _of_unions(old: Union, new: Union, path: str) -> Iterator[Change]:
    was, now = ({branch.member: branch for branch in union.branches} for union in (old, new))
    for member in now.keys() & was.keys():
        yield from _of_types(was[member].of, now[member].of, f"{path}.{member}")
    for member in now.keys() - was.keys():
        yield Change(f"{path}.{member}", "added", described(now[member].of))
    for member in was.keys() - now.keys():
        gone = described(was[member].of)
        yield Change(f"{path}.{member}", "removed", gone, f"old records may have {gone} in it")


def _of_enums(old: Enum, new: Enum, path: str) -> Iterator[Change]:
    if added := [symbol for symbol in new.symbols if symbol not in old.symbols]:
        yield Change(path, "changed", f"symbols added: {', '.join(added)}")
    if gone := [symbol for symbol in old.symbols if symbol not in new.symbols]:
        problem = None if new.default else "old records may have them, and the enum has no default"
        yield Change(path, "changed", f"symbols removed: {', '.join(gone)}", problem)


def _of_plain(old: AvroType, new: AvroType, path: str) -> Iterator[Change]:
    detail = f"{described(old)} → {described(new)}"
    if not readable(old, new):
        yield Change(path, "changed", detail, _problem(old, new))
    elif described(old) != described(new):
        iceberg = isinstance(new, Decimal) or _column_stays(old, new) or (_kind(old), _kind(new)) in _WIDER_IN_ICEBERG
        yield Change(path, "changed" if _column_stays(old, new) else "widened", detail, iceberg=iceberg)


def _problem(old: AvroType, new: AvroType) -> str:
    (was, _, old_unit), (now, _, new_unit) = _kind(old).rpartition("-"), _kind(new).rpartition("-")
    if was == now and {old_unit, new_unit} <= _UNITS.keys():
        # Files would do: a landed timestamp is microseconds either way. A number in a record does not say its unit.
        return f"numbers in old records are {_UNITS[old_unit]}, and would be read as {_UNITS[new_unit]}"
    return f"{described(old)} cannot be read as {described(new)}"


def _kind(of: AvroType) -> str:
    return of.kind if isinstance(of, Scalar) else ""


def _column_stays(old: AvroType, new: AvroType) -> bool:
    return _kind(new) == "string" and (isinstance(old, Enum) or _kind(old) == "uuid")


def readable(old: AvroType, new: AvroType) -> bool:
    """Whether every value of a type that has no parts can be read as another: in records, and in one column."""
    match old, new:
        case Scalar(), Scalar():
            return old.kind == new.kind or new.kind in WIDER.get(old.kind, ()) or _column_stays(old, new)
        case Decimal(), Decimal():
            return old.scale == new.scale and old.precision <= new.precision
        case Fixed(), Fixed():
            return old.size == new.size
        case Enum(), Scalar():
            return _column_stays(old, new)
    return False
