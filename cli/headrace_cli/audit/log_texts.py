"""Log lines that are no JSON and no access log, as far as the demo writes them: logfmt, syslog, log4j's text.

Each reader is stricter than the library's: a line that it takes has one reading only. Others are `NotRead`.
"""

import re
from typing import Any

from headrace_cli.audit import log_values as values
from headrace_cli.audit.times import NotRead, time_ms_of

Fields = dict[str, Any]
"""Columns of the line; `attributes` as a dictionary."""

_PAIR = r'[a-z_]+=(?:[^\s"=]+|"[^"\\\n]*")'
_LOGFMT = re.compile(rf"{_PAIR}(?: {_PAIR})+")
_DATA = r'\[[^\s"\]=]+(?: [^\s"\]=]+="[^"\\\]]*")*\]'
_SYSLOG = re.compile(rf"<([0-9]{{1,3}})>1 (\S+) (\S+) (\S+) ([0-9]{{1,9}}|-) (\S+) (-|{_DATA}) ([^\n]+)")
_FACILITIES = [
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp"),
    *("audit", "alert", "clockd"),
    *(f"local{number}" for number in range(8)),
]
_JAVA = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8},[0-9]{3}) \[([^\[\]\n]+)\] ([A-Z]+) +([\w$]+(?:\.[\w$]+)+) - ([^\n]+)"
)


def read_text(line: str) -> Fields:
    """The columns of a line.

    Raises:
        NotRead: it is of none of these formats, or not of their simplest form.
        Dead: its time is none.
    """
    for read in (_logfmt, _syslog, _java):
        fields = read(line)
        if fields is not None:
            return fields
    raise NotRead(line)


def _logfmt(line: str) -> Fields | None:
    if not _LOGFMT.fullmatch(line):
        return None
    members = {name: value.strip('"') for name, value in re.findall(r'([a-z_]+)=("[^"]*"|\S+)', line)}
    return {"format": "logfmt"} | values.named_columns(members)


def _syslog(line: str) -> Fields | None:
    match = _SYSLOG.fullmatch(line)
    if match is None or int(match[1]) > 8 * len(_FACILITIES) - 1:
        return None
    priority, time, host, application, process, message_id, data, message = match.groups()
    attributes: Fields = {"facility": _FACILITIES[int(priority) // 8], "version": 1}
    if process != "-":
        attributes["procid"] = int(process)
    if message_id != "-":
        attributes["msgid"] = message_id
    if data != "-":
        name, *parameters = data[1:-1].split(" ", 1)
        pairs = re.findall(r'(\S+?)="([^"]*)"', parameters[0] if parameters else "")
        if len(dict(pairs)) < len(pairs):
            return None
        attributes["structured_data"] = {name: dict(pairs)}
    return {
        "format": "syslog",
        "severity_number": values.SYSLOG[int(priority) % 8],
        "timestamp": None if time == "-" else time_ms_of(time),
        "service": None if application == "-" else application,
        "host": None if host == "-" else host,
        "message": None if message == "-" else message,
        "attributes": attributes,
    }


def _java(line: str) -> Fields | None:
    match = _JAVA.fullmatch(line)
    number = None if match is None else values.level(match[3])
    if match is None or number is None:
        return None
    time, thread, _, logger, message = match.groups()
    return {
        "format": "java_text",
        "severity_number": number,
        "timestamp": time_ms_of(time),
        "message": message,
        "attributes": {"thread": thread, "logger": logger},
    }
