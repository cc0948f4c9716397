r"""Log lines to events: which format a record's line is in, and what becomes of a line that none can read.

A topic's format is declared, or each line's is detected: its first byte says which formats it may have, and the first
of these that can read it does. What a line becomes depends on the line alone, not on its neighbours, so that no result
depends on how records were batched.

Text that no format reads is an event, too: its `format` is `unparsed`, its `message` the line, `unparsed` says why, and
it counts at Kafka's time. A record that is no UTF-8 text of at most 1 MiB is a `PoisonError`. Control sequences of
terminals (ANSI colours) are taken out first.

A line that begins with white space (JSON apart), or as the lines of a Java stack trace do, continues the event before
it. In a topic with a declared format it does so only if that format cannot read it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from headrace.errors import ConfigurationError, PoisonError
from headrace.log_event import LogEvent
from headrace.log_formats import access, cloudwatch, cri, json_lines
from headrace.log_formats.access import AccessLog
from headrace.log_formats.error_log import ErrorLog
from headrace.log_formats.format import UNKNOWN_FORMAT, Format, Unparsable, shown
from headrace.log_formats.java_text import JavaText
from headrace.log_formats.json_lines import JsonLines
from headrace.log_formats.lambda_text import LambdaText
from headrace.log_formats.logfmt import Logfmt
from headrace.log_formats.syslog import Syslog
from headrace.log_formats.vpc_flow import VpcFlow

Problem = tuple[str, str]
"""Reason and detail. Not the error: it would hold its frames, and these the batch, until the next full collection."""

MAX_LINE_BYTES = 1 << 20
AUTO = "auto"
"""Declared as the format of a topic: each line's is detected."""
_ANSI = re.compile(rb"\x1b(?:\[[0-?]*+[ -/]*+[@-~]|\][^\x07\x1b]*+(?:\x07|\x1b\\)|[@-Z\\^_])")
"""Control sequences of ECMA-48 (colours, cursor moves), a terminal's title, and two-byte ones."""
_CONTINUES = re.compile(
    rb"[ \t]|Caused by: |Suppressed: |at (?:async |new )?(?![0-9])(?:[^\s.(:/]*+(?:[.(/]|:\S)|\S++ \()"
    rb"|\.\.\. [0-9]{1,9} (?:more|common frames omitted)"
    rb"|(?:[A-Za-z_$][\w$]*+\.)++[\w$]*+(?:(?<=Exception)|(?<=Error)|(?<=Throwable))(?::|\s|\Z)"
)
"""How lines begin that continue the one before; `java.lang.IllegalStateException: …` is a stack trace's first. A frame
(`at a.B.c(`, `at f (`, `at file:`) is told from a sentence."""
_BYTE_ORDER_MARK = "\ufeff".encode()
"""Windows puts it before the first line of a file."""


class Continuation(NamedTuple):
    """A record that continues the event before it: a line of a stack trace, say."""

    text: str
    """The lines."""


_MAKERS: Mapping[str, Callable[[str], Format]] = {
    JsonLines.name: lambda parameters: _without(parameters, JsonLines()),
    Logfmt.name: lambda parameters: _without(parameters, Logfmt()),
    AccessLog.name: AccessLog,
    ErrorLog.name: lambda parameters: _without(parameters, ErrorLog()),
    Syslog.name: lambda parameters: _without(parameters, Syslog()),
    VpcFlow.name: VpcFlow,
    JavaText.name: lambda parameters: _without(parameters, JavaText()),
    LambdaText.name: lambda parameters: _without(parameters, LambdaText()),
}
"""Name to what makes the format of its parameters, which are what stands behind the colon of a declaration."""


def _without(parameters: str, found: Format) -> Format:
    if parameters:
        raise ConfigurationError(f"log format {found.name!r} has no parameters, so not {parameters!r}")
    return found


def declared_format(declared: str) -> Format:
    """The format that a topic's declaration names: `NAME` or `NAME:PARAMETERS`.

    Raises:
        ConfigurationError: there is no such format, or its parameters are wrong.
    """
    name, _, parameters = declared.partition(":")
    if name not in _MAKERS:
        raise ConfigurationError(f"log format {name!r} is none of {AUTO}, {', '.join(_MAKERS)}")
    return _MAKERS[name](parameters)


def _detected() -> list[tuple[Format, ...]]:
    """By a line's first byte: the formats it may be in, the strictest first."""
    access_log, error_log, logfmt, syslog, java_text = AccessLog(), ErrorLog(), Logfmt(), Syslog(), JavaText()
    of_lambda = LambdaText()
    by_byte: list[tuple[Format, ...]] = [(access_log, syslog, java_text, logfmt) for _ in range(256)]
    by_byte[ord("{")] = (JsonLines(),)
    by_byte[ord("[")] = (java_text, error_log, of_lambda)
    for letter in b"SERILT":  # START, EXTENSION, …
        by_byte[letter] = (access_log, syslog, java_text, of_lambda, logfmt)
    by_byte[ord("<")] = (syslog,)
    for digit in b"0123456789":
        by_byte[digit] = (access_log, java_text, of_lambda, syslog, error_log, VpcFlow(), logfmt)
    return by_byte


_Usual = Callable[[bytes], LogEvent | None]
_BRACE = ord("{")


def _usually_detected() -> list[_Usual]:
    """By a line's first byte: the two formats that most lines have."""
    usual: list[_Usual] = [_never] * 256
    usual[_BRACE] = json_lines.usual_event
    for digit in b"0123456789":
        usual[digit] = access.usual_event
    return usual


def _never(_line: bytes) -> LogEvent | None:
    return None


_USUAL_OF: Mapping[str, list[_Usual]] = {
    AUTO: _usually_detected(),
    JsonLines.name: [json_lines.usual_event] * 256,
    AccessLog.name: [access.usual_event] * 256,
}
"""By declared format."""


class Lines:
    """Reads the log lines of one topic."""

    def __init__(self, declared: str = AUTO) -> None:
        """Choose the formats.

        Raises:
            ConfigurationError: there is no such format, or its parameters are wrong.
        """
        self._is_declared = declared != AUTO
        self._formats = [(declared_format(declared),)] * 256 if self._is_declared else _detected()
        # A date, in all likelihood: a tenth of the time is saved by asking first who begins with one.
        self._dated = sorted(self._formats[_DIGITS[0]], key=lambda each: each.name not in _BEGIN_WITH_A_DATE)
        self._usual = _USUAL_OF.get(declared, [_never] * 256)

    def read(self, value: bytes, kafka_ms: int) -> LogEvent | Continuation | cloudwatch.Batch:
        """What a record's value tells: one event; part of the one before; or, of an envelope, any number of them.

        Args:
            value: the record's.
            kafka_ms: when Kafka got it, epoch milliseconds: what a time without a year is close to.

        Raises:
            PoisonError: `empty`, `too_long` (more than 1 MiB), `not_utf8`; of an envelope, see `cloudwatch.batch`.
        """
        # First without a closer look: white space, control sequences and envelopes make these None.
        if 0 < len(value) <= MAX_LINE_BYTES:
            try:
                event = self._usual[value[0]](value)
            except Unparsable as problem:
                return _unparsed(value.strip(), [(problem.reason, problem.detail)])
            if event is not None:
                return event
        if cloudwatch.is_message(value):
            return cloudwatch.batch(value, self._read_line)
        return self._read_line(value, kafka_ms)

    def _read_line(self, value: bytes, kafka_ms: int) -> LogEvent | Continuation:
        if len(value) > MAX_LINE_BYTES:
            raise PoisonError("too_long", f"{len(value)} bytes; lines up to {MAX_LINE_BYTES} are read")
        if b"\x1b" in value:
            value = _ANSI.sub(b"", value)
        value = value.removeprefix(_BYTE_ORDER_MARK)
        written = cri.written(value)
        if written is None:
            return self._read_text(value, kafka_ms)
        found = self._read_text(written.line, written.time_ms)
        return written.around(found) if isinstance(found, LogEvent) else found

    def _read_text(self, value: bytes, kafka_ms: int) -> LogEvent | Continuation:
        line = value.strip()
        if not line:
            raise PoisonError("empty", "nothing but white space")
        first = line[0]
        if not self._is_declared and first != _BRACE and _continues(value):
            return Continuation(_text(value.rstrip()))
        problems: list[Problem] = []
        dated = line[4:5] == b"-" and first in _DIGITS
        for candidate in self._dated if dated else self._formats[first]:
            try:
                return candidate.parse(line, kafka_ms)
            except Unparsable as error:
                problems.append((error.reason, error.detail))
        if self._is_declared and _continues(value):
            return Continuation(_text(value.rstrip()))
        return _unparsed(line, problems)


_DIGITS = b"0123456789"
_BEGIN_WITH_A_DATE = (JavaText.name, LambdaText.name, Syslog.name)
_BEGIN_EVENTS = frozenset(b'{<["0123456789')
"""First bytes of lines that continue nothing: most lines need no second look."""


def _continues(value: bytes) -> bool:
    return value[0] not in _BEGIN_EVENTS and _CONTINUES.match(value) is not None


def _unparsed(line: bytes, problems: Sequence[Problem]) -> LogEvent:
    text = _text(line)
    # What has a format and a wrong value in it is told before what does not have it.
    reason, detail = next((found for found in problems if found[0] != UNKNOWN_FORMAT), problems[0])
    if len(problems) > 1 and reason == UNKNOWN_FORMAT:
        detail = shown(text)
    return LogEvent(format="unparsed", is_unparsed=1, message=text, unparsed=f"{reason}: {detail}")


def _text(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise PoisonError("not_utf8", error.reason) from None
