r"""Format strings of access logs, Apache's `LogFormat` and nginx's `log_format`, as what reads the lines they wrote.

A value reaches to the first character of the text behind it, which it may have no more often than such values do: once
in nginx's `$time_local`, twice in a request line, after commas in nginx's lists of upstream servers. A quoted value
ends at the first quote without a backslash before it. So every line is read in one pass.

Sources: Apache's mod_log_config, "Custom Log Formats"; nginx's ngx_http_log_module and "Alphabetical index of
variables".
"""

import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from headrace.errors import ConfigurationError
from headrace.event_time import event_time_ms
from headrace.log_fields import http_status, microseconds, milliseconds, seconds, size_bytes
from headrace.log_formats.format import Unparsable, present

REQUEST = "request"
"""The value that has method, path and protocol in it."""


class Value(NamedTuple):
    """What a directive or variable writes."""

    attribute: str
    """Its name, if it has no field of its own or another one of the line has that."""
    field: str | None = None
    """Of the event."""
    convert: Callable[[str], Any] = present
    """From its text; None if it cannot be one."""
    sample: str = ""
    """How it usually looks, where that has white space or punctuation."""
    is_list: bool = False
    """Whether it may be several values with commas or colons between."""


def number(text: str) -> int | float | str | None:
    """A number, if it is written as one; else the text."""
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else present(text)


_WHOLE = re.compile(r"0|[1-9][0-9]{0,17}")
_DECIMAL = re.compile(r"[0-9]{1,15}\.[0-9]{1,15}")
_REQUEST = Value(REQUEST, REQUEST, present, "GET / HTTP/1.1")
_APACHE_TIME = Value("time", "timestamp", event_time_ms, "17/May/2015:10:05:03 +0000")

_APACHE: Mapping[str, Value] = {
    "h": Value("remote_host", "host"),
    "a": Value("remote_addr", "host"),
    "{c}a": Value("peer_addr", "host"),
    "l": Value("identity"),
    "u": Value("user", "user"),
    "t": _APACHE_TIME,
    "r": _REQUEST,
    "s": Value("status", "status", http_status),
    "b": Value("bytes", "bytes", size_bytes),
    "B": Value("bytes", "bytes", size_bytes),
    "O": Value("bytes_sent", "bytes", size_bytes),
    "D": Value("duration_us", "latency_ms", microseconds),
    "T": Value("duration_s", "latency_ms", seconds),
    "{s}T": Value("duration_s", "latency_ms", seconds),
    "{ms}T": Value("duration_ms", "latency_ms", milliseconds),
    "{us}T": Value("duration_us", "latency_ms", microseconds),
    "m": Value("method", "method"),
    "U": Value("path", "path"),
    "Uq": Value("path", "path"),
    "H": Value("protocol", "protocol"),
    "{Referer}i": Value("referrer", "referrer"),
    "{User-Agent}i": Value("user_agent", "user_agent"),
    **{letter: Value(name) for letter, name in (("q", "query"), ("f", "file"), ("v", "server_name"), ("L", "log_id"))},
    **{letter: Value(name) for letter, name in (("V", "server_name"), ("X", "connection"), ("R", "handler"))},
    **{
        letter: Value(name, None, number) for letter, name in (("p", "port"), ("P", "pid"), ("k", "keepalive_requests"))
    },
    **{letter: Value(name, None, number) for letter, name in (("I", "bytes_in"), ("S", "bytes_total"))},
    "A": Value("local_addr"),
    **{f"{{{clock}}}t": Value("time", "timestamp", event_time_ms) for clock in ("sec", "msec", "usec")},
}
"""By directive, without modifiers; `Uq` is `%U%q`."""
_NAMED = re.compile(r"\{([^}]++)\}(?:\^t)?[ioenCPp]")
"""Of a header, a variable, a note, a cookie, …: an attribute by the name in the braces."""

_NGINX: Mapping[str, Value] = {
    "remote_addr": Value("remote_addr", "host"),
    "remote_user": Value("remote_user", "user"),
    "time_local": Value("time_local", "timestamp", event_time_ms, "17/May/2015:10:05:03 +0000"),
    "time_iso8601": Value("time_iso8601", "timestamp", event_time_ms, "2015-05-17T10:05:03+00:00"),
    "msec": Value("msec", "timestamp", event_time_ms),
    "request": _REQUEST,
    "request_method": Value("request_method", "method"),
    "request_uri": Value("request_uri", "path"),
    "uri": Value("uri", "path"),
    "server_protocol": Value("server_protocol", "protocol"),
    "status": Value("status", "status", http_status),
    "body_bytes_sent": Value("body_bytes_sent", "bytes", size_bytes),
    "bytes_sent": Value("bytes_sent", "bytes", size_bytes),
    "request_time": Value("request_time", "latency_ms", seconds),
    "http_referer": Value("http_referer", "referrer"),
    "http_user_agent": Value("http_user_agent", "user_agent"),
    "http_x_forwarded_for": Value("http_x_forwarded_for", None, present, "", is_list=True),
    "proxy_add_x_forwarded_for": Value("proxy_add_x_forwarded_for", None, present, "", is_list=True),
}
_NGINX_NUMBERS = ("time", "length", "status", "port", "ratio", "requests", "connection", "pid")
"""Last words of the names of variables that are numbers."""

_APACHE_PART = re.compile(r"%%|%[<>!0-9,]*+(?P<name>U%q|\{[^}]*+\}(?:\^t)?[a-zA-Z]|[a-zA-Z])|(?P<text>[^%]++)")
_NGINX_PART = re.compile(r"\$(?:(?P<name>[a-zA-Z_0-9]++)|\{(?P<braced>[a-zA-Z_0-9]++)\})|(?P<text>[^$]++)")
_HAS_NGINX = re.compile(r"\$\{?[a-z]")
_QUOTED = r'((?:[^"\\]++|\\.)*+)'


class AccessFormat:
    """Reads the lines that one format string wrote."""

    def __init__(self, format_string: str) -> None:
        """Understand the format string; quotes may have a backslash before them, as in Apache's configuration.

        Raises:
            ConfigurationError: a directive is unknown, two values stand side by side, or there is none.
        """
        written = format_string.replace('\\"', '"').replace("\\t", "\t")
        parts = list(_merged((_nginx_parts if _HAS_NGINX.search(written) else _apache_parts)(written)))
        if not any(isinstance(part, Value) for part in parts):
            raise ConfigurationError(f"access log format {format_string!r} has no directive (%h) or variable ($status)")
        self._values = _distinct([part for part in parts if isinstance(part, Value)], format_string)
        self._pattern = re.compile(_pattern(parts, format_string))

    def read(self, text: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Fields and attributes of a line; None if it is not one of this format.

        Raises:
            Unparsable: `invalid_time`.
        """
        match = self._pattern.fullmatch(text)
        if match is None:
            return None
        fields: dict[str, Any] = {}
        attributes: dict[str, Any] = {}
        for value, written in zip(self._values, match.groups(), strict=True):
            if present(written) is None:
                continue
            converted = value.convert(written)
            if converted is None:
                return None
            if value.field is None:
                attributes[value.attribute] = converted
            else:
                fields[value.field] = converted
        return fields, attributes


_Part = Value | str


def _apache_parts(format_string: str) -> Iterator[_Part]:
    end = 0
    for match in _APACHE_PART.finditer(format_string):
        if match.start() != end:
            break
        end = match.end()
        if match["text"] is not None or match[0] == "%%":
            yield match["text"] or "%"
        elif match["name"] == "t":
            yield from ("[", _APACHE_TIME, "]")
        else:
            yield _apache_value("Uq" if match["name"] == "U%q" else match["name"])
    if end != len(format_string):
        raise ConfigurationError(f"access log format {format_string!r}: what is {format_string[end : end + 10]!r}?")


def _apache_value(name: str) -> Value:
    if name in _APACHE:
        return _APACHE[name]
    if named := _NAMED.fullmatch(name):
        return Value(named[1])
    if name.startswith("{") and name.endswith("}t"):
        return _apache_clock(name[1:-2])
    raise ConfigurationError(f"access log format: there is no directive %{name}")


def _apache_clock(pattern: str) -> Value:
    """`%{…}t`: a pattern of strftime(3), or the start's or end's."""
    pattern = pattern.removeprefix("begin:").removeprefix("end:")
    if f"{{{pattern}}}t" in _APACHE:
        return _APACHE[f"{{{pattern}}}t"]
    sample = dt.datetime(2015, 5, 17, 10, 5, 3, tzinfo=dt.UTC).strftime(pattern)
    try:
        event_time_ms(sample)
    except Unparsable:
        raise ConfigurationError(
            f"access log format: times like {sample!r} (of {pattern!r}) cannot be read; %t and %{{%FT%T%z}}t can"
        ) from None
    return Value("time", "timestamp", event_time_ms, sample)


def _nginx_parts(format_string: str) -> Iterator[_Part]:
    end = 0
    for match in _NGINX_PART.finditer(format_string):
        if match.start() != end:
            break
        end = match.end()
        yield match["text"] or _nginx_value(match["name"] or match["braced"])
    if end != len(format_string):
        raise ConfigurationError(f"access log format {format_string!r}: what is {format_string[end : end + 10]!r}?")


def _nginx_value(name: str) -> Value:
    if name in _NGINX:
        return _NGINX[name]
    convert = number if name.rpartition("_")[2] in _NGINX_NUMBERS else present
    return Value(name, None, convert, "", is_list=name.startswith("upstream_"))


def _merged(parts: Iterator[_Part]) -> Iterator[_Part]:
    """The same with texts that stand side by side as one."""
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
            continue
        if text:
            yield text
        text = ""
        yield part
    if text:
        yield text


def _distinct(values: list[Value], format_string: str) -> list[Value]:
    """The same, a field only at the first one that has it."""
    taken: set[str] = set()
    names: set[str] = set()
    distinct = []
    for value in values:
        if value.field is not None and value.field in taken:
            value = value._replace(field=None)  # noqa: PLW2901 - the same one, without
        if value.attribute in names:
            raise ConfigurationError(f"access log format {format_string!r}: {value.attribute} comes twice")
        taken.update({value.field} if value.field else ())
        names.add(value.attribute)
        distinct.append(value)
    return distinct


def _pattern(parts: list[_Part], format_string: str) -> str:
    pattern = ""
    for before, part, after in zip(["", *parts], parts, [*parts[1:], ""], strict=False):
        if isinstance(part, str):
            pattern += re.escape(part)
        elif isinstance(after, Value):
            raise ConfigurationError(
                f"access log format {format_string!r}: nothing tells {part.attribute} from {after.attribute}"
            )
        else:
            pattern += _group(part, str(before), after)
    return pattern


def _group(value: Value, before: str, after: str) -> str:
    """What reads a value: possessive throughout, so that a hostile line cannot make the search try again."""
    if not after:
        return "(.*+)"
    end = after[0]
    if before.endswith('"') and end == '"':
        return _QUOTED
    other = f"[^{re.escape(end)}\n]*+"
    if value.is_list and end == " ":
        return r"([^ ,\n]*+(?:(?:, | : )[^ ,\n]*+)*+)"
    again = value.sample.count(end)
    return f"({other}(?:{re.escape(end)}{other}){{{again}}})" if again else f"({other})"
