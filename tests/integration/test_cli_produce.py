"""`headrace produce` against librdkafka's mock cluster: a real socket, and what a consumer reads back."""

import ctypes
import gzip
import json
import os
import socket
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import confluent_kafka
import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from headrace_cli.errors import CommandError
from headrace_cli.generator.streams import SPAN_MS, clicks
from headrace_cli.kafka.partitioner import partition_of
from headrace_cli.kafka.producer import MAX_RECORD_BYTES, PACE_BYTES, produce
from headrace_cli.sources.source import SourceRecord

HEADRACE = Path(sys.executable).with_name("headrace")
PARTITIONS = 4  # of every topic that the mock cluster makes


@pytest.fixture(scope="module")
def broker():
    cluster = Producer({"test.mock.num.brokers": 1, "log_level": 2})
    (found,) = cluster.list_topics(timeout=10).brokers.values()
    yield f"{found.host}:{found.port}"
    del cluster


@pytest.fixture
def topic(request):
    return "t-" + "".join(c if c.isalnum() else "-" for c in request.node.name)[:200]


@pytest.fixture
def closed_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can take it
        yield f"127.0.0.1:{bound.getsockname()[1]}"


def read_back(broker, topic, count, timeout_s=30):
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "test", "log_level": 2})
    try:
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
        messages, deadline = [], time.monotonic() + timeout_s
        while len(messages) < count and time.monotonic() < deadline:
            messages += consumer.consume(1000, 0.2)
        messages += consumer.consume(1000, 0.3)  # more than expected would show here
        assert not [message.error() for message in messages if message.error()]
        return messages
    finally:
        consumer.close()


def headrace(*arguments, stdin=None):
    return subprocess.run([HEADRACE, *arguments], input=stdin, capture_output=True, timeout=60, check=False)


class TestProducer:
    def test_every_record_arrives_once_in_order_with_headers_and_is_reported(self, broker, topic):
        now_ms = time.time_ns() // 1_000_000
        records = list(clicks(5_000, 1, now_ms - SPAN_MS))
        delivered = {}

        def on_delivery(partition, offset, timestamp_ms, key, value, headers):
            delivered[partition, offset] = (timestamp_ms, key, value, list(headers) or None)

        produced = produce(records, broker, topic, on_delivery=on_delivery)
        messages = read_back(broker, topic, len(records))
        assert (produced.records, len(messages)) == (5_000, 5_000)
        assert produced.bytes == sum(len(record.value or b"") for record in records)
        assert delivered == {
            (m.partition(), m.offset()): (m.timestamp()[1], m.key(), m.value(), m.headers()) for m in messages
        }
        assert all(m.partition() == partition_of(m.key(), PARTITIONS) for m in messages)
        assert per_key((r.key, r.value, list(r.headers) or None) for r in records) == per_key(
            (m.key(), m.value(), m.headers()) for m in sorted(messages, key=lambda m: (m.partition(), m.offset()))
        )

    def test_records_without_key_are_spread(self, broker, topic):
        # Librdkafka stays with a partition for 10 ms: give it time to change.
        def slowly():
            for number in range(40):
                time.sleep(0.005)
                yield SourceRecord(None, b"%d" % number)

        produce(slowly(), broker, topic)
        messages = read_back(broker, topic, 40)
        assert all(message.key() is None for message in messages)
        assert len({message.partition() for message in messages}) > 1

    def test_the_pace_is_asked_when_nothing_is_in_flight_and_obeyed(self, broker, topic):
        size, count = 20_000, 60
        delivered, asked, refusals = [], [], iter([False, False])

        def pace():
            asked.append(len(delivered))
            return next(refusals, True)

        records = (SourceRecord(b"k", b"x" * size) for _ in range(count))
        produce(records, broker, topic, on_delivery=lambda *told: delivered.append(told), pace=pace)
        every = -(-PACE_BYTES // size)
        assert asked == [0, 0, *range(0, count, every)]
        assert len(delivered) == count

    @pytest.mark.parametrize("size", [MAX_RECORD_BYTES + 1, MAX_RECORD_BYTES])
    def test_a_record_that_is_too_large_is_named_or_left_out(self, broker, topic, size):
        records = [SourceRecord(None, b"a"), SourceRecord(b"key", b"x" * size), SourceRecord(None, b"b")]
        with pytest.raises(CommandError, match=f"record 2 has {size} bytes, more than topic"):
            produce(records, broker, topic)
        produced = produce(records, broker, topic, skip_too_large=True)
        assert (produced.records, produced.too_large) == (2, 1)

    def test_a_record_of_1_mib_arrives(self, broker, topic):
        produce([SourceRecord(b"k", b"x" * 2**20)], broker, topic)
        assert [len(message.value()) for message in read_back(broker, topic, 1)] == [2**20]

    def test_an_error_of_the_source_is_its_own(self, broker, topic):
        def source():
            yield SourceRecord(None, b"a")
            raise CommandError("the gzip data is damaged")

        with pytest.raises(CommandError, match="the gzip data is damaged"):
            produce(source(), broker, topic)

    def test_after_an_interruption_what_was_queued_is_still_sent(self, broker, topic):
        def source():
            yield from (SourceRecord(b"k", b"%d" % number) for number in range(500))
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            produce(source(), broker, topic)
        assert len(read_back(broker, topic, 500)) == 500

    def test_a_broker_that_does_not_answer_is_one_error_in_ten_seconds(self, closed_port):
        started = time.monotonic()
        with pytest.raises(CommandError, match=rf"no answer from Kafka at {closed_port} .*Connection refused"):
            produce([], closed_port, "t")
        assert time.monotonic() - started < 13


def per_key(records):
    found = defaultdict(list)
    for key, *rest in records:
        found[key].append(rest)
    return dict(found)


class TestCommand:
    def test_a_gzipped_csv_from_standard_input(self, broker, topic):
        data = b"user,url,at\n" + b"".join(b"u%d,/p%d,2024-03-13 10:21:%02d\n" % (n % 3, n, n) for n in range(60))
        options = ["--key", "user", "--field", "page=url", "--time-field", "at", "--limit", "50", "--json"]
        done = headrace("produce", "-", "--topic", topic, "--kafka", broker, *options, stdin=gzip.compress(data))
        assert (done.returncode, done.stderr) == (0, b"")
        summary = json.loads(done.stdout)
        messages = read_back(broker, topic, 50)
        values = [json.loads(message.value()) for message in messages]
        assert summary.keys() == {"topic", "records", "bytes", "seconds", "too_large", "passed_through"}
        assert (summary["topic"], summary["records"], summary["passed_through"]) == (topic, 50, 0)
        assert summary["bytes"] == sum(len(message.value()) for message in messages)
        assert {value["page"] for value in values} == {f"/p{n}" for n in range(50)}
        assert all(message.key().decode() == value["user"] for message, value in zip(messages, values, strict=True))

    def test_a_sentence_for_a_person_names_what_could_not_be_read(self, broker, topic, tmp_path):
        path = tmp_path / "clicks.ndjson"
        path.write_text('{"user":"a"}\n{"user":\n')
        done = headrace("produce", str(path), "--topic", topic, "--kafka", broker, "--key", "user")
        assert done.returncode == 0
        assert done.stdout.startswith(b"2 records (20 bytes) to ")
        assert b"1 could not be read as asked" in done.stdout

    def test_the_shop_clicks_arrive_in_event_time_order_per_user(self, broker, topic, shared_data):
        path = str(shared_data / "clicks" / "ecom.csv.gz")
        done = headrace("produce", path, "--topic", topic, "--kafka", broker, "--limit", "20000", "--json")
        assert json.loads(done.stdout)["records"] == 20_000
        last_ms = defaultdict(int)
        messages = read_back(broker, topic, 20_000)
        for message in sorted(messages, key=lambda m: (m.partition(), m.offset())):
            click = json.loads(message.value())
            assert message.key().decode() == click["user_id"]
            assert click["timestamp"] >= last_ms[message.partition()]
            last_ms[message.partition()] = click["timestamp"]
        assert len(messages) == 20_000

    def test_an_unreachable_broker_is_one_line(self, closed_port):
        done = headrace("produce", "-", "--format", "lines", "--topic", "t", "--kafka", closed_port, stdin=b"a\n")
        (line,) = done.stderr.decode().splitlines()
        assert done.returncode == 1
        assert f"no answer from Kafka at {closed_port}" in line
        assert "is the address right and the broker running?" in line

    def test_iam_without_credentials_is_one_line(self):
        without = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment = without | {
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
        arguments = [HEADRACE, "produce", "-", "--format", "lines", "--topic", "t", "--kafka", "127.0.0.1:1"]
        done = subprocess.run(
            [*arguments, "--auth", "iam"], input=b"a\n", env=environment, capture_output=True, timeout=60, check=False
        )
        (line,) = done.stderr.decode().splitlines()
        assert done.returncode == 2
        assert "AWS" in line


def test_a_terminal_gets_a_bar_after_two_seconds_and_a_file_gets_none():
    pytest.importorskip("pty")
    program = (
        "import time\n"
        "from headrace_cli.commands.progress import tracked\n"
        "items = iter(range(47))\n"
        "for item in tracked(items, 'Working hard', lambda: 0.5, look_every=1): time.sleep(0.05)\n"
    )
    assert "Working hard" in on_a_terminal(program)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=True)
    assert done.stderr == b""


def on_a_terminal(program):
    """What the program writes to stderr when that is a terminal."""
    import pty  # noqa: PLC0415 - not on every system

    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", program], stderr=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    written = b""
    try:
        while chunk := os.read(ours, 4096):
            written += chunk
    except OSError:
        pass  # a terminal whose other end is closed says so by an error
    finally:
        os.close(ours)
        assert process.wait(timeout=60) == 0
    return written.decode()


@pytest.fixture
def forgetful_broker():
    """A broker that answers the first batch as if it had it already and did not know where: Kafka after a crash."""
    library = next(Path(confluent_kafka.__file__).parents[1].glob("confluent_kafka*/**/librdkafka*"))
    rdkafka = ctypes.CDLL(str(library))
    for name in ("rd_kafka_new", "rd_kafka_mock_cluster_new", "rd_kafka_mock_cluster_bootstraps"):
        getattr(rdkafka, name).restype = ctypes.c_void_p
    settings = rdkafka.rd_kafka_conf_new
    settings.restype = ctypes.c_void_p
    log_level = ctypes.c_void_p(settings())
    rdkafka.rd_kafka_conf_set(log_level, b"log_level", b"2", None, 0)
    owner = ctypes.c_void_p(rdkafka.rd_kafka_new(0, log_level, None, 0))
    cluster = ctypes.c_void_p(rdkafka.rd_kafka_mock_cluster_new(owner, 1))
    errors = (ctypes.c_int * 1)(KafkaError.DUPLICATE_SEQUENCE_NUMBER)
    rdkafka.rd_kafka_mock_push_request_errors_array(cluster, ctypes.c_int16(0), ctypes.c_size_t(1), errors)
    yield ctypes.string_at(rdkafka.rd_kafka_mock_cluster_bootstraps(cluster)).decode()
    rdkafka.rd_kafka_mock_cluster_destroy(cluster)
    rdkafka.rd_kafka_destroy(owner)


def test_a_record_counts_as_sent_when_the_broker_has_it_and_does_not_tell_where(forgetful_broker):
    assert produce([SourceRecord(b"k", b"v")], forgetful_broker, "one").records == 1


def test_a_place_that_the_broker_does_not_tell_is_named(forgetful_broker):
    places = []
    with pytest.raises(CommandError, match="record 1 is in other, but after a failure the broker does not tell"):
        produce([SourceRecord(b"k", b"v")], forgetful_broker, "other", on_delivery=lambda *place: places.append(place))
    assert places == []
