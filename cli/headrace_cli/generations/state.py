"""How far each generation of a deployment is, as its checkpoints say.

A generation is *drained* when nothing of it is open and nothing waits to be published. Whether anybody still consumes
it cannot be read from checkpoints: a commit younger than the idle time-out says "probably".
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from headrace.checkpoint import Checkpoint
from headrace_cli.errors import CommandError

State = Literal["consuming?", "open", "drained"]


@dataclass(frozen=True)
class Progress:
    """One pipeline on one topic, in one generation."""

    generation: str
    pipeline: str
    topic: str
    state: State
    partitions: Mapping[int, Checkpoint]
    """By number, ascending."""

    @property
    def open_until_ms(self) -> int | None:
        """The watermark that would close every open window of every partition; None when none is open."""
        return max((c.open_until_ms for c in self.partitions.values() if c.open_until_ms is not None), default=None)

    @property
    def pending(self) -> int:
        """Partitions with outputs that wait to be published."""
        return sum(c.pending for c in self.partitions.values())

    @property
    def committed_at_ms(self) -> int:
        """The last commit's time."""
        return max(c.committed_at_ms for c in self.partitions.values())

    @property
    def ticks(self) -> int:
        """How often the sweeper closed windows."""
        return sum(c.totals.get("ticks", 0) for c in self.partitions.values())


def progress(checkpoints: Iterable[Checkpoint], *, now_ms: int, idle_timeout_ms: int) -> list[Progress]:
    """Every generation, pipeline and topic, oldest name first."""
    found: dict[tuple[str, str, str], list[Checkpoint]] = {}
    for each in checkpoints:
        found.setdefault((each.key.generation, each.key.pipeline, each.key.topic), []).append(each)
    return [
        Progress(
            *place,
            state=_state(group, now_ms, idle_timeout_ms),
            partitions={c.key.partition: c for c in sorted(group, key=lambda c: c.key.partition)},
        )
        for place, group in sorted(found.items(), key=lambda item: (_age(item[0][0]), item[0]))
    ]


def undrained(checkpoints: Iterable[Checkpoint], generation: str) -> list[Checkpoint]:
    """What a generation still has to publish or to close."""
    return [c for c in checkpoints if c.key.generation == generation and _unfinished(c)]


def described(checkpoint: Checkpoint) -> str:
    """What a partition that is not drained still has to do, in a line."""
    return f"{checkpoint.key}: {'output not yet published' if checkpoint.pending else 'open windows'}"


def refuse_consumed(checkpoints: Sequence[Checkpoint], *, now_ms: int, idle_timeout_ms: int) -> None:
    """A generation that somebody may still be committing to has no end yet.

    Raises:
        CommandError: the last commit is younger than the idle time-out.
    """
    last = max(checkpoints, key=lambda c: c.committed_at_ms)
    silence_ms = now_ms - last.committed_at_ms
    if silence_ms < idle_timeout_ms:
        raise CommandError(
            f"{last.key} was committed {silence_ms // 1000} s ago: it may still be consumed. Stop its mappings "
            f"(Consume=false), and come again when nothing was committed for {idle_timeout_ms / 1000:g} s"
        )


def next_free(used: Iterable[str]) -> str:
    """The name after the largest number that was used; a generation's name is used once."""
    return str(max((int(name) for name in used if name.isascii() and name.isdigit()), default=0) + 1)


def _unfinished(checkpoint: Checkpoint) -> bool:
    return checkpoint.pending or checkpoint.open_until_ms is not None


def _state(group: Sequence[Checkpoint], now_ms: int, idle_timeout_ms: int) -> State:
    if now_ms - max(c.committed_at_ms for c in group) < idle_timeout_ms:
        return "consuming?"
    return "open" if any(map(_unfinished, group)) else "drained"


def _age(generation: str) -> int:
    """Numbers in their order; other names first."""
    return int(generation) if generation.isascii() and generation.isdigit() else -1
