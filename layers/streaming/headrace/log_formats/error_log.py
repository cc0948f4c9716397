r"""The error logs of Apache (2.2 and 2.4) and nginx.

Apache: `[time] [module:level] [pid 1:tid 2] [client address:port] message, referer: …`; nginx:
`time [level] pid#tid: *connection message, client: …, server: …, request: "…", host: "…"`. What stands behind nginx's
message is an attribute each, but for the client (`host`), the request's parts and the referrer. Neither writes a time
zone: it is UTC.

Sources: Apache's mod_core `ErrorLogFormat`, its default; nginx's src/core/ngx_log.c and ngx_http_log_error.
"""

import re

from headrace.event_time import event_time_ms
from headrace.log_event import LogEvent, log_event
from headrace.log_fields import severity_number
from headrace.log_formats.access import request_parts
from headrace.log_formats.format import (
    EXAMPLES_KAFKA_MS,
    UNKNOWN_FORMAT,
    Example,
    Unparsable,
    attributes_of,
    shown,
    text_of,
)

EXAMPLES: tuple[Example, ...] = (
    (
        (
            '2026/11/27 10:00:00 [error] 31#32: *1 open() "/srv/a" failed, client: 192.0.2.1, server: localhost, '
            'request: "POST /a HTTP/1.1", host: "localhost:8081"'
        ),
        {"timestamp": EXAMPLES_KAFKA_MS, "format": "error_log", "severity_number": 17, "severity": "ERROR"}
        | {"is_error": 1, "message": 'open() "/srv/a" failed', "host": "192.0.2.1", "method": "POST", "path": "/a"}
        | {"protocol": "HTTP/1.1"}
        | {"attributes": {"pid": 31, "tid": 32, "connection": 1, "server": "localhost", "host": "localhost:8081"}},
    ),
    (
        (
            "[Fri Nov 27 10:00:00.902022 2026] [core:error] [pid 35708:tid 43286] [client 192.0.2.1:60318] "
            "AH00128: File does not exist: /srv/a, referer: http://a.example/"
        ),
        {"timestamp": EXAMPLES_KAFKA_MS + 902, "format": "error_log", "severity_number": 17, "severity": "ERROR"}
        | {"is_error": 1, "message": "AH00128: File does not exist: /srv/a", "host": "192.0.2.1"}
        | {"referrer": "http://a.example/", "attributes": {"module": "core", "pid": 35708, "tid": 43286}},
    ),
    (
        "[Fri Nov 27 10:00:00 2026] [notice] caught SIGTERM, shutting down",
        {"timestamp": EXAMPLES_KAFKA_MS, "format": "error_log", "severity_number": 10, "severity": "INFO"}
        | {"message": "caught SIGTERM, shutting down"},
    ),
)

_NGINX = re.compile(
    r"([0-9]{4}/[0-9]{2}/[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}) \[([a-z]{1,8})\] "
    r"([0-9]{1,10})#([0-9]{1,10}): (?:\*([0-9]{1,18}) )?(.*+)"
)
_NGINX_CONTEXT = re.compile(r', (server|request|subrequest|upstream|host|referrer|login): (?:"([^"]*+)"|([^,"]*+))')
_APACHE = re.compile(
    r"\[([A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9]{2} [0-9:.]{8,18} [0-9]{4})\] \[(?:([a-z0-9_]*+):)?([a-z]{1,8})[0-9]?\] "
    r"(?:\[pid ([0-9]{1,10})(?::tid ([0-9]{1,18}))?\] )?(?:\[client ([^\]\n]*+)\] )?(.*+)"
)


class ErrorLog:
    """The format `error_log`."""

    name = "error_log"

    def parse(self, line: bytes, kafka_ms: int) -> LogEvent:
        """See `Format.parse`. Reasons: `unknown_format`, `invalid_time`."""
        text = text_of(line)
        if match := _NGINX.fullmatch(text):
            return _nginx_event(*match.groups())
        if match := _APACHE.fullmatch(text):
            return _apache_event(*match.groups())
        raise Unparsable(UNKNOWN_FORMAT, f"no error log: {shown(text)}")


def _nginx_event(time: str, level: str, pid: str, tid: str, connection: str | None, text: str) -> LogEvent:
    message, _, context = text.partition(", client: ")
    client = context.partition(",")[0]
    attributes: dict[str, object] = {"pid": int(pid), "tid": int(tid)}
    if connection:
        attributes["connection"] = int(connection)
    for name, quoted, plain in _NGINX_CONTEXT.findall(context):
        attributes[name] = quoted or plain
    method, path, protocol = request_parts(str(attributes.pop("request", "")))
    return log_event(
        "error_log",
        timestamp=event_time_ms(time),
        severity_number=severity_number(level) or 0,
        message=message,
        host=client or None,
        method=method,
        path=path,
        protocol=protocol,
        referrer=attributes.pop("referrer", None),
        attributes=attributes_of(attributes),
    )


def _apache_event(
    time: str, module: str | None, level: str, pid: str | None, tid: str | None, client: str | None, text: str
) -> LogEvent:
    message, _, referrer = text.partition(", referer: ")
    # Only 2.4, which writes the process, writes the client's port.
    host = client.rpartition(":")[0] if client and pid else client
    members = {"module": module, "pid": pid and int(pid), "tid": tid and int(tid)}
    return log_event(
        "error_log",
        timestamp=event_time_ms(time),
        severity_number=severity_number(level) or 0,
        message=message,
        host=host or client,
        referrer=referrer or None,
        attributes=attributes_of({name: value for name, value in members.items() if value}),
    )
