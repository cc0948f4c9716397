"""What the audit starts from: the records as the broker acknowledged them, and JSON as the standard library reads it.

The audit's modules (`audit*.py`) import nothing of the code that they check. They state its rules again, in the
plainest way and not in the fastest.
"""

import json
import math
from typing import Any, NamedTuple, NoReturn

LARGEST_MESSAGE_BYTES = 1 << 20
DEEPEST_NESTING = 64
"""Levels of objects and arrays in one another that are still read."""
YEARS_MS = range(-62_135_596_800_000, 253_402_300_800_000)
"""The years 1 to 9999: there is no other time."""

NO_VALUE, UNREADABLE, NOT_AN_OBJECT = "no value", "unreadable", "not an object"
WRONG_FIELD, FROM_THE_FUTURE = "wrong field", "from the future"
CAUSE_OF_REASON = {
    "tombstone": NO_VALUE,
    "empty": NO_VALUE,
    "not_utf8": UNREADABLE,
    "invalid_json": UNREADABLE,
    "too_long": UNREADABLE,
    "unknown_format": UNREADABLE,
    "not_an_object": NOT_AN_OBJECT,
    "missing_field": WRONG_FIELD,
    "invalid_field": WRONG_FIELD,
    "invalid_time": WRONG_FIELD,
    "time_out_of_range": WRONG_FIELD,
    "from_the_future": FROM_THE_FUTURE,
}
"""What the dead letters' reasons amount to. A payload can be broken in two ways at once, and which of them is
named first is nobody's promise; that it is unreadable is."""


class Produced(NamedTuple):
    """A record as the broker has it."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    """Kafka's timestamp, epoch milliseconds."""
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    """Names and values, in order; a name may repeat."""


class Dead(Exception):
    """The record has to become a dead letter."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause
        """One of the values of `CAUSE_OF_REASON`."""


def payload(record: Produced) -> bytes:
    """The record's value without white space around it.

    Raises:
        Dead: there is none.
    """
    text = (record.value or b"").strip()
    if not text:
        raise Dead(NO_VALUE)
    return text


def json_object(text: bytes, *, any_size: bool = False) -> dict[str, Any]:
    """One JSON object (RFC 8259), with text that is Unicode and numbers that a double or an integer can hold.

    Args:
        text: the payload.
        any_size: whether a larger number will do as well; it is then infinite.

    Raises:
        Dead: it is none.
    """
    try:
        parsed = json.loads(text.decode(), parse_constant=_no_number, parse_float=float if any_size else _finite)
        if b"\\u" in text:
            # Half a surrogate pair is an escape that JSON's grammar allows and that no text has.
            json.dumps(parsed, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise Dead(UNREADABLE) from None
    if not isinstance(parsed, dict):
        raise Dead(NOT_AN_OBJECT)
    if text.count(b"{") + text.count(b"[") > DEEPEST_NESTING and _depth(parsed) > DEEPEST_NESTING:
        raise Dead(UNREADABLE)
    return parsed


def canonical_json(value: Any) -> str:
    """The same text for the same JSON value, whatever the order of its members."""
    return json.dumps(value, sort_keys=True)


def is_from_the_future(time_ms: int, record: Produced, max_skew_ms: int) -> bool:
    """Whether the event is said to have happened too long after Kafka's timestamp; -1 is no timestamp."""
    return record.timestamp_ms >= 0 and time_ms > record.timestamp_ms + max_skew_ms


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON's


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(digits)
    return number


def _depth(value: Any) -> int:
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if members is None else 1 + max(map(_depth, members), default=0)
