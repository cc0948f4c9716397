"""Thrift's compact protocol, as far as Parquet's metadata uses it.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md. Structs are read as their fields'
numbers and values, without knowing what they mean, and written from them.
"""

from collections.abc import Iterable
from typing import NamedTuple

Data = bytes | memoryview
Value = int | bool | bytes | list["Value"] | dict[int, "Value"]
"""What a field holds. Doubles, sets and maps are in none of Parquet's structs that are read here."""

TRUE, FALSE, I16, I32, I64, BINARY, LIST, STRUCT = 1, 2, 4, 5, 6, 8, 9, 12
_LONG_LIST = 15
"""Instead of its size, where that follows."""
_STEP = 16
"""One more than the last field's number, in a byte with the kind of its value; none: the number follows."""
_MORE = 128
"""Another byte of the number follows; seven bits a byte, the lowest first."""
_BITS = 64


class Malformed(ValueError):
    """These bytes are no struct."""


class Written(NamedTuple):
    """A value as its bytes."""

    kind: int
    data: bytes


def read_struct(data: Data, at: int) -> tuple[dict[int, Value], int]:
    """A struct's fields by number, and where it ends.

    Raises:
        Malformed: there is none.
    """
    found: dict[int, Value] = {}
    number = 0
    try:
        while head := data[at]:
            at += 1
            kind = head & 15
            if head >= _STEP:
                number += head >> 4
            else:
                number, at = _integer(data, at)
            if kind in (I32, I64, I16):
                part = coded = data[at]
                at += 1
                shift = 7
                while part >= _MORE:  # written out here, as it is done ten thousands of times an hour's file
                    part = data[at]
                    at += 1
                    coded += part - 1 << shift
                    shift += 7
                found[number] = (coded >> 1) ^ -(coded & 1)
            elif kind == STRUCT:
                found[number], at = read_struct(data, at)
            elif kind in (TRUE, FALSE):
                found[number] = kind == TRUE
            else:
                found[number], at = _value(data, at, kind)
    except (IndexError, RecursionError):
        raise Malformed(f"a struct goes on behind the last of {len(data)} bytes, or ever deeper") from None
    return found, at + 1


def _value(data: Data, at: int, kind: int) -> tuple[Value, int]:
    if kind in (I16, I32, I64):
        return _integer(data, at)
    if kind == BINARY:
        size, at = _varint(data, at)
        if at + size > len(data):
            raise Malformed(f"{size} bytes of text at {at} of {len(data)}")
        return bytes(data[at : at + size]), at + size
    if kind == STRUCT:
        return read_struct(data, at)
    if kind == LIST:
        return _list(data, at)
    if kind in (TRUE, FALSE):
        return data[at] == TRUE, at + 1
    raise Malformed(f"type {kind} at {at}")


def _list(data: Data, at: int) -> tuple[list[Value], int]:
    size, kind = data[at] >> 4, data[at] & 15
    at += 1
    if size == _LONG_LIST:
        size, at = _varint(data, at)
    values = []
    for _ in range(size):
        value, at = _value(data, at, kind)
        values.append(value)
    return values, at


def _integer(data: Data, at: int) -> tuple[int, int]:
    number, at = _varint(data, at)
    return (number >> 1) ^ -(number & 1), at


def _varint(data: Data, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < _MORE:
            return number, at
        shift += 7
        if shift >= _BITS:
            raise Malformed(f"a number of more than 64 bits before {at}")


def struct(values: dict[int, Written | None]) -> Written:
    """A struct; fields without a value are left out. Numbers must ascend."""
    parts = []
    last = 0
    for number, value in values.items():
        if value is not None:
            step = number - last
            parts.append(bytes((step << 4 | value.kind,)) if step < _STEP else bytes((value.kind,)) + _zigzag(number))
            parts.append(value.data)
            last = number
    parts.append(b"\0")
    return Written(STRUCT, b"".join(parts))


def integer(number: int, kind: int = I64) -> Written:
    """A number of 16, 32 or 64 bits."""
    return Written(kind, _zigzag(number))


def binary(data: bytes) -> Written:
    """Bytes or text."""
    return Written(BINARY, _unsigned(len(data)) + data)


def boolean(value: bool) -> Written:
    """Of a struct or a list."""
    return Written(TRUE if value else FALSE, b"")


def listed(kind: int, values: Iterable[Written]) -> Written:
    """A list of values of one kind."""
    parts = [value.data or bytes((value.kind,)) for value in values]  # of a boolean, its kind is the value
    size = len(parts)
    head = bytes((size << 4 | kind,)) if size < _LONG_LIST else bytes((0xF0 | kind,)) + _unsigned(size)
    return Written(LIST, head + b"".join(parts))


def _zigzag(number: int) -> bytes:
    return _unsigned((number << 1) ^ (number >> 63))


def _unsigned(number: int) -> bytes:
    if number < _MORE:
        return bytes((number,))
    out = bytearray()
    while number >= _MORE:
        out.append(number & 127 | _MORE)
        number >>= 7
    out.append(number)
    return bytes(out)
