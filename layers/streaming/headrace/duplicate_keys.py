"""Keys that a JSON object has twice: what the decoder, for which the last one counts, leaves out.

Every key is a string, so a text with a key too many has a string too many. The strings of a text are its quotes by
two, but for escaped ones. How many there have to be, the decoded values say: the keys of all values, and those values
that are text. Where both numbers are the same there is no second key, whatever else is in the text: no string of an
earlier value can make up for it, because it would be one more. A null cannot be told from what is absent, so keys of
nulls are counted in the text, which they can only be less in. Only where numbers differ, records are looked at alone.

A null before another value of its key says nothing that is lost.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal as Digits
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec

from headrace import json_object
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
)
from headrace.readers import default_of
from headrace.rescued import Rescued, child

TOGETHER = 2_048
"""Records that are proven at once."""


def strings_in(text: bytes) -> int:
    """How many strings there are in valid JSON."""
    if b"\\" not in text:
        return text.count(b'"') // 2
    text = text.replace(b"\\\\", b"")
    return (text.count(b'"') - text.count(b'\\"')) // 2


def strings_of(members: dict[str, Any]) -> int:
    """How many strings the text of an untyped object has to have."""
    count = 0
    boxes: list[Any] = [members]
    for box in boxes:  # grows meanwhile
        items = box
        if type(box) is dict:
            count += len(box)
            items = box.values()
        for item in items:
            kind = type(item)
            if kind is str:
                count += 1
            elif kind is dict or kind is list:
                boxes.append(item)
    return count


def earlier(payload: bytes, members: dict[str, Any]) -> Rescued:
    """The values that later ones of the same key took the place of, in their order, by path; nulls are left out.

    `{"a": 1, "a": 2}` has `{"a[earlier]": [1]}`: no other path ends so.

    Args:
        payload: a JSON object.
        members: what the decoder made of it.
    """
    found: Rescued = {}
    if strings_of(members) != strings_in(payload):
        _collect(_parse(payload), "", found)
    return found


class DuplicateKeys:
    """Finds records of one schema in which a key comes twice."""

    def __init__(self, schema: RecordType) -> None:
        """Prepare for values of the schema, as `readers` makes them."""
        self._count = _counter(schema)

    def found(self, payloads: Sequence[bytes], values: Sequence[Any]) -> Iterator[tuple[int, Rescued]]:
        """The index of each such record, and what the decoder left out of it."""
        for start in range(0, len(payloads), TOGETHER):
            together = payloads[start : start + TOGETHER]
            if self._proven(b"".join(together), values[start : start + TOGETHER]):
                continue
            for index, payload in enumerate(together, start):
                if left_out := earlier(payload, json_object.parse(payload, exact=True)):
                    yield index, left_out

    def _proven(self, text: bytes, values: Sequence[Any]) -> bool:
        nulls: set[str] = set()
        left = strings_in(text) - self._count(values, nulls)
        for written in (b'"%b":null', b'"%b": null'):
            if left:
                left -= sum(text.count(written % name.encode()) for name in nulls)
        return not left


_Count = Callable[[Sequence[Any], set[str]], int]
"""How many strings the texts of the values have at least, without keys of nulls; the names of those go to the set."""


def _counter(of: AvroType) -> _Count:  # noqa: PLR0911 - a case per type
    match of:
        case Nullable():
            inner = _counter(of.of)
            return lambda values, nulls: inner([value for value in values if value is not None], nulls)
        case ArrayType():
            items = _counter(of.items)
            return lambda values, nulls: items(list(chain.from_iterable(values)), nulls)
        case MapType():
            return _of_maps(_counter(of.values))
        case Union():
            return _of_unions({branch.member: _counter(branch.of) for branch in of.branches})
        case RecordType():
            fields = [_of_field(field) for field in of.fields]
            return lambda values, nulls: sum([count(values, nulls) for count in fields])
    if _is_text(of):
        return lambda values, _nulls: len(values)
    return lambda _values, _nulls: 0


def _is_text(of: AvroType) -> bool:
    """Whether each value is; a decimal may be one or a number."""
    return isinstance(of, Enum | Fixed) or (isinstance(of, Scalar) and of.kind in {"string", "uuid", "bytes"})


def _of_maps(of_values: _Count) -> _Count:
    def count(values: Sequence[Any], nulls: set[str]) -> int:
        members = [member for each in values for member in each.values() if member is not None]
        return len(members) + of_values(members, nulls)

    return count


def _of_unions(branches: dict[str, _Count]) -> _Count:
    def count(values: Sequence[Any], nulls: set[str]) -> int:
        return sum(of([v[member] for v in values if member in v], nulls) for member, of in branches.items())

    return count


def _of_field(field: RecordField) -> _Count:
    plain = field.of.of if isinstance(field.of, Nullable) else field.of
    of_members, member, name, default = _counter(plain), attrgetter(field.name), field.name, default_of(field)
    strings = 2 if _is_text(plain) else 1
    is_flat = isinstance(plain, Scalar | Enum | Fixed | Decimal)
    has_default = default is not None and default is not msgspec.NODEFAULT

    def of_required(values: Sequence[Any], _nulls: set[str]) -> int:
        return strings * len(values)

    def count(values: Sequence[Any], nulls: set[str]) -> int:
        members = list(map(member, values))
        if absent := members.count(None):
            nulls.add(name)
        if is_flat and default is None:
            return strings * (len(members) - absent)
        if absent:
            members = [each for each in members if each is not None]
        if has_default:
            members = [each for each in members if each != default]  # what is the default may be absent
        return len(members) + of_members(members, nulls)

    return of_required if is_flat and default is msgspec.NODEFAULT and plain is field.of else count


class _Object(dict[str, Any]):
    """An object, and the values that it had under keys that came again."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.earlier: dict[str, list[Any]] = {}
        if len(self) < len(pairs):
            for key, value in pairs:
                self.earlier.setdefault(key, []).append(value)
            for values in self.earlier.values():
                values.pop()


def _parse(payload: bytes) -> Any:
    return json.loads(payload.decode(), object_pairs_hook=_Object, parse_float=Digits)


def _collect(value: Any, path: str, found: Rescued) -> None:
    if isinstance(value, list):
        for index, item in enumerate(value):
            _collect(item, f"{path}[{index}]", found)
    if not isinstance(value, _Object):
        return
    for key, item in value.items():
        place = child(path, key)
        _collect(item, place, found)
        if values := [each for each in value.earlier.get(key, ()) if each is not None]:
            found[f"{place}[earlier]"] = values
            _collect(values, f"{place}[earlier]", found)
