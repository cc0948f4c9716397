"""Generated logs of a shop's services, each in its own format, with an outage of one service.

Catalog, payment, account and mail write JSON lines, search logfmt, shipping syslog (RFC 5424), cart what log4j writes,
with the lines of stack traces as records of their own; the web servers' access logs are keyed by host. In the outage
most payments fail, and who is refused tries again: that makes some lines more.
"""

import datetime as dt
import functools
import heapq
from collections import deque
from collections.abc import Callable, Iterator
from operator import itemgetter
from random import Random

from headrace_cli.generator.bad_records import BAD_LOGS, ODD_LOGS, Sprinkle
from headrace_cli.generator.rhythm import SPAN_MS, event_ms, ticks, weighted
from headrace_cli.sources.source import SourceRecord

OUTAGE_SERVICE = "payment"
OUTAGE_MINUTES = 4
OUTAGE_MESSAGES = ("card processor refused the connection", "card processor did not answer in 3000 ms")
"""What the service's errors say then, and nobody's at another time."""

_OUTAGE_BEGIN = 0.4
_OUTAGE_ERRORS = 0.6
_RETRIES = 200
"""Lines more, so that the minutes of an outage have enough of them in a short stream too …"""
_MOST_RETRIES = 5
"""… but at most every fifth line."""
_MINUTE_MS = 60_000
_SERVICES = weighted(
    {"web": 30, "catalog": 20, "search": 15, "cart": 12, "payment": 10, "shipping": 6, "account": 5, "mail": 2}
)
_LEVELS = weighted({"DEBUG": 120, "INFO": 800, "WARN": 65, "ERROR": 14, "FATAL": 1})
_MESSAGES = {
    "DEBUG": "cache miss",
    "INFO": "request served",
    "WARN": "slow upstream",
    "ERROR": "upstream timed out",
    "FATAL": "out of memory, restarting",
}
_SYSLOG_SEVERITIES = {"DEBUG": 7, "INFO": 6, "WARN": 4, "ERROR": 3, "FATAL": 0}
_LOCAL_0 = 16 << 3
_UNKNOWN = weighted({"": 9, ',"region":"eu-west-1"': 1})
_STATUSES = weighted({"200": 90, "304": 5, "404": 4, "500": 1})
_STACK_TRACE = (
    b"java.util.concurrent.TimeoutException: no answer from stock",
    b"\tat com.shop.cart.Stock.reserve(Stock.java:112)",
    b"\tat com.shop.cart.Cart.checkout(Cart.java:57)",
    b"\t... 21 more",
)

Draw = Callable[[], float]


def outage_ms(start_ms: int) -> range:
    """The outage of a stream that starts then: whole minutes of event time, epoch milliseconds."""
    begin_ms = (start_ms + int(_OUTAGE_BEGIN * SPAN_MS)) // _MINUTE_MS * _MINUTE_MS
    return range(begin_ms, begin_ms + OUTAGE_MINUTES * _MINUTE_MS)


def service_logs(records: int, seed: int, start_ms: int) -> Iterator[SourceRecord]:
    """Log lines keyed by service (access logs: by host), with a sprinkle of bad ones."""
    draw = Random(seed).random  # noqa: S311 - reproducible, not secret
    sprinkle = Sprinkle(BAD_LOGS, ODD_LOGS)
    outage = outage_ms(start_ms)
    trace: deque[bytes] = deque()
    for elapsed_ms, turn, again in _moments(records, sprinkle.kinds):
        now_ms = start_ms + elapsed_ms
        service = OUTAGE_SERVICE if again else _SERVICES[int(draw() * len(_SERVICES))]
        if turn is not None:
            yield sprinkle.record(turn, service.encode(), now_ms)._replace(sent_ms=now_ms)
        elif trace and not again:
            # One thread of one service writes it, line by line, while the others go on.
            yield SourceRecord(b"cart", trace.popleft(), now_ms, sent_ms=now_ms)
        else:
            time_ms = event_ms(now_ms, elapsed_ms, draw)
            out = service == OUTAGE_SERVICE and time_ms in outage
            level, message = _said(draw, out=out)
            key, line = _WRITERS.get(service, _json_line)(service, level, message, time_ms, draw)
            if service == "cart" and level in {"WARN", "ERROR", "FATAL"}:
                trace.extend(_STACK_TRACE)
            yield SourceRecord(key.encode(), line.encode(), time_ms, sent_ms=now_ms)


def _moments(records: int, kinds: int) -> Iterator[tuple[int, int | None, bool]]:
    """When each line is sent since the start, which kind of bad it is, and whether somebody tries again.

    They begin a minute before: the outage is of whole minutes, and the start of a stream is not.
    """
    retries = min(_RETRIES, records // _MOST_RETRIES)
    regular = ((elapsed_ms, turn, False) for elapsed_ms, turn in ticks(records - retries, kinds))
    begin_ms, length_ms = int(_OUTAGE_BEGIN * SPAN_MS) - _MINUTE_MS, (OUTAGE_MINUTES + 1) * _MINUTE_MS
    again = ((begin_ms + number * length_ms // retries, None, True) for number in range(retries))
    return heapq.merge(regular, again, key=itemgetter(0))


def _said(draw: Draw, *, out: bool) -> tuple[str, str]:
    # Always the same draws: when the outage is must not decide about the rest of the stream.
    fails, which, usual = (
        draw() < _OUTAGE_ERRORS,
        int(draw() * len(OUTAGE_MESSAGES)),
        _LEVELS[int(draw() * len(_LEVELS))],
    )
    if out and (fails or usual in {"ERROR", "FATAL"}):
        return "ERROR", OUTAGE_MESSAGES[which]
    return usual, _MESSAGES[usual]


def _json_line(service: str, level: str, message: str, time_ms: int, draw: Draw) -> tuple[str, str]:
    return service, (
        f'{{"timestamp":"{_iso(time_ms)}Z","level":"{level}","service":"{service}","message":"{message}",'
        f'"latency_ms":{_latency_ms(draw)}{_UNKNOWN[int(draw() * len(_UNKNOWN))]}}}'
    )


def _logfmt_line(service: str, level: str, message: str, time_ms: int, draw: Draw) -> tuple[str, str]:
    return service, (
        f'ts={_iso(time_ms)}Z level={level.lower()} service={service} msg="{message}" '
        f"latency_ms={_latency_ms(draw)} hits={int(draw() * 100)}"
    )


def _syslog_line(service: str, level: str, message: str, time_ms: int, draw: Draw) -> tuple[str, str]:
    priority = _LOCAL_0 + _SYSLOG_SEVERITIES[level]
    depot, process = f"depot-{1 + int(draw() * 2)}", 800 + int(draw() * 4)
    parcel = f'[parcel@32473 id="{int(draw() * 10_000)}"]'
    return service, f"<{priority}>1 {_iso(time_ms)}Z {depot} {service} {process} - {parcel} {message}"


def _java_line(service: str, level: str, message: str, time_ms: int, draw: Draw) -> tuple[str, str]:
    time = _iso(time_ms).replace("T", " ").replace(".", ",")
    return service, f"{time} [worker-{int(draw() * 8)}] {level:5} com.shop.cart.Cart - {message}"


def _access_line(service: str, level: str, message: str, time_ms: int, draw: Draw) -> tuple[str, str]:
    del level, message
    host = f"{service}-{1 + int(draw() * 3)}"
    path, status = f"/product/{int(draw() * 55)}", _STATUSES[int(draw() * len(_STATUSES))]
    return host, (
        f'192.0.2.{int(draw() * 254)} - - [{_access_second(time_ms // 1000)}] "GET {path} HTTP/1.1" {status} '
        f'{int(draw() * 50_000)} "https://shop.example/" "Mozilla/5.0 ({host})"'
    )


_WRITERS = {"web": _access_line, "search": _logfmt_line, "shipping": _syslog_line, "cart": _java_line}
"""By service; the others write JSON lines."""


def _latency_ms(draw: Draw) -> float:
    return int(draw() * 4000) / 4


def _iso(time_ms: int) -> str:
    second, ms = divmod(time_ms, 1000)
    return f"{_iso_second(second)}.{ms:03}"


# Lines of one second come close together, and a date costs as much as the rest of a line.
@functools.lru_cache(maxsize=256)
def _iso_second(second: int) -> str:
    return _time(second).isoformat()[: -len("+00:00")]


@functools.lru_cache(maxsize=256)
def _access_second(second: int) -> str:
    # `%b` is English in every locale that this program could have: it never sets one.
    return _time(second).strftime("%d/%b/%Y:%H:%M:%S +0000")


def _time(second: int) -> dt.datetime:
    return _EPOCH + dt.timedelta(seconds=second)


_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
