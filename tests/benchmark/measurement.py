"""A measurement, its target, and how both are shown."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Unavailable(Exception):
    """A part that cannot be measured on this machine, and why; the others can."""


class Target(NamedTuple):
    """What a measurement must reach."""

    field: str
    """`ratio` or `ours_value`."""
    at_least: float = -math.inf
    below: float = math.inf
    informative: bool = False
    """Shown and not judged: an absolute figure is for a quiet machine."""

    def met_by(self, value: float) -> bool:
        """Whether the value is good enough."""
        return self.at_least <= value < self.below

    @property
    def limit(self) -> str:
        """The limit without the field."""
        return f"< {self.below:g}" if self.below < math.inf else f">= {self.at_least:g}"

    def __str__(self) -> str:
        return f"{self.field} {self.limit}{' on a quiet machine' if self.informative else ''}"


class Published(NamedTuple):
    """What others measured elsewhere: shown beside ours, never judged."""

    value: float
    by: str
    source: str
    differs: str
    """What is not the same."""


class Measurement(NamedTuple):
    """Medians of something that was measured several times, ours and, where there is one, a counterpart's."""

    name: str
    unit: str
    ours: Sequence[float]
    counterpart_name: str | None = None
    counterpart: Sequence[float] = ()
    """In the same order as ours: one of each was taken in turn."""
    target: Target | None = None
    details: Mapping[str, Any] | None = None
    """Whatever else the reader should know."""
    published: Published | None = None

    @property
    def ours_value(self) -> float:
        """Median."""
        return statistics.median(self.ours)

    @property
    def counterpart_value(self) -> float | None:
        """Median."""
        return statistics.median(self.counterpart) if self.counterpart else None

    @property
    def ratio(self) -> float | None:
        """Ours by the counterpart's, the median over the turns.

        Not the quotient of the medians: a neighbour that slows a machine down for a while slows both sides of a turn.
        """
        if not self.counterpart:
            return None
        return statistics.median(mine / other for mine, other in zip(self.ours, self.counterpart, strict=True))

    @property
    def met(self) -> bool:
        """Whether the target is reached; without one there is nothing to miss."""
        return self.target is None or self.target.met_by(self._judged)

    @property
    def failed(self) -> bool:
        """Whether a target that is judged is missed."""
        return not self.met and not (self.target and self.target.informative)

    @property
    def _judged(self) -> float:
        assert self.target
        value = getattr(self, self.target.field)
        assert value is not None, f"{self.name} has a target for {self.target.field}, which it lacks"
        return float(value)

    def as_object(self) -> dict[str, Any]:
        """One line of the output."""
        return {
            "name": self.name,
            "ours": "headrace",
            "counterpart": self.counterpart_name,
            "unit": self.unit,
            "ours_value": self.ours_value,
            "counterpart_value": self.counterpart_value,
            "ratio": self.ratio,
            "repeats": len(self.ours),
            "target": str(self.target) if self.target else None,
            "met": self.met,
            **({"published": self.published._asdict()} if self.published else {}),
            **(self.details or {}),
        }

    def miss(self) -> str:
        """In words, what was not reached."""
        assert self.target
        values = f"{self.ours_value:,.0f} {self.unit}"
        if self.counterpart:
            values += f" against {self.counterpart_value:,.0f} by {self.counterpart_name}"
        return f"{self.name}: {self.target.field} is {self._judged:.3g}, the target is {self.target.limit} ({values})"


def table(measurements: Sequence[Measurement]) -> str:
    """All measurements for a person, aligned."""
    head = ("measurement", "ours", "counterpart", "ratio", "unit", "target", "published")
    lines = [head, *map(_cells, measurements)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _cells(m: Measurement) -> tuple[str, ...]:
    counterpart = f"{m.counterpart_value:,.0f} {m.counterpart_name}" if m.counterpart_value else ""
    ratio = f"{m.ratio:.2f}" if m.ratio else ""
    missed = "MISSED" if m.failed else "not met"
    verdict = f"{m.target}: {'met' if m.met else missed}" if m.target else ""
    published = f"{m.published.value:,.0f} {m.published.by}" if m.published else ""
    return m.name, f"{m.ours_value:,.0f}", counterpart, ratio, m.unit, verdict, published
