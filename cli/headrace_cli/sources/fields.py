"""What happens to the fields of a structured record on its way into Kafka: key, time, order, new names."""

import re
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import msgspec

from headrace.event_time import event_time_ms
from headrace.log_formats.format import Unparsable
from headrace_cli.errors import OptionError

OrderKey = tuple[int, Any]
"""Comparable with any other: numbers first, then text, then what is neither or absent."""
LAST: OrderKey = (2, 0)
"""The place of records that have nothing to be ordered by."""

# JSON's own grammar of numbers (RFC 8259 section 6): such a cell can go into the payload as it stands.
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class FieldOptions:
    """What to do with fields. Names are the input's; the new name of a renamed field is understood too."""

    key: str | None = None
    """The field whose value becomes the record key."""
    renames: tuple[tuple[str, str], ...] = ()
    """`(new, old)` pairs; one old name may feed several new ones and is gone afterwards."""
    time_field: str | None = None
    """The field with the event time: it becomes epoch milliseconds (UTC)."""
    order_by: str | None = None
    """The field that the records are sorted by, stable."""
    numbers: tuple[str, ...] = ()
    """CSV columns that are numbers; all others are text."""

    def over(self, defaults: "FieldOptions") -> "FieldOptions":
        """These options, with the defaults' value for each that is not given."""
        given = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name)}
        return replace(defaults, **given)

    def resolved(self, known: Collection[str]) -> "FieldOptions":
        """These options with the input's own names everywhere.

        Raises:
            OptionError: a field that the input does not have, or a new name that is taken already.
        """
        origin = {new: old for new, old in self.renames if new not in known}
        for option, name in self._named():
            if origin.get(name, name) not in known:
                raise OptionError(f"{option} {name}: no such field; the input has {', '.join(known) or 'none'}")
        self._check_new_names(known)
        return replace(
            self,
            key=origin.get(self.key or "", self.key),
            time_field=origin.get(self.time_field or "", self.time_field),
            order_by=origin.get(self.order_by or "", self.order_by),
            numbers=tuple(origin.get(name, name) for name in self.numbers),
        )

    def _named(self) -> list[tuple[str, str]]:
        single = (("--key", self.key), ("--time-field", self.time_field), ("--order-by", self.order_by))
        several = [("--field …=", old) for _, old in self.renames] + [("--number", n) for n in self.numbers]
        return [(option, name) for option, name in single if name is not None] + several

    def _check_new_names(self, known: Collection[str]) -> None:
        gone = {old for _, old in self.renames}
        taken = set(known) - gone
        for new, old in self.renames:
            if new in taken:
                raise OptionError(f"--field {new}={old}: the input already has a field {new}")
            taken.add(new)


class Mapped(NamedTuple):
    """A row on its way out."""

    key: bytes | None
    fields: dict[str, Any]
    """The payload's fields, ready for the JSON encoder."""
    time_ms: int | None
    order: OrderKey
    clean: bool
    """False if a time or a number could not be read: its field is what it was."""


class FieldMapper:
    """Applies resolved options to one row after the other."""

    def __init__(self, options: FieldOptions) -> None:
        self._options = options
        self._new_names: dict[str, list[str]] = {}
        for new, old in options.renames:
            self._new_names.setdefault(old, []).append(new)

    @property
    def changes_nothing(self) -> bool:
        """Whether the payload leaves as it came."""
        return not self._options.renames and self._options.time_field is None

    def __call__(self, row: dict[str, Any]) -> Mapped:
        """Map one row of text or raw JSON values; the row itself is used up.

        Raises:
            msgspec.DecodeError, UnicodeDecodeError: a raw value that it needs is no JSON.
        """
        options = self._options
        key = None if options.key is None else _key_bytes(row.get(options.key))
        clean = self._read_numbers(row)
        time_ms = None
        order = LAST if options.order_by is None else _order_key(_plain(row.get(options.order_by)))
        if options.time_field is not None and options.time_field in row:
            time_ms = self._time_ms(row)
            clean = clean and time_ms is not None
            if options.order_by == options.time_field:
                order = LAST if time_ms is None else (0, time_ms)
        return Mapped(key, self._renamed(row) if self._new_names else row, time_ms, order, clean)

    def _read_numbers(self, row: dict[str, Any]) -> bool:
        clean = True
        for name in self._options.numbers:
            cell = row.get(name)
            if cell is None:
                continue
            if _JSON_NUMBER.fullmatch(cell):
                row[name] = msgspec.Raw(cell.encode())  # exactly as written, to the last digit
            else:
                clean = False
        return clean

    def _time_ms(self, row: dict[str, Any]) -> int | None:
        name = self._options.time_field
        assert name is not None  # noqa: S101 - the caller looked
        try:
            time_ms = event_time_ms(_plain(row[name]))
        except Unparsable:
            return None
        row[name] = time_ms
        return time_ms

    def _renamed(self, row: dict[str, Any]) -> dict[str, Any]:
        return {new: value for old, value in row.items() for new in self._new_names.get(old, (old,))}


def _plain(value: Any) -> Any:
    return msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value


def _key_bytes(value: Any) -> bytes | None:
    if isinstance(value, msgspec.Raw):
        literal = bytes(value)
        if not literal.startswith(b'"'):  # a number keeps the digits that it was written with
            return None if literal == b"null" else literal
        value = msgspec.json.decode(literal)
    return None if value is None else value.encode(errors="surrogateescape")


def _order_key(value: Any) -> OrderKey:
    if isinstance(value, str):
        return (1, value)
    return (0, value) if isinstance(value, int | float) else LAST
