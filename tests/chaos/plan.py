"""What a schedule is about: how many records and partitions, which rules, and what becomes of the topic."""

from typing import Literal, NamedTuple

from chaos.choices import Choices
from chaos.operators import SETS, OperatorSet
from chaos.oracle.rules import Rules
from chaos.topic import MAX_SKEW_MS


class Plan(NamedTuple):
    """What a schedule is about, decided before it starts."""

    partitions: int
    grows_to: int
    records: int
    """At most, per partition."""
    operators: OperatorSet
    rules: Rules
    inline_state_bytes: int
    inline_outbox_entries: int
    max_deltas: int
    warm_rows: int
    gaps: Literal["allow", "forbid"]
    fault_percent: float
    steady: bool
    """Whether little is given up and time passes slowly: execution environments then live long."""
    audited: bool
    """Whether `headrace audit` looks at what came out: at every file, which takes as long as all the rest."""
    ending: str
    """What happens to the topic or the generation: `none`, `new generation` or `topic re-created`."""


def drawn(choices: Choices) -> Plan:
    """Decide."""
    grows = choices.chance(5)
    partitions = 4 if grows else 1 + choices.among((0, 0, 0, 1, 1, 2, 3))
    endings = ("none", "none", "none", "none", "none", "new generation", "new generation", "topic re-created")
    operators = choices.among(SETS)
    return Plan(
        partitions=partitions,
        grows_to=8 if grows else partitions,
        records=6 if grows else choices.among((12, 20, 8)),
        operators=operators,
        rules=_rules(operators, choices.among((0, 5, 12)), choices.among((0, 0, 7))),
        inline_state_bytes=choices.among((4096, 100, 0, 0)),
        inline_outbox_entries=choices.among((100, 0, 0, 2)),
        max_deltas=choices.among((50, 3, 1)),
        warm_rows=choices.among((0, 10_000, 10_000, 10_000, 6)),
        gaps=choices.among(("allow", "allow", "forbid")),
        fault_percent=choices.among((6, 10, 16)),
        steady=choices.chance(25),
        audited=choices.chance(25),
        ending="none" if grows else choices.among(endings),
    )


def _rules(operators: OperatorSet, out_of_orderness: int, lateness: int) -> Rules:
    """Disorder and lateness in steps; an operator that has a lateness of its own keeps it."""
    lateness_ms = lateness * operators.step_ms
    declared = [each._replace(lateness_ms=each.lateness_ms or lateness_ms) for each in operators.operators]
    return Rules(tuple(declared), out_of_orderness * operators.step_ms, MAX_SKEW_MS, operators.landing, operators.lines)
