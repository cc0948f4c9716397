"""What a log line says, read with the standard library: the audit's own reading of the lines that a demo has.

It reads JSON lines with the usual names, access logs, and the text of `log_texts`; knows the lines that continue a
stack trace; and says which lines no format can read. A line that might be something else is `NotRead`: how its fields
come about is not audited then, only what becomes of them.
"""

import re
from typing import Any

from headrace_cli.audit import log_values as values
from headrace_cli.audit.log_texts import read_text
from headrace_cli.audit.records import (
    LARGEST_MESSAGE_BYTES,
    NO_VALUE,
    UNREADABLE,
    Dead,
    Produced,
    canonical_json,
    json_object,
    payload,
)
from headrace_cli.audit.times import NotRead, time_ms_of

CONTINUATION = "continuation"
"""The format of a line that continues nothing."""

_TERMINAL = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-Z\\^_])")
"""Colours and the like."""
_CONTINUES = re.compile(
    r"[ \t]|Caused by: |Suppressed: |at (async |new )?(?![0-9])([^\s.(:/]*([.(/]|:\S)|\S+ \()"
    r"|\.\.\. [0-9]{1,9} (more|common frames omitted)"
    r"|([A-Za-z_$][A-Za-z0-9_$]*\.)+[A-Za-z0-9_$]*(Exception|Error|Throwable)(:|\s|$)"
)
_QUOTED = r'"((?:[^"\\\n]|\\.)*)"'
_ACCESS = re.compile(
    r"([^ \n]+) ([^ \n]+) ([^ \n]+) \[([^\]\n]*)\] "
    rf"{_QUOTED} ([0-9]{{3}}|-) ([0-9]+|-)(?: {_QUOTED} {_QUOTED})?(?: (.+))?"
)

_COLUMNS = [
    *("timestamp", "format", "service", "severity_number", "severity", "status", "status_class", "is_error"),
    *("is_unparsed", "message", "pattern", "host", "method", "path", "protocol", "bytes", "latency_ms", "user"),
    *("referrer", "user_agent", "trace_id", "span_id", "stack_trace", "unparsed", "attributes"),
]

Line = dict[str, Any]
"""The columns; `timestamp` is epoch milliseconds or None, `attributes` canonical JSON or None, `unparsed` a cause."""


def read_log(record: Produced) -> Line | str:
    """The line's columns but for its `pattern`; the text, if it continues the line before it.

    Raises:
        Dead: it is no text of at most a mebibyte.
        NotRead: the audit has no reading of its own.
    """
    value = record.value or b""
    if value[:2] == b"\x1f\x8b" or b'"messageType"' in value[:32]:
        raise NotRead("CloudWatch's")
    if len(value) > LARGEST_MESSAGE_BYTES:
        raise Dead(UNREADABLE)
    payload(record)
    value = _TERMINAL.sub(b"", value).removeprefix("\ufeff".encode())
    try:
        line, whole = value.strip().decode(), value.rstrip().decode()
    except UnicodeDecodeError:
        raise Dead(UNREADABLE) from None
    if not line:
        raise Dead(NO_VALUE)
    if not line.startswith("{") and _CONTINUES.match(whole):
        return whole
    try:
        fields = _fields(line)
    except Dead as verdict:
        fields = {"format": "unparsed", "is_unparsed": 1, "message": line, "unparsed": verdict.cause}
    return _complete(fields, record)


def alone(record: Produced, text: str) -> Line:
    """The columns of a line that continues nothing."""
    return _complete({"format": CONTINUATION, "message": text}, record)


def _fields(line: str) -> Line:
    if line.startswith("{"):
        return _json_fields(line)
    match = _ACCESS.fullmatch(line)
    if match is not None:
        return _access_fields(match)
    if not re.search(r"[0-9=\t]|^\[", line):
        raise Dead(UNREADABLE)  # every format has a time, pairs, tabs or a level in brackets
    return read_text(line)


def _complete(fields: Line, record: Produced) -> Line:
    """With what follows from the fields."""
    line: Line = dict.fromkeys(_COLUMNS) | {"is_unparsed": 0} | fields
    number, status = line["severity_number"] or 0, line["status"]
    line["severity_number"] = number
    line["severity"] = values.severity_name(number)
    line["status_class"] = f"{status // 100}xx" if status is not None and 100 <= status < 600 else None  # noqa: PLR2004 - HTTP's
    line["is_error"] = int(number >= 17 or (status is not None and status >= 500))  # noqa: PLR2004 - ERROR; server errors
    line["attributes"] = canonical_json(line["attributes"]) if line["attributes"] else None
    if line["service"] is None:
        line["service"] = _key_text(record.key) or record.topic
    return line


def _key_text(key: bytes | None) -> str | None:
    try:
        return (key or b"").decode()
    except UnicodeDecodeError:
        return None


def _json_fields(line: str) -> Line:
    members = json_object(line.encode())
    for dotted in filter(lambda name: "." in name, values.COLUMN_OF):
        _flatten(members, dotted)
    return {"format": "json"} | values.named_columns(members)


def _flatten(members: dict[str, Any], dotted: str) -> None:
    """`{"log": {"level": …}}` means `{"log.level": …}`."""
    *outers, last = dotted.split(".")
    groups = [members]
    for outer in outers:
        group = groups[-1].get(outer)
        if not isinstance(group, dict):
            return
        groups.append(group)
    if last not in groups[-1] or dotted in members:
        return
    members[dotted] = groups[-1].pop(last)
    while outers and not groups.pop():
        del groups[-1][outers.pop()]


def _access_fields(match: re.Match[str]) -> Line:
    if match[7] != "-" and values.size(match[7]) is None:
        raise Dead(UNREADABLE)
    host, identity, user, time, request, status, size, referrer, agent, trailing = match.groups()
    named = {"identity": _present(identity), "trailing": trailing}
    fields: Line = {
        "format": "common" if agent is None else "combined",
        "timestamp": time_ms_of(time),
        "status": None if status == "-" else int(status),
        "bytes": values.size(size),
        "message": _present(request),
        "host": _present(host),
        "user": _present(user),
        "referrer": _present(referrer),
        "user_agent": _present(agent),
        "attributes": {name: value for name, value in named.items() if value is not None},
    }
    return fields | _request(request)


def _present(field: str | None) -> str | None:
    return None if field in {"-", ""} else field


def _request(request: str) -> dict[str, str | None]:
    """`GET /path HTTP/1.1`, or HTTP/0.9's `GET /path`; anything else says nothing."""
    if match := re.fullmatch(r"([^ ]*) (.+) (HTTP/.*)", request, re.DOTALL):
        method, path, protocol = match.groups()
        if " " not in protocol:
            return {"method": method, "path": path, "protocol": protocol}
    if match := re.fullmatch(r"GET ([^ ]+)", request):
        return {"method": "GET", "path": match[1], "protocol": None}
    return {"method": None, "path": None, "protocol": None}
