"""Generated logs of a shop's services: JSON lines and a few access-log lines, with an outage in one service."""

import datetime as dt
import functools
from collections.abc import Callable, Iterator
from random import Random

from headrace_cli.generator.bad_records import BAD_LOGS, ODD_LOGS, Sprinkle
from headrace_cli.generator.rhythm import SPAN_MS, event_ms, ticks, weighted
from headrace_cli.sources.source import SourceRecord

OUTAGE_SERVICE = "payment"
OUTAGE = (0.40, 0.44)
"""Between which parts of the span the outage is: minutes in which every second line is an error."""

_ACCESS_SHARE = 0.02
_OUTAGE_ERRORS = 0.5
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
_UNKNOWN = weighted({"": 9, ',"region":"eu-west-1"': 1})
_STATUSES = weighted({"200": 90, "304": 5, "404": 4, "500": 1})


def service_logs(records: int, seed: int, start_ms: int) -> Iterator[SourceRecord]:
    """Log lines keyed by service (access logs: by host), with a sprinkle of bad ones."""
    draw = Random(seed).random  # noqa: S311 - reproducible, not secret
    sprinkle = Sprinkle(BAD_LOGS, ODD_LOGS)
    begin_ms, end_ms = (int(part * SPAN_MS) for part in OUTAGE)
    for elapsed_ms, turn in ticks(records, sprinkle.kinds):
        now_ms = start_ms + elapsed_ms
        service = _SERVICES[int(draw() * len(_SERVICES))]
        if turn is not None:
            yield sprinkle.record(turn, service.encode(), now_ms)
        elif draw() < _ACCESS_SHARE:
            yield _access_line(event_ms(now_ms, elapsed_ms, draw), draw)
        else:
            out = service == OUTAGE_SERVICE and begin_ms <= elapsed_ms < end_ms
            yield _json_line(service, _level(draw, out=out), event_ms(now_ms, elapsed_ms, draw), draw)


def _level(draw: Callable[[], float], *, out: bool) -> str:
    if out and draw() < _OUTAGE_ERRORS:
        return "ERROR"
    return _LEVELS[int(draw() * len(_LEVELS))]


def _json_line(service: str, level: str, time_ms: int, draw: Callable[[], float]) -> SourceRecord:
    second, ms = divmod(time_ms, 1000)
    text = (
        f'{{"timestamp":"{_iso_second(second)}.{ms:03}Z","level":"{level}","service":"{service}","message":"{_MESSAGES[level]}",'
        f'"latency_ms":{int(draw() * 4000) / 4}{_UNKNOWN[int(draw() * len(_UNKNOWN))]}}}'
    )
    return SourceRecord(service.encode(), text.encode(), time_ms)


def _access_line(time_ms: int, draw: Callable[[], float]) -> SourceRecord:
    time_ms -= time_ms % 1000  # access logs have seconds
    host = f"web-{1 + int(draw() * 3)}"
    path, status = f"/product/{int(draw() * 55)}", _STATUSES[int(draw() * len(_STATUSES))]
    # `%b` is English in every locale that this program could have: it never sets one.
    time = _time(time_ms).strftime("%d/%b/%Y:%H:%M:%S +0000")
    text = (
        f'192.0.2.{int(draw() * 254)} - - [{time}] "GET {path} HTTP/1.1" {status} {int(draw() * 50_000)} '
        f'"https://shop.example/" "Mozilla/5.0 ({host})"'
    )
    return SourceRecord(host.encode(), text.encode(), time_ms)


def _time(time_ms: int) -> dt.datetime:
    return _EPOCH + dt.timedelta(milliseconds=time_ms)


# Lines of one second come close together, and a date costs as much as the rest of a line.
@functools.lru_cache(maxsize=256)
def _iso_second(second: int) -> str:
    return _time(second * 1000).isoformat()[: -len("+00:00")]


_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
