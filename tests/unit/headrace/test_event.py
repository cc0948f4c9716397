"""What the event source mapping delivers, decoded: published events, documented shapes, garbage."""

import base64
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import event
from headrace.errors import EventError, FirehoseEventError
from headrace.records import Record, SchemaMetadata, TopicPartition, different_headers

HEADERS = (("headerKey", b"headerValue"),)
AVRO = SchemaMetadata("AVRO", "1234")


def published(offset, timestamp_ms, value, *, key=None, topic="mytopic", headers=HEADERS, schemas=(None, None)):
    """What a published event says of one record; all of them are of partition 0."""
    return (topic, 0, offset, timestamp_ms, key, value, headers, *schemas)


PRODUCT = b"\x08\xe9\x07\x12\x06Laptop\x19R\xb8\x1e\x85\xeb?\x8f@"
UUID = b"8d5596b4-1813-4238-b24b-6dad8e3d1c0c"
PUBLISHED = {
    "aws-lambda-go/kafka-event.json": [
        published(
            *(0, 1595035749700, UUID),
            key=UUID,
            topic="AWSKafkaTopic",
            headers=(("headerKey", b"v\xdc\x00\x7f\x80"),),
        )
    ],
    "aws-lambda-java-libs/kafka_event.json": [published(15, 1596480920837, b"Hello from Kafka !!")],
    # Header bytes in base64, as AWS's own Java library writes an event that it has read.
    "aws-lambda-java-libs/kafka_event_roundtrip.json": [published(15, 1596480920837, b"Hello from Kafka !!")],
    "powertools-java/kafka-avro-event.json": [
        published(15, 1545084650987, b"\xd2\x0f\x0cLaptopR\xb8\x1e\x85\xeb?\x8f@", key=b"42"),
        published(16, 1545084650988, b"\xd4\x0f\x14SmartphoneR\xb8\x1e\x85\xeb\xbf\x82@", key=b"42"),
        published(17, 1545084650989, b"\xd6\x0f\x14HeadphonesH\xe1z\x14\xae\xbfb@"),
    ],
    # Three records with one offset: all are kept, in the order of the list.
    "powertools-java/kafka-json-event.json": [
        published(15, 1545084650987, b'{"price":999.99,"name":"Laptop","id":1001}', key=b"42"),
        published(15, 1545084650987, b'{"price":599.99,"name":"Smartphone","id":1002}', key=b"42"),
        published(15, 1545084650987, b'{"price":149.99,"name":"Headphones","id":1003}'),
    ],
    "powertools-java/kafka-protobuf-event.json": [
        published(15, 1545084650987, PRODUCT, key=b"42"),
        published(16, 1545084650988, b"\x00" + PRODUCT, key=b"42", schemas=(None, SchemaMetadata("PROTOBUF", "123"))),
        published(17, 1545084650989, b"\x04\x02\x00" + PRODUCT, schemas=(None, SchemaMetadata("PROTOBUF", "456"))),
        published(
            *(18, 1545084650990, b"\x01" + PRODUCT),
            key=b"42",
            schemas=(None, SchemaMetadata("PROTOBUF", "12345678-1234-1234-1234-123456789012")),
        ),
    ],
    # The map's keys say topic `mytopic`, partitions 1 and 2; the records' own fields decide.
    "powertools-java/kafka_event.json": [
        published(*(15, 1596480920837, b'{"id":1234, "name":"product", "price":42}'), topic="mytopic1", headers=()),
        published(*(15, 1596480920838, b'{"id":12345, "name":"product5", "price":45}'), topic="mytopic2", headers=()),
    ],
    "powertools-python/kafkaEventMsk.2024-10.json": [
        published(15, 1545084650987, b'{"key":"value"}', key=b"recordKey")
    ],
    # Key present, absent, null.
    "powertools-python/kafkaEventMsk.json": [
        published(15, 1545084650987, b'{"key":"value"}', key=key, schemas=(AVRO, AVRO))
        for key in (b"recordKey", None, None)
    ],
    "powertools-python/kafkaEventSelfManaged.2024-10.json": [
        published(15, 1545084650987, b'{"key":"value"}', key=b"recordKey")
    ],
}
FIREHOSE = [
    f"aws-lambda-java-libs/{name}.json"
    for name in ("msk-firehose-sample-event", "msk_firehose_event", "msk_firehose_event_roundtrip")
]


def facts(record):
    schemas = (record.key_schema, record.value_schema)
    return (
        *record.topic_partition,
        record.offset,
        record.timestamp_ms,
        record.key,
        record.value,
        record.headers,
        *schemas,
    )


def both_ways(raw):
    """The event as the runtime's parser passes it, and as raw bytes; they have to agree."""
    parsed, unparsed = event.decode(json.loads(raw)), event.decode(raw)
    assert parsed == unparsed
    return parsed


def delivered(*records, source="aws:kafka"):
    """An event, as bytes, with one entry of the map per `(map key, [record fields])`."""
    return json.dumps({"eventSource": source, "bootstrapServers": "b:9092", "records": dict(records)}).encode()


def fields(offset=0, topic="clicks", partition=0, **more):
    return {"topic": topic, "partition": partition, "offset": offset, **more}


def only(raw):
    (records,) = both_ways(raw).values()
    (record,) = records
    return record


def test_every_published_event_is_in_the_tables(shared_data):
    folder = shared_data / "events"
    assert {str(path.relative_to(folder)) for path in folder.glob("*/*.json")} == {*PUBLISHED, *FIREHOSE}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_events_decode_as_their_sources_say(shared_data, name):
    decoded = both_ways((shared_data / "events" / name).read_bytes())
    assert [facts(record) for records in decoded.values() for record in records] == PUBLISHED[name]
    assert all(record.timestamp_type == "CREATE_TIME" for records in decoded.values() for record in records)
    assert all(record.topic_partition == place for place, records in decoded.items() for record in records)


@pytest.mark.parametrize("name", FIREHOSE)
def test_firehoses_events_are_refused_by_name(shared_data, name):
    raw = (shared_data / "events" / name).read_bytes()
    for form in (raw, json.loads(raw)):
        with pytest.raises(FirehoseEventError, match="Firehose"):
            event.decode(form)


@pytest.mark.parametrize("source", ["aws:kafka", "SelfManagedKafka", "aws:SelfManagedKafka"])
def test_self_managed_events_are_read_in_both_spellings(source):
    assert only(delivered(("clicks-0", [fields(7)]), source=source)).offset == 7


@pytest.mark.parametrize("source", ["aws:kinesis", "", "AWS:KAFKA"])
def test_events_of_other_sources_are_refused_naming_the_source(source):
    with pytest.raises(EventError, match=f"eventSource is '{source}'"):
        event.decode(delivered(("clicks-0", [fields()]), source=source))


@pytest.mark.parametrize("field", ["key", "value"])
def test_absent_and_null_are_the_same_and_empty_is_something_else(field):
    assert getattr(only(delivered(("clicks-0", [fields()]))), field) is None
    assert getattr(only(delivered(("clicks-0", [fields(**{field: None})]))), field) is None
    assert getattr(only(delivered(("clicks-0", [fields(**{field: ""})]))), field) == b""


def test_header_names_may_repeat_and_their_order_stays():
    headers = [{"a": [1, -1]}, {"b": []}, {"a": [127, -128]}, {"c": None}]
    record = only(delivered(("clicks-0", [fields(headers=headers)])))
    assert record.headers == (("a", b"\x01\xff"), ("b", b""), ("a", b"\x7f\x80"), ("c", None))


@pytest.mark.parametrize("headers", [None, []])
def test_a_record_without_headers_has_none(headers):
    assert only(delivered(("clicks-0", [fields(headers=headers)]))).headers == ()


def test_a_record_may_come_with_a_hundred_headers_and_a_megabyte():
    headers = [{f"h{n}": [n]} for n in range(100)]
    value = base64.b64encode(bytes(1 << 20)).decode()
    record = only(delivered(("clicks-0", [fields(value=value, headers=headers)])))
    assert record.headers == tuple((f"h{n}", bytes([n])) for n in range(100))
    assert record.value == bytes(1 << 20)


def test_a_record_without_a_timestamp_has_minus_one():
    assert only(delivered(("clicks-0", [fields()]))).timestamp_ms == -1


@pytest.mark.parametrize(
    "topic", ["clicks", "shop.clicks.v1", "shop-clicks-2", "shop_clicks", "a.b-c_d", "7", "x" * 249]
)
def test_topics_have_any_name_that_kafka_allows(topic):
    assert list(both_ways(delivered((f"{topic}-12", [fields(topic=topic, partition=12)])))) == [(topic, 12)]


def test_records_are_put_into_offset_order():
    offsets = [*range(50)]
    random.Random(1).shuffle(offsets)
    (records,) = both_ways(delivered(("clicks-0", [fields(n) for n in offsets]))).values()
    assert [record.offset for record in records] == [*range(50)]


def test_map_entries_of_one_partition_are_joined():
    decoded = both_ways(delivered(("clicks-0", [fields(5), fields(7)]), ("clicks-00", [fields(6), fields(4)])))
    assert {place: [r.offset for r in records] for place, records in decoded.items()} == {("clicks", 0): [4, 5, 6, 7]}


def test_a_map_entry_of_several_partitions_is_taken_apart():
    mixed = [fields(1), fields(9, partition=1), fields(2), fields(3, topic="logs"), fields(8, partition=1)]
    decoded = both_ways(delivered(("clicks-0", mixed)))
    assert {place: [r.offset for r in records] for place, records in decoded.items()} == {
        ("clicks", 0): [1, 2],
        ("clicks", 1): [8, 9],
        ("logs", 0): [3],
    }


def test_an_event_may_be_empty():
    assert both_ways(delivered()) == {}
    assert both_ways(delivered(("clicks-0", []))) == {}


def test_fields_that_aws_may_add_one_day_do_not_matter():
    raw = json.dumps({**json.loads(delivered(("t-0", [fields(isolation={"x": [1]})]))), "new": {}}).encode()
    assert only(raw) == Record("clicks", 0, 0)


GARBAGE = [
    *(None, True, 5, 1.5, "text", [], [{}], {}, b"", b"{}", b"null", b"[", b"\xff", b'{"eventSource":"aws:kafka"}'),
    {"eventSource": "aws:kafka", "records": [1]},
    {"eventSource": "aws:kafka", "records": {"clicks-0": [{"topic": "clicks", "partition": 0}]}},
    {"eventSource": "aws:kafka", "records": {"clicks-0": [fields(offset="0")]}},
    {"eventSource": "aws:kafka", "records": {"clicks-0": [fields(value="not base64!")]}},
    {"eventSource": "aws:kafka", "records": {"clicks-0": [fields(value="\ud800")]}},
    {"eventSource": "aws:kafka", "records": {}, "\ud800": 1},
    b'{"eventSource":"aws:kafka","records":{},"deep":' + b"[" * 5000 + b"]" * 5000 + b"}",
    {"Records": [{"eventSource": "aws:sqs", "body": "{}"}]},
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: repr(garbage)[:60])
def test_garbage_is_refused_as_no_kafka_event(garbage):
    with pytest.raises(EventError) as refusal:
        event.decode(garbage)
    assert not refusal.value.retriable


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["\ud800", "aws:kafka"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["topic", "partition", "offset", "value", "headers"]) | st.text(), inner, max_size=4
        )
    ),
    max_leaves=12,
)
ALMOST = st.fixed_dictionaries(
    {"eventSource": st.just("aws:kafka") | JSON},
    optional={
        "records": st.dictionaries(
            st.text(max_size=3),
            st.lists(
                st.fixed_dictionaries({"topic": st.just("t") | JSON, "partition": JSON, "offset": JSON | st.just(0)})
            ),
            max_size=2,
        )
        | JSON
    },
)


def outcome(form):
    """What became of an event: the records, or that it was refused. Any other error escapes."""
    try:
        return event.decode(form)
    except EventError:
        return None


@settings(deadline=None)
@given(garbage=JSON | ALMOST)
def test_whatever_json_comes_it_is_decoded_or_refused(garbage):
    decoded = outcome(garbage)
    assert decoded is None or all(isinstance(place, TopicPartition) for place in decoded)
    outcome(json.dumps(garbage).encode())


@settings(deadline=None)
@given(raw=st.binary(max_size=64))
def test_whatever_bytes_come_they_are_decoded_or_refused(raw):
    assert outcome(raw) is None


MAYBE_BYTES = st.none() | st.binary(max_size=8)
RECORDS = st.lists(
    st.builds(
        Record,
        topic=st.sampled_from(["a", "a-1", "a.b"]),
        partition=st.integers(0, 2),
        offset=st.integers(0, 2**63 - 1),
        timestamp_ms=st.integers(-1, 2**62),
        key=MAYBE_BYTES,
        value=MAYBE_BYTES,
        raw_headers=st.lists(
            st.dictionaries(st.text(max_size=3), st.none() | st.lists(st.integers(-128, 127), max_size=3), max_size=2),
            max_size=3,
        ),
    ),
    max_size=8,
)


def as_delivered(record):
    text = {
        name: base64.b64encode(data).decode()
        for name in ("key", "value")
        if (data := getattr(record, name)) is not None
    }
    return fields(
        record.offset, record.topic, record.partition, timestamp=record.timestamp_ms, headers=record.raw_headers, **text
    )


@settings(deadline=None)
@given(records=RECORDS)
def test_every_record_comes_out_once_in_its_partition_and_in_order(records):
    decoded = both_ways(delivered(("anything", [as_delivered(record) for record in records])))
    expected = {}
    for record in sorted(records, key=lambda record: record.offset):
        expected.setdefault(record.topic_partition, []).append(record)
    assert decoded == expected


@given(
    headers=st.lists(st.sampled_from(["[]", '[{"a":[1]}]', '[{"a":[1]},{"b":[-1]}]', '[{"b":"AQ=="}]', "null", None]))
)
def test_the_headers_of_a_batch_are_those_of_its_records(headers):
    texts = [
        f'{{"topic":"t","partition":0,"offset":{n}' + (f',"headers":{h}' if h else "") for n, h in enumerate(headers)
    ]
    text = '{"eventSource":"aws:kafka","records":{"t-0":[' + ",".join(f"{text}}}" for text in texts) + "]}}"
    for delivered_event in (text.encode(), json.loads(text)):
        records = [record for records in event.decode(delivered_event).values() for record in records]
        different, which = different_headers(records)
        assert [different[number] for number in which] == [record.headers for record in records]
