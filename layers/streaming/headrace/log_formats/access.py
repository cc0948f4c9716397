r"""The access logs of Apache and nginx: common and combined format.

A quoted field ends at the first quote without a backslash before it; escapes stay as written, because Apache and nginx
write different ones. `-` and an empty field are absent. `message` is the request line; unless it is
`METHOD target HTTP/…` (or HTTP/0.9's `GET target`, RFC 1945 section 5) method, path and protocol stay empty. What
follows the known fields (nginx's `"$gzip_ratio"` or `"$http_x_forwarded_for"`, say) is the attribute `trailing`, the
identity of RFC 1413 the attribute `identity`. A user name with a space in it is refused: accepting one would misread
the formats that begin with a virtual host.
"""

import re

from headrace.event_time import event_time_ms
from headrace.log_event import LogEvent, error_flag, status_class
from headrace.log_fields import size_bytes
from headrace.log_formats.format import (
    EXAMPLES_KAFKA_MS,
    Example,
    Unparsable,
    attributes_of,
    present,
    shown,
    text_of,
)

EXAMPLES: tuple[Example, ...] = (
    (
        '192.0.2.1 - - [27/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 5',
        {"timestamp": EXAMPLES_KAFKA_MS, "format": "common", "host": "192.0.2.1", "message": "GET / HTTP/1.1"}
        | {"method": "GET", "path": "/", "protocol": "HTTP/1.1", "status": 200, "status_class": "2xx", "bytes": 5},
    ),
)


def _access_line(quoted: str) -> re.Pattern[str]:
    # Possessive throughout: no part gives back what it took, so a hostile line cannot make the search try again.
    return re.compile(
        rf"(\S++) (\S++) (\S++) \[([^\]]*+)\] {quoted} ([0-9]{{3}}|-) ([0-9]{{1,19}}|-)"
        rf"(?: {quoted} {quoted})?(?: (.++))?"
    )


_PLAIN_LINE = _access_line(r'"([^"]*+)"')
"""Reads lines without a backslash, twice as fast."""
_ESCAPED_LINE = _access_line(r'"([^"\\]*+(?:\\.[^"\\]*+)*+)"')


class AccessLog:
    """The format `access`: common or combined."""

    name = "access"

    def parse(self, line: bytes, kafka_ms: int) -> LogEvent:  # noqa: ARG002 - its times have years
        """See `Format.parse`. Reasons: `not_an_access_log`, `invalid_time`, `not_utf8`."""
        text = text_of(line)
        match = (_ESCAPED_LINE if "\\" in text else _PLAIN_LINE).fullmatch(text)
        if match is None or "\n" in text:
            raise Unparsable("not_an_access_log", shown(text))
        host, identity, user, time, request, code, size, referrer, user_agent, trailing = match.groups()
        method, path, protocol = request_parts(request)
        status = None if code == "-" else int(code)
        return LogEvent(
            timestamp=event_time_ms(time),
            format="common" if user_agent is None else "combined",
            status=status,
            status_class=status_class(status),
            is_error=error_flag(0, status),
            message=present(request),
            host=present(host),
            method=method,
            path=path,
            protocol=protocol,
            bytes=None if size == "-" else size_bytes(size),
            user=present(user),
            referrer=present(referrer),
            user_agent=present(user_agent),
            attributes=None if identity == "-" and trailing is None else _unnamed(identity, trailing),
        )


def _unnamed(identity: str, trailing: str | None) -> str | None:
    named = {"identity": present(identity), "trailing": trailing}
    return attributes_of({name: text for name, text in named.items() if text is not None})


def request_parts(request: str) -> tuple[str | None, str | None, str | None]:
    """Method, target and protocol of an HTTP request line; None for all three if it is none."""
    method, _, rest = request.partition(" ")
    path, _, protocol = rest.rpartition(" ")
    if path and protocol.startswith("HTTP/"):
        return method, path, protocol
    return (method, rest, None) if method == "GET" and rest and " " not in rest else (None, None, None)
