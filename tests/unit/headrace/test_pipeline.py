"""The protocol of a partition's turn: exact whatever is repeated, re-cut, raced or killed."""

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from faults import Calls, Killed, kill_at
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol import FIRST, SECOND, World, deliver, points_of, undisturbed
from samples import PER_PAGE, PER_USER, hit, record, table_rows, topology

from headrace.checkpoint import Checkpoint
from headrace.errors import (
    CommitConflict,
    FingerprintChanged,
    HeadraceError,
    InfrastructureError,
    ObjectMissing,
    OffsetGap,
    PartitionsFailed,
    TopicRecreated,
)
from headrace.lake import Rows
from headrace.outbox import STAGING
from headrace.records import Record


def test_a_turn_has_the_documented_order_of_effects() -> None:
    order = [name for name, _ in itertools.groupby(p.split()[1] for p in points_of(FIRST))]
    assert order == ["load", "stage", "commit", "publish", "clear"]


@pytest.mark.parametrize(
    ("number", "point"), list(enumerate(points_of(SECOND, FIRST))), ids=lambda v: str(v).replace(" ", "-")
)
def test_a_crash_at_any_point_changes_nothing(number: int, point: str) -> None:
    assert point, "names the case"
    world = World()
    deliver(world.process(), FIRST)
    with pytest.raises(Killed):
        deliver(world.process(Calls(kill_at(number))), SECOND)
    deliver(world.process(), SECOND)
    assert world.finish() == undisturbed()


@pytest.mark.parametrize("number", range(len(points_of(FIRST))))
def test_a_crash_in_the_first_batch_is_recovered_by_a_bigger_one(number: int) -> None:
    world = World()
    with pytest.raises(Killed):
        deliver(world.process(Calls(kill_at(number))), FIRST)
    deliver(world.process(), FIRST + SECOND)
    assert world.finish() == undisturbed()


def test_a_repeated_batch_is_skipped() -> None:
    world = World()
    deliver(world.process(), FIRST)
    assert deliver(world.process(), FIRST) == Counter(skipped=5)
    deliver(world.process(), FIRST[2:] + SECOND)
    assert world.finish() == undisturbed()


@pytest.mark.parametrize("point", sorted(set(points_of(FIRST))))
def test_a_zombie_that_wakes_up_after_its_retry_leaves_no_trace(point: str) -> None:
    """The first invocation pauses at the point, its retry and the next batch run to their end, then it resumes."""
    world = World()
    woken: list[str] = []

    def pause(at: str) -> None:
        if at == point and not woken:
            woken.append(at)
            deliver(world.process(), FIRST)
            deliver(world.process(), SECOND)

    deliver(world.process(Calls(pause)), FIRST)
    assert woken
    assert world.finish() == undisturbed()


def test_a_commit_whose_answer_got_lost_is_found_again() -> None:
    """The client retried its own write and was told that the condition failed."""
    world = World()

    def lose(point: str) -> None:
        if point == "after commit":
            raise CommitConflict("our own")

    answer = deliver(world.process(Calls(lose)), FIRST)
    assert answer == Counter(skipped=5, conflicts=1)
    assert not world.checkpoint().pending
    deliver(world.process(), SECOND)
    assert world.finish() == undisturbed()


def test_an_unknown_outcome_is_retriable() -> None:
    world = World()

    def lose(point: str) -> None:
        if point == "after commit":
            raise InfrastructureError("timed out")

    with pytest.raises(PartitionsFailed) as caught:
        deliver(world.process(Calls(lose)), FIRST)
    assert caught.value.retriable
    deliver(world.process(), FIRST)
    deliver(world.process(), SECOND)
    assert world.finish() == undisturbed()


def test_nothing_newer_is_committed_before_the_outbox_is_published() -> None:
    world = World()
    with pytest.raises(Killed):
        deliver(world.process(Calls(kill_at(points_of(FIRST).index("after commit")))), FIRST)

    def deny(point: str) -> None:
        if point == "before publish":
            raise InfrastructureError("no copies today")

    with pytest.raises(PartitionsFailed):
        deliver(world.process(Calls(deny)), SECOND)
    assert world.checkpoint().version == 1
    assert world.checkpoint().pending


def test_a_staged_object_that_is_gone_stops_the_partition() -> None:
    world = World()
    with pytest.raises(Killed):
        deliver(world.process(Calls(kill_at(points_of(FIRST).index("after commit")))), FIRST)
    world.outbox.delete(list(world.outbox.keys(f"{STAGING}/")))
    with pytest.raises(PartitionsFailed) as caught:
        deliver(world.process(), SECOND)
    (error,) = caught.value.failures.values()
    assert isinstance(error, ObjectMissing)
    assert not caught.value.retriable


def test_a_failed_partition_stops_none_of_the_others() -> None:
    world = World()
    bad = [record(3, b"{}", partition=1)]
    deliver(world.process(gaps="forbid"), [record(0, b"{}", partition=1)])
    with pytest.raises(PartitionsFailed, match="hits-1: OffsetGap") as caught:
        deliver(world.process(gaps="forbid"), [*bad, *FIRST])
    assert list(caught.value.failures) == ["hits-1"]
    next_offsets = {c.key.partition: c.next_offset for c in world.checkpoints.checkpoints("headrace")}
    assert next_offsets == {0: 5, 1: 1}


def test_a_recreated_topic_is_not_skipped() -> None:
    world = World()
    deliver(world.process(), FIRST)
    with pytest.raises(PartitionsFailed) as caught:
        deliver(world.process(), [hit(0, 1, timestamp_ms=FIRST[-1].timestamp_ms + 1)])
    (error,) = caught.value.failures.values()
    assert isinstance(error, TopicRecreated)


def test_a_gap_is_counted() -> None:
    gapped = [hit(5, 41), hit(8, 80)]
    world = World()
    deliver(world.process(), FIRST)
    assert deliver(world.process(), gapped)["gaps"] == 2
    totals = world.checkpoint().totals
    assert world.checkpoint().next_offset - world.checkpoint().base_offset == (
        totals["applied"] + totals["dead"] + totals["gaps"]
    )


@pytest.mark.parametrize(
    ("gaps", "refused"),
    [
        ("forbid", True),
        ({"hits": "forbid"}, True),
        ({"hits": "allow", "other": "forbid"}, False),
        ({"other": "forbid"}, False),
        ({}, False),
    ],
)
def test_gaps_are_forbidden_for_all_topics_or_by_topic(gaps: Any, refused: bool) -> None:
    world = World()
    deliver(world.process(), FIRST)
    gapped = [hit(5, 41), hit(8, 80)]
    if not refused:
        assert deliver(world.process(gaps=gaps), gapped)["gaps"] == 2
        return
    with pytest.raises(PartitionsFailed) as caught:
        deliver(world.process(gaps=gaps), gapped)
    (error,) = caught.value.failures.values()
    assert isinstance(error, OffsetGap)
    assert "2 offset(s) missing from 5 to 8" in str(error)
    assert "allow gaps for the topic" in str(error)
    assert world.checkpoint().next_offset == 5


def test_an_offset_that_comes_twice_in_one_batch_is_applied_once() -> None:
    world = World()
    assert deliver(world.process(), [FIRST[0], FIRST[0], *FIRST[1:]])["applied"] == 4


def test_operators_that_changed_under_open_windows_are_refused() -> None:
    world = World()
    deliver(world.process(), FIRST)
    world.topology = topology(PER_PAGE, PER_USER)
    with pytest.raises(PartitionsFailed) as caught:
        deliver(world.process(), SECOND)
    (error,) = caught.value.failures.values()
    assert isinstance(error, FingerprintChanged)


def test_a_large_snapshot_and_a_long_outbox_move_out_of_the_checkpoint() -> None:
    hour = 3_600_000
    many = [hit(n, n * hour, user=f"user-{n:04d}" * 10) for n in range(150)]
    late_users = [hit(150 + n, 150 * hour, user=f"user-{n:04d}" * 10) for n in range(100)]
    world, calls = World(), Calls()
    deliver(world.process(calls), many + late_users)
    checkpoint = world.checkpoint()
    assert checkpoint.state is None
    assert checkpoint.state_keys
    assert "after read" in calls.points, "the manifest is read back when publishing"
    next_calls = Calls()
    deliver(world.process(next_calls), [hit(250, 151 * hour)])
    assert next_calls.points[2:4] == ["before read", "after read"], "the snapshot is loaded"
    assert sum(world.finish()["p/pages"].values()) == 152


def test_a_snapshot_that_is_gone_is_never_replaced_by_an_empty_one() -> None:
    world = World()
    deliver(world.process(), [hit(n, 0, user=f"user-{n:04d}" * 10) for n in range(100)])
    (key,) = world.checkpoint().state_keys
    world.outbox.delete([key])
    with pytest.raises(PartitionsFailed, match="ObjectMissing"):
        deliver(world.process(), [hit(100, 100)])


def test_a_turn_that_always_loses_is_retriable() -> None:
    world = World()

    def overtake(point: str) -> None:
        if point == "before commit":
            stored = [*world.checkpoints.checkpoints("headrace")]
            version = stored[0].version if stored else 0
            blank = Checkpoint(key, version + 1, 0, 0, 0, 10**15, "")
            world.checkpoints.commit(blank, version)

    key = world.process()._key(FIRST[0].topic_partition)
    with pytest.raises(PartitionsFailed, match="committed by others 2 times") as caught:
        deliver(world.process(Calls(overtake)), FIRST)
    assert caught.value.retriable


def test_a_turn_that_loses_to_one_who_applied_everything_meanwhile_succeeds() -> None:
    """What it lost to was overtaken in its turn, published and swept away: the newest checkpoint counts."""
    world = World()
    commits = iter([lambda: deliver(world.process(), FIRST[:1]), lambda: die_after_committing(FIRST[:4])])

    def die_after_committing(records: list[Record]) -> None:
        with pytest.raises(Killed):
            deliver(world.process(Calls(kill_at(points_of(FIRST[:4], FIRST[:1]).index("after commit")))), records)

    def overtake(point: str) -> None:
        if point == "before commit":
            next(commits)()
        if point == "before publish":
            deliver(world.process(), FIRST)
            world.outbox.delete(list(world.outbox.keys(f"{STAGING}/")))

    assert deliver(world.process(Calls(overtake)), FIRST) == Counter(skipped=5, conflicts=2)
    deliver(world.process(), SECOND)
    assert world.finish() == undisturbed()


def test_an_old_generation_keeps_its_own_checkpoint_and_files() -> None:
    world = World()
    deliver(world.process(), FIRST)
    deliver(world.process(generation="2"), FIRST)
    assert {c.key.generation for c in world.checkpoints.checkpoints("headrace")} == {"1", "2"}
    assert len({key.rsplit("/", 1)[1].split("-")[0] for key in world.outbox.keys("lake/")}) == 2


def test_every_published_file_was_committed_and_no_name_is_used_twice() -> None:
    world = World()
    deliver(world.process(), FIRST)
    deliver(world.process(), SECOND)
    world.finish()
    files = sum(1 for _ in world.outbox.keys("lake/"))
    assert world.checkpoint().totals["files"] == files


STEPS = st.lists(
    st.tuples(
        st.integers(0, 9),  # where the batch starts, in records before the first unconfirmed one
        st.integers(1, 12),  # how many records it has
        st.one_of(st.none(), st.integers(0, 30)),  # the point at which the process dies
        st.one_of(st.none(), st.integers(0, 20)),  # the point at which a second delivery of the batch overtakes it
    ),
    max_size=12,
)
TIMES = st.lists(st.integers(0, 60), min_size=1, max_size=30)


@settings(max_examples=300)
@given(times=TIMES, steps=STEPS)
def test_any_schedule_of_retries_crashes_and_zombies_gives_the_same_rows(
    times: list[int], steps: list[tuple[int, int, int | None, int | None]]
) -> None:
    records = [
        record(n, b"poison") if at % 17 == 16 else hit(n, at, "ann" if at % 3 else "bob", f"/{at % 2}", at / 7)
        for n, at in enumerate(times)
    ]
    expected = World()
    deliver(expected.process(), records)
    world, confirmed = World(), 0
    for back, size, death, overtaken in steps:
        start = max(0, confirmed - back)
        batch = records[start : start + size]
        if batch and run_batch(world, batch, death, overtaken):
            confirmed = max(confirmed, start + len(batch))
    if confirmed < len(records):
        deliver(world.process(), records[confirmed:])
    # Times differ only by who committed: the rows must not.
    assert world.finish() == expected.finish()


def run_batch(world: World, batch: list[Record], death: int | None, overtaken: int | None) -> bool:
    """Whether the batch was answered with success."""
    seen = iter(range(10**6))

    def interrupt(_point: str) -> None:
        number = next(seen)
        if number == overtaken:
            deliver(world.process(), batch)
        if number == death:
            raise Killed

    try:
        deliver(world.process(Calls(interrupt)), batch)
    except (Killed, HeadraceError):
        return False
    return True


def test_a_checkpoint_survives_serialisation() -> None:
    world = World()
    deliver(world.process(), FIRST)
    checkpoint = world.checkpoint()
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(checkpoint), type=Checkpoint) == checkpoint


@pytest.mark.parametrize("point", sorted(set(points_of(FIRST))))
def test_a_commits_rows_are_shown_by_the_attempt_that_committed_and_by_no_other(point: str) -> None:
    """A zombie, its retry and the recovery of its outbox have nothing to show of what was committed before."""
    world = World()
    woken: list[str] = []
    shown: Counter[tuple[str, int]] = Counter()

    def show(rows: Sequence[Rows]) -> None:
        shown.update((part.table.name, time_ms) for part in rows for time_ms in part.times_ms)

    def pause(at: str) -> None:
        if at == point and not woken:
            woken.append(at)
            deliver(world.process(on_commit=show), FIRST)

    deliver(world.process(Calls(pause), on_commit=show), FIRST)
    deliver(world.process(on_commit=show), FIRST)
    assert shown.total() == sum(rows.total() for rows in table_rows(world.outbox).values()) > 0
