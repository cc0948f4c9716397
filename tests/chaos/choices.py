"""Every decision of a schedule, in the order in which it was taken: drawn from a seed, or read from a script.

The first alternative of each decision is the harmless one, so a script that ends early goes on undisturbed, and making
a script shorter, or its numbers smaller, makes the schedule simpler. That is all that shrinking needs.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")

ATTEMPTS = 600
"""Schedules that a failing one is tried to be replaced by."""


class Choices:
    """Takes decisions, and remembers them."""

    def __init__(self, seed: int | None = None, script: Sequence[int] = ()) -> None:
        self._randrange = None if seed is None else Random(seed).randrange
        self._script = script
        self.made: list[int] = []
        """The script that takes the same decisions again."""

    def below(self, number: int) -> int:
        """A number from 0 to `number - 1`."""
        if self._randrange is not None:
            value = self._randrange(number)
        elif len(self.made) < len(self._script):
            value = self._script[len(self.made)] % number
        else:
            value = 0
        self.made.append(value)
        return value

    def chance(self, percent: float) -> bool:
        """True in so many cases of a hundred."""
        return self.below(1000) >= 1000 - percent * 10

    def among(self, alternatives: Sequence[T]) -> T:
        """One of them; the first is the harmless one."""
        return alternatives[self.below(len(alternatives))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """The items in any order; undisturbed, their own."""
        left = list(items)
        return [left.pop(self.below(len(left)) if len(left) > 1 else 0) for _ in items]


def shrunk(script: Sequence[int], fails: Callable[[Sequence[int]], bool]) -> list[int]:
    """A simpler script that fails as well: decisions left out, then made harmless, as long as it still fails."""
    best = list(script)
    attempts = iter(range(ATTEMPTS))

    def take(candidate: list[int]) -> bool:
        nonlocal best
        if candidate == best or next(attempts, None) is None or not fails(candidate):
            return False
        best = candidate
        return True

    for change in (_without, _harmless):
        size = max(1, len(best) // 2)
        while size:
            start = max(0, len(best) - size)
            while True:
                take(change(best, start, size))
                if start == 0:
                    break
                start = max(0, min(start, len(best)) - size)
            size //= 2
    return best


def _without(script: list[int], start: int, size: int) -> list[int]:
    return script[:start] + script[start + size :]


def _harmless(script: list[int], start: int, size: int) -> list[int]:
    part = script[start : start + size]
    return script[:start] + [0] * len(part) + script[start + size :]
