"""Execution environments: each has a pipeline that outlives the invocation, with whatever it keeps in memory.

Lambda gives one invocation at a time to an environment, any that is free, or makes a new one. What a pipeline
remembers of a partition may therefore be of any age: others have committed meanwhile, its own commit may have failed,
a zombie may come back to it. An invocation that is killed takes its environment along; one that fails does not.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from chaos.choices import Choices

from headrace.pipeline import Pipeline

if TYPE_CHECKING:
    from chaos.calls import Process

END_PERCENT = 4
"""Chance that a free environment is taken down before an invocation."""
LAST_USED_PERCENT = 70
"""Chance that the one that was free last is taken: what it remembers is new. Otherwise it is any, or a new one."""


class Environment:
    """A pipeline, and the last process that worked on it."""

    def __init__(self, name: str, pipeline: Pipeline) -> None:
        self.name = name
        self.pipeline = pipeline
        self.process: Process | None = None

    @property
    def free(self) -> bool:
        """Whether it may get an invocation."""
        return self.process is None or not self.process.alive

    @property
    def gone(self) -> bool:
        """Whether its last invocation was killed."""
        return self.process is not None and self.process.killed


class Environments:
    """Those of one function in one generation."""

    def __init__(self, choices: Choices, new_pipeline: Callable[[], Pipeline]) -> None:
        self._choices = choices
        self._new_pipeline = new_pipeline
        self._alive: list[Environment] = []
        """Those used last at the end."""
        self._made = 0

    def take(self) -> Environment:
        """One for the next invocation: the caller sets its process."""
        self._alive = [environment for environment in self._alive if not environment.gone]
        free = [environment for environment in self._alive if environment.free]
        if free and self._choices.chance(END_PERCENT):
            self._alive.remove(free.pop(0))
        chosen = self._chosen(free)
        if chosen in self._alive:
            self._alive.remove(chosen)
        self._alive.append(chosen)
        return chosen

    def _chosen(self, free: list[Environment]) -> Environment:
        if free and self._choices.chance(LAST_USED_PERCENT):
            return free[-1]
        number = self._choices.below(len(free) + 1)
        return free[number - 1] if number else self._new()

    def _new(self) -> Environment:
        self._made += 1
        return Environment(f"{self._made}", self._new_pipeline())
