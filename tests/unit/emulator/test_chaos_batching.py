"""Batches that come again, and are cut elsewhere. `|` is a cut, `x` a failure, `<` what was forgotten."""

from chaos_script import ScriptedPlan
from hypothesis import given
from hypothesis import strategies as st

from kafka_esm.batching import Limits
from kafka_esm.chaos import MOST_REWOUND, ChaosPlan, Fault, Recut
from kafka_esm.chaos_batching import ChaosBatcher
from kafka_esm.event import Envelope, Record, encode

ENVELOPE = Envelope("aws:kafka", "arn", "b:9092")


def a_record(offset, partition=0):
    return encode(Record("t", partition, offset, 0, "CREATE_TIME", None, b"x"))


def a_batcher(plan, records, batch_size=4, partitions=1, window_ms=0):
    batcher = ChaosBatcher(Limits(batch_size, window_ms, 6_000_000), ENVELOPE, plan)
    for offset in range(records):
        for partition in range(partitions):
            batcher.add(a_record(offset, partition), now_ms=0)
    return batcher


def offsets(batch):
    (records,) = batch.partitions.values()
    return [record.offset for record in records]


def delivered(batcher, *outcomes):
    """The offsets of each batch, settled or failed as told, then all settled."""
    outcomes, batches = list(outcomes), []
    while (batch := batcher.next_batch(0)) is not None:
        batches.append(offsets(batch))
        batcher.settled() if not outcomes or outcomes.pop(0) else batcher.failed()
    return batches


def test_without_a_fault_batches_are_those_of_any_batcher():
    """`0123|45|`"""
    plan = ScriptedPlan()

    assert delivered(a_batcher(plan, 6)) == [[0, 1, 2, 3], [4, 5]]
    assert plan.told == []


def test_a_batch_may_fill_only_a_part_of_the_batch_size():
    """`0|12|3456|`"""
    assert delivered(a_batcher(ScriptedPlan(shares=[0.25, 0.5]), 7)) == [[0], [1, 2], [3, 4, 5, 6]]


def test_a_failed_batch_comes_again_as_it_was():
    """`0123x0123|45|`"""
    plan = ScriptedPlan(recuts=[Recut.SAME])
    batcher = a_batcher(plan, 6)
    first = batcher.next_batch(0)
    batcher.failed()

    assert batcher.next_batch(0) is first
    assert plan.told == []


def test_a_failed_batch_is_bisected():
    """`0123x01|23|45|`: until its records are through, batches stay small."""
    plan = ScriptedPlan(recuts=[Recut.SMALLER])

    assert delivered(a_batcher(plan, 6), False) == [[0, 1, 2, 3], [0, 1], [2, 3], [4, 5]]
    assert plan.told == [Fault.RECUT_SMALLER]


def test_a_failed_batch_of_one_record_cannot_be_bisected():
    """`0x0|1|`"""
    plan = ScriptedPlan(shares=[0.25, 0.25, 0.25], recuts=[Recut.SMALLER])

    assert delivered(a_batcher(plan, 2), False) == [[0], [0], [1]]
    assert plan.told == []


def test_a_failed_batch_comes_again_with_newer_records():
    """`01x0123|45|`"""
    plan = ScriptedPlan(shares=[0.5], recuts=[Recut.LARGER])

    assert delivered(a_batcher(plan, 6), False) == [[0, 1], [0, 1, 2, 3], [4, 5]]
    assert plan.told == [Fault.RECUT_LARGER]


def test_what_comes_again_does_not_wait_for_company():
    plan = ScriptedPlan(recuts=[Recut.SMALLER])
    batcher = a_batcher(plan, 2, window_ms=500)
    assert offsets(batcher.next_batch(500)) == [0, 1]
    batcher.failed()
    assert offsets(batcher.next_batch(501)) == [0]
    batcher.settled()
    assert offsets(batcher.next_batch(501)) == [1]


def test_a_success_is_forgotten_with_the_batches_before_it():
    """`01|23|45|<0123|45|67|`"""
    plan = ScriptedPlan(shares=[0.5] * 4, rewinds=[0, 0, 3], recuts=[Recut.LARGER])

    assert delivered(a_batcher(plan, 8)) == [[0, 1], [2, 3], [4, 5], [0, 1, 2, 3], [4, 5, 6, 7]]
    assert plan.told == [Fault.REDELIVERED, Fault.RECUT_LARGER]


def test_what_was_forgotten_once_is_not_forgotten_again():
    """`01|<0|1|23|<23|`: the second rewind goes back to 2."""
    plan = ScriptedPlan(shares=[0.5, 0.5], rewinds=[1, 3], recuts=[Recut.SMALLER])

    assert delivered(a_batcher(plan, 4)) == [[0, 1], [0], [1], [2, 3], [2, 3]]
    assert plan.told == [Fault.REDELIVERED, Fault.RECUT_SMALLER, Fault.REDELIVERED]


def test_a_rewind_goes_back_only_over_batches_that_followed_one_another():
    """`0000|<01|20|12|01|20|1201|<1201|…`, digits are partitions: one with old records of 0 is the end of the way back.

    Back to the third batch, `12`, partition 1 would come again with a hole: what the fourth, `01`, had of it.
    """
    plan = ScriptedPlan(rewinds=[1, 0, 3], recuts=[Recut.SMALLER])
    batcher = a_batcher(plan, 4)
    batcher.next_batch(0)
    for partition, numbers in ((0, range(4, 6)), (1, range(6)), (2, range(6))):
        for offset in numbers:
            batcher.add(a_record(offset, partition), now_ms=0)
    batcher.settled()

    batches = []
    while (batch := batcher.next_batch(0)) is not None:
        batches.append({source.partition: [one.offset for one in some] for source, some in batch.partitions.items()})
        batcher.settled()

    olds = [{0: [0], 1: [0]}, {2: [0], 0: [1]}, {1: [1], 2: [1]}, {0: [2], 1: [2]}, {2: [2], 0: [3]}]
    assert batches[:5] == olds
    assert batches[5] == {1: [3, 4], 2: [3], 0: [4]}
    assert [offset for batch in batches[6:] for offset in batch.get(1, ())] == [3, 4, 5]


@given(
    seed=st.integers(),
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    batch_size=st.integers(1, 30),
    failures=st.lists(st.booleans(), max_size=30),
)
def test_any_plan_delivers_everything_in_order_and_ends(seed, counts, batch_size, failures):
    batcher = ChaosBatcher(Limits(batch_size, 0, 6_000_000), ENVELOPE, ChaosPlan(seed, "FE"))
    for partition, count in enumerate(counts):
        for offset in range(count):
            batcher.add(a_record(offset, partition), now_ms=0)
    succeeded = dict.fromkeys(range(len(counts)), 0)
    tried = successes = 0

    while (batch := batcher.next_batch(0)) is not None:
        assert 1 <= batch.size <= batch_size
        for source, records in batch.partitions.items():
            these = [record.offset for record in records]
            assert these == list(range(these[0], these[0] + len(these))), "a hole within a batch"
            assert these[0] <= succeeded[source.partition], "newer than one that has not succeeded"
        tried += 1
        if failures and failures.pop():
            batcher.failed()
            continue
        successes += batch.size
        for source, end in batch.next_offsets.items():
            succeeded[source.partition] = max(succeeded[source.partition], end)
        batcher.settled()

    assert succeeded == dict(enumerate(counts))
    assert successes <= 2 * sum(counts), "nothing is redelivered twice"
    assert len(batcher) == 0
    assert batcher.due_in_ms(0) is None


def test_the_plan_never_asks_for_more_batches_than_are_kept():
    """`0|1|2|3|<123|`: the oldest of four is out of reach."""
    plan = ScriptedPlan(shares=[0.25] * 4, rewinds=[0, 0, 0, MOST_REWOUND], recuts=[Recut.LARGER])

    assert delivered(a_batcher(plan, 4)) == [[0], [1], [2], [3], [1, 2, 3]]
