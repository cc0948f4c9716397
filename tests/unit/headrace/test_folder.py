"""What a folder needs beyond the port's contract (test_ports.py): processes, crashes, names, rubbish."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from headrace import folder
from headrace.checkpoint import Checkpoint, CheckpointKey, OutboxEntry
from headrace.errors import CheckpointCorrupt, CommitConflict, ConfigurationError, InfrastructureError
from headrace.folder import FolderCheckpointStore

KEY = CheckpointKey("headrace", "clickstream", "1", "web.clicks_v-1", 3)
FIRST = Checkpoint(
    key=KEY,
    version=1,
    base_offset=0,
    next_offset=10,
    committed_at_ms=1,
    max_timestamp_ms=2,
    fingerprint="f",
    outbox=(OutboxEntry("staging/a", "lake/a"),),
)

RACER = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from headrace.checkpoint import Checkpoint, CheckpointKey
    from headrace.errors import CommitConflict
    from headrace.folder import FolderCheckpointStore

    root, me, versions = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    store = FolderCheckpointStore(root / "checkpoints")
    key = CheckpointKey("a", "p", "1", "t", 0)
    (root / f"ready-{me}").touch()
    while not (root / "go").exists():
        time.sleep(0.001)
    for version in range(1, versions + 1):
        try:
            store.commit(Checkpoint(key, version, 0, version, 0, 0, me), version - 1)
        except CommitConflict:
            continue
        print(version)
""")

HOLDER = textwrap.dedent("""
    import fcntl, sys, time

    lock = open(sys.argv[1])
    fcntl.flock(lock, fcntl.LOCK_EX)
    print("locked", flush=True)
    time.sleep(60)
""")


@pytest.fixture
def store(tmp_path):
    return FolderCheckpointStore(tmp_path)


def path_of(root: Path) -> Path:
    return root / "headrace/clickstream/1/web.clicks_v-1/3.msgpack"


def test_a_partition_is_one_file_with_a_readable_path(store, tmp_path):
    store.commit(FIRST, 0)
    assert path_of(tmp_path).is_file()
    assert not list(tmp_path.rglob("*.tmp"))


def test_another_store_on_the_same_folder_sees_the_commits(store, tmp_path):
    store.commit(FIRST, 0)
    assert FolderCheckpointStore(tmp_path).load([KEY]) == {KEY: FIRST}


def test_of_two_processes_exactly_one_wins_each_version(tmp_path):
    racers = {
        name: subprocess.Popen([sys.executable, "-c", RACER, tmp_path, name, "100"], stdout=subprocess.PIPE, text=True)
        for name in ("ann", "bob")
    }
    deadline = time.monotonic() + 20
    while not all((tmp_path / f"ready-{name}").exists() for name in racers):
        assert time.monotonic() < deadline, "the racers did not start"
        time.sleep(0.005)
    (tmp_path / "go").touch()
    wins = {name: [int(line) for line in racer.communicate(timeout=20)[0].split()] for name, racer in racers.items()}
    assert sorted(wins["ann"] + wins["bob"]) == list(range(1, 101))
    (last,) = FolderCheckpointStore(tmp_path / "checkpoints").checkpoints("a")
    assert last.version == 100
    assert 100 in wins[last.fingerprint]


def test_a_crash_before_the_rename_leaves_the_old_checkpoint_and_stops_nobody(store, tmp_path):
    store.commit(FIRST, 0)
    path_of(tmp_path).with_suffix(".tmp").write_bytes(b"half a check")
    assert store.load([KEY]) == {KEY: FIRST}
    assert list(store.checkpoints("headrace")) == [FIRST]
    store.commit(replace(FIRST, version=2), 1)
    assert store.load([KEY])[KEY].version == 2


def test_a_lock_whose_process_was_killed_is_free(store, tmp_path):
    store.commit(FIRST, 0)
    lock = path_of(tmp_path).with_suffix(".lock")
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, lock], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"locked\n"
    finally:
        holder.kill()
        holder.communicate()
    store.commit(replace(FIRST, version=2), 1)


def test_a_lock_that_is_never_freed_is_a_retriable_error_in_bounded_time(store, monkeypatch):
    monkeypatch.setattr(folder, "LOCK_TIMEOUT_S", 0.05)
    store.commit(FIRST, 0)
    with store._locked(KEY), pytest.raises(InfrastructureError, match=r"3\.lock was locked"):
        store.commit(replace(FIRST, version=2), 1)


def test_readers_need_no_lock(store):
    store.commit(FIRST, 0)
    with store._locked(KEY):
        assert store.load([KEY]) == {KEY: FIRST}


@pytest.mark.parametrize("data", [b"", b"\x93", b"not msgpack at all", b"\x80", b"\xc0"], ids=repr)
def test_rubbish_is_named_by_its_file(store, tmp_path, data):
    store.commit(FIRST, 0)
    path_of(tmp_path).write_bytes(data)
    for read in (lambda: store.load([KEY]), lambda: list(store.checkpoints("headrace"))):
        with pytest.raises(CheckpointCorrupt, match=str(path_of(tmp_path))):
            read()
    with pytest.raises(CheckpointCorrupt):
        store.commit(FIRST, 0)
    assert path_of(tmp_path).read_bytes() == data


def test_every_truncation_is_noticed(store, tmp_path):
    store.commit(FIRST, 0)
    whole = path_of(tmp_path).read_bytes()
    for length in range(len(whole)):
        path_of(tmp_path).write_bytes(whole[:length])
        with pytest.raises(CheckpointCorrupt):
            store.load([KEY])


def test_every_flipped_bit_is_noticed(store, tmp_path):
    """Not even a number may be another one."""
    store.commit(FIRST, 0)
    whole = path_of(tmp_path).read_bytes()
    for place in range(len(whole)):
        path_of(tmp_path).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(CheckpointCorrupt):
            store.load([KEY])


def test_a_file_in_the_wrong_place_is_corrupt(store, tmp_path):
    store.commit(FIRST, 0)
    path_of(tmp_path).rename(path_of(tmp_path).with_name("4.msgpack"))
    with pytest.raises(CheckpointCorrupt, match=r"4\.msgpack holds the checkpoint of .*web\.clicks_v-1-3"):
        store.load([KEY._replace(partition=4)])


@pytest.mark.parametrize("name", ["..", ".", "../../escape", "/etc", "a/b", ".hidden", "100%", "größe", "%2E%2E"])
def test_no_name_leaves_the_folder_or_meets_another(store, tmp_path, name):
    store = FolderCheckpointStore(tmp_path / "inner" / "root")
    odd = [FIRST, *(replace(FIRST, key=KEY._replace(**{part: name})) for part in ("pipeline", "generation", "topic"))]
    for checkpoint in odd:
        store.commit(checkpoint, 0)
    assert store.load([each.key for each in odd]) == {each.key: each for each in odd}
    assert len(list(store.checkpoints("headrace"))) == len(odd)
    assert {path.name for path in tmp_path.iterdir()} == {"inner"}
    assert {path.name for path in (tmp_path / "inner").iterdir()} == {"root"}
    assert len(list((tmp_path / "inner" / "root").glob("*/*/*/*/*.msgpack"))) == len(odd)


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_a_name_that_no_file_can_have_is_refused(store, name):
    with pytest.raises(ConfigurationError, match="cannot be part of a checkpoint's key"):
        store.commit(replace(FIRST, key=KEY._replace(topic=name)), 0)


def test_a_failing_file_system_is_a_retriable_error_that_names_the_file(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    store = FolderCheckpointStore(tmp_path / "file")
    with pytest.raises(InfrastructureError, match=r"cannot lock .*/file/headrace/.*: Not a directory"):
        store.commit(FIRST, 0)
    with pytest.raises(InfrastructureError, match=r"cannot read .*/file/headrace/"):
        store.load([KEY])


def test_a_conflict_is_not_mistaken_for_a_failing_disk(store):
    store.commit(FIRST, 0)
    with pytest.raises(CommitConflict, match="is at version 1, expected 0"):
        store.commit(FIRST, 0)


def test_clearing_leaves_no_folder_behind_where_nothing_is(store, tmp_path):
    store.clear_outbox(KEY, 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc to see what is synchronised")
def test_a_commit_is_on_the_disk_with_every_folder_that_leads_to_it(store, tmp_path, monkeypatch):
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(str(Path(f"/proc/self/fd/{fd}").readlink())), fsync(fd)))
    store.commit(FIRST, 0)
    path = path_of(tmp_path)
    assert synced[0] == str(path.with_suffix(".tmp")), "the data must be there before the name points to it"
    assert {str(tmp_path), *map(str, path.parents[:4])} <= set(synced[1:])
