"""What a reading of a topic may conclude from what it saw, and from what it did not."""

import pytest
from confluent_kafka import KafkaError, Message

from headrace_cli.dead.redrive_log import Sent
from headrace_cli.dead.topic_search import TopicSearch

AB = frozenset({"a", "b"})


def seen(offset, *identities, partition=0, topic="t"):
    headers = [("other", b"a"), *(("headrace-redrive", identity) for identity in identities)]
    return Message(topic=topic, partition=partition, offset=offset, headers=headers)


def end(offset, partition=0):
    return Message(topic="t", partition=partition, offset=offset, error=KafkaError(KafkaError._PARTITION_EOF))


def search(messages, *, start=2, low=0, high=4, letters=AB):
    reading = TopicSearch("t", letters)
    reading.expect(0, start, low, high)
    for message in messages:
        if reading.done:
            break
        reading.take(message)
    return reading.result()


@pytest.mark.parametrize(
    ("messages", "offsets", "found", "complete"),
    [
        ([seen(2), seen(3)], {}, [], True),
        ([seen(2, b"a"), seen(3)], {}, ["a"], True),
        ([seen(2, b"a"), seen(3, b"b")], {}, ["a", "b"], True),
        ([seen(2, b"a"), seen(3, b"a")], {}, ["a"], True),
        # The last header counts: the one before it is of an earlier redrive.
        ([seen(2, b"a", b"c"), seen(3, b"c", b"b")], {}, ["b"], True),
        ([seen(2, None), seen(3, b"\xff")], {}, [], True),
        # Not read to the end, retention, a gap in the middle and at the end, a topic made again.
        ([seen(2)], {}, [], False),
        ([seen(3)], {"low": 3}, [], False),
        ([seen(3)], {}, [], False),
        ([seen(2), end(4)], {}, [], False),
        ([seen(0, b"a")], {"start": 2, "high": 1}, ["a"], False),
        # Where everything was found, nothing else matters.
        ([seen(3, b"a", b"b"), seen(3)], {"letters": frozenset({"b"})}, ["b"], True),
        ([], {"start": 4}, [], True),
        ([seen(2, b"a", topic="u"), seen(2, b"a", partition=1), seen(2), seen(3)], {}, [], True),
    ],
)
def test_what_was_not_found_is_missing_only_if_a_record_was_seen_at_every_offset(messages, offsets, found, complete):
    result = search(messages, **offsets)
    assert [sent.letter for sent in result.found] == found
    assert result.complete is complete


def test_where_it_was_found_first_is_kept_and_each_partition_is_read_to_its_end():
    reading = TopicSearch("t", AB)
    reading.expect(0, 0, 0, 1)
    reading.expect(3, 5, 0, 7)
    reading.expect(4, 9, 0, 9)
    assert reading.starts == {0: 0, 3: 5}
    for message in (seen(5, b"a", partition=3), seen(0, b"a"), end(7, partition=3), seen(6, b"b", partition=3)):
        reading.take(message)
    assert reading.done
    assert reading.result().found == [Sent("a", 3, 5)]
