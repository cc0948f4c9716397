"""Conditional writes when many want the same: exactly one wins, whoever asks at once."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count

import pytest
from msgspec.structs import replace

from headrace.aws import client_config
from headrace.checkpoint import Checkpoint, CheckpointKey, OutboxEntry
from headrace.dynamodb import DynamoDBCheckpointStore
from headrace.errors import CommitConflict

RACERS = 8
ROUNDS = 25
UPDATES = 10
"""Of each racer."""

_numbers = count()


@pytest.fixture
def stores(dynamodb_server):
    """One for each racer, with connections of its own."""
    return [
        DynamoDBCheckpointStore(dynamodb_server.table, dynamodb_server.client("dynamodb", client_config(attempts=1)))
        for _ in range(RACERS)
    ]


@pytest.fixture
def together():
    """Return a function that runs the calls at the same moment, and gives their answers in order."""
    with ThreadPoolExecutor(RACERS) as threads:

        def run(*calls):
            start = threading.Barrier(len(calls))

            def one(call):
                start.wait(10)
                return call()

            return [each.result(30) for each in [threads.submit(one, call) for call in calls]]

        yield run


def new_checkpoint(version=1, **fields):
    key = CheckpointKey("headrace", "clickstream", "1", "clicks", next(_numbers))
    return Checkpoint(key, version, 0, 10, committed_at_ms=1, max_timestamp_ms=2, fingerprint="f", **fields)


def wins(store, checkpoint):
    """Whether the store took it."""
    try:
        store.commit(checkpoint, checkpoint.version - 1)
    except CommitConflict:
        return False
    return True


def test_of_many_first_commits_one_wins_and_is_what_is_stored(stores, together):
    for _ in range(ROUNDS):
        attempts = [replace(new, next_offset=racer) for new in [new_checkpoint()] for racer in range(RACERS)]
        won = together(*(partial(wins, *each) for each in zip(stores, attempts, strict=True)))
        assert Counter(won) == {True: 1, False: RACERS - 1}
        key = attempts[0].key
        assert stores[0].load([key]) == {key: attempts[won.index(True)]}


def test_of_many_commits_over_the_same_version_one_wins_and_is_what_is_stored(stores, together):
    current = new_checkpoint()
    stores[0].commit(current, 0)
    for _ in range(ROUNDS):
        attempts = [replace(current, version=current.version + 1, next_offset=racer) for racer in range(RACERS)]
        won = together(*(partial(wins, *each) for each in zip(stores, attempts, strict=True)))
        assert Counter(won) == {True: 1, False: RACERS - 1}
        current = attempts[won.index(True)]
        assert stores[0].load([current.key]) == {current.key: current}


def test_no_update_is_lost_when_everybody_loads_and_commits_again_and_again(stores, together):
    first = new_checkpoint()
    stores[0].commit(first, 0)

    def add(store):
        conflicts = 0
        for _ in range(UPDATES):
            while True:
                seen = store.load([first.key])[first.key]
                if wins(store, replace(seen, version=seen.version + 1, next_offset=seen.next_offset + 1)):
                    break
                conflicts += 1
        return conflicts

    conflicts = sum(together(*(partial(add, store) for store in stores)))
    last = stores[0].load([first.key])[first.key]
    assert (last.version, last.next_offset) == (1 + RACERS * UPDATES, 10 + RACERS * UPDATES)
    assert conflicts > 0, "nobody ever raced"


def test_an_outbox_is_cleared_at_its_own_version_only(stores, together):
    """Whoever publishes the old version's outputs late must not clear the list of what the newer one has to publish."""
    for _ in range(ROUNDS):
        old = new_checkpoint(outbox=(OutboxEntry("staging/old", "lake/old"),))
        new = replace(old, version=2, outbox=(OutboxEntry("staging/new", "lake/new"),))
        stores[0].commit(old, 0)
        together(
            *(partial(store.clear_outbox, old.key, 1) for store in stores[1:]),
            partial(stores[0].commit, new, 1),
        )
        assert stores[0].load([old.key]) == {old.key: new}
        stores[1].clear_outbox(old.key, 2)
        assert stores[0].load([old.key])[old.key].outbox == ()
