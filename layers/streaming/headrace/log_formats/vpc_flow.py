"""VPC flow logs: the default format (version 2), or the fields that a flow log was declared with.

Fields are called as AWS calls them, with dashes or underscores, also as `${pkt-srcaddr}`. `start` is the event's time
(`end` without it), `bytes` its bytes, `srcaddr` its host, `protocol` the name of IANA's number where it is one of the
usual four. `message` puts the flow in words. A flow has no level: REJECT and SKIPDATA (AWS has lost records) count as
WARN, so that they can be counted and alerted on, everything else has no severity. All other fields are attributes,
called with underscores. A format's first line in a file names its fields: `header_fields`.

Source: "Flow log records" in AWS's VPC user guide.
"""

import re

from headrace.errors import ConfigurationError
from headrace.event_time import event_time_ms
from headrace.log_event import UNSPECIFIED, WARN, LogEvent, log_event
from headrace.log_fields import size_bytes
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
        "2 123456789010 eni-1235b8ca 192.0.2.7 10.0.0.220 20641 22 6 20 4249 1795773600 1795773660 REJECT OK",
        {"timestamp": EXAMPLES_KAFKA_MS, "format": "vpc_flow", "severity_number": 13, "severity": "WARN"}
        | {"host": "192.0.2.7", "protocol": "TCP", "bytes": 4249}
        | {"message": "REJECT TCP 192.0.2.7:20641 -> 10.0.0.220:22"}
        | {
            "attributes": {"version": 2, "account_id": "123456789010", "interface_id": "eni-1235b8ca"}
            | {"dstaddr": "10.0.0.220", "srcport": 20641, "dstport": 22, "packets": 20, "end": 1795773660}
            | {"action": "REJECT", "log_status": "OK"}
        },
    ),
    (
        "2 123456789010 eni-1235b8ca - - - - - - - 1795773600 1795773660 - NODATA",
        {"timestamp": EXAMPLES_KAFKA_MS, "format": "vpc_flow", "message": "NODATA"}
        | {
            "attributes": {"version": 2, "account_id": "123456789010", "interface_id": "eni-1235b8ca"}
            | {"end": 1795773660, "log_status": "NODATA"}
        },
    ),
    (
        "2 123456789010 eni-1235b8ca - - - - - - - 1795773600 1795773660 - SKIPDATA",
        {"timestamp": EXAMPLES_KAFKA_MS, "format": "vpc_flow", "severity_number": 13, "severity": "WARN"}
        | {"message": "SKIPDATA"}
        | {
            "attributes": {"version": 2, "account_id": "123456789010", "interface_id": "eni-1235b8ca"}
            | {"end": 1795773660, "log_status": "SKIPDATA"}
        },
    ),
)

DEFAULT_FIELDS = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"
)
_FIELD = re.compile(r"\$\{([a-z][a-z0-9_-]{0,63})\}|([a-z][a-z0-9_-]{0,63})")
_WHOLE_NUMBERS = frozenset(
    {"version", "srcport", "dstport", "packets", "start", "end", "tcp_flags", "encryption_status"}
)
_PROTOCOLS = {"1": "ICMP", "6": "TCP", "17": "UDP", "58": "ICMPv6"}
_BAD = frozenset({"REJECT", "SKIPDATA"})
# These tell a flow from any other line of as many words.
_ACTIONS = frozenset({"ACCEPT", "REJECT", "-"})
_LOG_STATUSES = frozenset({"OK", "NODATA", "SKIPDATA", "-"})
_USUAL = frozenset(DEFAULT_FIELDS.replace("-", "_").split())
_LEAST_IN_A_HEADER = 3


class VpcFlow:
    """The format `vpc_flow`."""

    name = "vpc_flow"

    def __init__(self, fields: str = "") -> None:
        """Choose the fields.

        Args:
            fields: their names in order, between white space; empty: the default format's.

        Raises:
            ConfigurationError: a name is none, or comes twice, or there is none at all.
        """
        matches = [(name, _FIELD.fullmatch(name)) for name in (fields or DEFAULT_FIELDS).split()]
        if wrong := [name for name, match in matches if match is None]:
            raise ConfigurationError(f"a flow log has no field {wrong[0]!r}")
        self._names = [(match[1] or match[2]).replace("-", "_") for _, match in matches if match]
        if len(set(self._names)) < len(self._names) or not self._names:
            raise ConfigurationError(f"the fields of a flow log are each named once, not {fields!r}")

    def parse(self, line: bytes, kafka_ms: int) -> LogEvent:
        """See `Format.parse`. Reasons: `unknown_format`, `invalid_field`, `invalid_time`, `not_utf8`."""
        text = text_of(line)
        columns = text.split(" ")
        if len(columns) != len(self._names):
            raise Unparsable(
                UNKNOWN_FORMAT, f"no flow log: {len(columns)} fields, not {len(self._names)}: {shown(text)}"
            )
        written = dict(zip(self._names, columns, strict=True))
        if written.get("action", "-") not in _ACTIONS or written.get("log_status", "-") not in _LOG_STATUSES:
            raise Unparsable(UNKNOWN_FORMAT, f"no flow log, by its action or status: {shown(text)}")
        fields: dict[str, object] = {name: _value(name, column) for name, column in written.items() if column != "-"}
        start = fields.pop("start", None) or fields.get("end")
        size, protocol = fields.pop("bytes", None), fields.pop("protocol", None)
        return log_event(
            "vpc_flow",
            severity_number=WARN if _BAD.intersection(columns) else UNSPECIFIED,
            timestamp=None if start is None else event_time_ms(start),
            message=_in_words(fields, protocol),
            protocol=protocol,
            bytes=size,
            host=fields.pop("srcaddr", None),
            attributes=attributes_of(fields),
        )


def header_fields(line: str) -> str | None:
    """The fields that the first line of a file names; None if it is none of a flow log."""
    names = [name.replace("-", "_") for name in line.split()]
    known = len(_USUAL.intersection(names))
    is_header = known >= _LEAST_IN_A_HEADER and all(map(_FIELD.fullmatch, names))
    return line if is_header else None


def _value(name: str, column: str) -> str | int:
    if name == "protocol":
        return _PROTOCOLS.get(column, column)
    if name != "bytes" and name not in _WHOLE_NUMBERS:
        return column
    number = size_bytes(column)
    if number is None:
        raise Unparsable("invalid_field", f"{name} is {shown(column)}, no whole number")
    return number


def _in_words(fields: dict[str, object], protocol: object) -> str | None:
    ends = [_end(fields, side) for side in ("src", "dst")]
    flow = " -> ".join(end for end in ends if end)
    words = [str(word) for word in (fields.get("action"), protocol, flow) if word]
    status = fields.get("log_status")
    return " ".join(words) or present(None if status is None else str(status))


def _end(fields: dict[str, object], side: str) -> str:
    port = fields.get(f"{side}port")
    address = str(fields.get(f"{side}addr", ""))
    return address if port is None else f"{address}:{port}"
