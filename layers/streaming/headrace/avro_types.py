"""Avro's types as plain frozen data: what an `.avsc` file says, its names resolved (Avro 1.12 specification).

    Nullable(of)      a union of null and one more            Scalar    one value: numbers, text, times, uuid
    Union(branches)   a union of several besides null         Decimal   on bytes or fixed
    ArrayType MapType RecordType                              Enum  Fixed

Null alone is no type here: it has no column.
"""

from typing import Any, TypeAlias

import msgspec

MAX_PRECISION = 38
"""Decimal digits that Iceberg, Athena and Spark have room for."""


class Scalar(msgspec.Struct, frozen=True):
    """A primitive type, or a logical type that is not a decimal."""

    kind: str
    """The logical type where there is one (`timestamp-millis`, `uuid`, …), else the primitive's name."""
    base: str
    """The primitive that it is written as; `fixed` for a uuid of 16 bytes."""
    full_name: str = ""
    """Of that fixed."""


class Decimal(msgspec.Struct, frozen=True):
    """A number of exactly so many digits after the point."""

    precision: int
    """Digits in total."""
    scale: int
    """Digits after the point."""
    size: int | None
    """Bytes of the fixed that it is written as; None: bytes of any length."""
    full_name: str = "bytes"
    """Of that fixed."""


class Fixed(msgspec.Struct, frozen=True):
    """Bytes of one length."""

    full_name: str
    size: int


class Enum(msgspec.Struct, frozen=True):
    """One of a few names."""

    full_name: str
    symbols: tuple[str, ...]
    default: str | None
    """What stands in for a symbol that is none of them."""
    aliases: tuple[str, ...] = ()


class Nullable(msgspec.Struct, frozen=True):
    """A value or null."""

    of: "AvroType"
    null_at: int = 0
    """Where null is among the union's branches, which Avro's bytes count."""


class ArrayType(msgspec.Struct, frozen=True):
    """Any number of items."""

    items: "AvroType"


class MapType(msgspec.Struct, frozen=True):
    """Values by text key."""

    values: "AvroType"


class Branch(msgspec.Struct, frozen=True):
    """One possibility of a union."""

    tag: str
    """How Avro's JSON calls it: a primitive's name, `array`, `map`, or a full name."""
    member: str
    """Its name in the union's column."""
    of: "AvroType"


class Union(msgspec.Struct, frozen=True):
    """One value of several types; never null, that is a `Nullable` around it."""

    branches: tuple[Branch, ...]


class RecordField(msgspec.Struct, frozen=True):
    """One field of a record."""

    name: str
    of: "AvroType"
    default: Any = msgspec.UNSET
    """As the file has it, in Avro's JSON; UNSET: a record needs the field. A nullable field has the default null."""
    aliases: tuple[str, ...] = ()
    """What it was called before."""


class RecordType(msgspec.Struct, frozen=True):
    """Named fields."""

    full_name: str
    fields: tuple[RecordField, ...]
    aliases: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Without the namespace."""
        return unqualified(self.full_name)


AvroType: TypeAlias = Scalar | Decimal | Fixed | Enum | Nullable | ArrayType | MapType | Union | RecordType


def unqualified(full_name: str) -> str:
    """A name without its namespace."""
    return full_name.rpartition(".")[2]


def tag_of(avro_type: AvroType) -> str:
    """How Avro's JSON calls a union's branch of this type."""
    match avro_type:
        case Scalar():
            return avro_type.full_name or avro_type.base
        case ArrayType():
            return "array"
        case MapType():
            return "map"
        case Decimal() | Fixed() | Enum() | RecordType():
            return avro_type.full_name
    raise TypeError(f"{avro_type} is no branch of a union")


def described(of: AvroType) -> str:  # noqa: PLR0911 - a case per type
    """The type in a few words."""
    match of:
        case Scalar():
            return of.kind
        case Decimal():
            return f"decimal({of.precision}, {of.scale})"
        case Fixed():
            return f"fixed({of.size})"
        case Enum():
            return f"enum {unqualified(of.full_name)}"
        case Nullable():
            return f"{described(of.of)} or null"
        case ArrayType():
            return f"array of {described(of.items)}"
        case MapType():
            return f"map of {described(of.values)}"
        case RecordType():
            return f"record {of.name}"
        case Union():
            return " or ".join(described(branch.of) for branch in of.branches)
