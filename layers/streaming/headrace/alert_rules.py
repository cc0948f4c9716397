"""When a count is worth an alert: pure functions of what a closed window holds, pane by pane.

A pane is what one key has of one step of time: `{"events": 50, "errors": 46}`, or nothing at all. A rule judges the
last pane, and may look at the one before it. Whether that is news is the operator's to say (`headrace.alerts`).
"""

import re
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple, Protocol

import msgspec

from headrace.errors import ConfigurationError

Pane = Mapping[str, Any]
"""The results of one step of time, by column; empty if there was no event."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class Verdict(NamedTuple):
    """That a rule is broken."""

    value: float
    threshold: float
    says: str
    """What is wrong, for a person."""


class Rule(Protocol):
    """What an alert is raised for; a frozen configuration without state."""

    @property
    def name(self) -> str:
        """1 to 64 of a-z, 0-9, - and _: it is part of the alerts' identity."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        ...

    def judge(self, panes: Sequence[Pane]) -> Verdict | None:
        """Whether the last pane breaks the rule.

        Args:
            panes: at least one, the earliest first; what was before the first one is not known.
        """
        ...


class Ratio(msgspec.Struct, frozen=True):
    """One count divided by another is above a limit: the share of errors.

    Raises:
        ConfigurationError: the name cannot be one, `above` is not a finite number, or `at_least` is not positive.
    """

    name: str
    numerator: str
    denominator: str
    above: float
    at_least: int = 1
    """Fewer than this in the denominator say nothing."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _check(self.name, "above", self.above, self.at_least)

    @property
    def columns(self) -> tuple[str, ...]:
        """See `Rule.columns`."""
        return (self.numerator, self.denominator)

    def judge(self, panes: Sequence[Pane]) -> Verdict | None:
        """See `Rule.judge`."""
        part, whole = _number(panes[-1], self.numerator), _number(panes[-1], self.denominator)
        if whole < self.at_least or part <= self.above * whole:
            return None
        ratio = part / whole
        says = f"{self.numerator}/{self.denominator} is {ratio:.3g} ({part:g} of {whole:g}), above {self.above:g}"
        return Verdict(ratio, self.above, says)


class RateOfChange(msgspec.Struct, frozen=True):
    """A count is so many times that of the step before: a surge, or with a factor below 1 a slump.

    After a step without events nothing is a surge: who begins has no rate that could have changed.

    Raises:
        ConfigurationError: the name cannot be one, `factor` is not a finite number above 0 other than 1, or `at_least`
            is not positive.
    """

    name: str
    of: str
    factor: float
    at_least: int = 1
    """Fewer than this in the larger of both steps say nothing."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _check(self.name, "factor", self.factor, self.at_least)
        if self.factor <= 0 or self.factor == 1:
            raise ConfigurationError(f"rule {self.name!r}: factor must be above 0, and not 1, not {self.factor}")

    @property
    def columns(self) -> tuple[str, ...]:
        """See `Rule.columns`."""
        return (self.of,)

    def judge(self, panes: Sequence[Pane]) -> Verdict | None:
        """See `Rule.judge`."""
        if len(panes) == 1:
            return None
        before, now = _number(panes[-2], self.of), _number(panes[-1], self.of)
        if before <= 0 or max(before, now) < self.at_least:
            return None
        change = now / before
        if change < self.factor if self.factor > 1 else change > self.factor:
            return None
        return Verdict(change, self.factor, f"{self.of} went from {before:g} to {now:g}, {change:.3g} times as many")


class Absence(msgspec.Struct, frozen=True):
    """Nothing comes any more: for session windows, which close when there was no event for their gap.

    Raises:
        ConfigurationError: the name cannot be one, or `at_least` is not positive.
    """

    name: str
    events: str = "events"
    """The column that counts the session's events."""
    at_least: int = 1
    """Who said less than this before it fell silent was never there."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _check(self.name, "at_least", self.at_least, self.at_least)

    @property
    def columns(self) -> tuple[str, ...]:
        """See `Rule.columns`."""
        return (self.events,)

    def judge(self, panes: Sequence[Pane]) -> Verdict | None:
        """See `Rule.judge`."""
        events = _number(panes[-1], self.events)
        if events < self.at_least:
            return None
        return Verdict(events, self.at_least, f"silent after {events:g} events, until the end of the window")


class NewPattern(msgspec.Struct, frozen=True):
    """A key shows up that was not there before, if a column of its row has one of these values: a new error.

    Raises:
        ConfigurationError: the name cannot be one, or there is no value.
    """

    name: str
    column: str = "severity"
    one_of: tuple[str | int, ...] = ("ERROR", "FATAL")

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _check(self.name, "one_of", len(self.one_of), len(self.one_of))

    @property
    def columns(self) -> tuple[str, ...]:
        """See `Rule.columns`."""
        return (self.column,)

    def judge(self, panes: Sequence[Pane]) -> Verdict | None:
        """See `Rule.judge`."""
        found = panes[-1].get(self.column)
        return Verdict(1, 1, f"new, with {self.column} {found}") if found in self.one_of else None


def _number(pane: Pane, column: str) -> float:
    """The count; 0 where there was none, or where it is none that can be compared."""
    found = pane.get(column)
    return found if found is not None and isfinite(found) else 0


def _check(name: str, what: str, limit: float, at_least: int) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"a rule's name must be 1 to 64 of a-z, 0-9, - and _, not {name!r}")
    if not isfinite(limit):
        raise ConfigurationError(f"rule {name!r}: {what} must be a finite number, not {limit}")
    if at_least < 1:
        raise ConfigurationError(f"rule {name!r}: {what if what == 'one_of' else 'at_least'} must be positive")
