"""Column types as Hive names them, and so the Glue catalog, Athena and Spark: from Arrow's, and the wider of two.

    Struct("a": Int32, "tags": List(Utf8))  ──►  struct<a:int,tags:array<string>>

Types that no reader of a Hive table takes out of a Parquet file have no name here: times of day, durations, half
floats, unions, nulls, decimals of more than 38 digits, and whatever is nested around one of them.
"""

import re
from typing import Any, NamedTuple

from arro3.core import DataType

from headrace.errors import SchemaError

MAX_DECIMAL_DIGITS = 38

_PLAIN = {
    "Boolean": "boolean",
    "Int8": "tinyint",
    "Int16": "smallint",
    "Int32": "int",
    "Int64": "bigint",
    # The next larger signed one, as Spark reads them.
    "UInt8": "smallint",
    "UInt16": "int",
    "UInt32": "bigint",
    "UInt64": "decimal(20,0)",
    "Float32": "float",
    "Float64": "double",
    "Utf8": "string",
    "LargeUtf8": "string",
    "Utf8View": "string",
    "Binary": "binary",
    "LargeBinary": "binary",
    "BinaryView": "binary",
    "FixedSizeBinary": "binary",
    "Date32": "date",
    "Date64": "date",
    "Timestamp": "timestamp",
}
_LISTS = {"List", "LargeList", "ListView", "LargeListView", "FixedSizeList"}
_WIDER = (("tinyint", "smallint", "int", "bigint"), ("float", "double"))
_ARROW_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'|[^\W"\'(){}:,]+(?:-[^\W]+)*|[^\s\w]')
_HIVE_TOKEN = re.compile(r"[^<>(),:]+|[<>(),:]")
_MEMBER = re.compile(r"\w+", re.ASCII)


class HiveType(NamedTuple):
    """A type; its text is what the catalog holds."""

    name: str
    """`bigint`, `decimal`, `array`, …"""
    digits: tuple[int, ...] = ()
    """Of a decimal: all, and those after the point."""
    members: tuple[tuple[str, "HiveType"], ...] = ()
    """Of a struct by name; of an array or a map without names."""

    def __str__(self) -> str:
        if self.digits:
            return f"{self.name}({','.join(map(str, self.digits))})"
        if self.name == "struct":
            return f"struct<{','.join(f'{name}:{member}' for name, member in self.members)}>"
        if self.members:
            return f"{self.name}<{','.join(str(member) for _, member in self.members)}>"
        return self.name


def of_arrow(arrow_type: DataType) -> HiveType:
    """The type of a column whose files have this Arrow type.

    arro3 does not tell what is in a map or a decimal; the text that it prints for a type does.

    Raises:
        SchemaError: Hive's readers have no such type, or could not name its members.
    """
    text = str(arrow_type).strip().removeprefix("arro3.core.DataType<").removesuffix(">")
    tokens = _Tokens(_ARROW_TOKEN.findall(text))
    try:
        found = _arrow(tokens)
    except (IndexError, ValueError, RecursionError):
        raise SchemaError(f"type {text} is not understood") from None
    return found


def parse(text: str) -> HiveType:
    """A type as the catalog holds it; letters of any size.

    Raises:
        SchemaError: it is none.
    """
    tokens = _Tokens(_HIVE_TOKEN.findall(text.lower().replace(" ", "")))
    try:
        found = _hive(tokens)
        tokens.end()
    except (IndexError, ValueError, RecursionError):
        raise SchemaError(f"{text!r} is no type of Hive's") from None
    return found


def widest(one: HiveType, other: HiveType) -> HiveType | None:
    """A type that holds the values of both, files of either kind being read as it; None if there is none.

    Structs get the members of both, the first one's first.
    """
    if one == other:
        return one
    for chain in _WIDER:
        if one.name in chain and other.name in chain:
            return max(one, other, key=lambda each: chain.index(each.name))
    if one.name != other.name:
        return None
    if one.name == "decimal":
        return max(one, other) if one.digits[1] == other.digits[1] else None
    return _widest_struct(one, other) if one.name == "struct" else _widest_items(one, other)


def _widest_struct(one: HiveType, other: HiveType) -> HiveType | None:
    members: dict[str, HiveType] = dict(one.members)
    for name, member in other.members:
        known = members.get(name)
        both = member if known is None else widest(known, member)
        if both is None:
            return None
        members[name] = both
    return HiveType("struct", members=tuple(members.items()))


def _widest_items(one: HiveType, other: HiveType) -> HiveType | None:
    items = [widest(mine, theirs) for (_, mine), (_, theirs) in zip(one.members, other.members, strict=True)]
    if not items or None in items:
        return None
    return HiveType(one.name, members=tuple(("", item) for item in items if item is not None))


class _Tokens:
    """What is left of a text."""

    def __init__(self, tokens: list[str]) -> None:
        self.rest = tokens[::-1]

    def take(self, *expected: str) -> str:
        """The next one; a ValueError if it is none of those expected, an IndexError at the end."""
        token = self.rest.pop()
        if expected and token not in expected:
            raise ValueError(token)
        return token

    def has(self, token: str) -> bool:
        """Whether that one is next; it is taken then."""
        found = bool(self.rest) and self.rest[-1] == token
        if found:
            self.rest.pop()
        return found

    def end(self) -> None:
        """A ValueError if anything is left."""
        if self.rest:
            raise ValueError(self.rest)

    def skip_to_end(self) -> None:
        """Everything up to and with the closing bracket of what is open."""
        depth = 1
        while depth:
            depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(self.take(), 0)


def _arrow(tokens: _Tokens) -> HiveType:
    tokens.has("non-null")
    name = tokens.take()
    if name in _LISTS:
        return _arrow_list(tokens, fixed=name == "FixedSizeList")
    if name == "Struct":
        return _arrow_struct(tokens)
    if name == "Map":
        return _arrow_map(tokens)
    if name == "Dictionary":
        tokens.take("(")
        tokens.take()  # what its indices are
        tokens.take(",")
        return _closed(tokens, _arrow(tokens))
    if name in {"Decimal128", "Decimal256"}:
        return _arrow_decimal(tokens)
    if name not in _PLAIN:
        raise SchemaError(f"no reader of a Hive table takes {name} out of a Parquet file")
    return _closed(tokens, parse(_PLAIN[name])) if tokens.has("(") else parse(_PLAIN[name])


def _closed(tokens: _Tokens, found: HiveType) -> HiveType:
    tokens.skip_to_end()
    return found


def _arrow_list(tokens: _Tokens, *, fixed: bool) -> HiveType:
    tokens.take("(")
    if fixed:
        tokens.take()  # how many items
        tokens.take("x")
    return _closed(tokens, HiveType("array", members=(("", _arrow(tokens)),)))


def _arrow_struct(tokens: _Tokens) -> HiveType:
    tokens.take("(")
    members: dict[str, HiveType] = {}
    while not tokens.has(")"):
        token = tokens.take()
        if token == "metadata":  # noqa: S105 - a word of the type's text
            tokens.take(":")
            tokens.take("{")
            tokens.skip_to_end()
        elif token != ",":  # noqa: S105 - the same
            tokens.take(":")
            name = token[1:-1].lower()
            if not _MEMBER.fullmatch(name) or name in members:
                raise SchemaError(f"{token} cannot be a member of a Hive struct: no plain name, or there twice")
            members[name] = _arrow(tokens)
    if not members:
        raise SchemaError("Hive has no struct without members")
    return HiveType("struct", members=tuple(members.items()))


def _arrow_map(tokens: _Tokens) -> HiveType:
    tokens.take("(")
    tokens.take()  # the name of its entries
    tokens.take(":")
    entries = _arrow(tokens)
    return _closed(tokens, HiveType("map", members=tuple(("", member) for _, member in entries.members)))


def _arrow_decimal(tokens: _Tokens) -> HiveType:
    tokens.take("(")
    digits = int(tokens.take())
    tokens.take(",")
    scale = int(tokens.take())
    if digits > MAX_DECIMAL_DIGITS:
        raise SchemaError(f"Hive's decimals have at most {MAX_DECIMAL_DIGITS} digits, not {digits}")
    return _closed(tokens, HiveType("decimal", (digits, scale)))


def _hive(tokens: _Tokens) -> HiveType:
    name = tokens.take()
    if not _MEMBER.fullmatch(name):
        raise ValueError(name)
    if tokens.has("("):
        digits = [int(tokens.take())]
        while tokens.take(",", ")") == ",":
            digits.append(int(tokens.take()))
        return HiveType(name, tuple(digits))
    if not tokens.has("<"):
        return HiveType(name)
    members: list[tuple[str, Any]] = []
    while True:
        member = ""
        if name == "struct":
            member = tokens.take()
            tokens.take(":")
        members.append((member, _hive(tokens)))
        if tokens.take(",", ">") == ">":
            return HiveType(name, members=tuple(members))
