"""Ends a generation that nobody consumes any more: publishes its outputs, and closes its windows by a final tick.

What does it is the project's own sweeper on the functions' own pipelines, in this process, restricted to that
generation; on AWS the deployed sweeper does the same by itself for every generation but the one that is consumed.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping

from headrace.checkpoint import Checkpoint, CheckpointCatalog, OnCorrupt, raise_corrupt
from headrace.records import TopicPartition
from headrace.settings import Settings
from headrace.sweeper import Sweeper
from headrace_cli.errors import CommandError
from headrace_cli.functions import function_module, function_settings
from headrace_cli.generations.state import described, undrained
from headrace_cli.local.deployment import SWEEPER

SWEEPS = 3
"""A sweep publishes or is overtaken, the next one closes; more would mean that somebody commits."""
FAILURES_TOLD = 3
"""They go into one line."""


class OneGeneration:
    """The checkpoints of one generation of a catalog."""

    def __init__(self, catalog: CheckpointCatalog, generation: str) -> None:
        self._catalog = catalog
        self._generation = generation

    def checkpoints(self, application: str, on_corrupt: OnCorrupt = raise_corrupt) -> Iterator[Checkpoint]:
        """See `CheckpointCatalog.checkpoints`."""
        found = self._catalog.checkpoints(application, on_corrupt)
        return (each for each in found if each.key.generation == self._generation)


class _NobodyReads:
    """What a topic still gets is not the business of a generation that is over."""

    def has_backlog(self, topic_partition: TopicPartition, next_offset: int) -> bool:
        del topic_partition, next_offset
        return False


def settings_of(lake: str, checkpoints: str, *, generation: str, application: str, idle_timeout_ms: int) -> Settings:
    """What the functions are configured with: the template's values, then this environment's HEADRACE_ variables.

    Raises:
        ConfigurationError: names each variable that is wrong.
    """
    fixed = {
        "HEADRACE_APPLICATION": application,
        "HEADRACE_BOOTSTRAP_SERVERS": "",  # nobody asks a broker
        "HEADRACE_CHECKPOINTS": checkpoints,
        "HEADRACE_DRAIN": "true",
        "HEADRACE_GENERATION": generation,
        "HEADRACE_IDLE_TIMEOUT_MS": str(idle_timeout_ms),
        "HEADRACE_LAKE": lake,
    }
    return function_settings(SWEEPER, fixed)


def drain(settings: Settings, catalog: CheckpointCatalog) -> Mapping[str, int]:
    """Sweep until the generation has nothing left to publish or to close; what that took, in partitions.

    Raises:
        CommandError: something is left; names it and why.
    """
    own = OneGeneration(catalog, settings.generation)
    sweeper = Sweeper(
        function_module("sweeper.pipelines").pipelines(settings),
        own,
        _NobodyReads(),
        application=settings.application,
        generation=settings.generation,
        idle_timeout_ms=settings.idle_timeout_ms,
        drain=True,
    )
    done: Counter[str] = Counter(recovered=0, ticked=0)
    for _ in range(SWEEPS):
        sweep = sweeper.sweep(time.time_ns() // 1_000_000)
        done += Counter(recovered=sweep.recovered, ticked=sweep.ticked)
        if sweep.failures:
            raise CommandError(_told(sweep.failures))
        left = undrained(own.checkpoints(settings.application), settings.generation)
        if not left:
            return {"recovered": done["recovered"], "ticked": done["ticked"]}
    raise CommandError(f"{len(left)} partition(s) are not drained, first {described(left[0])}: somebody still commits")


def _told(failures: Mapping[str, Exception]) -> str:
    told = [f"{name}: {type(error).__name__}: {error}" for name, error in failures.items()][:FAILURES_TOLD]
    more = len(failures) - len(told)
    return f"{len(failures)} partition(s) cannot be drained: {'; '.join(told)}{f'; and {more} more' if more else ''}"
