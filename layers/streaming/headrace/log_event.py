"""What every log line becomes, whatever its format: one event, and the rules by which its severity is told.

Severities have OpenTelemetry's numbers (Logs Data Model, "Field: SeverityNumber"): 1 to 4 are TRACE, 5 to 8 DEBUG,
9 to 12 INFO, 13 to 16 WARN, 17 to 20 ERROR, 21 to 24 FATAL, and 0 is unspecified. A line with a status and no level has
no severity; its `status_class` says what there is to say.
"""

from typing import Any

import msgspec

TRACE, DEBUG, INFO, WARN, ERROR, FATAL = 1, 5, 9, 13, 17, 21
"""The first number of each range."""
UNSPECIFIED = 0
SEVERITY_NAMES = (
    "UNSPECIFIED",
    *(name for name in ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL") for _ in range(4)),
)
"""The name of each number's range."""
SYSLOG_SEVERITIES = (FATAL, ERROR + 2, ERROR + 1, ERROR, WARN, INFO + 1, INFO, DEBUG)
"""By syslog's severity, 0 (emergency) to 7 (debug): appendix B of OpenTelemetry's data model."""
_FIRST_ERROR_STATUS = 500
_STATUS_CLASSES = tuple(f"{n}xx" if 1 <= n <= 5 else None for n in range(10))  # noqa: PLR2004 - HTTP has five


class LogEvent(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One log line; the fields are those of the Avro record `LogEvent` in `log_event.avsc`."""

    timestamp: int | None = None
    """When it happened, epoch milliseconds; None if the line has no time (Kafka's is used then)."""
    format: str
    """Which format it was read by: `json`, `combined`, …, or `unparsed`."""
    service: str | None = None
    """Who wrote it."""
    severity_number: int = UNSPECIFIED
    """OpenTelemetry's, 1 to 24; 0 if the line has no level."""
    severity: str = "UNSPECIFIED"
    """The name of the number's range: `TRACE`, `DEBUG`, `INFO`, `WARN`, `ERROR`, `FATAL` or `UNSPECIFIED`."""
    status: int | None = None
    """HTTP status, 0 to 999."""
    status_class: str | None = None
    """`1xx` to `5xx`, if the status is in one."""
    is_error: int = 0
    """1 if the severity is ERROR or FATAL or the status at least 500, else 0: its sum counts errors."""
    is_unparsed: int = 0
    """1 if no format could read the line, else 0: its sum counts unparsed lines."""
    message: str | None = None
    """What happened; the request line in an access log; the whole line if it is unparsed."""
    pattern: str | None = None
    """The message with its variable parts masked."""
    host: str | None = None
    """Who was served, if the line is a server's about a client; else the machine that wrote the line."""
    method: str | None = None
    """HTTP method."""
    path: str | None = None
    """HTTP request target, query included."""
    protocol: str | None = None
    """`HTTP/1.1` and the like."""
    bytes: int | None = None
    """Size of the response or of the traffic, bytes."""
    latency_ms: float | None = None
    """How long it took, milliseconds."""
    user: str | None = None
    """Who was logged in."""
    referrer: str | None = None
    """HTTP Referer."""
    user_agent: str | None = None
    """HTTP User-Agent."""
    trace_id: str | None = None
    """The trace that the line belongs to, as written."""
    span_id: str | None = None
    """The span of the trace, as written."""
    stack_trace: str | None = None
    """The lines after the first, or what the line has as a stack trace."""
    unparsed: str | None = None
    """Why no format could read the line, as `reason: detail`; None if one could."""
    attributes: str | None = None
    """Everything else in the line, as a JSON object; None if there is nothing else."""


def log_event(
    format_name: str, *, severity_number: int = UNSPECIFIED, status: int | None = None, **fields: Any
) -> LogEvent:
    """An event whose severity's name, status class and error flag follow from its numbers.

    Args:
        format_name: the event's `format`.
        severity_number: OpenTelemetry's.
        status: HTTP's, 0 to 999.
        fields: the event's other fields.
    """
    return LogEvent(
        format=format_name,
        severity_number=severity_number,
        severity=SEVERITY_NAMES[severity_number],
        status=status,
        status_class=status_class(status),
        is_error=error_flag(severity_number, status),
        **fields,
    )


def with_lines(event: LogEvent, lines: str) -> LogEvent:
    """The event with further lines at the end of its stack trace; itself, if there are none."""
    if not lines:
        return event
    stack_trace = lines if event.stack_trace is None else f"{event.stack_trace}\n{lines}"
    return msgspec.structs.replace(event, stack_trace=stack_trace)


def status_class(status: int | None) -> str | None:
    """`1xx` to `5xx`; None for other statuses."""
    return None if status is None else _STATUS_CLASSES[status // 100]


def error_flag(severity_number: int, status: int | None) -> int:
    """1 for the severities ERROR and FATAL and for statuses of at least 500, else 0."""
    return int(severity_number >= ERROR or (status is not None and status >= _FIRST_ERROR_STATUS))
