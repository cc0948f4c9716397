"""Which landed row each line of a stack trace is in: the rule of landing, stated again, one record at a time.

The last event of each record key is held. A line that continues is added to it; where nothing is held, it is a row of
its own. An event is held until the next one of its key comes, it has 500 lines more, the watermark (the latest event
time so far) is a minute past the event's time and past where it stood before it, more than 64 keys are held, or all of
them have more than 2^20 characters: then the one that came first goes first.
"""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from headrace_cli.audit.logs import Line, alone
from headrace_cli.audit.records import Produced
from headrace_cli.audit.windows import BEFORE_ALL_MS

HOLD_MS = 60_000
MOST_LINES = 500
MOST_KEYS = 64
MOST_CHARACTERS = 1 << 20
AS_LANDED = "as landed"
"""Marks a line whose columns were taken from its row, stack trace included."""

_MEASURED = ("message", "attributes", "path", "user_agent", "referrer", "stack_trace")


class Read(NamedTuple):
    """An event, or a text that continues one."""

    record: Produced
    line: Line | str
    time_ms: int


class _Held:
    def __init__(self, read: Read, line: Line, due_ms: int) -> None:
        self.read, self.line, self.due_ms = read, line, due_ms
        self.texts: list[str] = []
        self.size = sum(_length(name, line[name]) for name in _MEASURED if line[name] is not None)

    @property
    def lines(self) -> int:
        return sum(1 + text.count("\n") for text in self.texts)


def landed(reads: Iterable[Read]) -> list[tuple[Produced, Line]]:
    """Every row of the landed table."""
    rows: list[tuple[Produced, Line]] = []
    held: dict[bytes | None, _Held] = {}
    watermark_ms = BEFORE_ALL_MS

    def give_out(keys: list[bytes | None]) -> None:
        for key in keys:
            each = held.pop(key)
            rows.append((each.read.record, _joined(each)))

    def make_room() -> None:
        while len(held) > MOST_KEYS or sum(each.size for each in held.values()) > MOST_CHARACTERS:
            give_out([next(iter(held))])

    for read in reads:
        key = read.record.key
        give_out([each for each, event in held.items() if event.due_ms <= watermark_ms])
        if isinstance(read.line, str):
            if key not in held:
                rows.append((read.record, alone(read.record, read.line)))
                continue
            held[key].texts.append(read.line)
            held[key].size += len(read.line)
            if held[key].lines >= MOST_LINES:
                give_out([key])
        else:
            give_out([key] if key in held else [])
            held[key] = _Held(read, read.line, max(read.time_ms, watermark_ms) + HOLD_MS)
            watermark_ms = max(watermark_ms, read.time_ms)
        make_room()
    give_out(list(held))
    return rows


def _joined(held: _Held) -> Line:
    added = "\n".join(held.texts)
    line = {name: value for name, value in held.line.items() if name != AS_LANDED}
    if not added:
        return line
    own = line["stack_trace"]
    if AS_LANDED in held.line:
        # Its row has them already, if all is well.
        return line if (own or "").endswith(added) else line | {"stack_trace": added}
    return line | {"stack_trace": added if own is None else f"{own}\n{added}"}


def _length(name: str, value: Any) -> int:
    # Attributes are landed without white space.
    return len(json.dumps(json.loads(value), separators=(",", ":"))) if name == "attributes" else len(value)
