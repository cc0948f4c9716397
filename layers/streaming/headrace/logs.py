r"""Log lines to events: which format a record's line is in, and what becomes of a line that none can read.

Text that no format reads is an event, too: `format` is `unparsed`, `message` the line, `unparsed` the reason, and it
counts at Kafka's time. A record that is no text of at most 1 MiB is a `PoisonError`. What a line becomes depends on
the line alone, not on its neighbours, so that results do not depend on how records were batched.
"""

import re
from typing import NamedTuple

from headrace.errors import PoisonError
from headrace.log_event import LogEvent
from headrace.log_formats.access import AccessLog
from headrace.log_formats.format import Format, Unparsable
from headrace.log_formats.json_lines import JsonLines

MAX_LINE_BYTES = 1 << 20
_ANSI = re.compile(rb"\x1b(?:\[[0-?]*+[ -/]*+[@-~]|\][^\x07\x1b]*+(?:\x07|\x1b\\)|[@-Z\\^_])")
"""Control sequences of ECMA-48 (colours, cursor moves), a terminal's title, and two-byte ones."""


class Continuation(NamedTuple):
    """A record that continues the event before it: a line of a stack trace, say."""

    text: str
    """The lines."""


class Lines:
    """Reads the log lines of one topic."""

    def __init__(self, declared: str | None = None) -> None:
        """Choose the formats.

        Args:
            declared: a format by name, with parameters after a colon; None: each line's is detected.

        Raises:
            ConfigurationError: there is no such format, or its parameters are wrong.
        """
        self._json = JsonLines()
        self._others: tuple[Format, ...] = (AccessLog(),)

    def read(self, value: bytes, kafka_ms: int) -> LogEvent | Continuation | list[LogEvent]:
        """What a record's value tells: one event; part of the one before; or, of an envelope, any number of them.

        Raises:
            PoisonError: `empty`, `too_long` (more than 1 MiB), `not_utf8`.
        """
        if len(value) > MAX_LINE_BYTES:
            raise PoisonError("too_long", f"{len(value)} bytes; lines up to {MAX_LINE_BYTES} are read")
        line = value.strip()
        if not line:
            raise PoisonError("empty", "nothing but white space")
        if b"\x1b" in line:
            line = _ANSI.sub(b"", line).strip()
        formats = (self._json,) if line.startswith(b"{") else self._others
        return self._read_as(formats, line, kafka_ms)

    def _read_as(self, formats: tuple[Format, ...], line: bytes, kafka_ms: int) -> LogEvent:
        problem = Unparsable("unknown_format", f"{line[:40]!a}")
        for candidate in formats:
            try:
                return candidate.parse(line, kafka_ms)
            except Unparsable as error:
                problem = error
        return _unparsed(line, problem)


def _unparsed(line: bytes, problem: Unparsable) -> LogEvent:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise PoisonError("not_utf8", error.reason) from None
    return LogEvent(format="unparsed", is_unparsed=1, message=text, unparsed=str(problem))
