"""Stores that hold what nobody wrote: a named error that says what to do; never a guess, never a silent overwrite.

Every damage is done to partition 0 of a topic, through the real pipeline, sweeper and janitor, in memory, in a folder
and on AWS's local server. Partition 1 is whole and must go on.
"""

import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from faults import Calls, Killed
from protocol import FIRST, SECOND, World, deliver
from samples import PER_PAGE, hit, topology

from headrace import janitor
from headrace.checkpoint import Checkpoint
from headrace.checksum import CHECKSUM_BYTES
from headrace.dynamodb import DynamoDBCheckpointStore
from headrace.errors import (
    CheckpointCorrupt,
    ClockSkew,
    FingerprintChanged,
    HeadraceError,
    InvariantError,
    ObjectConflict,
    ObjectMissing,
    PartitionsFailed,
)
from headrace.folder import FolderCheckpointStore
from headrace.objects import open_lake
from headrace.pipeline import Pipeline
from headrace.records import TopicPartition
from headrace.sweeper import MAX_CLOCK_SKEW_MS, Sweep, Sweeper
from headrace_cli.local.aws_server import LocalAws

PLACE = "headrace#p#1#hits-0"
OTHER = [hit(0, 3, partition=1), hit(1, 50, partition=1)]
HOUR_MS = 3_600_000
TOMORROW_MS = 2**53


@pytest.fixture(scope="module")
def aws() -> Iterator[LocalAws]:
    with LocalAws() as server:
        yield server


@pytest.fixture
def world_on(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], World]:
    """Makes a world on stores of the kind `memory`, `folder` or `aws`."""

    def make(kind: str) -> World:
        made: Any = World()
        if kind == "folder":
            made.checkpoints = FolderCheckpointStore(tmp_path / "checkpoints")
            made.outbox = open_lake(f"file:{tmp_path}")
        if kind == "aws":
            server = request.getfixturevalue("aws")
            for name, value in server.environment.items():
                monkeypatch.setenv(name, value)
            _empty(server)
            made.checkpoints = DynamoDBCheckpointStore(server.table)
            made.outbox = open_lake(f"s3://{server.bucket}/{uuid.uuid4().hex}")
        return made

    return make


@pytest.fixture(params=["memory", "folder", "aws"])
def world(request: pytest.FixtureRequest, world_on: Callable[[str], World]) -> World:
    return world_on(request.param)


def _empty(server: LocalAws) -> None:
    client = server.client("dynamodb")
    for item in client.scan(TableName=server.table)["Items"]:
        client.delete_item(TableName=server.table, Key={name: item[name] for name in ("pk", "partition")})


class NoBacklog:
    """Everything was read."""

    def has_backlog(self, topic_partition: TopicPartition, next_offset: int) -> bool:
        del topic_partition, next_offset
        return False


def sweep(world: World, now_ms: int = HOUR_MS, **options: Any) -> Sweep:
    settings: dict[str, Any] = {"application": "headrace", "generation": "1", "idle_timeout_ms": 1} | options
    return Sweeper({"p": world.process()}, world.checkpoints, NoBacklog(), **settings).sweep(now_ms)


def clean(world: World) -> int:
    return janitor.clean(world.outbox, world.outbox, world.checkpoints, application="headrace", now_ms=TOMORROW_MS)


def victim(world: World) -> Checkpoint:
    (found,) = (c for c in world.checkpoints.checkpoints("headrace", lambda _: None) if str(c.key) == PLACE)
    return found


def overwrite(world: World, key: str | None, changed: Callable[[bytes], bytes]) -> None:
    assert key is not None
    world.outbox.stage({key: changed(world.outbox.read(key))})


def lose(world: World, key: str | None) -> None:
    assert key is not None
    world.outbox.delete([key])


def truncate(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def without_checksum(data: bytes) -> bytes:
    return data[CHECKSUM_BYTES:]


def final_key(world: World) -> str:
    return victim(world).outbox[0].final_key


def change_operators(world: World, *_: object) -> None:
    world.topology = topology(PER_PAGE, out_of_orderness_ms=5)


def die_after_commit(point: str) -> None:
    if point == "after commit":
        raise Killed


class Damage(NamedTuple):
    """Something that happened to what is stored."""

    name: str
    do: Callable[[World], None]
    error: type[HeadraceError]
    says: str
    pending: bool = False
    """Whether the outputs of the last commit were still to be published."""
    large: bool = False
    """Whether snapshot and outbox are objects, instead of being in the checkpoint."""


NEW = "headrace generation new"
DAMAGES = [
    Damage(
        "snapshot gone", lambda w: lose(w, victim(w).state_keys[0]), ObjectMissing, f"restore it.*{NEW}", large=True
    ),
    Damage(
        "snapshot truncated",
        lambda w: overwrite(w, victim(w).state_keys[0], truncate),
        CheckpointCorrupt,
        f"the snapshot state/.* of {PLACE} .*restore exactly what was written.*{NEW}",
        large=True,
    ),
    Damage(
        "snapshot empty",
        lambda w: overwrite(w, victim(w).state_keys[0], lambda _: b""),
        CheckpointCorrupt,
        f"restore.*{NEW}",
        large=True,
    ),
    Damage(
        "a bit of the snapshot flipped",
        lambda w: overwrite(w, victim(w).state_keys[0], flip),
        CheckpointCorrupt,
        f"checksum differs.*{NEW}",
        large=True,
    ),
    Damage(
        "snapshot of a version before the checksum",
        lambda w: overwrite(w, victim(w).state_keys[0], without_checksum),
        CheckpointCorrupt,
        f"a version before 2026-11-27 wrote none: see Update in docs/deploy.md.*{NEW}",
        large=True,
    ),
    Damage("operators changed", change_operators, FingerprintChanged, f"{PLACE}.*undo the change.*{NEW}"),
    Damage("operators changed, large", change_operators, FingerprintChanged, f"{PLACE}.*{NEW}", large=True),
    Damage(
        "staged object gone",
        lambda w: lose(w, victim(w).outbox[0].staged_key),
        ObjectMissing,
        f"staging/.*restore it.*{NEW}`; nothing is skipped",
        pending=True,
    ),
    Damage(
        "staged manifest gone",
        lambda w: lose(w, victim(w).outbox_manifest),
        ObjectMissing,
        f"staging/.*/manifest.*restore it.*{NEW}",
        pending=True,
        large=True,
    ),
    Damage(
        "staged manifest truncated",
        lambda w: overwrite(w, victim(w).outbox_manifest, truncate),
        CheckpointCorrupt,
        f"outbox manifest 'staging/.*/manifest'.*{NEW}",
        pending=True,
        large=True,
    ),
    Damage(
        "staged manifest of a version before the checksum",
        lambda w: overwrite(w, victim(w).outbox_manifest, without_checksum),
        CheckpointCorrupt,
        f"a version before 2026-11-27 wrote none: see Update in docs/deploy.md.*{NEW}",
        pending=True,
        large=True,
    ),
    Damage(
        "other bytes of the same length at a final key",
        lambda w: w.outbox.stage({final_key(w): flip(w.outbox.read(victim(w).outbox[0].staged_key))}),
        ObjectConflict,
        f"lake/p/.*staging/.*nothing was overwritten.*Move it away.*{NEW}",
        pending=True,
    ),
    Damage(
        "other bytes of another length at a final key",
        lambda w: w.outbox.stage({final_key(w): b"PAR1 of somebody else PAR1"}),
        ObjectConflict,
        f"lake/p/.*staging/.*nothing was overwritten.*Move it away.*{NEW}",
        pending=True,
    ),
]


@pytest.fixture(params=DAMAGES, ids=lambda damage: damage.name)
def damage(request: pytest.FixtureRequest, world: Any) -> Damage:
    """The damage, done."""
    done: Damage = request.param
    if done.large:
        world.process = partial(world.process, inline_state_bytes=0, inline_outbox_entries=0)
    if done.pending:
        with pytest.raises(Killed):
            deliver(world.process(Calls(die_after_commit)), FIRST)
    else:
        deliver(world.process(), FIRST)
    done.do(world)
    return done


def test_a_delivery_names_the_damage_and_changes_nothing_of_that_partition(world: World, damage: Damage) -> None:
    before, files = victim(world), contents(world)
    for attempt in range(2):
        with pytest.raises(PartitionsFailed) as failed:
            deliver(world.process(), [*SECOND, *OTHER])
        (error,) = failed.value.failures.values()
        assert isinstance(error, damage.error)
        assert list(failed.value.failures) == ["hits-0"]
        assert not failed.value.retriable
        with pytest.raises(damage.error, match=damage.says):
            raise error
        assert victim(world) == before, f"attempt {attempt} committed something"
    assert {key: data for key, data in contents(world).items() if key in files} == files
    assert others(world).next_offset == 2, "the other partition went on"


def test_a_sweep_names_the_damage_and_visits_the_others(world: World, damage: Damage) -> None:
    deliver(world.process(), OTHER)
    before, files = victim(world), contents(world)
    for _ in range(2):
        found = sweep(world)
        assert set(found.failures) == {PLACE}
        with pytest.raises(damage.error, match=damage.says):
            raise found.failures[PLACE]
        assert victim(world) == before
    assert {key: data for key, data in contents(world).items() if key in files} == files
    assert others(world).totals["ticks"] == 1


def others(world: World) -> Checkpoint:
    (found,) = (c for c in world.checkpoints.checkpoints("headrace", lambda _: None) if c.key.partition == 1)
    return found


def contents(world: World) -> dict[str, bytes]:
    """Every object that readers see."""
    return {key: world.outbox.read(key) for key in world.outbox.keys("lake/")}


class TestCorruptCheckpoint:
    """An item or a file that is no checkpoint."""

    @pytest.fixture(params=["folder", "aws"])
    def damaged(
        self, request: pytest.FixtureRequest, tmp_path: Path, world_on: Callable[[str], World]
    ) -> tuple[World, str]:
        """Three partitions of which the one in the middle cannot be read, and how it is called."""
        made = world_on(request.param)
        deliver(made.process(), [hit(0, 1), hit(0, 1, partition=1), hit(0, 1, partition=2)])
        if request.param == "folder":
            path = tmp_path / "checkpoints/headrace/p/1/hits/1.msgpack"
            path.write_bytes(flip(path.read_bytes()))
            return made, str(path)
        server = request.getfixturevalue("aws")
        client, key = server.client("dynamodb"), {"pk": {"S": "headrace#p#1#hits"}, "partition": {"N": "1"}}
        client.update_item(TableName=server.table, Key=key, UpdateExpression="REMOVE totals")
        return made, "item pk={'S': 'headrace#p#1#hits'} partition={'N': '1'}"

    def test_only_its_own_partition_fails(self, damaged: tuple[World, str]) -> None:
        world, place = damaged
        for offset in (1, 2):
            with pytest.raises(PartitionsFailed) as failed:
                deliver(world.process(), [hit(offset, 9, partition=n) for n in range(3)])
            (error,) = failed.value.failures.values()
            assert isinstance(error, CheckpointCorrupt)
            assert list(failed.value.failures) == ["hits-1"]
            assert place in str(error)
            assert NEW in str(error)
        read = list(world.checkpoints.checkpoints("headrace", lambda _: None))
        assert {c.key.partition: c.next_offset for c in read} == {0: 3, 2: 3}

    def test_the_sweeper_visits_the_others_and_names_it(self, damaged: tuple[World, str]) -> None:
        world, place = damaged
        found = sweep(world)
        assert (found.visited, found.ticked) == (2, 2)
        ((name, error),) = found.failures.items()
        assert name.startswith(place)
        assert isinstance(error, CheckpointCorrupt)

    def test_the_janitor_deletes_nothing(self, damaged: tuple[World, str]) -> None:
        """It cannot know which objects that checkpoint names."""
        world, place = damaged
        with pytest.raises(CheckpointCorrupt) as caught:
            clean(world)
        assert place in str(caught.value)
        assert list(world.outbox.keys("staging/"))


def test_the_janitor_deletes_nothing_when_a_manifest_cannot_be_read() -> None:
    world = World()
    with pytest.raises(Killed):
        deliver(world.process(Calls(die_after_commit), inline_outbox_entries=0), FIRST)
    overwrite(world, victim(world).outbox_manifest, truncate)
    staged = list(world.outbox.keys("staging/"))
    with pytest.raises(CheckpointCorrupt, match="outbox manifest"):
        clean(world)
    assert list(world.outbox.keys("staging/")) == staged


class TestClock:
    """The committer's clock is the only one that idleness is measured by."""

    def committed_by(self, world: World, *clock_ms: int) -> list[int]:
        """`committed_at_ms` after each of as many commits."""
        ticks = iter(clock_ms)
        process = Pipeline("p", lambda _: world.topology, world.checkpoints, world.outbox, clock_ms=lambda: next(ticks))
        found = []
        for offset in range(len(clock_ms)):
            deliver(process, [hit(offset, 1)])
            found.append(world.checkpoint().committed_at_ms)
        return found

    def test_a_commit_never_lies_before_an_earlier_one(self) -> None:
        assert self.committed_by(World(), 5_000, 2_000, 7_000) == [5_000, 5_000, 7_000]

    @pytest.mark.parametrize("ahead_ms", [1, MAX_CLOCK_SKEW_MS])
    def test_a_commit_a_little_in_the_future_is_not_idle(self, ahead_ms: int) -> None:
        world = World()
        self.committed_by(world, HOUR_MS + ahead_ms)
        found = sweep(world, HOUR_MS)
        assert (found.ticked, found.failures, found.oldest_outbox_ms) == (0, {}, 0)

    def test_a_commit_far_in_the_future_is_a_named_failure(self) -> None:
        """Silently it would never be idle, and its windows open for ever."""
        world = World()
        self.committed_by(world, HOUR_MS + MAX_CLOCK_SKEW_MS + 1)
        found = sweep(world, HOUR_MS)
        with pytest.raises(ClockSkew, match=rf"{PLACE} was committed at \d+ ms, 900 s after .* Compare the clocks"):
            raise found.failures[PLACE]
        assert found.ticked == 0
        assert sweep(world, 3 * HOUR_MS).ticked == 1, "it ends when the time is reached"

    def test_outputs_are_published_whatever_the_clocks_say(self) -> None:
        world = World()
        with pytest.raises(Killed):
            deliver(world.process(Calls(die_after_commit)), FIRST)
        assert sweep(world, now_ms=-2 * MAX_CLOCK_SKEW_MS).recovered == 1
        assert not world.checkpoint().pending


def test_a_damage_is_never_retriable() -> None:
    """A person has to look; the mapping would repeat the batch in any case."""
    assert not any(damage.error.retriable for damage in DAMAGES)
    assert all(issubclass(damage.error, InvariantError) for damage in DAMAGES)
