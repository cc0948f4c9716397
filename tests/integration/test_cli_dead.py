"""`headrace dead redrive` to the embedded broker: what arrives, and what does when repeated; on a folder and on S3."""

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka import Consumer, TopicPartition
from letters import NOON_MS, dead, late, publish, record
from obstore.store import MemoryStore

from headrace.objects import ObjectStoreOutbox, open_lake
from headrace_cli.dead import redrive
from headrace_cli.dead.kafka_topics import KafkaTopics
from headrace_cli.dead.letters import Letter, RecordId, letter_files, letters
from headrace_cli.dead.redrive import UNDER_WAY_MS, Options, Redrive
from headrace_cli.dead.redrive_log import Destination, RedriveLog
from headrace_cli.errors import CommandError
from headrace_cli.local.aws_server import LocalAws
from headrace_cli.main import run
from kafka_esm import EmbeddedBroker

HEADRACE = [sys.executable, "-c", "from headrace_cli.main import main; main()"]
NASTY = [
    record(1, key=None, value=b"\xff\0\n"),
    record(2, key=b"", value=b""),
    record(3, key=b"\0k", value=None),
    record(4, raw_headers=[{"b": [1]}, {"a": None}, {"b": []}, {"größe": [255]}, {"b": [1]}]),
    record(5, value=b"x" * 2**20),
]


@pytest.fixture(scope="module")
def broker():
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
def topic(broker, request):
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)[:200]
    broker.create_topic(name)
    return name


@pytest.fixture(scope="module")
def aws():
    with LocalAws() as server:
        yield server


@pytest.fixture(params=["folder", "s3"])
def location(request, tmp_path, monkeypatch):
    if request.param == "folder":
        return str(tmp_path)
    aws = request.getfixturevalue("aws")
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{aws.bucket}/{tmp_path.name}"


@pytest.fixture
def objects(location):
    return open_lake(location if location.startswith("s3:") else f"file:{location}")


def read_all(broker, topic):
    """Everything in the topic, by what it was before."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "test", "log_level": 2})
    try:
        places = [TopicPartition(topic, number, 0) for number in range(4)]
        left = sum(consumer.get_watermark_offsets(place, timeout=10)[1] for place in places)
        consumer.assign(places)
        messages, deadline = [], time.monotonic() + 30
        while len(messages) < left:
            assert time.monotonic() < deadline
            messages += consumer.consume(1000, 0.2)
        return sorted((m.headers()[-1], m.key(), m.value(), m.headers()[:-1]) for m in messages)
    finally:
        consumer.close()


def expected(records):
    return sorted(
        (("headrace-redrive", f"clicks-0@{r.offset}/{NOON_MS}".encode()), r.key, r.value, list(r.headers))
        for r in records
    )


def redriven(capsys, broker, *arguments, status=0):
    assert run(["dead", "redrive", *arguments, "--kafka", broker.bootstrap_servers, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def test_bytes_key_and_headers_arrive_as_they_were_and_a_repetition_sends_nothing(
    broker, topic, location, objects, capsys
):
    for pipeline in ("clickstream", "landing"):
        publish(objects, dead(NASTY), pipeline=pipeline)
    dry = redriven(capsys, broker, location, "--to", topic)
    assert (dry["would_send"], dry["sent"], read_all(broker, topic)) == ({topic: 5}, {}, [])
    assert list(objects.keys("redriven/")) == []
    first = redriven(capsys, broker, location, "--to", topic, "--send")
    assert (first["sent"], first["letters"], first["records"]) == ({topic: 5}, 10, 5)
    assert read_all(broker, topic) == expected(NASTY)
    again = redriven(capsys, broker, location, "--to", topic, "--send")
    assert (again["sent"], again["already_sent"]) == ({}, 5)
    assert read_all(broker, topic) == expected(NASTY)


def test_two_redrives_at_once_send_each_record_once(broker, topic, objects, monkeypatch):
    monkeypatch.setattr(redrive, "CHUNK_LETTERS", 3)
    letters = [Letter("p", "1", "dead_letters", RecordId("clicks", 0, n, 0), "r", "", None, b"", ()) for n in range(40)]
    gate = threading.Barrier(4)

    def one(number):
        mine = letters[number * 5 :] + letters[: number * 5]
        with KafkaTopics(broker.bootstrap_servers) as topics:
            log = RedriveLog(objects, clock_ms=now_ms)
            each = Redrive(log, topics, Options(to=topic), clock_ms=now_ms)
            gate.wait(30)
            each.run(mine)
            return each.report

    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(one, range(4)))
    assert sum(report.sent.total() for report in reports) == 40
    assert [identity for (_, identity), *_ in read_all(broker, topic)] == sorted(
        str(x.record).encode() for x in letters
    )


def test_only_one_of_many_creates_an_object(objects):
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: objects.create("redriven/0", b"%d" % n), range(8)))
    assert won.count(True) == 1
    assert objects.read("redriven/0") == b"%d" % won.index(True)


def test_late_rows_go_once_where_they_are_sent(broker, topic, tmp_path, capsys):
    objects = open_lake(f"file:{tmp_path}")
    publish(objects, late([record(8), record(9)], ["pages", "sessions"]))
    publish(objects, dead([record(1)]), version=2)
    sent = redriven(capsys, broker, str(tmp_path), "--to", topic, "--late", "--reason", "late", "--send")
    assert (sent["letters"], sent["sent"]) == (4, {topic: 2})
    assert read_all(broker, topic) == expected([record(8), record(9)])


def test_a_redriven_record_that_dies_again_is_a_new_letter_that_says_so(broker, topic, tmp_path, capsys):
    """It goes back again, with one more header, and the list counts how often."""
    objects = open_lake(f"file:{tmp_path}")
    back = record(1, raw_headers=[{"headrace-redrive": list(b"clicks-0@0/5")}])
    publish(objects, dead([back]))
    redriven(capsys, broker, str(tmp_path), "--to", topic, "--send")
    ((last, _, _, before),) = read_all(broker, topic)
    assert last == ("headrace-redrive", f"clicks-0@1/{NOON_MS}".encode())
    assert before == [("headrace-redrive", b"clicks-0@0/5")]
    assert run(["dead", "list", str(tmp_path), "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert (counts["redriven"], counts["came_back"], counts["most_times"]) == (1, 1, 1)


def test_each_record_goes_back_to_its_own_topic_unless_told_otherwise(broker, tmp_path, capsys):
    objects = open_lake(f"file:{tmp_path}")
    for name in ("own-1", "own-2"):
        broker.create_topic(name)
        publish(objects, dead([record(1, topic=name)]), topic=name)
    assert redriven(capsys, broker, str(tmp_path), "--send")["sent"] == {"own-1": 1, "own-2": 1}


def test_a_topic_that_does_not_exist_is_one_line_before_anything_is_claimed(broker, tmp_path, capsys):
    objects = open_lake(f"file:{tmp_path}")
    publish(objects, dead([record(1)]))
    arguments = ["dead", "redrive", str(tmp_path), "--kafka", broker.bootstrap_servers, "--to", "no-topic", "--send"]
    assert run(arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "has no usable topic 'no-topic'" in printed.err
    assert list(objects.keys("redriven/")) == []


def test_a_broker_that_does_not_answer_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("headrace_cli.dead.kafka_topics.CONNECT_TIMEOUT_S", 1.0)
    publish(open_lake(f"file:{tmp_path}"), dead([record(1)]))
    assert run(["dead", "redrive", str(tmp_path), "--kafka", "127.0.0.1:1"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "no answer from Kafka at 127.0.0.1:1 in 1 s" in line


class TestSettling:
    """A redrive that was killed left a claim: the first two letters are in the topic, the third is not."""

    @pytest.fixture
    def letters(self):
        return [Letter("p", "1", "dead_letters", RecordId("clicks", 0, n, 0), "r", "", b"k", b"", ()) for n in range(3)]

    @pytest.fixture
    def objects(self):
        return ObjectStoreOutbox(MemoryStore())

    @pytest.fixture
    def topics(self, broker):
        with KafkaTopics(broker.bootstrap_servers) as topics:
            yield topics

    def cut_short(self, objects, topics, topic, letters):
        topics.send(topic, [Letter("p", "1", "late", RecordId("other", 0, 1, 0), "r", "", b"k", b"", ())])
        log = RedriveLog(objects, clock_ms=lambda: now_ms() - UNDER_WAY_MS)
        names = [str(each.record) for each in letters]
        log.claim(Destination(topics.cluster, topic), topics.ends(topic), names, lambda _: True)
        topics.send(topic, letters[:2])
        return Redrive(RedriveLog(objects, clock_ms=now_ms), topics, Options(to=topic), clock_ms=now_ms)

    def test_the_search_finds_what_is_there_and_the_rest_is_sent(self, broker, objects, topics, topic, letters):
        again = self.cut_short(objects, topics, topic, letters)
        assert again.settle() == (2, 1, 0)
        again.run(letters)
        assert (again.report.already_sent, again.report.sent.total()) == (2, 1)
        assert len(read_all(broker, topic)) == 4

    def test_a_search_that_is_told_to_stop_says_nothing(self, objects, broker, topic, letters):
        told = []
        with KafkaTopics(broker.bootstrap_servers, stop=lambda: bool(told)) as topics:
            again = self.cut_short(objects, topics, topic, letters)
            told.append(signal.SIGINT)
            assert again.settle() == (0, 0, 3)


class TestLostAnswers:
    @pytest.fixture
    def letters(self):
        return [Letter("p", "1", "dead_letters", RecordId("clicks", 0, n, 0), "r", "", b"k", b"", ()) for n in range(3)]

    def test_a_broker_that_is_gone_leaves_letters_unknown_in_bounded_time(self, letters):
        with EmbeddedBroker() as dying:
            dying.create_topic("t")
            topics = KafkaTopics(dying.bootstrap_servers, delivery_timeout_s=1)
            topics.send("t", letters[:1])
        done = topics.send("t", letters)
        topics.close()
        assert (done.sent, done.not_sent) == ([], {})
        assert done.unknown.keys() == {str(each.record) for each in letters}

    def test_told_to_stop_it_sends_no_more_and_says_which_it_did_not(self, broker, topic, letters):
        asked = iter([False, True, True])
        with KafkaTopics(broker.bootstrap_servers, stop=lambda: next(asked, False)) as topics:
            done = topics.send(topic, letters)
        assert [sent.letter for sent in done.sent] == [str(letters[0].record)]
        assert done.not_sent == {str(each.record): "interrupted" for each in letters[1:]}

    def test_a_letter_that_no_topic_takes_is_refused_and_the_others_go(self, broker, topic, letters):
        big = Letter("p", "1", "late", RecordId("clicks", 0, 9, 0), "r", "", b"k", b"x" * (9 * 2**20), ())
        with KafkaTopics(broker.bootstrap_servers) as topics:
            done = topics.send(topic, [letters[0], big, letters[1]])
        assert len(done.sent) == 2
        assert list(done.not_sent) == [str(big.record)]
        assert "larger than the topic takes" in done.not_sent[str(big.record)]

    def test_an_unusable_address_is_a_named_error(self, monkeypatch):
        monkeypatch.setattr("headrace_cli.dead.kafka_topics.CONNECT_TIMEOUT_S", 1.0)
        with pytest.raises(CommandError, match=r"no answer from Kafka at nowhere\.invalid:9092"):
            KafkaTopics("nowhere.invalid:9092")


def sending(folder, broker, topic):
    """The command that sends every letter of the folder's lake, for a process of its own."""
    where = ["--kafka", broker.bootstrap_servers, "--to", topic]
    return [*HEADRACE, "dead", "redrive", str(folder), *where, "--send"]


def test_ctrl_c_leaves_a_log_from_which_the_next_redrive_goes_on(broker, topic, tmp_path, capsys):
    objects = open_lake(f"file:{tmp_path}")
    for version in range(1, 400):
        publish(objects, dead([record(version * 10 + n) for n in range(10)]), version=version)
    with subprocess.Popen(
        sending(tmp_path, broker, topic), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        eventually((tmp_path / "redriven" / "0000000001.json").exists)
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err.strip()) == (130, "")
    assert "stopped before all were tried" in out
    rest = redriven(capsys, broker, str(tmp_path), "--to", topic, "--send")
    assert rest["unknown"] == rest["under_way"] == 0
    assert 0 < rest["already_sent"] < 3990
    assert rest["already_sent"] + rest["sent"][topic] == 3990
    identities = [identity for (_, identity), *_ in read_all(broker, topic)]
    assert len(identities) == len(set(identities)) == 3990


def test_killed_in_the_middle_it_is_settled_and_finished(broker, topic, tmp_path):
    objects = open_lake(f"file:{tmp_path}")
    for version in range(1, 200):
        publish(objects, dead([record(version * 10 + n) for n in range(10)]), version=version)
    with subprocess.Popen(sending(tmp_path, broker, topic), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        eventually((tmp_path / "redriven" / "0000000002.json").exists)
        process.kill()

    def later_ms():
        return now_ms() + UNDER_WAY_MS

    with KafkaTopics(broker.bootstrap_servers) as topics:
        again = Redrive(RedriveLog(objects, clock_ms=later_ms), topics, Options(to=topic), clock_ms=later_ms)
        settled = again.settle()
        again.run(letters(objects, letter_files(objects)))
    assert settled.unknown == 0
    assert again.report.complete
    assert again.report.already_sent >= 500
    identities = [identity for (_, identity), *_ in read_all(broker, topic)]
    assert len(identities) == len(set(identities)) == 1990


def test_what_the_demo_left_behind_is_listed_and_sent_back_whole(broker, topic, tmp_path, capsys):
    done = subprocess.run(
        [*HEADRACE, "demo", "--records", "3000", "--out", str(tmp_path / "shop"), "--json"],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    counts = json.loads(done.stdout)["topics"]
    out = str(tmp_path / "shop")
    assert run(["dead", "list", out, "--json", "--pipeline", "landing"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for name, count in counts.items():
        assert sum(each["records"] for each in listed if each["topic"] == name) == count["dead"] > 0
    total = sum(count["dead"] for count in counts.values())
    assert redriven(capsys, broker, out, "--to", topic, "--send")["sent"] == {topic: total}
    assert run(["dead", "show", out, "--json", "--pipeline", "landing", "--limit", "1000"]) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    wanted = sorted(
        (f"{each['position']}/{each['timestamp_ms']}".encode(), decoded(each["key"]), decoded(each["value"]))
        for each in shown
    )
    assert [(last[1], key, value) for last, key, value, _ in read_all(broker, topic)] == wanted
    assert redriven(capsys, broker, out, "--to", topic, "--send")["sent"] == {}


def eventually(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def decoded(text):
    return None if text is None else base64.b64decode(text)


def now_ms():
    return time.time_ns() // 1_000_000
