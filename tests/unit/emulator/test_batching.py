"""Where batches end. Time-lines: `.` is 100 ms, a digit a record of that partition, `|` a cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafka_esm.batching import Batcher, Limits
from kafka_esm.errors import RecordTooLargeError
from kafka_esm.event import Envelope, Record, TopicPartition, encode

ENVELOPE = Envelope("aws:kafka", "arn", "b:9092")
MB = 1024 * 1024


def a_record(offset, partition=0, size=10):
    return encode(Record("t", partition, offset, 0, "CREATE_TIME", None, b"x" * size))


def a_batcher(batch_size=100, window_ms=500, payload_bytes=6 * MB):
    return Batcher(Limits(batch_size, window_ms, payload_bytes), ENVELOPE)


def offsets(batch):
    return {source.partition: [one.offset for one in records] for source, records in batch.partitions.items()}


def test_nothing_waits_nothing_is_due():
    batcher = a_batcher()

    assert batcher.due_in_ms(0) is None
    assert batcher.next_batch(10_000) is None


def test_a_batch_waits_for_its_window_to_end():
    """`0..0..|`: the window begins with the first record, and the second does not prolong it."""
    batcher = a_batcher(window_ms=500)
    batcher.add(a_record(0), now_ms=1_000)
    batcher.add(a_record(1), now_ms=1_300)

    assert batcher.due_in_ms(1_300) == 200
    assert batcher.next_batch(1_499) is None
    assert offsets(batcher.next_batch(1_500)) == {0: [0, 1]}


def test_a_window_of_zero_cuts_at_once():
    """`0|`: nobody waits for company."""
    batcher = a_batcher(window_ms=0)
    batcher.add(a_record(0), now_ms=5)

    assert offsets(batcher.next_batch(5)) == {0: [0]}


def test_a_full_batch_does_not_wait():
    """`000|00.....|`: three are a batch; the rest waits for its own window."""
    batcher = a_batcher(batch_size=3)
    for offset in range(5):
        batcher.add(a_record(offset), now_ms=0)

    assert offsets(batcher.next_batch(0)) == {0: [0, 1, 2]}
    batcher.settled()
    assert batcher.next_batch(499) is None
    assert offsets(batcher.next_batch(500)) == {0: [3, 4]}


def test_partitions_take_turns():
    """`000000 11 2|`: a busy partition does not keep the others out of the batch."""
    batcher = a_batcher(batch_size=6)
    for offset in range(6):
        batcher.add(a_record(offset, 0), now_ms=0)
    for offset in range(2):
        batcher.add(a_record(offset, 1), now_ms=0)
    batcher.add(a_record(0, 2), now_ms=0)

    assert offsets(batcher.next_batch(0)) == {0: [0, 1, 2], 1: [0, 1], 2: [0]}


def test_a_failed_batch_comes_again_whole_and_before_anything_newer():
    """`01|(01)11|`: until it is settled, the same object is handed out."""
    batcher = a_batcher(batch_size=2)
    batcher.add(a_record(0, 0), now_ms=0)
    batcher.add(a_record(0, 1), now_ms=0)
    first = batcher.next_batch(0)
    for offset in (1, 2):
        batcher.add(a_record(offset, 1), now_ms=0)

    assert batcher.next_batch(99_999) is first
    assert batcher.due_in_ms(0) == 0
    batcher.settled()
    assert offsets(batcher.next_batch(0)) == {1: [1, 2]}


def test_the_payload_limit_is_kept_to_the_byte():
    alone = len(ENVELOPE.payload({TopicPartition("t", 0): [a_record(0), a_record(1)]}))
    exact, short = a_batcher(payload_bytes=alone), a_batcher(payload_bytes=alone - 1)
    for batcher in (exact, short):
        for offset in range(3):
            batcher.add(a_record(offset), now_ms=0)

    assert offsets(exact.next_batch(0)) == {0: [0, 1]}
    assert offsets(short.next_batch(0)) == {0: [0]}


def test_a_record_over_the_limit_is_named_after_what_came_before_it_was_delivered():
    """`0 0 B|`: the two small ones go first, then the error."""
    batcher = a_batcher(payload_bytes=1_000)
    for offset, size in enumerate((10, 10, 2_000)):
        batcher.add(a_record(offset, size=size), now_ms=0)

    assert offsets(batcher.next_batch(0)) == {0: [0, 1]}
    batcher.settled()
    with pytest.raises(RecordTooLargeError, match=r"t-0 offset 2: its event has") as caught:
        batcher.next_batch(0)
    assert (caught.value.offset, caught.value.limit, caught.value.retriable) == (2, 1_000, False)


def test_the_next_offsets_are_last_plus_one():
    batcher = a_batcher(window_ms=0)
    for offset in (3, 9):  # 4 to 8 were compacted away
        batcher.add(a_record(offset), now_ms=0)

    assert batcher.next_batch(0).next_offsets == {TopicPartition("t", 0): 10}


@given(
    arrivals=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 400), st.integers(0, 300)), max_size=60),
    batch_size=st.integers(1, 20),
    window_ms=st.integers(0, 1_000),
    payload_bytes=st.integers(800, 5_000),
    cut_after_each=st.booleans(),
)
def test_any_arrivals_leave_in_order_completely_and_within_the_limits(
    arrivals, batch_size, window_ms, payload_bytes, cut_after_each
):
    batcher = a_batcher(batch_size, window_ms, payload_bytes)
    batches, now_ms, sent = [], 0, {}

    def cut():
        while (batch := batcher.next_batch(now_ms)) is not None:
            batches.append(batch)
            batcher.settled()

    for partition, size, pause_ms in arrivals:
        now_ms += pause_ms
        sent.setdefault(partition, []).append(len(sent.get(partition, ())))
        batcher.add(a_record(sent[partition][-1], partition, size), now_ms)
        if cut_after_each:
            cut()
    now_ms += window_ms
    cut()

    received = {}
    for batch in batches:
        assert 1 <= batch.size <= batch_size
        assert len(batch.payload) <= payload_bytes
        for partition, some in offsets(batch).items():
            received.setdefault(partition, []).extend(some)
    assert received == sent
    assert len(batcher) == 0
    assert batcher.due_in_ms(now_ms) is None
