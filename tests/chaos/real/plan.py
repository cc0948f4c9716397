"""Which fault comes when: the same for a seed. What it hits at that moment is up to the machine."""

import random
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

Kind = Literal["function killed", "function paused", "sweeper killed", "broker killed", "mappings restarted"]

ROUND: tuple[Kind, ...] = (
    "function killed",
    "function killed",
    "function paused",
    "function paused",
    "sweeper killed",
    "broker killed",
    "mappings restarted",
)
"""The faults of a round, in an order of its own: each kind at least once."""
KINDS = tuple(dict.fromkeys(ROUND))

GAP_S = (0.2, 2.0)
BEHIND = (0, 0, 1, 2, 3)
"""So many later invocations succeed before a paused function goes on: none, and it races with its own successor."""
PAUSE_S = 1.5
"""Longest time that it stands still after them."""
DOWN_S = 3.0
"""Longest time that a killed broker stays down before it is started again."""


class Fault(NamedTuple):
    """One thing that goes wrong."""

    kind: Kind
    after_s: float
    """Pause before it, after the one before."""
    victim: int
    """Which mapping or broker: an index, to be taken modulo their number."""
    moment: float
    """When in the invocation, from 0 to 1 of what the last one took."""
    lasts_s: float
    """A pause, or a broker's absence."""
    behind: int
    """For a pause: how many later invocations come before its end."""
    orderly: bool
    """For a restart of the mappings: whether running invocations may end first."""


def faults(seed: int) -> Iterator[Sequence[Fault]]:
    """Rounds of faults without end."""
    draw = random.Random(seed)
    while True:
        kinds = [*ROUND]
        draw.shuffle(kinds)
        yield [_fault(kind, draw) for kind in kinds]


def _fault(kind: Kind, draw: random.Random) -> Fault:
    lasts_s = DOWN_S if kind == "broker killed" else PAUSE_S
    return Fault(
        kind=kind,
        after_s=draw.uniform(*GAP_S),
        victim=draw.randrange(1 << 16),
        moment=draw.random(),
        lasts_s=draw.uniform(0, lasts_s),
        behind=draw.choice(BEHIND),
        orderly=draw.random() < 0.5,
    )
