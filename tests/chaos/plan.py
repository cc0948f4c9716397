"""What a schedule is about: how many records and partitions, which rules, and what becomes of the topic."""

from typing import Literal, NamedTuple

from chaos.choices import Choices
from chaos.oracle import Rules
from chaos.topic import MAX_SKEW_MS
from samples import HIT_AVSC

from headrace import schema
from headrace.aggregates import Count, First, Last, Sum
from headrace.codec import JsonCodec
from headrace.operators import Land
from headrace.topology import Topology
from headrace.windowed import Windowed
from headrace.windows import SessionWindows, TumblingWindows

_CODEC = JsonCodec(schema.parse(HIT_AVSC))


class Plan(NamedTuple):
    """What a schedule is about, decided before it starts."""

    partitions: int
    grows_to: int
    records: int
    """At most, per partition."""
    rules: Rules
    inline_state_bytes: int
    inline_outbox_entries: int
    gaps: Literal["allow", "forbid"]
    fault_percent: float
    audited: bool
    """Whether `headrace audit` looks at what came out: at every file, which takes as long as all the rest."""
    ending: str
    """What happens to the topic or the generation: `none`, `new generation` or `topic re-created`."""


def plan(choices: Choices) -> Plan:
    """Decide."""
    grows = choices.chance(5)
    partitions = 4 if grows else 1 + choices.among((0, 0, 0, 1, 1, 2, 3))
    endings = ("none", "none", "none", "none", "none", "new generation", "new generation", "topic re-created")
    return Plan(
        partitions=partitions,
        grows_to=8 if grows else partitions,
        records=6 if grows else choices.among((12, 20, 8)),
        rules=Rules(10, 10, choices.among((0, 5, 12)), choices.among((0, 0, 7)), MAX_SKEW_MS),
        inline_state_bytes=choices.among((4096, 100, 0)),
        inline_outbox_entries=choices.among((100, 2, 0)),
        gaps=choices.among(("allow", "allow", "forbid")),
        fault_percent=choices.among((6, 10, 16)),
        audited=choices.chance(25),
        ending="none" if grows else choices.among(endings),
    )


def topology(rules: Rules) -> Topology:
    """Both kinds of windows and landing, over one topic."""
    pages = Windowed(
        table="pages",
        window=TumblingWindows(size_ms=rules.window_ms),
        key=("page",),
        aggregates={"events": Count(), "value_sum": Sum("value")},
    )
    sessions = Windowed(
        table="sessions",
        window=SessionWindows(gap_ms=rules.gap_ms),
        key=("user",),
        aggregates={"events": Count(), "first_page": First("page"), "last_page": Last("page")},
    )
    return Topology(
        codec=_CODEC,
        operators=(pages, sessions, Land()),
        event_time="at",
        out_of_orderness_ms=rules.out_of_orderness_ms,
        allowed_lateness_ms=rules.lateness_ms,
        max_skew_ms=rules.max_skew_ms,
    )
