"""Records of a schema that the function does not know yet: dead letters, then the new schema, then `dead redrive`."""

import json

import pytest
from confluent_kafka import Consumer, TopicPartition
from samples import NOON_MS, lambda_event

from headrace import schema
from headrace.avro import AvroCodec
from headrace.checkpoint import MemoryCheckpointStore
from headrace.codec import JsonCodec
from headrace.objects import open_lake
from headrace.operators import Land
from headrace.pipeline import Pipeline
from headrace.records import Record
from headrace.topology import Topology
from headrace_cli.lake_reader import rows, table_files
from headrace_cli.main import run
from kafka_esm import EmbeddedBroker


def declared(**types):
    fields = [{"name": name, "type": avro_type} for name, avro_type in types.items()]
    return schema.parse(json.dumps({"type": "record", "name": "Order", "fields": fields}))


OLD, NEW = declared(id="int", amount="int"), declared(id="int", amount="double")
SENT = {
    "json": [b'{"id":1,"amount":5}', b'{"id":2,"amount":0.5}', b'{"id":3,"amount":7}', b'{"id":4,"amount":1e400}'],
    # 2 and 4 are of a producer that writes another schema: amounts of eight bytes.
    "avro": [b"\x02\x0a", b"\x04" + bytes(7) + b"\x40", b"\x06\x0e", b"\x08" + bytes(7) + b"\x41"],
}


def codec(kind, declared):
    return JsonCodec(declared) if kind == "json" else AvroCodec(declared, declared)


@pytest.fixture(scope="module")
def broker():
    with EmbeddedBroker() as broker:
        yield broker


def pipeline(codec, checkpoints, lake):
    made = Topology(codec=codec, operators=(Land(),))
    return Pipeline("landing", lambda _topic: made, checkpoints, lake, clock_ms=lambda: NOON_MS)


def records_of(topic, payloads, first=0):
    return [
        Record(topic, 0, first + n, NOON_MS, "CREATE_TIME", key=b"k", value=payload)
        for n, payload in enumerate(payloads)
    ]


def consumed(broker, topic, count):
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "test", "log_level": 2})
    try:
        consumer.assign([TopicPartition(topic, number, 0) for number in range(4)])
        return sorted(message.value() for message in consumer.consume(count, 30))
    finally:
        consumer.close()


@pytest.mark.parametrize("kind", ["json", "avro"])
def test_what_the_old_schema_refused_is_landed_after_the_new_one_is_deployed(kind, broker, tmp_path, capsys):
    topic = f"orders-{kind}"
    broker.create_topic(topic)
    lake, checkpoints = open_lake(f"file:{tmp_path}"), MemoryCheckpointStore()
    answer = pipeline(codec(kind, OLD), checkpoints, lake).handle(lambda_event(records_of(topic, SENT[kind])))
    assert (answer["applied"], answer["dead"]) == (2, 2)
    reason = {"json": "invalid_field", "avro": "invalid_avro"}[kind]
    redrive = ["dead", "redrive", str(tmp_path), "--kafka", broker.bootstrap_servers, "--reason", reason, "--send"]
    assert run(redrive) == 0
    capsys.readouterr()
    back = consumed(broker, topic, 2)
    assert back == [SENT[kind][1], SENT[kind][3]]
    fixed = pipeline(codec(kind, NEW), checkpoints, lake)
    answer = fixed.handle(lambda_event(records_of(topic, back, first=4)))
    # An amount of 1e400 is none of a double, either; Avro has no such numbers.
    assert (answer["applied"], answer["dead"]) == ((1, 1) if kind == "json" else (2, 0))
    landed = {row["id"]: row["amount"] for row in rows(lake, table_files(lake, f"landing/{topic}"))}
    assert landed == ({1: 5, 2: 0.5, 3: 7} if kind == "json" else {1: 5, 2: 2.0, 3: 7, 4: 131072.0})


def test_the_change_that_made_the_dead_letters_is_told_beforehand(tmp_path, capsys):
    """`headrace schema check` between the two releases."""
    for name, amount in (("old", "int"), ("new", "double"), ("worse", "string")):
        fields = [{"name": "id", "type": "int"}, {"name": "amount", "type": amount}]
        (tmp_path / f"{name}.avsc").write_text(json.dumps({"type": "record", "name": "Order", "fields": fields}))
    assert run(["schema", "check", str(tmp_path / "old.avsc"), str(tmp_path / "new.avsc")]) == 0
    assert run(["schema", "check", str(tmp_path / "old.avsc"), str(tmp_path / "worse.avsc")]) == 1
    assert "int cannot be read as string" in capsys.readouterr().out
