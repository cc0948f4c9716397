"""Every kind of bad input that a consumer meets, as records: what the demo sprinkles over its streams."""

from collections.abc import Callable

from headrace_cli.sources.source import SourceRecord

TEN_YEARS_MS = 315_576_000_000
LARGE_BYTES = 500_000
MANY_HEADERS = 100

_Make = Callable[[bytes, int], SourceRecord]


def _with(value: bytes | None) -> _Make:
    return lambda key, time_ms: SourceRecord(key, None if value is None else value % {b"key": key, b"ms": time_ms})


def _future(value: bytes) -> _Make:
    return lambda key, time_ms: SourceRecord(key, value % {b"key": key, b"ms": time_ms + TEN_YEARS_MS})


def _large(value: bytes) -> _Make:
    filling = b"x" * LARGE_BYTES
    return lambda key, time_ms: SourceRecord(key, value % {b"key": key, b"ms": time_ms, b"filling": filling})


def _many_headers(value: bytes) -> _Make:
    headers = tuple((f"h{number:02}", bytes([number, 255 - number])) for number in range(MANY_HEADERS))
    return lambda key, time_ms: SourceRecord(key, value % {b"key": key, b"ms": time_ms}, None, headers)


_CLICK = b'{"user_id":"%(key)s","page":"/home","event_type":"view","timestamp":%(ms)d'
_LOG = b'{"timestamp":%(ms)d,"level":"INFO","service":"%(key)s"'

BAD_CLICKS: dict[str, _Make] = {
    "broken_json": _with(_CLICK),
    "wrong_type": _with(b'{"user_id":17,"page":"/home","event_type":"view","timestamp":"soon"}'),
    "missing_field": _with(b'{"user_id":"%(key)s","event_type":"view","timestamp":%(ms)d}'),
    "invalid_utf8": _with(b'{"user_id":"%(key)s","page":"/caf\xe9","event_type":"view","timestamp":%(ms)d}'),
    "empty": _with(b""),
    "tombstone": _with(None),
    "year_1970": _with(b'{"user_id":"%(key)s","page":"/home","event_type":"view","timestamp":1000}'),
    "far_future": _future(_CLICK + b"}"),
    "wrong_optional": _with(_CLICK + b',"value":"12.50 EUR"}'),
}
"""Bad clicks by kind; each is made of a key and an event time."""

BAD_LOGS: dict[str, _Make] = {
    "broken_json": _with(_LOG + b',"message":"cut sho'),
    "wrong_type": _with(b'{"timestamp":true,"level":"INFO","service":"%(key)s","message":"no time"}'),
    "unknown_format": _with(b"Traceback (most recent call last):"),
    "invalid_utf8": _with(_LOG + b',"message":"caf\xe9"}'),
    "empty": _with(b""),
    "tombstone": _with(None),
    "year_1970": _with(b'{"timestamp":"1970-01-01T00:00:01Z","level":"INFO","service":"%(key)s","message":"reset"}'),
    "far_future": _future(_LOG + b',"message":"clock"}'),
    "wrong_optional": _with(_LOG + b',"status":"two hundred","message":"done"}'),
}
"""Bad log lines by kind; each is made of a key and an event time."""

ODD_CLICKS: dict[str, _Make] = {
    "large": _large(_CLICK + b',"note":"%(filling)s"}'),
    "many_headers": _many_headers(_CLICK + b"}"),
}
"""Good clicks of unusual size; a stream has one of each."""

ODD_LOGS: dict[str, _Make] = {
    "large": _large(_LOG + b',"message":"%(filling)s"}'),
    "many_headers": _many_headers(_LOG + b',"message":"done"}'),
}
"""Good log lines of unusual size; a stream has one of each."""


class Sprinkle:
    """Deals the bad records of a stream in turn; the odd ones once, in the first turn."""

    def __init__(self, bad: dict[str, _Make], odd: dict[str, _Make]) -> None:
        self._first = [*bad.values(), *odd.values()]
        self._again = list(bad.values())

    @property
    def kinds(self) -> int:
        """How many kinds there are."""
        return len(self._first)

    def record(self, turn: int, key: bytes, time_ms: int) -> SourceRecord:
        """The record of the n-th bad place in the stream."""
        if turn < len(self._first):
            return self._first[turn](key, time_ms)
        return self._again[(turn - len(self._first)) % len(self._again)](key, time_ms)
