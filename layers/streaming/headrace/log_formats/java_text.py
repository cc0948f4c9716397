"""The text that Java's logging libraries write: log4j, logback, Kafka's broker, Spring Boot, java.util.logging.

    [2024-03-13 10:05:03,250] INFO [ReplicaManager broker=1] message (kafka.server.ReplicaManager)      Kafka
    2024-03-13 10:05:03,250 [main] ERROR com.shop.Cart - message                                        log4j, logback
    2024-03-13T10:05:03.250Z  INFO 12345 --- [shop] [main] com.shop.Cart       : message                Spring Boot
    2024-03-13 10:05:03,250 INFO  org.apache.hadoop.Foo: message                                        Hadoop
    2024-03-13 10:05:03,250 - INFO  [main:QuorumPeer@774] - message                                     ZooKeeper
    Mar 13, 2024 10:05:03 AM com.shop.Cart main / INFO: message                                        java.util.logging
    [2024-03-13T10:05:03,250][INFO ][o.e.n.Node               ] message                                 Elasticsearch
    [2024-03-13T10:05:03.250+0000][info][gc,start] message                                              the JVM's -Xlog
    [2024-03-13 10:05:03 +0000] [7] [INFO] message                                                      Gunicorn

So also what Python's `logging` is mostly told to write (`time - logger - LEVEL - message`). A time of day without a
date (log4j2's and logback's defaults) is of the day that brings it closest to Kafka's timestamp; a time without a zone
is UTC. `logger`, `thread` and `pid` are attributes; a pair of hexadecimal ids in brackets is the trace and its span.
The lines after the first one are the stack trace.
"""

import re

import msgspec

from headrace.event_time import MONTHS, event_time_ms
from headrace.log_event import SEVERITY_NAMES, LogEvent, error_flag
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

_INFO = {"format": "java_text", "severity_number": 9, "severity": "INFO"}
_ERROR = {"format": "java_text", "severity_number": 17, "severity": "ERROR", "is_error": 1}
EXAMPLES: tuple[Example, ...] = (
    (
        "[2026-11-27 10:00:00,250] INFO [ReplicaManager broker=1] Stopped (now) (kafka.server.ReplicaManager)",
        {"timestamp": EXAMPLES_KAFKA_MS + 250, "message": "[ReplicaManager broker=1] Stopped (now)"}
        | {"attributes": {"logger": "kafka.server.ReplicaManager"}}
        | _INFO,
    ),
    (
        "2026-11-27 10:00:00,250 [main] ERROR com.shop.Cart - no card\njava.lang.Exception: x\n\tat a.B.c(B.java:1)",
        {"timestamp": EXAMPLES_KAFKA_MS + 250, "message": "no card"}
        | {"stack_trace": "java.lang.Exception: x\n\tat a.B.c(B.java:1)"}
        | {"attributes": {"thread": "main", "logger": "com.shop.Cart"}}
        | _ERROR,
    ),
    (
        "2026-11-27T10:00:00.250Z  INFO 12345 --- [shop] [           main] com.shop.Cart                  : Started",
        {"timestamp": EXAMPLES_KAFKA_MS + 250, "service": "shop", "message": "Started"}
        | {"attributes": {"thread": "main", "pid": 12345, "logger": "com.shop.Cart"}}
        | _INFO,
    ),
    (
        "2026-11-27T11:00:00.250+01 INFO 7 --- [main] [65f17a0f0d0c1e5f8a1b2c3d4e5f6071-8a1b2c3d4e5f6071] c.Cart : x",
        {"timestamp": EXAMPLES_KAFKA_MS + 250, "message": "x"}
        | {"trace_id": "65f17a0f0d0c1e5f8a1b2c3d4e5f6071", "span_id": "8a1b2c3d4e5f6071"}
        | {"attributes": {"thread": "main", "pid": 7, "logger": "c.Cart"}}
        | _INFO,
    ),
    (
        "2026-11-27 10:00:00,250 INFO  org.apache.hadoop.Foo: Note: it runs",
        {"timestamp": EXAMPLES_KAFKA_MS + 250, "message": "Note: it runs"}
        | {"attributes": {"logger": "org.apache.hadoop.Foo"}}
        | _INFO,
    ),
    (
        "2026-11-27 10:00:00,250 INFO Note: it runs - slowly",
        {"timestamp": EXAMPLES_KAFKA_MS + 250, "message": "Note: it runs - slowly"} | _INFO,
    ),
    (
        "2026-11-27 10:00:00,250 - INFO  [QuorumPeer[myid=1]/0:0:0:0:0:0:0:0:2181:Leader@774] - Notification 3200",
        {"timestamp": EXAMPLES_KAFKA_MS + 250, "message": "Notification 3200"}
        | {"attributes": {"thread": "QuorumPeer[myid=1]/0:0:0:0:0:0:0:0:2181:Leader@774"}}
        | _INFO,
    ),
    (
        "2026-11-27 10:00:00,250 - shop.cart - ERROR - no card",
        {"timestamp": EXAMPLES_KAFKA_MS + 250, "message": "no card", "attributes": {"logger": "shop.cart"}} | _ERROR,
    ),
    (
        "23:59:59.250 [main] INFO  com.shop.Cart -- late",  # the evening before is closer to Kafka's morning
        {"timestamp": EXAMPLES_KAFKA_MS - 36_000_750, "message": "late"}
        | {"attributes": {"thread": "main", "logger": "com.shop.Cart"}}
        | _INFO,
    ),
    (
        "[2026-11-27T10:00:00,250][ERROR][o.e.n.Node               ] [node-1] no card\njava.lang.Exception: x",
        {"timestamp": EXAMPLES_KAFKA_MS + 250, "message": "[node-1] no card", "stack_trace": "java.lang.Exception: x"}
        | {"attributes": {"logger": "o.e.n.Node"}}
        | _ERROR,
    ),
    (
        "[2026-11-27 10:00:00 +0000] [7] [INFO] Booting worker",
        {"timestamp": EXAMPLES_KAFKA_MS, "message": "Booting worker", "attributes": {"pid": 7}} | _INFO,
    ),
    (
        "Nov 27, 2026 10:00:00 AM com.shop.Cart main\nSEVERE: no card\njava.lang.Exception: x",
        {"timestamp": EXAMPLES_KAFKA_MS, "message": "no card", "stack_trace": "java.lang.Exception: x"}
        | {"attributes": {"logger": "com.shop.Cart", "method": "main"}}
        | _ERROR,
    ),
)

# Possessive throughout, as in the other formats: a hostile line cannot make the search try again.
_ZONE = r"(?: ?(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)(?![0-9]))?"
_CLOCK = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?"
_TIME = rf"(?:(?P<dated>[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T ]{_CLOCK}{_ZONE})|(?P<clock>{_CLOCK}))"
_BRACKETED = r"\[[^\[\]\n]*+(?:\[[^\[\]\n]*+\][^\[\]\n]*+)*+\]"
_BRACKETS = rf"(?:{_BRACKETED} *+)*+"
_LEVEL = r"(?P<level>[A-Z]{3,9}+)(?::(?= )|(?![^\s\[]))"
_LOGGER = (
    r"(?:(?P<logger>(?:[^\s:.\[\]]++\.)++[^\s:.\[\]]++)(?= *+:| ++--? )"
    # Spring Boot cuts Tomcat's to o.a.c.c.C.[.[.[/].[dispatcherServlet].
    r"|(?P<named>[^\s:\[\]-](?:[^\s:]*+(?= ++: )|[^\s:\[\]-]*+(?= ++--? ))))"
)
_SEPARATOR = r" *+(?::|--?)(?: |$)"
_REST = r"(?P<message>[^\n]*+)(?:\n(?P<others>.*+))?"
_KAFKA = re.compile(rf"\[{_TIME}\] {_LEVEL} ?{_REST}", re.DOTALL)
_PLAIN = re.compile(
    rf"{_TIME} ++(?:- )?(?P<before>{_BRACKETS})(?:(?P<first>[^\s:\[\]]++) ++- (?=[A-Z]{{3,9}}+ ))?+{_LEVEL} *+"
    rf"(?:(?P<pid>[0-9]{{1,18}}) ++--- ++)?+(?P<after>{_BRACKETS})(?:{_LOGGER}{_SEPARATOR}|- )?+{_REST}",
    re.DOTALL,
)
_USUAL = re.compile(
    rf"(?:([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T ]{_CLOCK})|({_CLOCK})) \[([^\[\]\n]{{1,32}}+)\] "
    rf"([A-Z]{{3,9}}+) ++([\w.$]++) - {_REST}",
    re.DOTALL,
)
"""What log4j and logback mostly write, and `_PLAIN` would read, too, in twice the time. The thread is too short for the
ids of a trace."""
_BOXED = re.compile(
    rf"(?:\[{_TIME}\]|{_TIME.replace('P<', 'P<bare_')}) *+(?:\[(?P<pid>[0-9]{{1,18}})\] )?+"
    rf"\[ *+(?P<level>[A-Za-z]{{3,9}}+) *+\](?:\[(?P<logger>[^\[\]\n]*+)\])?+(?: *+(?:[:-] )?+){_REST}",
    re.DOTALL,
)
"""With the level in brackets. Only brackets that stand side by side with them are the logger's."""
_JUL = re.compile(
    r"(?P<month>[A-Z][a-z]{2}) (?P<day>[0-9]{1,2}), (?P<year>[0-9]{4}) (?P<hour>[0-9]{1,2}):(?P<rest>[0-9]{2}:[0-9]{2})"
    rf" (?P<half>AM|PM) (?P<logger>\S++)(?: (?P<method>\S++))?\n(?P<level>[A-Z]{{3,9}}+): {_REST}",
    re.DOTALL,
)
_GROUPS = re.compile(_BRACKETED)
_TRACE = re.compile(r"\[(?:[^,\]]*+,)?([0-9a-f]{16}|[0-9a-f]{32})[-,]([0-9a-f]{16})\]")
_LOGGER_AT_THE_END = re.compile(r"[\w.$-]++")
_NOON = 12
_DAY_MS = 86_400_000


class JavaText:
    """The format `java_text`."""

    name = "java_text"

    def parse(self, line: bytes, kafka_ms: int) -> LogEvent:
        """See `Format.parse`. Reasons: `unknown_format`, `unknown_level`, `invalid_time`, `not_utf8`."""
        text = text_of(line)
        if text.startswith("["):
            return _kafka(text, kafka_ms)
        match = _USUAL.match(text)
        if match is not None and (thread := match[3].strip()):
            dated, clock, _, level, logger, message, others = match.groups()
            attributes: dict[str, object] = {"thread": thread, "logger": logger}
            return _event(level, _time_ms(dated, clock, kafka_ms), message, others, attributes)
        match = _PLAIN.match(text)
        return _plain(match, kafka_ms) if match else _boxed(text, kafka_ms) or _java_util_logging(text)


def _kafka(text: str, kafka_ms: int) -> LogEvent:
    match = _KAFKA.match(text)
    if match is None:
        if (boxed := _boxed(text, kafka_ms)) is not None:
            return boxed
        raise Unparsable(UNKNOWN_FORMAT, f"no Java log text: {shown(text)}")
    dated, clock, level, message, others = match.groups()
    # The logger is in brackets at the end, if the pattern is Kafka's.
    words, bracket, name = message.rpartition(" (")
    attributes: dict[str, object] = {}
    if bracket and name.endswith(")") and _LOGGER_AT_THE_END.fullmatch(name, 0, len(name) - 1):
        message, attributes = words, {"logger": name[:-1]}
    return _event(level, _time_ms(dated, clock, kafka_ms), message, others, attributes)


def _plain(match: re.Match[str], kafka_ms: int) -> LogEvent:
    dated, clock, before, first, level, pid, after, logger, named, message, others = match.groups()
    attributes: dict[str, object] = {}
    service = trace_id = span_id = None
    if before or after:
        groups = _GROUPS.findall(before + after)
        if trace := next((found for group in groups if (found := _TRACE.fullmatch(group))), None):
            trace_id, span_id = trace.groups()
            groups.remove(trace[0])
        names = [name for group in groups if (name := group[1:-1].strip())]
        if pid and len(names) > 1:  # Spring Boot's: the application comes before the thread
            service = names.pop(0)
        if names:
            attributes["thread"] = names[-1]
    if pid:
        attributes["pid"] = int(pid)
    if name := first or logger or named:
        attributes["logger"] = name
    event = _event(level, _time_ms(dated, clock, kafka_ms), message, others, attributes)
    if service is None and trace_id is None:
        return event
    return msgspec.structs.replace(event, service=service, trace_id=trace_id, span_id=span_id)


def _boxed(text: str, kafka_ms: int) -> LogEvent | None:
    match = _BOXED.match(text)
    if match is None:
        return None
    dated, clock, bare_dated, bare_clock, pid, level, logger, message, others = match.groups()
    attributes: dict[str, object] = {} if pid is None else {"pid": int(pid)}
    if logger and (name := logger.strip()):
        attributes["logger"] = name
    return _event(level, _time_ms(dated or bare_dated, clock or bare_clock, kafka_ms), message, others, attributes)


def _java_util_logging(text: str) -> LogEvent:
    match = _JUL.match(text)
    if match is None or match["month"] not in MONTHS:
        raise Unparsable(UNKNOWN_FORMAT, f"no Java log text: {shown(text)}")
    hour = int(match["hour"]) % _NOON + (_NOON if match["half"] == "PM" else 0)
    day = f"{match['year']}-{MONTHS[match['month']]:02}-{int(match['day']):02}"
    attributes: dict[str, object] = {"logger": match["logger"]}
    if match["method"]:
        attributes["method"] = match["method"]
    time_ms = event_time_ms(f"{day}T{hour:02}:{match['rest']}")
    return _event(match["level"], time_ms, match["message"], match["others"], attributes)


def _event(level: str, time_ms: int, message: str, others: str | None, attributes: dict[str, object]) -> LogEvent:
    number = severity_number(level)
    if number is None:
        raise Unparsable("unknown_level", level)
    return LogEvent(
        format="java_text",
        severity_number=number,
        severity=SEVERITY_NAMES[number],
        is_error=error_flag(number, None),
        timestamp=time_ms,
        message=message or None,
        stack_trace=others,
        attributes=attributes_of(attributes),
    )


def _time_ms(dated: str | None, clock: str | None, kafka_ms: int) -> int:
    if dated is not None:
        return event_time_ms(dated)
    since_midnight_ms = event_time_ms(f"1970-01-01T{clock}")
    return since_midnight_ms + (kafka_ms - since_midnight_ms + _DAY_MS // 2) // _DAY_MS * _DAY_MS
