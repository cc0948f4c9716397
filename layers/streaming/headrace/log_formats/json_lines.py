"""JSON lines: one object per line, with the names in `headrace.log_fields.NAMES`.

If a line has several names of one field, the first in that table with a usable value wins and the others stay
attributes. A dotted name also means the nested form (`{"log": {"level": …}}`). `null` is the same as absent. A level, a
status, a size or a latency that is none stays an attribute, and so does a text that is an object, a list or a boolean.
"""

from typing import Any

import msgspec

from headrace import json_object
from headrace.errors import PoisonError
from headrace.event_time import event_time_ms
from headrace.log_event import SEVERITY_NAMES, LogEvent, error_flag, log_event, status_class
from headrace.log_fields import NAMES, http_status, severity_number, size_bytes, take_fields
from headrace.log_formats.format import EXAMPLES_KAFKA_MS, Example, Unparsable, attributes_of

_INFO = {"timestamp": EXAMPLES_KAFKA_MS, "format": "json", "severity_number": 9, "severity": "INFO"}
_ERROR = _INFO | {"severity_number": 17, "severity": "ERROR", "is_error": 1}
EXAMPLES: tuple[Example, ...] = (
    (  # the first names of the table
        '{"timestamp":"2026-11-27T10:00:00Z","level":"error","service":"pay","message":"no","status":502}',
        _ERROR | {"service": "pay", "status": 502, "status_class": "5xx", "message": "no"},
    ),
    (  # Elastic Common Schema, nested
        (
            '{"@timestamp":"2026-11-27T10:00:00.000Z","log":{"level":"info","logger":"cart"},"message":"sold",'
            '"service":{"name":"shop"},"host":{"hostname":"web1"},"trace":{"id":"5b8e"},"span":{"id":"eee1"},'
            '"event":{"duration":1500000},"http":{"request":{"method":"GET"},"response":{"status_code":200}},'
            '"url":{"path":"/cart"},"user_agent":{"original":"curl"},"ecs":{"version":"1.2.0"}}'
        ),
        _INFO
        | {"service": "shop", "message": "sold", "host": "web1", "trace_id": "5b8e", "span_id": "eee1"}
        | {"latency_ms": 1.5, "method": "GET", "status": 200, "status_class": "2xx", "path": "/cart"}
        | {"user_agent": "curl", "attributes": {"log": {"logger": "cart"}, "ecs": {"version": "1.2.0"}}},
    ),
    (  # log4j's JsonTemplateLayout with EcsLayout.json: dotted
        (
            '{"@timestamp":"2026-11-27T10:00:00.000Z","ecs.version":"1.2.0","log.level":"ERROR","message":"no",'
            '"process.thread.name":"main","log.logger":"cart","error.type":"java.io.IOException",'
            '"error.message":"gone","error.stack_trace":"java.io.IOException: gone\\n\\tat a.B"}'
        ),
        _ERROR
        | {"message": "no", "stack_trace": "java.io.IOException: gone\n\tat a.B"}
        | {
            "attributes": {"ecs.version": "1.2.0", "process.thread.name": "main", "log.logger": "cart"}
            | {"error.type": "java.io.IOException", "error.message": "gone"}
        },
    ),
    (  # log4j's JsonLayout
        (
            '{"instant":{"epochSecond":1795773600,"nanoOfSecond":7000000},"thread":"main","level":"ERROR",'
            '"loggerName":"cart","message":"no","thrown":{"name":"java.io.IOException","message":"gone",'
            '"extendedStackTrace":"java.io.IOException: gone"},"endOfBatch":false}'
        ),
        _ERROR
        | {"timestamp": EXAMPLES_KAFKA_MS + 7, "message": "no", "stack_trace": "java.io.IOException: gone"}
        | {
            "attributes": {"thread": "main", "loggerName": "cart", "endOfBatch": False}
            | {"thrown": {"name": "java.io.IOException", "message": "gone"}}
        },
    ),
    (  # bunyan
        (
            '{"name":"shop","hostname":"web1","pid":7,"level":50,"msg":"no","time":"2026-11-27T10:00:00.000Z","v":0,'
            '"err":{"message":"gone","stack":"Error: gone"}}'
        ),
        _ERROR
        | {"service": "shop", "host": "web1", "message": "no", "stack_trace": "Error: gone"}
        | {"attributes": {"pid": 7, "v": 0, "err": {"message": "gone"}}},
    ),
    (  # pino, with pino-http
        (
            '{"level":30,"time":1795773600000,"pid":7,"hostname":"web1","req":{"method":"GET","url":"/a"},'
            '"res":{"statusCode":404},"responseTime":12,"msg":"request completed"}'
        ),
        _INFO
        | {"host": "web1", "method": "GET", "path": "/a", "status": 404, "status_class": "4xx", "latency_ms": 12.0}
        | {"message": "request completed", "attributes": {"pid": 7}},
    ),
    (  # AWS Lambda Powertools
        (
            '{"level":"INFO","location":"handler:12","message":"sold","timestamp":"2026-11-27 10:00:00,000+0000",'
            '"service":"shop","cold_start":true,"function_name":"cart","xray_trace_id":"1-5759e988-bd862e3fe1be46a9"}'
        ),
        _INFO
        | {"service": "shop", "message": "sold", "trace_id": "1-5759e988-bd862e3fe1be46a9"}
        | {"attributes": {"location": "handler:12", "cold_start": True, "function_name": "cart"}},
    ),
    (  # structlog
        (
            '{"event":"no","level":"error","logger":"shop.cart","timestamp":"2026-11-27T10:00:00Z","user":"ann",'
            '"exception":"Traceback"}'
        ),
        _ERROR | {"message": "no", "user": "ann", "stack_trace": "Traceback", "attributes": {"logger": "shop.cart"}},
    ),
    (  # Python's logging, python-json-logger
        '{"asctime":"2026-11-27 10:00:00,000","levelname":"INFO","levelno":20,"message":"sold","lineno":3}',
        _INFO | {"message": "sold", "attributes": {"levelno": 20, "lineno": 3}},
    ),
    (  # Go: zap and slog
        '{"level":"info","ts":1795773600.5,"caller":"a.go:1","msg":"sold","took":"1.5ms"}',
        _INFO
        | {"timestamp": EXAMPLES_KAFKA_MS + 500, "message": "sold", "latency_ms": 1.5}
        | {"attributes": {"caller": "a.go:1"}},
    ),
    (  # OpenTelemetry's log record in JSON
        (
            '{"timeUnixNano":"1795773600000000000","severityNumber":10,"severityText":"Information",'
            '"body":{"stringValue":"sold"},"traceId":"5b8e","spanId":"eee1","attributes":[]}'
        ),
        _INFO
        | {"severity_number": 10, "message": "sold", "trace_id": "5b8e", "span_id": "eee1"}
        | {"attributes": {"severityText": "Information", "attributes": []}},
    ),
    (  # GELF: syslog's levels
        '{"version":"1.1","host":"web1","short_message":"no","timestamp":1795773600.007,"level":3,"_id":"a"}',
        _ERROR
        | {"timestamp": EXAMPLES_KAFKA_MS + 7, "host": "web1", "message": "no"}
        | {"attributes": {"version": "1.1", "_id": "a"}},
    ),
    (  # Serilog
        '{"@t":"2026-11-27T10:00:00.0000000Z","@mt":"no {Id}","@m":"no 3","@l":"Error","@x":"System.Exception"}',
        _ERROR | {"message": "no 3", "stack_trace": "System.Exception", "attributes": {"@mt": "no {Id}"}},
    ),
    (  # nginx, escape=json
        (
            '{"time_iso8601":"2026-11-27T10:00:00+00:00","remote_addr":"::1","request_method":"GET","status":"200",'
            '"request_uri":"/","server_protocol":"HTTP/1.1","body_bytes_sent":"5","request_time":"0.003"}'
        ),
        {"timestamp": EXAMPLES_KAFKA_MS, "format": "json", "host": "::1", "method": "GET", "path": "/", "bytes": 5}
        | {"protocol": "HTTP/1.1", "status": 200, "status_class": "2xx", "latency_ms": 3.0},
    ),
    (  # Docker's json-file
        '{"log":"sold\\n","stream":"stdout","time":"2026-11-27T10:00:00.007Z"}',
        {"timestamp": EXAMPLES_KAFKA_MS + 7, "format": "json", "message": "sold\n", "attributes": {"stream": "stdout"}},
    ),
)


class JsonLines:
    """The format `json`."""

    name = "json"

    def parse(self, line: bytes, kafka_ms: int) -> LogEvent:
        """See `Format.parse`. Reasons: `invalid_json`, `not_an_object`, `not_utf8`, `invalid_time`."""
        return usual_event(line) or _any_event(line)


def usual_event(line: bytes) -> LogEvent | None:
    """The event of a line with the best names only, and with the right types; None if it takes a closer look.

    Raises:
        Unparsable: `invalid_time`.
    """
    try:
        usual = _USUAL.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    number = 0 if usual.level is None else severity_number(usual.level)
    status, size, time = usual.status, usual.bytes, usual.timestamp
    if number is None or (status is not None and http_status(status) is None) or size_bytes(size or 0) is None:
        return None
    if usual.service is not None and not usual.service[:1].isalpha():
        return None  # empty, or a duration, perhaps
    return LogEvent(
        timestamp=None if time is None else event_time_ms(time),
        format="json",
        service=usual.service,
        severity_number=number,
        severity=SEVERITY_NAMES[number],
        status=status,
        status_class=status_class(status),
        is_error=error_flag(number, status),
        message=usual.message,
        host=usual.host,
        method=usual.method,
        path=usual.path,
        protocol=usual.protocol,
        bytes=size,
        latency_ms=usual.latency_ms,
        user=usual.user,
        referrer=usual.referrer,
        user_agent=usual.user_agent,
    )


class _UsualLine(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The line that needs no second look: the first names of `NAMES` only, with the right types."""

    timestamp: int | float | str | None = None
    level: int | str | None = None
    service: str | None = None
    message: str | None = None
    status: int | None = None
    latency_ms: float | None = None
    host: str | None = None
    method: str | None = None
    path: str | None = None
    protocol: str | None = None
    bytes: int | None = None
    user: str | None = None
    referrer: str | None = None
    user_agent: str | None = None


_USUAL = msgspec.json.Decoder(_UsualLine)
_NESTED: dict[str, list[tuple[str, list[str]]]] = {}
"""First part of a dotted name to the names, whole and in parts."""
for _name in NAMES:
    _outer, *_inner = _name.split(".")
    if _inner:
        _NESTED.setdefault(_outer, []).append((_name, _inner))


def _any_event(line: bytes) -> LogEvent:
    try:
        members = json_object.parse(line)
    except PoisonError as error:
        raise Unparsable(error.reason, error.detail) from None
    for outer in [name for name in members if name in _NESTED]:
        group = members[outer]
        if type(group) is dict:
            for name, inner in _NESTED[outer]:
                if name not in members:
                    _lift(members, name, group, inner)
            if not group:
                del members[outer]
    fields = take_fields(members)
    return log_event("json", **fields, attributes=attributes_of(members))


def _lift(members: dict[str, Any], name: str, group: dict[str, Any], inner: list[str]) -> None:
    """Make `{outer: {inner: x}}` `{"outer.inner": x}`; a group within the group that is empty now goes."""
    first, *rest = inner
    if not rest:
        if first in group:
            members[name] = group.pop(first)
    elif type(group.get(first)) is dict:
        _lift(members, name, group[first], rest)
        if not group[first]:
            del group[first]
