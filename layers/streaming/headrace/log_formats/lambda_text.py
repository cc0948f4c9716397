r"""What AWS Lambda writes as text: the platform's lines and those of the Python and Node.js runtimes.

    START RequestId: 8f5a… Version: $LATEST                              the platform's, also END, INIT_START, …
    REPORT RequestId: 8f5a…<tab>Duration: 12.34 ms<tab>Billed Duration: 13 ms …
    2026-11-27T10:00:00.123Z 8f5a… Task timed out after 3.00 seconds
    RequestId: 8f5a… Error: Runtime exited with error: exit status 1
    [INFO]<tab>2026-11-27T10:00:00.123Z<tab>8f5a…<tab>message            Python's, without a request `[ERROR] message`
    2026-11-27T10:00:00.123Z<tab>8f5a…<tab>INFO<tab>message              Node.js'

The request's id is the attribute `request_id`. A REPORT's duration is the latency, its other values are attributes with
their unit in the name (`billed_duration_ms`, `memory_size_mb`); it is an ERROR if it says `Status: error` or `timeout`.
Other lines of the platform have no level; all of one is the message. Of the others' lines those after the first are the
stack trace.

Source: "Working with Lambda function logs" in AWS's Lambda guide.
"""

import re

from headrace.event_time import event_time_ms
from headrace.log_event import ERROR, UNSPECIFIED, LogEvent, log_event
from headrace.log_fields import severity_number
from headrace.log_formats.format import (
    EXAMPLES_KAFKA_MS,
    UNKNOWN_FORMAT,
    Example,
    Unparsable,
    attributes_of,
    shown,
    text_of,
)

_ID = "8f5a3c1e-0000-4000-8000-000000000000"
_REQUEST: dict[str, object] = {"attributes": {"request_id": _ID}}
_ERROR: dict[str, object] = {"format": "lambda_text", "severity_number": 17, "severity": "ERROR", "is_error": 1}
_REPORT = (
    f"REPORT RequestId: {_ID}\tDuration: 12.34 ms\tBilled Duration: 13 ms\tMemory Size: 128 MB\t"
    "Max Memory Used: 70 MB\tInit Duration: 99.5 ms\t\nXRAY TraceId: 1-5759e988-bd86\tSegmentId: 7f\tSampled: true"
)
EXAMPLES: tuple[Example, ...] = (
    (
        f"START RequestId: {_ID} Version: $LATEST",
        {"format": "lambda_text", "message": f"START RequestId: {_ID} Version: $LATEST"}
        | {"attributes": {"request_id": _ID, "version": "$LATEST"}},
    ),
    (f"END RequestId: {_ID}", {"format": "lambda_text", "message": f"END RequestId: {_ID}"} | _REQUEST),
    (
        _REPORT,
        {"format": "lambda_text", "message": _REPORT, "latency_ms": 12.34}
        | {"trace_id": "1-5759e988-bd86", "span_id": "7f"}
        | {
            "attributes": {"request_id": _ID, "billed_duration_ms": 13.0, "memory_size_mb": 128.0}
            | {"max_memory_used_mb": 70.0, "init_duration_ms": 99.5, "sampled": "true"}
        },
    ),
    (
        f"REPORT RequestId: {_ID}\tDuration: 3000.00 ms\tStatus: timeout",
        _ERROR
        | {"message": f"REPORT RequestId: {_ID}\tDuration: 3000.00 ms\tStatus: timeout", "latency_ms": 3000.0}
        | {"attributes": {"request_id": _ID, "status": "timeout"}},
    ),
    (
        "INIT_START Runtime Version: python:3.13.v1\tRuntime Version ARN: arn:a",
        {"format": "lambda_text", "message": "INIT_START Runtime Version: python:3.13.v1\tRuntime Version ARN: arn:a"}
        | {"attributes": {"runtime_version": "python:3.13.v1", "runtime_version_arn": "arn:a"}},
    ),
    (
        f"2026-11-27T10:00:00.123Z {_ID} Task timed out after 3.00 seconds",
        _ERROR | {"timestamp": EXAMPLES_KAFKA_MS + 123, "message": "Task timed out after 3.00 seconds"} | _REQUEST,
    ),
    (
        f"RequestId: {_ID} Error: Runtime exited with error: exit status 1\nRuntime.ExitError",
        _ERROR
        | {"message": "Error: Runtime exited with error: exit status 1", "stack_trace": "Runtime.ExitError"}
        | _REQUEST,
    ),
    (
        f"[WARNING]\t2026-11-27T10:00:00.123Z\t{_ID}\tslow",
        {"timestamp": EXAMPLES_KAFKA_MS + 123, "format": "lambda_text", "severity_number": 13, "severity": "WARN"}
        | {"message": "slow"}
        | _REQUEST,
    ),
    (
        "[ERROR] ValueError: no card\nTraceback (most recent call last):\n  File",
        _ERROR | {"message": "ValueError: no card", "stack_trace": "Traceback (most recent call last):\n  File"},
    ),
    (
        f"2026-11-27T10:00:00.123Z\t{_ID}\tERROR\tInvoke Error\t{{}}",
        _ERROR | {"timestamp": EXAMPLES_KAFKA_MS + 123, "message": "Invoke Error\t{}"} | _REQUEST,
    ),
    (
        "2026-11-27T10:00:00.123Z\tundefined\tINFO\tbefore a request",
        {"timestamp": EXAMPLES_KAFKA_MS + 123, "format": "lambda_text", "severity_number": 9, "severity": "INFO"}
        | {"message": "before a request"},
    ),
)

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,18}Z"
_OTHERS = r"(?:[\n\r](?P<others>.*+))?"
_PLATFORM = re.compile(
    rf"(?:(?:START|END|REPORT) RequestId: {_UUID}|(?:INIT|RESTORE)_(?:START|REPORT) [A-Z]|"
    r"(?:EXTENSION|LOGS|TELEMETRY)\tName: ).*+",
    re.DOTALL,
)
_LINE = re.compile(
    rf"(?:(?P<time>{_TIME}) (?P<id>{_UUID}) (?=Task timed out )|RequestId: (?P<id2>{_UUID}) (?=(?:Process|Error)\b)"
    rf"|\[(?P<level>[A-Z]{{3,9}}+)\](?:\t(?P<time2>{_TIME})\t(?P<id3>{_UUID}|)\t| )"
    rf"|(?P<time3>{_TIME})\t(?P<id4>{_UUID}|undefined)\t(?P<level2>[A-Z]{{3,9}}+)\t)"
    rf"(?P<message>[^\n\r]*+){_OTHERS}",
    re.DOTALL,
)
_QUANTITY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?) (ms|MB)")
_KIND = re.compile(r"[ \t]")
_BETWEEN = re.compile(r"[\t\n\r]")
_RENAMED = {"RequestId": "request_id", "XRAY TraceId": "trace_id", "SegmentId": "span_id"}
_FAILURES = frozenset({"error", "timeout", "failure"})


class LambdaText:
    """The format `lambda_text`."""

    name = "lambda_text"

    def parse(self, line: bytes, kafka_ms: int) -> LogEvent:
        """See `Format.parse`. Reasons: `unknown_format`, `unknown_level`, `invalid_time`, `not_utf8`."""
        text = text_of(line)
        if _PLATFORM.fullmatch(text):
            return _platform_event(text)
        match = _LINE.fullmatch(text)
        if match is None:
            raise Unparsable(UNKNOWN_FORMAT, f"no text of Lambda's: {shown(text)}")
        time, first_id, second_id, level, time2, third_id, time3, fourth_id, level2, message, others = match.groups()
        written, word = time or time2 or time3, level or level2
        number = ERROR if word is None else severity_number(word)
        if number is None:
            raise Unparsable("unknown_level", str(word))
        request_id = first_id or second_id or third_id or fourth_id
        return log_event(
            "lambda_text",
            severity_number=number,
            timestamp=None if written is None else event_time_ms(written),
            message=message or None,
            stack_trace=others,
            attributes=attributes_of({"request_id": request_id} if request_id and request_id != "undefined" else {}),
        )


def _platform_event(text: str) -> LogEvent:
    """Of a line of the platform: what it is, then names and values with tabs between."""
    kind, said = _KIND.split(text, 1)
    if kind == "START":
        said = said.replace(" Version: ", "\tVersion: ", 1)
    values: dict[str, object] = {}
    for part in _BETWEEN.split(said):
        name, colon, value = part.strip().partition(": ")
        if colon:
            quantity = _QUANTITY.fullmatch(value)
            name = _RENAMED.get(name, name.lower().replace(" ", "_"))
            values[f"{name}_{quantity[2].lower()}" if quantity else name] = float(quantity[1]) if quantity else value
    return log_event(
        "lambda_text",
        severity_number=ERROR if values.get("status") in _FAILURES else UNSPECIFIED,
        message=text,
        latency_ms=values.pop("duration_ms", None),
        trace_id=values.pop("trace_id", None),
        span_id=values.pop("span_id", None),
        attributes=attributes_of(values),
    )
