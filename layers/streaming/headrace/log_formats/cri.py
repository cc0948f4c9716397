"""Lines of Kubernetes' container runtimes: `TIME stdout|stderr F|P LINE`.

What the container wrote is a line of any format, whose own time counts before the runtime's. The stream is in the
attribute `cri`, and so is whether the line goes on in the next record (`P`: containerd and CRI-O cut at 16 KiB). Such
parts are not put together.

Source: Kubernetes' design proposal "CRI: Log Management for Container Stdout/Stderr Streams".
"""

import re
from typing import NamedTuple

import msgspec

from headrace.event_time import event_time_ms
from headrace.log_event import LogEvent
from headrace.log_formats.format import Unparsable, with_attribute

_LINE = re.compile(rb"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,18}(?:Z|[+-][0-9:]{5})) (stdout|stderr) ([FP]) (?=\s*+\S)")


class Written(NamedTuple):
    """What a container wrote, and what the runtime says about it."""

    line: bytes
    time_ms: int
    stream: str
    is_partial: bool

    def around(self, event: LogEvent) -> LogEvent:
        """The line's event, with what only the runtime knows."""
        said: dict[str, object] = {"stream": self.stream} | ({"partial": True} if self.is_partial else {})
        return msgspec.structs.replace(
            event,
            timestamp=self.time_ms if event.timestamp is None else event.timestamp,
            attributes=with_attribute(event.attributes, "cri", said),
        )


def written(value: bytes) -> Written | None:
    """None if it is no line of a runtime's; one without a time that is one, or with nothing written, is none."""
    match = _LINE.match(value) if value[10:11] == b"T" else None
    if match is None:
        return None
    time, stream, tag = (part.decode() for part in match.groups())
    try:
        return Written(value[match.end() :], event_time_ms(time), stream, tag == "P")
    except Unparsable:
        return None
