"""The event is what Lambda sends, and its size is known before it is built."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafka_esm.event import Envelope, PayloadSize, Record, TopicPartition, encode

ENVELOPE = Envelope("aws:kafka", "arn:aws:kafka:us-east-1:123456789012:cluster/c/1", "b-1:9092,b-2:9092")


def record(offset=0, *, partition=0, key=b"k", value=b"v", headers=(), topic="my-topic"):
    return Record(topic, partition, offset, 1_545_084_650_987, "CREATE_TIME", key, value, headers)


def payload_of(*records):
    partitions = {}
    for encoded in map(encode, records):
        partitions.setdefault(encoded.source, []).append(encoded)
    return ENVELOPE.payload(partitions)


def only_record(one):
    return json.loads(encode(one).json)


def test_the_event_has_exactly_the_documented_shape():
    event = json.loads(payload_of(record(15, headers=(("headerKey", b"head"),)), record(7, partition=1)))

    assert event == {
        "eventSource": "aws:kafka",
        "eventSourceArn": "arn:aws:kafka:us-east-1:123456789012:cluster/c/1",
        "bootstrapServers": "b-1:9092,b-2:9092",
        "records": {
            "my-topic-0": [
                {
                    "topic": "my-topic",
                    "partition": 0,
                    "offset": 15,
                    "timestamp": 1_545_084_650_987,
                    "timestampType": "CREATE_TIME",
                    "key": "aw==",
                    "value": "dg==",
                    "headers": [{"headerKey": [104, 101, 97, 100]}],
                }
            ],
            "my-topic-1": [
                {
                    "topic": "my-topic",
                    "partition": 1,
                    "offset": 7,
                    "timestamp": 1_545_084_650_987,
                    "timestampType": "CREATE_TIME",
                    "key": "aw==",
                    "value": "dg==",
                    "headers": [],
                }
            ],
        },
    }


def test_a_self_managed_cluster_has_no_arn():
    event = json.loads(Envelope("SelfManagedKafka", None, "b:9092").payload({}))

    assert event == {"eventSource": "SelfManagedKafka", "bootstrapServers": "b:9092", "records": {}}


@pytest.mark.parametrize(("field", "absent"), [({"key": None}, "key"), ({"value": None}, "value")])
def test_null_keys_and_tombstones_are_absent(field, absent):
    assert absent not in only_record(record(**field))


@pytest.mark.parametrize(("field", "name"), [({"key": b""}, "key"), ({"value": b""}, "value")])
def test_empty_is_not_null(field, name):
    assert only_record(record(**field))[name] == ""


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ((("a", b"\x00\x7f\x80\xff"),), [{"a": [0, 127, -128, -1]}]),
        ((("a", b"1"), ("a", b"2")), [{"a": [49]}, {"a": [50]}]),
        ((("", b""),), [{"": []}]),
        ((("a", None),), [{"a": []}]),
        ((('q"\\é', b"x"),), [{'q"\\é': [120]}]),
    ],
    ids=["signed bytes", "duplicate names", "empty", "null value", "escaped names"],
)
def test_headers_are_a_list_of_one_entry_objects_with_java_bytes(headers, expected):
    assert only_record(record(headers=headers))["headers"] == expected


records = st.builds(
    record,
    st.integers(0, 2**62),
    partition=st.integers(0, 3),
    key=st.none() | st.binary(max_size=20),
    value=st.none() | st.binary(max_size=50),
    headers=st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=5))).map(tuple),
)


@given(st.lists(records, max_size=12))
def test_the_size_is_exact_whatever_the_records(some):
    size = PayloadSize(ENVELOPE)
    for number, one in enumerate(map(encode, some)):
        expected = size.with_record(one)
        size.add(one)
        assert size.bytes == expected == len(payload_of(*some[: number + 1]))


@given(records)
def test_a_record_survives_the_encoding(one):
    decoded = only_record(one)

    assert base64.b64decode(decoded.get("value", "")) == (one.value or b"")
    headers = [
        (name, bytes(byte & 0xFF for byte in value)) for entry in decoded["headers"] for name, value in entry.items()
    ]
    assert tuple(headers) == one.headers
    assert encode(one).source == TopicPartition("my-topic", one.partition)
