"""One contract per port, kept by every implementation of it."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace
from obstore.store import MemoryStore

from headrace.catalog import Changes, Column, MemoryCatalog, Partition, Table
from headrace.checkpoint import Checkpoint, CheckpointKey, MemoryCheckpointStore, OutboxEntry
from headrace.dynamodb import DynamoDBCheckpointStore
from headrace.errors import CommitConflict, ObjectConflict, ObjectMissing
from headrace.folder import FolderCheckpointStore
from headrace.glue import GlueCatalog
from headrace.objects import ObjectStoreOutbox, open_lake
from headrace.outbox import MemoryOutbox
from headrace_cli.local.aws_server import LocalAws

NASTY_KEYS = [
    "lake/p/t/date=2026-11-22/hour=07/1-web.clicks_v-1-3-17-0.parquet",
    "lake/p/t/a b+c&d.parquet",
    "lake/p/t/100%25.parquet",
    "lake/p/t/a..b~c.parquet",
    "lake/p/t/größe-時間.parquet",
]


@pytest.fixture(scope="module")
def aws():
    with LocalAws() as server:
        yield server


@pytest.fixture(scope="module")
def dynamodb(aws):
    return aws.client("dynamodb")


@pytest.fixture
def application():
    """A name of its own for each test: the table is shared."""
    return f"app-{uuid.uuid4().hex}"


@pytest.fixture(params=["memory", "folder", "dynamodb"])
def store(request, tmp_path):
    if request.param == "memory":
        return MemoryCheckpointStore()
    if request.param == "folder":
        return FolderCheckpointStore(tmp_path / "checkpoints")
    return DynamoDBCheckpointStore(request.getfixturevalue("aws").table, request.getfixturevalue("dynamodb"))


@pytest.fixture(params=["memory", "obstore memory", "obstore folder", "obstore s3"])
def outbox(request, tmp_path, monkeypatch):
    if request.param == "memory":
        return MemoryOutbox()
    if request.param == "obstore memory":
        return ObjectStoreOutbox(MemoryStore())
    if request.param == "obstore folder":
        return open_lake(f"file:{tmp_path}/lake")
    server = request.getfixturevalue("aws")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return open_lake(f"s3://{server.bucket}/{uuid.uuid4().hex}/deep")


def first(application, topic="clicks", partition=0):
    """The smallest first checkpoint."""
    return Checkpoint(
        key=CheckpointKey(application, "clickstream", "1", topic, partition),
        version=1,
        base_offset=0,
        next_offset=10,
        committed_at_ms=1_700_000_000_000,
        max_timestamp_ms=1_700_000_000_001,
        fingerprint="f1",
    )


def full(application, version=1):
    """A checkpoint with a value in every field."""
    return replace(
        first(application, "web.clicks_v-1", 31),
        version=version,
        watermark_ms=-1,
        state=b"\x00\xff",
        state_keys=("state/x", "state/y"),
        outbox=(OutboxEntry("staging/é/0", "lake/a=1/0"), OutboxEntry("staging/é/1", "lake/a=1/1")),
        outbox_manifest="staging/é/2",
        open_until_ms=0,
        totals={"applied": 9, "rows.page_minutes": 2**53},
    )


class TestCheckpointStore:
    def test_a_key_without_a_checkpoint_is_absent(self, store, application):
        assert store.load([first(application).key]) == {}

    def test_no_keys_load_nothing(self, store):
        assert store.load([]) == {}

    @pytest.mark.parametrize("make", [first, full])
    def test_what_was_committed_is_loaded_field_by_field(self, store, application, make):
        checkpoint = make(application)
        store.commit(checkpoint, 0)
        assert store.load([checkpoint.key]) == {checkpoint.key: checkpoint}

    def test_empty_state_is_not_the_same_as_no_state(self, store, application):
        checkpoint = replace(first(application), state=b"")
        store.commit(checkpoint, 0)
        assert store.load([checkpoint.key])[checkpoint.key].state == b""

    def test_a_key_asked_for_twice_is_answered_once(self, store, application):
        checkpoint = first(application)
        store.commit(checkpoint, 0)
        assert store.load([checkpoint.key, checkpoint.key]) == {checkpoint.key: checkpoint}

    def test_the_first_commit_wants_that_nothing_is_stored(self, store, application):
        store.commit(first(application), 0)
        with pytest.raises(CommitConflict):
            store.commit(replace(first(application), fingerprint="second"), 0)
        assert store.load([first(application).key])[first(application).key].fingerprint == "f1"

    def test_a_later_commit_wants_that_something_is_stored(self, store, application):
        with pytest.raises(CommitConflict):
            store.commit(replace(first(application), version=2), 1)
        assert store.load([first(application).key]) == {}

    @pytest.mark.parametrize("expected", [0, 1, 3])
    def test_a_commit_over_another_version_changes_nothing(self, store, application, expected):
        stored = first(application)
        store.commit(stored, 0)
        stored = replace(stored, version=2)
        store.commit(stored, 1)
        with pytest.raises(CommitConflict):
            store.commit(replace(stored, version=expected + 1, next_offset=99), expected)
        assert store.load([stored.key]) == {stored.key: stored}

    def test_a_commit_replaces_every_field(self, store, application):
        store.commit(full(application), 0)
        plain = replace(first(application), key=full(application).key, version=2)
        store.commit(plain, 1)
        assert store.load([plain.key]) == {plain.key: plain}

    def test_clearing_the_outbox_keeps_everything_else(self, store, application):
        checkpoint = full(application)
        store.commit(checkpoint, 0)
        store.clear_outbox(checkpoint.key, 1)
        assert store.load([checkpoint.key])[checkpoint.key] == checkpoint.published()
        store.clear_outbox(checkpoint.key, 1)
        assert store.load([checkpoint.key])[checkpoint.key] == checkpoint.published()

    @pytest.mark.parametrize("version", [1, 3])
    def test_the_outbox_of_another_version_is_left_alone(self, store, application, version):
        """A zombie that published version 1 late must not forget the outputs of version 2."""
        store.commit(full(application), 0)
        store.commit(full(application, 2), 1)
        store.clear_outbox(full(application).key, version)
        assert store.load([full(application).key])[full(application).key] == full(application, 2)

    def test_clearing_an_outbox_that_never_was_makes_no_checkpoint(self, store, application):
        store.clear_outbox(first(application).key, 1)
        assert store.load([first(application).key]) == {}
        assert list(store.checkpoints(application)) == []

    def test_keys_differ_in_each_of_their_parts(self, store, application):
        key = first(application).key
        keys = [
            key,
            key._replace(pipeline="logs"),
            key._replace(generation="2"),
            key._replace(topic="clicks.v2"),
            key._replace(topic="clicks-v2"),
            key._replace(topic="clicks_v2"),
            key._replace(topic="..clicks"),
            key._replace(partition=10),
        ]
        for number, each in enumerate(keys):
            store.commit(replace(first(application), key=each, next_offset=number), 0)
        assert {each: c.next_offset for each, c in store.load(keys).items()} == dict(zip(keys, range(8), strict=True))

    def test_the_catalog_lists_the_application_s_checkpoints_only(self, store, application):
        mine = [first(application, "clicks", 1), first(application, "logs", 0), full(application)]
        for checkpoint in [*mine, first(application + "-2"), first(application[:-1])]:
            store.commit(checkpoint, 0)
        found = list(store.checkpoints(application))
        assert {checkpoint.key: checkpoint for checkpoint in found} == {each.key: each for each in mine}
        assert len(found) == len(mine)

    def test_of_racing_commits_exactly_one_gets_each_version(self, store, application):
        wins: list[list[int]] = [[], []]
        start = threading.Barrier(2)

        def race(racer: int) -> None:
            start.wait(10)
            for version in range(1, 9):
                checkpoint = replace(first(application), version=version, fingerprint=f"racer {racer}")
                try:
                    store.commit(checkpoint, version - 1)
                except CommitConflict:
                    continue
                wins[racer].append(version)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(race, range(2)))
        assert sorted(wins[0] + wins[1]) == list(range(1, 9))
        last = store.load([first(application).key])[first(application).key]
        assert last.version == 8
        assert 8 in wins[int(last.fingerprint[-1])]


class TestOutbox:
    def test_what_was_staged_is_read(self, outbox):
        objects = {f"staging/u/{n}": bytes([n]) * n for n in range(20)}
        outbox.stage(objects)
        assert {key: outbox.read(key) for key in objects} == objects

    def test_nothing_to_stage_or_publish_is_no_error(self, outbox):
        outbox.stage({})
        outbox.publish([])
        outbox.delete([])

    def test_a_missing_object_is_named(self, outbox):
        with pytest.raises(ObjectMissing) as missing:
            outbox.read("state/gone")
        assert missing.value.key == "state/gone"

    def test_publishing_copies_and_keeps_the_staged_objects(self, outbox):
        entries = [OutboxEntry(f"staging/u/{n}", f"lake/p/t/date=2026-11-22/hour=0{n % 10}/{n}") for n in range(20)]
        outbox.stage({entry.staged_key: entry.final_key.encode() for entry in entries})
        outbox.publish(entries)
        assert all(outbox.read(entry.final_key) == entry.final_key.encode() for entry in entries)
        assert len(list(outbox.keys("staging/u"))) == 20

    def test_publishing_twice_leaves_the_same_bytes(self, outbox):
        outbox.stage({"staging/u/0": b"bytes"})
        for _ in range(2):
            outbox.publish([OutboxEntry("staging/u/0", "lake/a")])
        assert outbox.read("lake/a") == b"bytes"
        assert list(outbox.keys("lake")) == ["lake/a"]

    @pytest.mark.parametrize("other", [b"bytes of somebody else", b"BYTES", b""], ids=["longer", "as long", "empty"])
    def test_other_bytes_at_a_final_key_are_never_overwritten(self, outbox, other):
        outbox.stage({"staging/u/0": b"bytes", "lake/a": other})
        with pytest.raises(ObjectConflict) as conflict:
            outbox.publish([OutboxEntry("staging/u/0", "lake/a")])
        assert (conflict.value.staged_key, conflict.value.final_key) == ("staging/u/0", "lake/a")
        assert outbox.read("lake/a") == other

    def test_a_staged_object_that_is_gone_is_missing_even_when_something_lies_at_its_final_key(self, outbox):
        """Whether it is the same cannot be told any more."""
        outbox.stage({"lake/a": b"bytes"})
        with pytest.raises(ObjectMissing) as missing:
            outbox.publish([OutboxEntry("staging/gone", "lake/a")])
        assert missing.value.key == "staging/gone"

    def test_attempts_that_publish_the_same_at_once_all_succeed(self, outbox):
        entries = [OutboxEntry(f"staging/u/{n}", f"lake/{n}") for n in range(8)]
        outbox.stage({entry.staged_key: entry.final_key.encode() * 1000 for entry in entries})
        start = threading.Barrier(3)

        def publish(_: int) -> None:
            start.wait(10)
            outbox.publish(entries)

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(publish, range(3)))
        assert all(outbox.read(entry.final_key) == entry.final_key.encode() * 1000 for entry in entries)

    @pytest.mark.parametrize("others", [0, 30])
    def test_a_missing_staged_object_is_named_and_never_skipped(self, outbox, others):
        there = [OutboxEntry(f"staging/u/{n}", f"lake/{n}") for n in range(others)]
        outbox.stage({entry.staged_key: b"" for entry in there})
        with pytest.raises(ObjectMissing) as missing:
            outbox.publish([*there, OutboxEntry("staging/gone", "lake/never")])
        assert missing.value.key == "staging/gone"
        with pytest.raises(ObjectMissing):
            outbox.read("lake/never")

    @pytest.mark.parametrize("key", NASTY_KEYS)
    def test_keys_come_back_as_they_were_written(self, outbox, key):
        outbox.stage({f"staging/{key}": b"1"})
        outbox.publish([OutboxEntry(f"staging/{key}", key)])
        assert list(outbox.keys("lake/")) == [key]
        assert outbox.read(key) == b"1"
        outbox.delete([key])
        assert list(outbox.keys("lake/")) == []

    def test_keys_are_sorted_and_under_the_prefix(self, outbox):
        outbox.stage(dict.fromkeys(["state/b", "state/a/z", "state/A", "staging/x", "lake/y"], b""))
        assert list(outbox.keys("state/")) == ["state/A", "state/a/z", "state/b"]
        assert list(outbox.keys("")) == ["lake/y", "staging/x", "state/A", "state/a/z", "state/b"]
        assert list(outbox.keys("nothing/")) == []

    def test_a_prefix_ends_at_a_folder(self, outbox):
        outbox.stage(dict.fromkeys(["lake/a/b", "lake/ab/c"], b""))
        assert list(outbox.keys("lake/a")) == list(outbox.keys("lake/a/")) == ["lake/a/b"]

    def test_only_old_objects_are_listed_when_asked(self, outbox):
        outbox.stage({"staging/a": b""})
        assert list(outbox.keys("staging/", older_than_ms=1_000)) == []
        assert list(outbox.keys("staging/", older_than_ms=4_000_000_000_000)) == ["staging/a"]

    def test_deleting_what_is_gone_is_no_error(self, outbox):
        outbox.stage({"state/a": b"", "state/b": b""})
        outbox.delete(["state/gone", "state/a", "state/gone too"])
        assert list(outbox.keys("state/")) == ["state/b"]


# --- Catalog ---------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "glue"])
def catalog(request):
    if request.param == "memory":
        return MemoryCatalog()
    glue, database = request.getfixturevalue("aws").client("glue"), f"d{uuid.uuid4().hex}"
    catalog = GlueCatalog(database, glue)
    assert catalog.create_database("a test's")
    assert not catalog.create_database("a test's")
    return catalog


def partition(hour):
    return Partition(("2024-03-13", hour), f"s3://lake/t/date=2024-03-13/hour={hour}/", {"digest": "1"})


def test_a_catalog_has_what_was_applied(catalog):
    table = Table("t", "s3://lake/t/", (Column("a", "int"),), ("date", "hour"), {"classification": "parquet"})
    catalog.apply(Changes(table, create=True, add=(partition("09"), partition("10"))))
    found = catalog.tables()["t"]
    assert replace(found, rest={}) == table
    moved = replace(partition("09"), parameters={"digest": "2"})
    wider = replace(found, columns=(Column("a", "bigint"), Column("b", "string", "new")))
    catalog.apply(Changes(wider, update=("columns",), replace=(moved,), remove=(partition("10"),)))
    assert replace(catalog.tables()["t"], rest={}) == replace(wider, rest={})
    assert catalog.partitions("t") == {moved.values: moved}


def test_what_is_applied_twice_is_there_once(catalog):
    table = Table("t", "s3://lake/t/", (Column("a", "int"),), ("date", "hour"), {})
    for _ in range(2):
        catalog.apply(Changes(table, create=True, add=(partition("09"),)))
        catalog.apply(Changes(table, add=(partition("10"),), remove=(partition("11"),)))
    assert set(catalog.partitions("t")) == {("2024-03-13", "09"), ("2024-03-13", "10")}


# --- Folders ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outbox", ["obstore memory", "obstore folder", "obstore s3"], indirect=True)
def test_folders_and_the_newest_file_of_each_are_told(outbox):
    outbox.stage({"lake/p/t/date=1/hour=1/a": b"old", "lake/p/t/date=1/hour=2/b": b"0123456789", "lake/p/x": b""})
    outbox.stage({"lake/p/t/date=1/hour=1/c": b"new"})
    assert outbox.below("lake/p") == (["t"], True)
    assert outbox.below("lake/p/t/date=1/") == (["hour=1", "hour=2"], False)
    assert outbox.below("lake/nothing") == ([], False)
    ends = outbox.newest_ends([f"lake/p/t/date=1/hour={hour}/" for hour in (1, 2, 3)], 4)
    # S3 cuts times to seconds; of the same one the last name is taken.
    assert [(end.key[-1], end.data[-3:], end.size) for end in ends] == [("c", b"new", 3), ("b", b"789", 10)]
