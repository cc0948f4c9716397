r"""The access logs of Apache and nginx: common and combined format, and any format string of theirs.

A quoted field ends at the first quote without a backslash before it; escapes stay as written, because Apache and nginx
write different ones. `-` and an empty field are absent. `message` is the request line; unless it is
`METHOD target HTTP/…` (or HTTP/0.9's `GET target`, RFC 1945 section 5) method, path and protocol stay empty.

Without a format string, what follows the known fields (nginx's `"$gzip_ratio"` or `"$http_x_forwarded_for"`, say) is
the attribute `trailing`, the identity of RFC 1413 the attribute `identity`. A user name with a space in it is refused:
accepting one would misread the formats that begin with a virtual host.
"""

import re

from headrace.event_time import event_time_ms
from headrace.log_event import LogEvent, error_flag, log_event, status_class
from headrace.log_fields import size_bytes
from headrace.log_formats.access_format import REQUEST, AccessFormat
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

_GET = {"message": "GET / HTTP/1.1", "method": "GET", "path": "/", "protocol": "HTTP/1.1"}
_EXAMPLE = {"timestamp": EXAMPLES_KAFKA_MS, "host": "192.0.2.1", "bytes": 5, **_GET}
EXAMPLES: tuple[Example, ...] = (
    (
        '192.0.2.1 - - [27/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 5',
        _EXAMPLE | {"format": "common", "status": 200, "status_class": "2xx"},
    ),
    (
        r'192.0.2.1 bob ann [27/Nov/2026:11:00:00 +0100] "GET / HTTP/1.1" 503 5 "a \"b\"" "curl/8.5.0" "2.75"',
        _EXAMPLE
        | {"format": "combined", "status": 503, "status_class": "5xx", "is_error": 1, "user": "ann"}
        | {"referrer": r"a \"b\"", "user_agent": "curl/8.5.0"}
        | {"attributes": {"identity": "bob", "trailing": '"2.75"'}},
    ),
    (
        r'::1 - - [27/Nov/2026:10:00:00 +0000] "\x16\x03\x01" - - "-" ""',
        {"timestamp": EXAMPLES_KAFKA_MS, "format": "combined", "host": "::1", "message": r"\x16\x03\x01"},
    ),
)


def _access_line(quoted: str) -> re.Pattern[str]:
    # Possessive throughout: no part gives back what it took, so a hostile line cannot make the search try again.
    # Classes of one character: longer ones take three times as long.
    return re.compile(
        rf"([^ ]++) ([^ ]++) ([^ ]++) \[([^]]*+)\] {quoted} ([^ ]++) ([^ ]++)(?: {quoted} {quoted})?(?: (.++))?"
    )


_PLAIN_LINE = _access_line(r'"([^"]*+)"')
"""Reads lines without a backslash, twice as fast."""
_ESCAPED_LINE = _access_line(r'"([^"\\]*+(?:\\.[^"\\]*+)*+)"')
_STATUSES: dict[str, tuple[int | None, str | None, int]] = {
    f"{status:03}": (status, status_class(status), error_flag(0, status)) for status in range(1000)
}
_STATUSES["-"] = (None, None, 0)
"""As written: status, class and error flag."""
_PRESENT = {"-": None, "": None}.get
"""`present` without a call of ours: with itself as the default."""


_WORDS = 3
"""Of a request line as they should be."""


class AccessLog:
    """The format `access`: common or combined (which its events name), or of a format string."""

    name = "access"

    def __init__(self, format_string: str = "") -> None:
        """Choose the format.

        Args:
            format_string: Apache's or nginx's; empty: common or combined, as each line has it.

        Raises:
            ConfigurationError: the format string cannot be understood.
        """
        self._custom = AccessFormat(format_string) if format_string else None

    def parse(self, line: bytes, kafka_ms: int) -> LogEvent:
        """See `Format.parse`. Reasons: `unknown_format`, `invalid_time`."""
        text = text_of(line)
        if self._custom is not None:
            return _custom_event(self._custom, text)
        match = (_ESCAPED_LINE if "\\" in text else _PLAIN_LINE).fullmatch(text)
        event = None if match is None or "\n" in text else _event(match)
        if event is None:
            raise Unparsable(UNKNOWN_FORMAT, f"no access log: {shown(text)}")
        return event


def usual_event(line: bytes) -> LogEvent | None:
    """The event of a line that ends with a quote and has no backslash; None if it takes a closer look.

    Raises:
        Unparsable: `invalid_time`.
    """
    if not line.endswith(b'"') or b"\\" in line or b"\n" in line:
        return None
    try:
        match = _PLAIN_LINE.fullmatch(line.decode())
    except UnicodeDecodeError:
        return None
    return None if match is None else _event(match)


def _event(match: re.Match[str]) -> LogEvent | None:
    """None if what stands for the status or the size is none."""
    host, identity, user, time, request, code, size, referrer, user_agent, trailing = match.groups()
    in_bytes = None if size == "-" else size_bytes(size)
    of_code = _STATUSES.get(code)
    if of_code is None or (in_bytes is None and size != "-"):
        return None
    status, in_class, is_error = of_code
    method, path, protocol = request_parts(request)
    return LogEvent(
        timestamp=event_time_ms(time),
        format="common" if user_agent is None else "combined",
        status=status,
        status_class=in_class,
        is_error=is_error,
        message=_PRESENT(request, request),
        host=_PRESENT(host, host),
        method=method,
        path=path,
        protocol=protocol,
        bytes=in_bytes,
        user=_PRESENT(user, user),
        referrer=_PRESENT(referrer, referrer),
        user_agent=_PRESENT(user_agent, user_agent),
        attributes=None if identity == "-" and trailing is None else _unnamed(identity, trailing),
    )


def _custom_event(custom: AccessFormat, text: str) -> LogEvent:
    found = custom.read(text)
    if found is None:
        raise Unparsable(UNKNOWN_FORMAT, f"not of the topic's access log format: {shown(text)}")
    fields, attributes = found
    request = fields.pop(REQUEST, None)
    if request is not None:
        fields = dict(zip(("method", "path", "protocol"), request_parts(request), strict=True)) | fields
        fields["message"] = request
    elif "method" in fields and "path" in fields:
        fields["message"] = " ".join(fields[name] for name in ("method", "path", "protocol") if name in fields)
    return log_event("access", **fields, attributes=attributes_of(attributes))


def _unnamed(identity: str, trailing: str | None) -> str | None:
    named = {"identity": present(identity), "trailing": trailing}
    return attributes_of({name: text for name, text in named.items() if text is not None})


def request_parts(request: str) -> tuple[str | None, str | None, str | None]:
    """Method, target and protocol of an HTTP request line; None for all three if it is none."""
    words = request.split(" ")
    if len(words) == _WORDS and words[1] and words[2].startswith("HTTP/"):
        return words[0], words[1], words[2]
    method, _, rest = request.partition(" ")
    path, _, protocol = rest.rpartition(" ")
    if path and protocol.startswith("HTTP/"):
        return method, path, protocol
    return (method, rest, None) if method == "GET" and rest and " " not in rest else (None, None, None)
