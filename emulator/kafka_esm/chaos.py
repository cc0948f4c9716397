"""What goes wrong with one mapping, and when: a plan made from a seed and the mapping's name.

The plan answers four questions, each from a sequence of its own: what happens to the next invocation, how many
batches the mapping forgets after the next success, how big the next batch may be, and how records are cut that come
again. How often one of them is asked depends on timing; the sequences do not, and do not influence each other.

Answers are dealt like cards: a deck is shuffled, dealt to its end and shuffled again. So every kind of fault occurs
once per deck, also in a short run, and none can pile up: a plan that only injected failures would never drain.
"""

from collections.abc import Callable, Sequence
from enum import Enum, StrEnum
from random import Random
from typing import Generic, TypeVar

MOST_FAILURES_IN_A_ROW = 2
"""Invocations that are made to fail one after the other; the next one is left alone."""
MOST_REWOUND = 3
"""Batches that the mapping forgets at once; it keeps so many of them in memory."""

Card = TypeVar("Card")


class Fault(StrEnum):
    """What is injected; each is something a mapping on AWS may do."""

    THROTTLED = "throttled"
    """The invocation is refused before it starts."""
    TIMED_OUT = "timed_out"
    """The function ran to its end, and the mapping is told that it timed out."""
    DELIVERED_TWICE = "delivered_twice"
    """Two execution environments get the batch at once; the first success settles it."""
    DELIVERED_LATE = "delivered_late"
    """A second execution environment gets the batch while the next invocation runs."""
    REDELIVERED = "redelivered"
    """Batches that succeeded are forgotten and come again, as after a poller's restart at an earlier offset."""
    RECUT_SMALLER = "recut_smaller"
    """Records come again in a smaller batch."""
    RECUT_LARGER = "recut_larger"
    """Records come again in a larger batch, with newer ones."""


class Recut(Enum):
    """How records are cut that come again."""

    SAME = "same"
    SMALLER = "smaller"
    LARGER = "larger"


OnFault = Callable[[Fault, str], None]
"""Told of each fault when it is injected, in the mapping's thread: its kind, and a line for a person."""

_FAILING = {Fault.THROTTLED, Fault.TIMED_OUT}
_INVOCATIONS = (Fault.THROTTLED, Fault.TIMED_OUT, Fault.DELIVERED_TWICE, Fault.DELIVERED_LATE, *[None] * 4)
_REWINDS = (0, 0, 0, 0, 1, MOST_REWOUND)
_SHARES = (0.25, 0.5, 0.5, 1.0)
_RECUTS = (Recut.SAME, Recut.SMALLER, Recut.LARGER)


class _Deck(Generic[Card]):
    """Deals the same cards again and again, in a new order each time."""

    def __init__(self, cards: Sequence[Card], name: str) -> None:
        self._cards = cards
        # A text seeds by its digest: the same in every process, unlike its hash.
        self._random = Random(name)  # noqa: S311 - not a secret
        self._left: list[Card] = []

    def deal(self) -> Card:
        if not self._left:
            self._left = self._random.sample(self._cards, len(self._cards))
        return self._left.pop()


class ChaosPlan:
    """The faults of one mapping. Belongs to the mapping's thread."""

    def __init__(self, seed: int, mapping: str, on_fault: OnFault = lambda _fault, _text: None) -> None:
        """Shuffle.

        Args:
            seed: with the name of the mapping it decides everything.
            mapping: its name.
            on_fault: told of each fault, by whoever injects it.
        """
        self.on_fault = on_fault
        self._invocations = _Deck(_INVOCATIONS, f"{seed} {mapping} invocations")
        self._rewinds = _Deck(_REWINDS, f"{seed} {mapping} rewinds")
        self._shares = _Deck(_SHARES, f"{seed} {mapping} shares")
        self._recuts = _Deck(_RECUTS, f"{seed} {mapping} recuts")
        self._failures = 0

    def invocation(self) -> Fault | None:
        """Return what happens to the next invocation; None: nothing."""
        if self._failures == MOST_FAILURES_IN_A_ROW:
            self._failures = 0
            return None
        fault = self._invocations.deal()
        self._failures = self._failures + 1 if fault in _FAILING else 0
        return fault

    def rewind(self) -> int:
        """Return how many of the last batches are forgotten after this success, up to `MOST_REWOUND`."""
        return self._rewinds.deal()

    def share(self) -> float:
        """Return which part of the batch size the next batch may fill: above 0, up to 1."""
        return self._shares.deal()

    def recut(self) -> Recut:
        """Return how the records are cut that come again."""
        return self._recuts.deal()
