"""Avro's binary encoding to Python values, by a function that is written for the schema.

Avro's bytes do not say what they are, so a general decoder asks the schema about every value, which costs more than
decoding it. Here the schema is asked once: it becomes Python source with one statement after the other for all fields,
and a loop for each array and map. That takes two thirds of fastavro's time, which is in C.

Source: Apache Avro 1.12 specification, "Binary encoding". Logical types are the caller's. Every type that a schema can
have takes at least a byte, so no block can have more items than there are bytes left: what a payload claims is never
believed further than that.
"""

import struct
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, TypeAlias

Decoder: TypeAlias = Callable[[bytes], Any]
"""From the bytes of one value to the value.

Raises:
    EOFError: they end before the value does.
    UnicodeDecodeError: a text is not UTF-8.
    ValueError: they are no value of the schema, or go on after it.
"""

_BITS = 64
_NUMBER = ["n = b[p]", "p += 1", "if n > 127:", "    n, p = number(b, p, n)"]
"""Lines that read a number, zigzag and all, into `n`; small ones without a call."""
_LENGTH = [*_NUMBER, "if n & 1:", "    raise ValueError('a length is negative')", "end = p + (n >> 1)"]
_SIGNED = [*_NUMBER, "{v} = n >> 1 ^ -(n & 1)"]
_PRIMITIVES = {
    "null": ["{v} = None"],
    "boolean": ["{v} = b[p] != 0", "p += 1"],
    "int": _SIGNED,
    "long": _SIGNED,
    "float": ["({v},) = float_at(b, p)", "p += 4"],
    "double": ["({v},) = double_at(b, p)", "p += 8"],
    "bytes": [*_LENGTH, "{v} = b[p:end]", "p = end"],
    # `t` has a character for each byte: for ASCII, a slice of it is the text.
    "string": [*_LENGTH, "{v} = t[p:end]", "if not {v}.isascii():", "    {v} = text(b, p, end)", "p = end"],
}
"""Lines that read a value at `p` of the bytes `b` and move `p` behind it. One that ends beyond the bytes is noticed by
the next, or when all are read: slices are merely shorter there."""


def decoder(of: Any) -> Decoder:
    """The function for a type as `avro_layout` says it: each named type is defined where it is used."""
    source = _Source()
    lines = source.value(of, "value")
    namespace = _NAMES | source.constants
    # Field names and symbols are in it as literals only, whatever they are.
    exec("\n".join([*source.functions, *_function("read", [*lines, "return value, p"])]), namespace)  # noqa: S102
    read: Callable[[bytes, str, int], tuple[Any, int]] = namespace["read"]

    def decode(payload: bytes) -> Any:
        size = len(payload)
        try:
            value, end = read(payload, str(payload, "latin-1"), 0)
        except (IndexError, struct.error):
            end = size + 1
        if end > size:
            raise EOFError("the bytes end within the record")
        if end < size:
            raise ValueError(f"{size - end} byte(s) after the record")
        return value

    return decode


class _Source:
    def __init__(self) -> None:
        self._numbers = count()
        self.functions: list[str] = []
        """Lines of those for arrays and maps."""
        self.constants: dict[str, Any] = {}

    def value(self, of: Any, name: str) -> list[str]:  # noqa: PLR0911 - a case per type
        """Lines that read a value into a variable of this name."""
        match of:
            case list():
                return self._union(of, name)
            case {"type": "record", "fields": fields}:
                return self._record(fields, name)
            case {"type": "array", "items": items}:
                return self._blocks(name, "[]", [*self.value(items, "item"), "found.append(item)"])
            case {"type": "map", "values": values}:
                key = [line.format(v="key") for line in _PRIMITIVES["string"]]
                return self._blocks(name, "{}", [*key, *self.value(values, "item"), "found[key] = item"])
            case {"type": "enum", "symbols": symbols}:
                self.constants[known := self._name()] = {2 * place: symbol for place, symbol in enumerate(symbols)}
                unknown = "    raise ValueError(f'an enum has no symbol {n >> 1 ^ -(n & 1)}')"
                return [*_NUMBER, f"{name} = {known}.get(n)", f"if {name} is None:", unknown]
            case {"type": "fixed", "size": size}:
                return [f"{name} = b[p : p + {size}]", f"p += {size}"]
        return [line.format(v=name) for line in _PRIMITIVES[of]]

    def _name(self) -> str:
        return f"v{next(self._numbers)}"

    def _union(self, branches: Sequence[Any], name: str) -> list[str]:
        lines = list(_NUMBER)
        for place, branch in enumerate(branches):
            lines += [f"{'elif' if place else 'if'} n == {2 * place}:", *_indented(self.value(branch, name))]
        return [*lines, "else:", "    raise ValueError(f'a union has no branch {n >> 1 ^ -(n & 1)}')"]

    def _record(self, fields: Sequence[dict[str, Any]], name: str) -> list[str]:
        lines, members = [], []
        for field in fields:
            member = self._name()
            lines += self.value(field["type"], member)
            members.append(f"{field['name']!r}: {member}")
        return [*lines, f"{name} = {{{', '.join(members)}}}"]

    def _blocks(self, name: str, empty: str, item: list[str]) -> list[str]:
        """A function of its own, because Python limits how deep loops may nest."""
        function = self._name()
        block = [*_NUMBER, "if n == 0:", "    return found, p", "items, p = block(b, p, n)", "for _ in range(items):"]
        body = [f"found = {empty}", "while True:", *_indented([*block, *_indented(item)])]
        self.functions += _function(function, body)
        return [f"{name}, p = {function}(b, t, p)"]


def _function(name: str, body: list[str]) -> list[str]:
    return [f"def {name}(b, t, p):", *_indented(body)]


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _number(b: bytes, p: int, first: int) -> tuple[int, int]:
    """A number of more than a byte, of which the first is read, and the place after it."""
    number, shift = first & 127, 7
    for byte in b[p : p + 9]:
        number |= (byte & 127) << shift
        if byte < 128:  # noqa: PLR2004 - the bit that says whether more follow
            if number >> _BITS:
                raise ValueError("a number has more than 64 bits")
            return number, p + shift // 7
        shift += 7
    if shift < _BITS:
        raise EOFError("the bytes end within a number")
    raise ValueError("a number has more than ten bytes")


def _block(b: bytes, p: int, n: int) -> tuple[int, int]:
    """How many items a block has, and where they begin; a negative number has the block's size after it."""
    items = n >> 1
    if n & 1:
        items += 1
        p += 1
        if b[p - 1] > 127:  # noqa: PLR2004 - as above
            _, p = _number(b, p, b[p - 1])
    if items > len(b) - p:
        raise EOFError(f"a block has {items} items in {len(b) - p} bytes")
    return items, p


def _text(b: bytes, p: int, end: int) -> str:
    if end > len(b):
        raise EOFError("the bytes end within a text")
    return str(b[p:end], "utf-8")


_NAMES: dict[str, Any] = {
    "number": _number,
    "block": _block,
    "text": _text,
    "float_at": struct.Struct("<f").unpack_from,
    "double_at": struct.Struct("<d").unpack_from,
}
"""What the source calls."""
