"""State that stays in memory is right for exactly the checkpoint that it was committed with."""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec
import pytest
from faults import Calls
from protocol import FIRST, SECOND, World, deliver, points_of, undisturbed
from samples import hit, topology

from headrace.checkpoint import Checkpoint, CheckpointKey, OutboxEntry
from headrace.errors import InfrastructureError, PartitionsFailed
from headrace.records import TopicPartition
from headrace.topology import Logic, Topology
from headrace.warm import WarmStates

TOPOLOGY = topology()


def committed(partition: int = 0, **members: Any) -> Checkpoint:
    key = CheckpointKey("headrace", "p", "1", "hits", partition)
    checkpoint = Checkpoint(key, 3, 0, 5, 0, 0, "f", watermark_ms=9, state_keys=("state/a",))
    return msgspec.structs.replace(checkpoint, **members)


def logic(rows: int = 1, made_of: Topology = TOPOLOGY) -> Logic:
    """With so many sessions, and a page, open."""
    made = made_of.build(TopicPartition("hits", 0), None)
    made.apply([hit(n, 5, user=f"user-{n}") for n in range(rows)])
    return made


def test_it_is_taken_at_the_version_that_was_committed_published_or_not() -> None:
    warm, kept = WarmStates(100), logic()
    pending = committed(outbox=(OutboxEntry("staging/0", "lake/0"),))
    warm.keep(pending, kept)
    assert warm.take(pending, TOPOLOGY) is kept
    warm.keep(pending, kept)
    assert warm.take(pending.published(), TOPOLOGY) is kept


@pytest.mark.parametrize(
    "loaded",
    [
        committed(version=4),
        committed(version=2),
        committed(state_keys=("state/b",)),
        committed(watermark_ms=10),
        committed(next_offset=6),
        committed(fingerprint="g"),
        committed(partition=1),
    ],
)
def test_it_is_not_taken_at_any_other_checkpoint(loaded: Checkpoint) -> None:
    warm = WarmStates(100)
    warm.keep(committed(), logic())
    assert warm.take(loaded, TOPOLOGY) is None


def test_it_is_taken_once() -> None:
    """A turn changes it; whether it is right again only its commit tells."""
    warm = WarmStates(100)
    warm.keep(committed(), logic())
    assert warm.take(committed(), TOPOLOGY) is not None
    assert warm.take(committed(), TOPOLOGY) is None


def test_it_is_not_taken_for_another_topology() -> None:
    warm = WarmStates(100)
    warm.keep(committed(), logic())
    assert warm.take(committed(), topology()) is None


def test_what_has_no_room_at_all_drives_out_nobody() -> None:
    warm = WarmStates(10)
    warm.keep(committed(0), logic(rows=3))
    warm.keep(committed(1), logic(rows=10))  # and the page
    assert warm.take(committed(1), TOPOLOGY) is None
    assert warm.take(committed(0), TOPOLOGY) is not None


def test_the_least_recently_used_make_room() -> None:
    warm = WarmStates(10)
    for partition in range(3):
        warm.keep(committed(partition), logic(rows=3))  # and the page: four rows
    assert [warm.take(committed(partition), TOPOLOGY) is not None for partition in range(3)] == [False, True, True]
    warm.keep(committed(), logic(rows=10))
    assert warm.take(committed(), TOPOLOGY) is None, "more than there is room for"


def test_a_turn_that_failed_leaves_no_state_behind() -> None:
    """An error at every point of the second batch in turn; the same environment is then given the batch again."""
    points = len(points_of(SECOND, FIRST))
    for number in range(points):
        world: Any = World()
        failing = iter([False] * len(points_of(FIRST)) + [n == number for n in range(points)])

        def fail(_point: str, failing: Iterator[bool] = failing) -> None:
            if next(failing, False):
                raise InfrastructureError("as told")

        process = world.process(Calls(fail), warm_rows=100)
        deliver(process, FIRST)
        with suppress(PartitionsFailed, InfrastructureError):
            deliver(process, SECOND)
        deliver(process, SECOND)
        assert world.finish() == undisturbed(), number


def test_an_environment_that_was_overtaken_loads_what_the_other_committed() -> None:
    world: Any = World()
    world.process = partial(world.process, warm_rows=100)
    one, other = world.process(), world.process()
    deliver(one, FIRST[:2])
    deliver(other, FIRST[:3])
    deliver(one, FIRST)
    deliver(other, FIRST + SECOND)
    assert world.finish() == undisturbed()
