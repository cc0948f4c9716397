"""Which fault met which step, as a table; a cell that stays empty is either impossible, with its reason, or a hole."""

from collections import Counter
from collections.abc import Iterator, Mapping

from chaos.calls import Fault

STEPS = (
    *("turn 1 load", "turn 2 read the manifest", "turn 2 copy", "turn 2 clear", "turn 4 read the snapshot"),
    *("turn 5 stage", "turn 6 commit", "turn 6 load again"),
    *("turn 7 read the manifest", "turn 7 copy", "turn 7 clear"),
    *("sweep list the checkpoints", "sweep ask the broker"),
    *("sweep 2 read the manifest", "sweep 2 copy", "sweep 2 clear", "sweep 4 read the snapshot"),
    *("sweep 5 stage", "sweep 6 commit", "sweep 6 load again"),
    *("sweep 7 read the manifest", "sweep 7 copy", "sweep 7 clear"),
    *("janitor list the objects", "janitor list the checkpoints", "janitor read the manifest", "janitor delete"),
)
"""Every call that a process makes, by the number of its step in the protocol."""

_ONE_THING = "a request about one thing: it is done or it is not"
_PAGES = "a list comes in pages, and each page is a request of its own"
_IMPOSSIBLE = {
    "read the manifest": _ONE_THING,
    "read the snapshot": _ONE_THING,
    "clear": _ONE_THING,
    "commit": _ONE_THING,
    "load again": _ONE_THING,
    "ask the broker": _ONE_THING,
    "list the checkpoints": _PAGES,
    "list the objects": _PAGES,
}
"""What a step does, and why it cannot be done in part."""

WINDOWS = (
    *("tumbling", "tumbling late", "tumbling top"),
    *("hopping", "hopping late", "hopping early"),
    *("calendar", "calendar late", "calendar early"),
    *("sliding", "sliding late"),
    *("sessions", "sessions late", "sessions early", "sessions retracted"),
    "firsttimes",
    *("alerts share", "alerts surge", "alerts slump", "alerts silence", "alerts news"),
)
"""Kinds of windows, and what comes out of them."""

Coverage = Mapping[tuple[str, Fault], int]


def impossible(step: str, fault: Fault) -> str | None:
    """Why the fault cannot meet the step; None if it can."""
    if fault is not Fault.PARTIAL:
        return None
    return next((reason for what, reason in _IMPOSSIBLE.items() if step.endswith(what)), None)


def holes(coverage: Coverage) -> list[str]:
    """Cells that are possible and empty."""
    return [
        f"{step}, {fault}"
        for step in STEPS
        for fault in Fault
        if impossible(step, fault) is None and not coverage.get((step, fault))
    ]


def missing(windows: Counter[str]) -> list[str]:
    """Kinds of windows, and of rows of them, that there were none of."""
    return [f"rows of {what}" for what in WINDOWS if not windows[what]]


def table(coverage: Coverage) -> Iterator[str]:
    """The lines of the table, and of its footnotes."""
    notes: dict[str, str] = {}
    yield " " * 29 + "".join(f"{_heading(fault):>9}" for fault in Fault)
    yield " " * 29 + "".join(f"{_heading(fault, second=True):>9}" for fault in Fault)
    for step in STEPS:
        yield f"{step:<29}" + "".join(f"{_cell(coverage, step, fault, notes):>9}" for fault in Fault)
    for reason, mark in notes.items():
        yield f"{mark} impossible: {reason}"


def unknown(steps: Counter[str]) -> set[str]:
    """Steps that happened and that the table does not have."""
    return {*steps} - {*STEPS}


def _cell(coverage: Coverage, step: str, fault: Fault, notes: dict[str, str]) -> str:
    if reason := impossible(step, fault):
        return notes.setdefault(reason, f"({'abc'[len(notes)]})")
    return f"{coverage.get((step, fault), 0)}"


def _heading(fault: Fault, *, second: bool = False) -> str:
    first, _, rest = fault.value.partition(" ")
    return rest if second else first
