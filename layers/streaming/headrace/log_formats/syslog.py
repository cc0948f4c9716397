r"""Syslog: RFC 5424, and the RFC 3164 that programs really write.

**RFC 5424**, `<PRI>1 TIME HOST APP PROCID MSGID SD MSG`. The application is the service. Facility, version, process and
message id are attributes, and so is `structured_data`: an object of objects, in which a parameter that comes several
times is a list. `\"`, `\\` and `\]` are unescaped, another backslash is one (section 6.3.3). `-` is absent; a byte
order mark before the message goes.

**RFC 3164**, `<PRI>Mmm dd hh:mm:ss HOST TAG[PID]: MSG`, also without priority (as in files), without host, without tag,
with a year after the day, and with a time of ISO 8601 in place of the other (rsyslog's default). A time without a year
is in the year that brings it closest to Kafka's timestamp, one without a zone is UTC. The tag is the service. Cisco's
devices write `<PRI>number: host: *time: MSG`, with parts left out.

An ISO time without a priority is how many other lines begin. So their first word is a host only before a tag, and a tag
that is a level's word (`info: …`) is the level.

A length before the message (octet counting, RFC 6587) is passed over. The priority's lower three bits are the severity;
a line without one has none. Lines after the first one are the stack trace.
"""

import datetime as dt
import functools
import re

from headrace.event_time import MONTHS, event_time_ms
from headrace.log_event import SEVERITY_NAMES, SYSLOG_SEVERITIES, LogEvent, error_flag, log_event
from headrace.log_fields import severity_number
from headrace.log_formats.format import (
    EXAMPLES_KAFKA_MS,
    UNKNOWN_FORMAT,
    Example,
    Unparsable,
    attributes_of,
    present,
    shown,
    text_of,
)

EXAMPLES: tuple[Example, ...] = (
    (
        r'<165>1 2026-11-27T10:00:00.003Z web1 evntslog 8710 ID47 [ex@32473 iut="3" eventID="\"a\]"][x] started',
        {"timestamp": EXAMPLES_KAFKA_MS + 3, "format": "syslog", "service": "evntslog", "severity_number": 10}
        | {"severity": "INFO", "host": "web1", "message": "started"}
        | {
            "attributes": {"facility": "local4", "version": 1, "procid": 8710, "msgid": "ID47"}
            | {"structured_data": {"ex@32473": {"iut": "3", "eventID": '"a]'}, "x": {}}}
        },
    ),
    (
        "<0>1 - - - - - -",
        {"format": "syslog", "severity_number": 21, "severity": "FATAL", "is_error": 1}
        | {"attributes": {"facility": "kern", "version": 1}},
    ),
    (
        "83 <34>1 2026-11-27T12:00:00+02:00 a su - - - \ufeff'su root' failed\n at tty1",
        {"timestamp": EXAMPLES_KAFKA_MS, "format": "syslog", "service": "su", "severity_number": 18}
        | {"severity": "ERROR", "is_error": 1, "host": "a", "message": "'su root' failed", "stack_trace": " at tty1"}
        | {"attributes": {"facility": "auth", "version": 1}},
    ),
    (
        "<38>Nov 27 10:00:00 web1 sshd(pam_unix)[19939]: authentication failure; rhost=192.0.2.1",
        {"timestamp": EXAMPLES_KAFKA_MS, "format": "syslog", "service": "sshd(pam_unix)", "severity_number": 9}
        | {"severity": "INFO", "host": "web1", "message": "authentication failure; rhost=192.0.2.1"}
        | {"attributes": {"facility": "auth", "procid": 19939}},
    ),
    (
        "Jan  2 03:04:05 web1 kernel: eth0 up",  # next January is closer to Kafka's November
        {"timestamp": 1_798_859_045_000, "format": "syslog", "service": "kernel", "host": "web1"}
        | {"message": "eth0 up"},
    ),
    (
        "<13>Nov 27 2026 10:00:00 cron[7]: (root) CMD",
        {"timestamp": EXAMPLES_KAFKA_MS, "format": "syslog", "service": "cron", "severity_number": 10}
        | {"severity": "INFO", "message": "(root) CMD", "attributes": {"facility": "user", "procid": 7}},
    ),
    (
        "2026-11-27T10:00:00.250000+00:00 web1 no tag here",
        {"timestamp": EXAMPLES_KAFKA_MS + 250, "format": "syslog", "message": "web1 no tag here"},
    ),
    (
        "2026-11-27T10:00:00.250Z error: no card",
        {"timestamp": EXAMPLES_KAFKA_MS + 250, "format": "syslog", "severity_number": 17, "severity": "ERROR"}
        | {"is_error": 1, "message": "no card"},
    ),
    (
        "<187>45: sw1: *Nov 27 10:00:00.250 UTC: %LINK-3-UPDOWN: Interface Gi0/1, changed state to down",
        {"timestamp": EXAMPLES_KAFKA_MS + 250, "format": "syslog", "service": "%LINK-3-UPDOWN", "severity_number": 17}
        | {"severity": "ERROR", "is_error": 1, "host": "sw1", "message": "Interface Gi0/1, changed state to down"}
        | {"attributes": {"facility": "local7"}},
    ),
)

_FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp"),
    *("audit", "alert", "clockd"),
    *(f"local{n}" for n in range(8)),
)
_HIGHEST_PRIORITY = 8 * len(_FACILITIES) - 1
# Possessive throughout, as in the other formats: a hostile line cannot make the search try again.
_QUOTED = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_ELEMENT = rf'\[[^"\]]*+(?:{_QUOTED}[^"\]]*+)*+\]'
_RFC5424 = re.compile(
    r"(?:[0-9]{1,9} )?<([0-9]{1,3})>1 (\S++) (\S++) (\S++) (\S++) (\S++) "
    rf"(-|(?:{_ELEMENT})++)(?: \ufeff?([^\n]*+)(?:\n(.*+))?)?",
    re.DOTALL,
)
_ELEMENTS = re.compile(rf'\[([^\s="\]]++)([^"\]]*+(?:{_QUOTED}[^"\]]*+)*+)\]', re.DOTALL)
_PARAMETERS = re.compile(r'([^\s="\]]++)= *+"([^"\\]*+(?:\\.[^"\\]*+)*+)"', re.DOTALL)
_ESCAPED = re.compile(r'\\(["\\\]])')
_RFC3164 = re.compile(
    r"(?:[0-9]{1,9} )?(?:<([0-9]{1,3})>(?:[0-9]{1,10}: )?(?:([\w.-]++): )?[*.]?)? ?"
    r"(?:([A-Z][a-z]{2} [ 0-3]?[0-9])(?: ([0-9]{4}))? ([0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?)(?:(?: UTC)?:)?"
    r"|([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{5,18}+(?:Z|[+-][0-9]{2}:?[0-9]{2})?)) "
    r"(?:(?![^\s:]++: )(?!\S++\]: )(\S++) )?([^\n]*+)(?:\n(.*+))?",
    re.DOTALL,
)
_TAGGED = re.compile(r"([^\s:\[\]]{1,64}+)(?:\[([^\s\]]{0,64}+)\])?+:(?: |$)(.*+)", re.DOTALL)


class Syslog:
    """The format `syslog`: either RFC."""

    name = "syslog"

    def parse(self, line: bytes, kafka_ms: int) -> LogEvent:
        """See `Format.parse`. Reasons: `unknown_format`, `invalid_priority`, `invalid_time`, `not_utf8`."""
        text = text_of(line)
        match = _RFC5424.fullmatch(text)
        if match is None:
            return _rfc3164(text, kafka_ms)
        priority, time, host, application, process, message_id, data, message, others = match.groups()
        facility, number = _facility_and_severity(priority)
        attributes: dict[str, object] = {"facility": facility, "version": 1}
        if process != "-":
            attributes["procid"] = _number_or_text(process)
        if message_id != "-":
            attributes["msgid"] = message_id
        if data != "-":
            attributes["structured_data"] = _structured(data)
        return LogEvent(
            format="syslog",
            severity_number=number,
            severity=SEVERITY_NAMES[number],
            is_error=error_flag(number, None),
            timestamp=None if time == "-" else event_time_ms(time),
            service=present(application),
            host=present(host),
            message=present(message),
            stack_trace=others,
            attributes=attributes_of(attributes),
        )


def _rfc3164(text: str, kafka_ms: int) -> LogEvent:
    match = _RFC3164.fullmatch(text)
    if match is None:
        raise Unparsable(UNKNOWN_FORMAT, f"no syslog: {shown(text)}")
    priority, device, day, year, clock, iso, host, content, others = match.groups()
    facility, number = (None, 0) if priority is None else _facility_and_severity(priority)
    attributes: dict[str, object] = {} if facility is None else {"facility": facility}
    tagged = _TAGGED.fullmatch(content)
    service, process, message = tagged.groups() if tagged else (None, None, content)
    if priority is None and iso is not None:
        if tagged is None and host is not None:
            host, message = None, f"{host} {content}"
        elif host is None and service and (level := severity_number(service)) is not None:
            number, service = level, None
    if process:
        attributes["procid"] = _number_or_text(process)
    return log_event(
        "syslog",
        severity_number=number,
        timestamp=event_time_ms(iso) if day is None else _near(day, year, clock, kafka_ms),
        service=service,
        host=host or device,
        message=message or None,
        stack_trace=others,
        attributes=attributes_of(attributes),
    )


def _facility_and_severity(priority: str) -> tuple[str, int]:
    value = int(priority)
    if value > _HIGHEST_PRIORITY:
        raise Unparsable("invalid_priority", f"{priority} is more than {_HIGHEST_PRIORITY}")
    return _FACILITIES[value >> 3], SYSLOG_SEVERITIES[value & 7]


def _number_or_text(text: str) -> int | str:
    is_number = text.isascii() and text.isdigit() and len(text) <= 18 and (text[0] != "0" or text == "0")  # noqa: PLR2004 - what 64 bits hold
    return int(text) if is_number else text


def _structured(data: str) -> dict[str, dict[str, str | list[str]]]:
    elements: dict[str, dict[str, str | list[str]]] = {}
    for name, content in _ELEMENTS.findall(data):
        elements.setdefault(name, {}).update(_parameters(content))
    return elements


def _parameters(content: str) -> dict[str, str | list[str]]:
    pairs = _PARAMETERS.findall(content)
    if "\\" in content:
        pairs = [(name, _ESCAPED.sub(r"\1", value)) for name, value in pairs]
    parameters: dict[str, str | list[str]] = dict(pairs)
    if len(parameters) < len(pairs):
        values: dict[str, list[str]] = {}
        for name, value in pairs:
            values.setdefault(name, []).append(value)
        parameters |= {name: several for name, several in values.items() if len(several) > 1}
    return parameters


def _near(day: str, year: str | None, clock: str, kafka_ms: int) -> int:
    """Epoch milliseconds of a time whose year may be missing."""
    return event_time_ms(f"{_date(day, year, kafka_ms // _DAY_MS)}T{clock}")


_DAY_MS = 86_400_000
_EPOCH_DAY = dt.date(1970, 1, 1).toordinal()


@functools.lru_cache(maxsize=1024)
def _date(month_and_day: str, year: str | None, kafka_day: int) -> str:
    """The date in ISO 8601, in the year that brings it closest to Kafka's day, if none is given."""
    month, day = MONTHS.get(month_and_day[:3]), int(month_and_day[4:])
    today = dt.date.fromordinal(min(max(kafka_day + _EPOCH_DAY, 366), dt.date.max.toordinal() - 366))
    years = (int(year),) if year else (today.year, today.year - 1, today.year + 1)
    dates = [date for each in years if (date := _valid_date(each, month, day)) is not None]
    if not dates:
        raise Unparsable("invalid_time", f"{month_and_day!a} is no day of a year near {today.year}")
    return min(dates, key=lambda date: abs(date - today)).isoformat()


def _valid_date(year: int, month: int | None, day: int) -> dt.date | None:
    try:
        return dt.date(year, month or 0, day)
    except ValueError:
        return None
