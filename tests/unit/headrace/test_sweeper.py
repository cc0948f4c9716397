"""The sweeper and the janitor: what no record brings about."""

from functools import partial
from typing import Any

import msgspec
import pytest
from faults import Calls, InterruptedOutbox, Killed, kill_at
from protocol import FIRST, SECOND, World, deliver, points_of, undisturbed
from samples import hit, lambda_event, table_rows

from headrace import janitor
from headrace.errors import InfrastructureError, TopicRecreated
from headrace.records import TopicPartition
from headrace.sweeper import Sweep, Sweeper

MINUTE_MS = 60_000


class BrokerLog:
    """What is left to read, by partition."""

    def __init__(self, end_offset: int) -> None:
        self.end_offset = end_offset

    def has_backlog(self, topic_partition: TopicPartition, next_offset: int) -> bool:
        if next_offset > self.end_offset:
            raise TopicRecreated(f"{topic_partition} ends at {self.end_offset}")
        return next_offset < self.end_offset


def sweep(world: World, *, now_ms: int, end_offset: int, **settings: Any) -> Sweep:
    options: dict[str, Any] = {"application": "headrace", "generation": "1", "idle_timeout_ms": MINUTE_MS} | settings
    sweeper = Sweeper({"p": world.process()}, world.checkpoints, BrokerLog(end_offset), **options)
    return sweeper.sweep(now_ms)


def test_windows_of_an_idle_partition_are_closed_once() -> None:
    world = World()
    deliver(world.process(), FIRST)
    deliver(world.process(), SECOND)
    assert sweep(world, now_ms=MINUTE_MS, end_offset=9).ticked == 1
    assert table_rows(world.outbox) == undisturbed()
    version = world.checkpoint().version
    assert sweep(world, now_ms=9 * MINUTE_MS, end_offset=9).ticked == 0, "a tick that closes nothing is not committed"
    assert world.checkpoint().version == version
    assert world.checkpoint().totals["ticks"] == 1


@pytest.mark.parametrize(
    ("now_ms", "end_offset"),
    [
        pytest.param(MINUTE_MS - 1, 5, id="committed less than the idle time-out ago"),
        pytest.param(10**12, 6, id="a record is left to read, however long ago the last commit was"),
    ],
)
def test_a_partition_that_is_not_idle_is_left_alone(now_ms: int, end_offset: int) -> None:
    world = World()
    deliver(world.process(), FIRST)
    assert sweep(world, now_ms=now_ms, end_offset=end_offset).ticked == 0
    assert world.checkpoint().version == 1


def test_a_pending_outbox_is_published_even_when_the_partition_is_busy() -> None:
    world = World()
    with pytest.raises(Killed):
        deliver(world.process(Calls(kill_at(points_of(FIRST).index("after commit")))), FIRST)
    found = sweep(world, now_ms=MINUTE_MS // 2, end_offset=99)
    assert (found.recovered, found.ticked, found.oldest_outbox_ms) == (1, 0, MINUTE_MS // 2)
    assert not world.checkpoint().pending
    deliver(world.process(), SECOND)
    assert world.finish() == undisturbed()


def test_a_record_after_a_tick_is_late_for_what_the_tick_closed() -> None:
    world = World()
    deliver(world.process(), [hit(0, 3)])
    sweep(world, now_ms=MINUTE_MS, end_offset=1)
    assert deliver(world.process(), [hit(1, 3)])["late"] == 2


def test_an_invocation_that_commits_meanwhile_wins_over_the_tick() -> None:
    world = World()
    deliver(world.process(), FIRST)
    woken: list[str] = []

    def overtake(point: str) -> None:
        if point == "before commit" and not woken:
            woken.append(point)
            deliver(world.process(), SECOND)

    sweeper = Sweeper(
        {"p": world.process(Calls(overtake))},
        world.checkpoints,
        BrokerLog(5),
        application="headrace",
        generation="1",
        idle_timeout_ms=0,
    )
    found = sweeper.sweep(1)
    assert (found.ticked, found.overtaken, found.failures) == (0, 1, {})
    assert world.finish() == undisturbed()


def test_a_snapshot_that_went_with_an_overtaken_checkpoint_is_no_failure() -> None:
    """Between the listing and the tick somebody committed, and the janitor removed what nobody names any more."""
    world: Any = World()
    world.process = partial(world.process, inline_state_bytes=0, max_deltas=0)
    deliver(world.process(), FIRST)
    old = world.checkpoint().state_keys[0]

    class Overtaking(BrokerLog):
        def has_backlog(self, topic_partition: TopicPartition, next_offset: int) -> bool:
            deliver(world.process(), SECOND)
            world.outbox.delete([old])
            return super().has_backlog(topic_partition, next_offset)

    options: dict[str, Any] = {"application": "headrace", "generation": "1", "idle_timeout_ms": 0}
    found = Sweeper({"p": world.process()}, world.checkpoints, Overtaking(5), **options).sweep(1)
    assert (found.ticked, found.overtaken, found.failures) == (0, 1, {})
    assert world.finish() == undisturbed()


def test_an_old_generation_is_finished_without_asking_the_broker() -> None:
    world = World()
    deliver(world.process(), FIRST)
    assert sweep(world, now_ms=MINUTE_MS, end_offset=10**9, generation="2").ticked == 1


def test_an_outbox_that_somebody_faster_published_and_swept_away_is_no_failure() -> None:
    """Between the listing and the recovery a turn published it, and the janitor removed what nobody names any more."""
    world = World()
    with pytest.raises(Killed):
        deliver(world.process(Calls(kill_at(points_of(FIRST).index("after commit")))), FIRST)
    listed = world.checkpoint()
    assert listed.pending
    deliver(world.process(), FIRST)
    assert clean(world, now_ms=_tomorrow()) > 0
    assert not world.process().recover(listed).pending
    deliver(world.process(), SECOND)
    assert world.finish() == undisturbed()


def test_a_manifest_that_somebody_else_swept_away_makes_the_janitor_look_again() -> None:
    """Two janitors: the first one removes the manifest after the second one has read the checkpoint that named it."""
    world = World()
    many = [hit(n, n * 3_600_000) for n in range(150)]
    with pytest.raises(Killed):
        deliver(world.process(Calls(kill_at(points_of(many).index("after commit")))), many)
    swept: list[int] = []

    def sweep_first(point: str) -> None:
        if point == "before read" and not swept:
            world.process().recover(world.checkpoint())
            swept.append(clean(world, now_ms=_tomorrow()))

    reading = InterruptedOutbox(world.outbox, Calls(sweep_first))
    found = janitor.clean(world.outbox, reading, world.checkpoints, application="headrace", now_ms=_tomorrow())
    assert swept[0] > 150
    assert found <= swept[0], "what the first one removed is no error"


def test_a_topic_that_was_made_again_closes_no_window_of_the_generation_that_is_consumed() -> None:
    """Its new log has no backlog, and says nothing about the old one; a drained generation has no use for either."""
    world = World()
    deliver(world.process(), FIRST)
    found = sweep(world, now_ms=MINUTE_MS, end_offset=4)
    assert {name: type(error) for name, error in found.failures.items()} == {"headrace#p#1#hits-0": TopicRecreated}
    assert (found.ticked, world.checkpoint().version) == (0, 1)
    assert sweep(world, now_ms=MINUTE_MS, end_offset=4, generation="2").ticked == 1


def test_a_drain_closes_windows_whatever_the_topic_still_gets() -> None:
    world = World()
    deliver(world.process(), FIRST)
    assert sweep(world, now_ms=MINUTE_MS - 1, end_offset=10**9, drain=True).ticked == 0, "a batch may be under way"
    assert sweep(world, now_ms=MINUTE_MS, end_offset=10**9, drain=True).ticked == 1


def test_a_failure_of_one_partition_stops_none_of_the_others() -> None:
    world = World()
    deliver(world.process(), FIRST)
    deliver(world.process(), [hit(0, 3, partition=1)])

    class HalfBroken(BrokerLog):
        def has_backlog(self, topic_partition: TopicPartition, next_offset: int) -> bool:
            if topic_partition.partition == 0:
                raise InfrastructureError("broker gone")
            return super().has_backlog(topic_partition, next_offset)

    options: dict[str, Any] = {"application": "headrace", "generation": "1", "idle_timeout_ms": 0}
    found = Sweeper({"p": world.process()}, world.checkpoints, HalfBroken(1), **options).sweep(1)
    assert (found.visited, found.ticked) == (2, 1)
    assert list(found.failures) == ["headrace#p#1#hits-0"]


def test_books_that_do_not_add_up_are_named() -> None:
    world = World()
    deliver(world.process(), FIRST)
    assert sweep(world, now_ms=0, end_offset=9).unbalanced == {}
    stored = world.checkpoint()
    wrong = msgspec.structs.replace(stored, version=2, totals=stored.totals | {"applied": 3})
    world.checkpoints.commit(wrong, expected_version=1)
    (found,) = sweep(world, now_ms=0, end_offset=9).unbalanced.items()
    assert found == ("headrace#p#1#hits-0", ["offsets passed, and applied + dead + gaps: 5 is not 4"])


def test_a_checkpoint_of_an_unknown_pipeline_is_a_failure_not_a_crash() -> None:
    world = World()
    deliver(world.process(), FIRST)
    options: dict[str, Any] = {"application": "headrace", "generation": "1", "idle_timeout_ms": 0}
    found = Sweeper({}, world.checkpoints, BrokerLog(5), **options).sweep(1)
    assert "no pipeline is called 'p'" in str(found.failures["headrace#p#1#hits-0"])


def test_the_janitor_removes_old_leftovers_and_nothing_that_a_checkpoint_names() -> None:
    world = World()
    with pytest.raises(Killed):  # dies after staging: leftovers
        deliver(world.process(Calls(kill_at(points_of(FIRST).index("before commit")))), FIRST)
    leftovers = set(world.outbox.keys("staging/"))
    big = [hit(n, n, user=f"user-{n:04d}" * 10) for n in range(100)] + [hit(100, 100, user="u" * 5000)]
    with pytest.raises(Killed):  # dies after its commit: a pending outbox and a snapshot, both named
        deliver(world.process(Calls(kill_at(points_of(big).index("after commit")))), big)
    assert leftovers
    assert clean(world, now_ms=0) == 0, "everything is younger than a day"
    assert clean(world, now_ms=_tomorrow()) == len(leftovers)
    assert not leftovers & set(world.outbox.keys("staging/"))
    world.process().recover(world.checkpoint())
    assert world.process().handle(lambda_event([hit(101, 101)]))["applied"] == 1, "its snapshot is still there"


def test_the_janitor_keeps_what_a_manifest_lists() -> None:
    world = World()
    hour = 3_600_000
    many = [hit(n, n * hour) for n in range(150)]
    with pytest.raises(Killed):
        deliver(world.process(Calls(kill_at(points_of(many).index("after commit")))), many)
    assert world.checkpoint().outbox_manifest
    assert clean(world, now_ms=_tomorrow()) == 0
    world.process().recover(world.checkpoint())
    assert sum(table_rows(world.outbox)["p/pages"].values()) == 149
    assert clean(world, now_ms=_tomorrow()) > 150, "published and named no more"


def clean(world: World, *, now_ms: int) -> int:
    return janitor.clean(world.outbox, world.outbox, world.checkpoints, application="headrace", now_ms=now_ms)


def _tomorrow() -> int:
    return 2**53
