"""How Avro's values are written in JSON: what each type accepts, and what Python value it becomes.

A value that is none of what its type accepts raises ValueError (msgspec's ValidationError is one); nothing is rounded,
cut off or guessed, except that times finer than their unit are cut off towards the past.
"""

import decimal
import math
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from headrace.avro_types import AvroType, Branch, Decimal, Enum, Fixed, Scalar, Union, unqualified

MAX_FLOAT32 = (2 - 2**-23) * 2.0**127
MAX_FLOAT64 = (2 - 2**-52) * 2.0**1023
DAY_US = 86_400_000_000

# Times are of the years 1 to 9999: one value beyond makes DuckDB refuse its whole file.
TYPES: dict[str, Any] = {
    "boolean": bool,
    "int": Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)],
    "long": Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)],
    # Beyond, the column would hold infinity.
    "float": Annotated[float, Meta(ge=-MAX_FLOAT32, le=MAX_FLOAT32)],
    "double": Annotated[float, Meta(ge=-MAX_FLOAT64, le=MAX_FLOAT64)],
    "bytes": bytes,
    "string": str,
    "uuid": Annotated[str, Meta(pattern="^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\\Z")],
    "date": Annotated[int, Meta(ge=-719_162, le=2_932_896)],
    "time-millis": Annotated[int, Meta(ge=0, lt=DAY_US // 1000)],
    "time-micros": Annotated[int, Meta(ge=0, lt=DAY_US)],
    "timestamp-millis": Annotated[int, Meta(ge=-62_135_596_800_000, le=253_402_300_799_999)],
    "timestamp-micros": Annotated[int, Meta(ge=-62_135_596_800_000_000, le=253_402_300_799_999_999)],
    "timestamp-nanos": Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)],
}
TYPES |= {f"local-{kind}": TYPES[kind] for kind in [*TYPES] if kind.startswith("timestamp")}
"""What is read in C: the commonest spelling of each scalar, with the bounds of its column."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PER_SECOND = {"millis": 10**3, "micros": 10**6, "nanos": 10**9}
_FINER_THAN_MICROSECONDS = re.compile(r"(.*\d\d:\d\d:\d\d)\.(\d+)(.*)", re.DOTALL)
_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_WIDE = decimal.Context(prec=80)
"""More digits than any column has: what it computes is not rounded."""
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class JsonSpelling:
    """Plain JSON, as producers write it; for unions Avro's own JSON (`{"string": "x"}`) as well."""

    guesses = True

    def scalar(self, of: Scalar | Decimal | Fixed | Enum, raw: Any) -> Any:
        """The value.

        Raises:
            ValueError: it is none of the type.
        """
        match of:
            case Decimal():
                return exact_decimal(_decimal(raw), of)
            case Fixed():
                return _fixed(raw, of.size)
            case Enum():
                return one_of(of, raw)
        read = _READERS.get(of.kind)
        return msgspec.convert(_number(raw), TYPES[of.kind]) if read is None else read(of.kind, raw)

    def branches(self, of: Union, raw: Any) -> Iterator[tuple[Branch, Any]]:
        """The branches that it may be, likeliest first: text rather an enum or text, a whole number rather an int."""
        first = _NATURAL.get(type(raw), ())
        yield from ((branch, raw) for wanted in first for branch in of.branches if _natural(branch.of, raw) == wanted)
        yield from ((branch, raw) for branch in of.branches if _natural(branch.of, raw) not in first)

    def tagged(self, tag: str, raw: Any) -> Any:
        """What is in `{tag: …}` as Avro's JSON writes a union's value; UNSET if it is nothing of the kind."""
        if isinstance(raw, dict) and len(raw) == 1:
            return raw.get(tag, raw.get(unqualified(tag), msgspec.UNSET))
        return msgspec.UNSET


class DefaultSpelling(JsonSpelling):
    """Defaults in an `.avsc` file: Avro's own JSON, where bytes are text of the code points 0 to 255."""

    def scalar(self, of: Scalar | Decimal | Fixed | Enum, raw: Any) -> Any:
        """See `JsonSpelling.scalar`."""
        if isinstance(raw, str):
            match of:
                case Scalar("bytes"):
                    return _code_points(raw)
                case Decimal():
                    return decimal_of(_code_points(raw), of)
                case Fixed():
                    return _of_size(_code_points(raw), of.size)
        return super().scalar(of, raw)


_NATURAL: dict[type, tuple[str, ...]] = {str: ("enum", "string"), int: ("int", "long")}


def _natural(of: AvroType, raw: Any) -> str:
    if isinstance(of, Enum):
        return "enum" if raw in of.symbols else ""
    return of.kind if isinstance(of, Scalar) else ""


def one_of(of: Enum, raw: Any) -> str:
    """The enum's symbol.

    Raises:
        ValueError: it is none.
    """
    if raw not in of.symbols:
        raise ValueError(f"Invalid enum value {raw!r:.80}")
    return str(raw)


def exact_decimal(value: decimal.Decimal, of: Decimal) -> decimal.Decimal:
    """The value with the type's scale.

    Raises:
        ValueError: it has more digits than the type, before or after the point, or is not finite.
    """
    if not value.is_finite():
        raise ValueError(f"{value} is no decimal number")
    if value and (value.adjusted() >= of.precision - of.scale or -_last_digit(value) > of.scale):
        raise ValueError(f"{value!s:.80} does not fit decimal({of.precision}, {of.scale})")
    return value.quantize(decimal.Decimal((0, (1,), -of.scale)), context=_WIDE) if value else _zero(of.scale)


def _zero(scale: int) -> decimal.Decimal:
    return decimal.Decimal((0, (0,), -scale))


def _last_digit(value: decimal.Decimal) -> int:
    """The exponent of the last digit that is not zero."""
    _, digits, exponent = value.as_tuple()
    zeros = next((n for n, digit in enumerate(reversed(digits)) if digit), 0)
    assert isinstance(exponent, int)  # noqa: S101 - it is finite
    return exponent + zeros


def decimal_of(data: bytes, of: Decimal) -> decimal.Decimal:
    """A decimal as Avro writes it: the unscaled number, big-endian two's complement.

    Raises:
        ValueError: it has more digits than the type.
    """
    unscaled = int.from_bytes(data, "big", signed=True)
    if abs(unscaled) >= 10**of.precision:
        raise ValueError(f"{len(data)} bytes do not fit decimal({of.precision}, {of.scale})")
    return decimal.Decimal(unscaled).scaleb(-of.scale, context=_WIDE)


def _decimal(raw: Any) -> decimal.Decimal:
    if isinstance(raw, decimal.Decimal):
        return raw
    if isinstance(raw, float):
        raw = repr(raw)  # its shortest text is what was sent, or nearer to it than its binary value
    return msgspec.convert(raw, decimal.Decimal)


def _fixed(raw: Any, size: int) -> bytes:
    if isinstance(raw, str) and len(raw) == size:
        return _code_points(raw)  # Avro's own JSON; in base64 it would be longer
    return _of_size(msgspec.convert(raw, bytes), size)


def _of_size(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise ValueError(f"{len(data)} bytes instead of {size}")
    return data


def _code_points(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError("has a code point that is no byte") from None


def _number(raw: Any) -> Any:
    return float(raw) if isinstance(raw, decimal.Decimal) else raw


def _float(kind: str, raw: Any) -> float:
    if isinstance(raw, str) and raw in _NOT_FINITE:
        return _NOT_FINITE[raw]
    if isinstance(raw, decimal.Decimal) or type(raw) is int:
        try:
            raw = float(raw)
        except OverflowError:
            raw = math.inf
        if math.isinf(raw):
            raise ValueError(f"Number out of range of {kind}")
    value: float = msgspec.convert(raw, TYPES[kind])
    return value


def _date(kind: str, raw: Any) -> int:
    if isinstance(raw, str):
        return (msgspec.convert(raw, date) - _EPOCH.date()).days
    days: int = msgspec.convert(_number(raw), TYPES[kind])
    return days


def _time(kind: str, raw: Any) -> int:
    if isinstance(raw, str):
        of_day = msgspec.convert(raw, time)
        if of_day.tzinfo is not None:
            raise ValueError("a time of day has no zone")
        unit = timedelta(microseconds=1000 if kind == "time-millis" else 1)
        return (datetime.combine(date.min, of_day) - datetime.min) // unit  # noqa: DTZ901 - no zone
    number: int = msgspec.convert(_number(raw), TYPES[kind])
    return number


def _timestamp(kind: str, raw: Any) -> int:
    if not isinstance(raw, str):
        number: int = msgspec.convert(_number(raw), TYPES[kind])
        return number
    per_second = _PER_SECOND[kind.rpartition("-")[2]]
    value: int = msgspec.convert(_ticks(raw, per_second, local=kind.startswith("local")), TYPES[kind])
    return value


def _ticks(text: str, per_second: int, *, local: bool) -> int:
    """A text's distance from the epoch; without a zone it is taken as UTC, and a local one must have none."""
    nanos = 0
    if per_second == _PER_SECOND["nanos"] and (parts := _FINER_THAN_MICROSECONDS.fullmatch(text)):
        # A datetime would round to microseconds.
        nanos = int(parts[2][:9].ljust(9, "0"))
        text = parts[1] + parts[3]
    moment = msgspec.convert(text, datetime)
    if local and moment.tzinfo is not None:
        raise ValueError("a local time has no zone")
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    micros = since // timedelta(microseconds=1)
    return micros * 1000 + nanos if per_second == _PER_SECOND["nanos"] else micros * per_second // 10**6


def _uuid(_kind: str, raw: Any) -> str:
    text: str = msgspec.convert(raw, str)
    if not _UUID.fullmatch(text):
        raise ValueError("Invalid UUID")
    return text.lower()


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "float": _float,
    "double": _float,
    "uuid": _uuid,
    "date": _date,
    "time-millis": _time,
    "time-micros": _time,
    **{kind: _timestamp for kind in TYPES if "timestamp" in kind},
}
