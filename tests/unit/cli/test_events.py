"""Sample MSK events: they decode to the records they were made of, and Lambda would take them."""

import json

import pytest

from headrace import event
from headrace.records import TopicPartition
from headrace_cli.commands.events import MAX_EVENT_BYTES, sample_event
from headrace_cli.errors import CommandError
from headrace_cli.kafka.partitioner import partition_of
from headrace_cli.main import run
from headrace_cli.sources.source import SourceRecord

TOPIC = "shop.clicks-v1_a"


def test_an_event_decodes_to_the_records_that_it_was_made_of():
    headers = (("plain", b"text"), ("signed", b"\x00\x7f\x80\xff"), ("plain", b"again"), ("null", None))
    made = [
        SourceRecord(b"user-1", b'{"n":1}', 1_700_000_000_000, headers),
        SourceRecord(b"user-2", b"\xff\x00 no text", 1_700_000_000_001),
        SourceRecord(b"", b"", 1_700_000_000_002),
        SourceRecord(b"user-1", None, 1_700_000_000_003),
    ]
    decoded = event.decode(sample_event(made, TOPIC, partition_count=3, start_offset=40))
    found = {
        (record.key, record.value, record.timestamp_ms, record.headers): record
        for records in decoded.values()
        for record in records
    }
    assert found.keys() == {(r.key, r.value, r.time_ms, r.headers) for r in made}
    for (topic, partition), records in decoded.items():
        assert topic == TOPIC
        assert [record.offset for record in records] == list(range(40, 40 + len(records)))
        assert {partition_of(record.key, 3) for record in records} == {partition}
        assert {record.timestamp_type for record in records} == {"CREATE_TIME"}


def test_the_envelope_is_the_services():
    sample = json.loads(sample_event([SourceRecord(b"k", b"v", 5)], "clicks", partition_count=1))
    assert sample.keys() == {"eventSource", "eventSourceArn", "bootstrapServers", "records"}
    assert sample["eventSource"] == "aws:kafka"
    assert sample["records"] == {
        "clicks-0": [
            {
                "topic": "clicks",
                "partition": 0,
                "offset": 0,
                "timestamp": 5,
                "timestampType": "CREATE_TIME",
                "key": "aw==",
                "value": "dg==",
                "headers": [],
            }
        ]
    }


def test_records_without_a_key_take_turns():
    sample = event.decode(sample_event([SourceRecord(None, b"%d" % n) for n in range(5)], "logs"))
    values = {partition: [record.value for record in records] for partition, records in sample.items()}
    assert values == {TopicPartition("logs", 0): [b"0", b"2", b"4"], TopicPartition("logs", 1): [b"1", b"3"]}
    assert all(record.key is None for records in sample.values() for record in records)


def test_a_timestamp_can_be_set_for_all():
    sample = event.decode(sample_event([SourceRecord(None, b"a", 1), SourceRecord(None, b"b")], "logs", timestamp_ms=9))
    assert {record.timestamp_ms for records in sample.values() for record in records} == {9}


def test_an_event_that_lambda_would_refuse_is_not_made():
    size = len(sample_event([SourceRecord(None, b"", 1)], "t", partition_count=1))
    fits = MAX_EVENT_BYTES - size - 100
    sample = sample_event([SourceRecord(None, b"x" * (fits // 4 * 3), 1)], "t", partition_count=1)
    assert MAX_EVENT_BYTES - 200 < len(sample) <= MAX_EVENT_BYTES
    records = [SourceRecord(None, b"x" * 500_000)] * 20
    with pytest.raises(CommandError, match=r"with record 10 the event is larger than .* --limit 4"):
        sample_event(records, "t")


def test_an_event_of_nothing_is_not_made():
    with pytest.raises(CommandError, match="no records"):
        sample_event([], "t")


def test_the_command_makes_an_event_of_a_file(tmp_path, capsysbinary):
    path = tmp_path / "clicks.csv"
    path.write_text("user,url,at\na,/home,2024-03-13 10:21:14\nb,/cart,2024-03-13 10:21:15\nc,/,\n")
    options = ["--key", "user", "--field", "page=url", "--time-field", "at", "--limit", "2", "--partition-count", "1"]
    assert run(["events", str(path), "--topic", "clicks", *options]) == 0
    printed = capsysbinary.readouterr().out
    (records,) = event.decode(printed).values()
    assert [(r.key, r.timestamp_ms) for r in records] == [(b"a", 1_710_325_274_000), (b"b", 1_710_325_275_000)]
    assert json.loads(records[0].value) == {"user": "a", "page": "/home", "at": 1_710_325_274_000}

    out = tmp_path / "event.json"
    assert run(["events", str(path), "--topic", "clicks", *options, "--out", str(out)]) == 0
    assert out.read_bytes() == printed
