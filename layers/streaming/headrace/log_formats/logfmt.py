r"""logfmt: `key=value` pairs with white space between, and the names in `headrace.log_fields.NAMES`.

Keys and values may be quoted, with `\"`, `\\`, `\n`, `\r` and `\t` in them; a key without a value is true. A line with
more such keys than pairs is text, not logfmt. Of a repeated key the last value counts.

Source: github.com/kr/logfmt, which made the name known; what it leaves open is as most writers have it.
"""

import re

from headrace.log_event import LogEvent, log_event
from headrace.log_fields import take_fields
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
        'time=2026-11-27T10:00:00Z level=warn msg="slow \\"upstream\\"" service=pay duration=1.5s retry peer=a=b',
        {"timestamp": EXAMPLES_KAFKA_MS, "format": "logfmt", "service": "pay", "severity_number": 13}
        | {"severity": "WARN", "message": 'slow "upstream"', "latency_ms": 1500.0}
        | {"attributes": {"retry": True, "peer": "a=b"}},
    ),
    (
        'status=502 "a key"="a\\nb" empty= quoted=""',
        {"format": "logfmt", "status": 502, "status_class": "5xx", "is_error": 1}
        | {"attributes": {"a key": "a\nb", "empty": "", "quoted": ""}},
    ),
)

_QUOTED = r'"((?:[^"\\]++|\\.)*+)"'
# Possessive throughout; a token ends where white space begins.
_TOKEN = re.compile(rf'(?:{_QUOTED}|([^\s="]++))(?:(=)(?:{_QUOTED}|([^\s"]*+)))?+(?:\s++|\Z)', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}


class Logfmt:
    """The format `logfmt`."""

    name = "logfmt"

    def parse(self, line: bytes, kafka_ms: int) -> LogEvent:
        """See `Format.parse`. Reasons: `unknown_format`, `invalid_time`."""
        text = text_of(line)
        members = _members(text)
        if members is None:
            raise Unparsable(UNKNOWN_FORMAT, f"no logfmt: {shown(text)}")
        fields = take_fields(members)
        return log_event("logfmt", **fields, attributes=attributes_of(members))


def _members(text: str) -> dict[str, object] | None:
    """The pairs; None if it is text of another kind."""
    members: dict[str, object] = {}
    position, pairs, words = 0, 0, 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            return None
        position = match.end()
        quoted_key, key, equals, quoted, plain = match.groups()
        name = _unescaped(quoted_key) if key is None else key
        if equals is None:
            words += 1
            members[name] = True
        else:
            pairs += 1
            members[name] = _unescaped(quoted) if plain is None else plain
    return members if pairs and pairs >= words else None


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda match: _ESCAPES.get(match[1], match[0]), text) if "\\" in text else text
