"""A checkpoint beside Kafka's own log: is it the same log, was anything lost before it was read, how much is left?"""

from headrace.checkpoint import Checkpoint
from headrace_cli.ledger.finding import Finding, LogEnds, Place
from headrace_cli.ledger.offsets import OffsetRange


def compare(checkpoint: Checkpoint, low: int, high: int) -> tuple[LogEnds, Finding | None]:
    """How far the checkpoint is behind the log, and what of the log contradicts it."""
    place, next_offset = Place(*checkpoint.key[1:]), checkpoint.next_offset
    ends = LogEnds(low, high, max(0, high - max(low, next_offset)))
    if next_offset > high:
        what = (
            f"next offset {next_offset} is beyond the log's end {high}: the topic was deleted and made again, or this"
            " is another cluster"
        )
        return ends, Finding(kind="log", place=place, what=what)
    if low > next_offset:
        lost = OffsetRange(next_offset, low)
        what = f"the log starts at {low}: {low - next_offset:,} offsets expired before they were read"
        return ends, Finding(kind="log", place=place, what=what, offsets=[lost], exact=True)
    return ends, None


def superseded(checkpoints: list[Checkpoint]) -> dict[Place, str]:
    """The checkpoints of old generations, with the one that reads their topic now: the one that committed last.

    Nobody reads the topic for an old one any more, so that the log may go on without it.
    """
    newest: dict[tuple[str, str], Checkpoint] = {}
    for checkpoint in checkpoints:
        topic = (checkpoint.key.pipeline, checkpoint.key.topic)
        if topic not in newest or checkpoint.committed_at_ms > newest[topic].committed_at_ms:
            newest[topic] = checkpoint
    return {
        Place(*checkpoint.key[1:]): now.key.generation
        for checkpoint in checkpoints
        if (now := newest[checkpoint.key.pipeline, checkpoint.key.topic]).key.generation != checkpoint.key.generation
    }
