"""A redrive that is killed, delayed, doubled and lied to at every point still sends each record once.

The log is the real one on an object store in memory; the topic is a list.
"""

from collections import Counter

import pytest
from faults import Calls, Killed
from hypothesis import example, given, settings
from hypothesis import strategies as st
from obstore.store import MemoryStore

from headrace.objects import ObjectStoreOutbox
from headrace_cli.dead import redrive
from headrace_cli.dead.letters import Letter, RecordId
from headrace_cli.dead.redrive import SEND_WITHIN_MS, UNDER_WAY_MS, Deliveries, Options, Redrive, Search
from headrace_cli.dead.redrive_log import FOLDER, Claim, Destination, Fate, Outcome, RedriveLog, Sent
from headrace_cli.errors import CommandError

START_MS = 1_710_331_200_000
CLICKS = Destination("c1", "clicks")


def letter(offset, *, topic="clicks", pipeline="landing", size=1):
    record = RecordId(topic, 0, offset, START_MS + offset)
    return Letter(pipeline, "1", "dead_letters", record, "invalid_json", "", b"key", b"x" * size, ())


class World:
    """A store, topics of one partition each, and a clock; all of them outlive the redrives."""

    def __init__(self):
        self.objects = ObjectStoreOutbox(MemoryStore())
        self.topics: dict[str, list[str]] = {}
        self.now_ms = START_MS
        self.trimmed = False
        self.on_their_way: list[tuple[str, str]] = []

    def advance(self, time_ms):
        """Let time pass: what a slow broker had not written yet arrives first."""
        while time_ms and self.on_their_way:
            topic, identity = self.on_their_way.pop()
            self.topics[topic].append(identity)
        self.now_ms += time_ms

    def times_sent(self):
        return Counter(identity for sent in self.topics.values() for identity in sent)

    def redrive(self, interrupt=lambda _point: None, faults=(), *, cluster="c1", stop=lambda: False, **options):
        """A new process; `faults` say what goes wrong with its letters, in turn."""
        process = Process(self, Calls(interrupt), list(faults), cluster)
        log = RedriveLog(process, clock_ms=lambda: self.now_ms)
        return Redrive(log, process, Options(**options), clock_ms=lambda: self.now_ms, stop=stop)


class Process:
    """One process's way to the store and to Kafka."""

    def __init__(self, world, calls, faults, cluster):
        self.cluster = cluster
        self._world, self._calls, self._faults = world, calls, faults
        self.keys, self.read = world.objects.keys, world.objects.read

    def create(self, key, data):
        return self._calls.around("create", lambda: self._world.objects.create(key, data))

    def ends(self, topic):
        return {0: len(self._world.topics.setdefault(topic, []))}

    def send(self, topic, letters):
        done = Deliveries()
        for each in letters:
            self._calls.around("send", lambda each=each: self._send(topic, str(each.record), done))
        return done

    def _send(self, topic, identity, done):
        fault = self._faults.pop(0) if self._faults else "none"
        sent = self._world.topics.setdefault(topic, [])
        if fault == "refused":
            done.not_sent[identity] = "too large"
            return
        if fault == "arrives late":
            self._world.on_their_way.append((topic, identity))
        elif fault != "lost on the way":
            sent.append(identity)
        if fault == "none":
            done.sent.append(Sent(identity, 0, len(sent) - 1))
        else:
            done.unknown[identity] = "timed out"

    def search(self, topic, starts, letters):
        after = list(enumerate(self._world.topics.get(topic, [])))[starts.get(0, 0) :]
        found = {identity: Sent(identity, 0, offset) for offset, identity in reversed(after) if identity in letters}
        return Search(list(found.values()), complete=not self._world.trimmed or len(found) == len(letters))


def at(number, what):
    """Do that at the n-th point of a process."""
    seen = iter(range(10**6))

    def interrupt(point):
        if next(seen) == number:
            what(point)

    return interrupt


def killed(_point):
    raise Killed


@pytest.fixture
def world():
    return World()


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(redrive, "CHUNK_LETTERS", 2)


FAULTS = st.sampled_from(["none", "refused", "answer lost", "lost on the way", "arrives late"])
LETTERS = st.lists(
    st.builds(
        letter,
        st.integers(0, 5),
        topic=st.sampled_from(["clicks", "logs"]),
        pipeline=st.sampled_from(["landing", "clickstream"]),
    ),
    max_size=12,
)


@st.composite
def runs(draw):
    """What a person does, one after the other, and what happens to it."""
    return draw(
        st.lists(
            st.fixed_dictionaries(
                {
                    "letters": LETTERS,
                    "dies_at": st.none() | st.integers(0, 15),
                    "faults": st.lists(FAULTS, max_size=6),
                    "settle": st.booleans(),
                    "limit": st.none() | st.integers(1, 3),
                    "later_ms": st.sampled_from([0, SEND_WITHIN_MS, UNDER_WAY_MS]),
                }
            ),
            max_size=5,
        )
    )


def live(world, run, **options):
    interrupt = at(run["dies_at"], killed)
    process = world.redrive(interrupt, run["faults"], limit=run["limit"], **options)
    try:
        if run["settle"]:
            process.settle()
        process.run(run["letters"])
    except Killed:
        pass
    world.advance(run["later_ms"])


@given(runs(), LETTERS)
@settings(max_examples=300)
def test_each_record_is_sent_at_most_once_and_once_when_a_run_completes(history, selected):
    world = World()
    for run in history:
        live(world, run)
        assert set(world.times_sent().values()) <= {1}
    world.advance(UNDER_WAY_MS)
    last = world.redrive()
    last.settle()
    last.run(selected)
    assert last.report.complete
    wanted = {str(each.record) for each in selected}
    assert {identity: world.times_sent()[identity] for identity in wanted} == dict.fromkeys(wanted, 1)
    again = world.redrive()
    again.run(selected)
    assert (again.report.sent.total(), again.report.already_sent) == (0, len(wanted))


@given(runs(), LETTERS)
def test_what_may_have_been_sent_is_not_sent_again_unless_asked_for(history, selected):
    """Without a search in the topics, and without --resend-unknown; with it nothing is left out."""
    world = World()
    for run in history:
        live(world, run | {"settle": False})
    world.advance(UNDER_WAY_MS)
    world.redrive().run(selected)
    assert set(world.times_sent().values()) <= {1}
    world.redrive(resend_unknown=True).run(selected)
    assert {str(each.record) for each in selected} <= set(world.times_sent())


@given(
    first=LETTERS,
    second=LETTERS,
    meets_at=st.integers(0, 15),
    dies_at=st.none() | st.integers(0, 15),
    sleeps_ms=st.sampled_from([0, SEND_WITHIN_MS, UNDER_WAY_MS]),
)
@example(first=[letter(1)], second=[letter(1)], meets_at=1, dies_at=None, sleeps_ms=UNDER_WAY_MS)
@settings(max_examples=300)
def test_two_redrives_at_once_send_each_record_once(first, second, meets_at, dies_at, sleeps_ms):
    """The second one runs from start to end at any point of the first one, however long that one stands still."""
    world = World()

    def meet(point):
        # Between the look at the clock and the broker's answer nothing sleeps for minutes: the client's own limits.
        world.advance(sleeps_ms if "create" in point else 0)
        try:
            other = world.redrive(at(dies_at, killed))
            other.settle()
            other.run(second)
        except Killed:
            pass

    world.redrive(at(meets_at, meet)).run(first)
    assert set(world.times_sent().values()) <= {1}
    world.advance(UNDER_WAY_MS)
    last = world.redrive()
    last.settle()
    last.run([*first, *second])
    assert set(world.times_sent()) == {str(each.record) for each in [*first, *second]}
    assert set(world.times_sent().values()) <= {1}


def test_a_record_of_several_letters_is_sent_once(world):
    process = world.redrive()
    process.run([letter(1), letter(1, pipeline="clickstream"), letter(2)])
    assert world.times_sent() == {str(letter(1).record): 1, str(letter(2).record): 1}
    assert (process.report.letters, process.report.records, process.report.sent.total()) == (3, 2, 2)


def test_another_topic_and_another_cluster_are_other_destinations(world):
    for options in ({}, {"to": "copy"}, {"cluster": "c2"}):
        process = world.redrive(**options)
        process.run([letter(1)])
        assert process.report.sent.total() == 1
    assert len(world.redrive()._log.fates(str(letter(1).record))) == 3


def test_a_topic_that_was_made_again_has_other_records_at_the_same_offsets(world):
    for _ in range(2):
        world.redrive().run([letter(1)])
    other = Letter("landing", "2", "dead_letters", RecordId("clicks", 0, 1, START_MS + 99), "empty", "", None, b"", ())
    process = world.redrive()
    process.run([letter(1), other])
    assert (process.report.sent.total(), process.report.already_sent) == (1, 1)


def test_planning_sends_and_writes_nothing(world):
    process = world.redrive()
    process.plan([letter(1), letter(2, topic="logs"), letter(3)])
    assert process.report.free == {"clicks": 2, "logs": 1}
    assert (world.times_sent(), list(world.objects.keys(""))) == ({}, [])


def test_a_refused_letter_is_reported_and_may_be_sent_later(world):
    process = world.redrive(faults=["refused"])
    process.run([letter(1), letter(2)])
    assert process.report.not_sent == [(str(letter(1).record), "too large")]
    assert not process.report.complete
    world.redrive().run([letter(1), letter(2)])
    assert set(world.times_sent().values()) == {1}
    assert len(world.times_sent()) == 2


def test_letters_that_no_topic_takes_do_not_keep_back_those_after_them(world):
    process = world.redrive(faults=["refused"] * 2)
    process.run([letter(offset) for offset in range(6)])
    assert (process.report.stopped, process.report.sent.total(), len(process.report.not_sent)) == (False, 4, 2)


def test_after_a_chunk_without_an_answer_no_other_is_tried(world):
    process = world.redrive(faults=["lost on the way"] * 2)
    process.run([letter(offset) for offset in range(6)])
    assert (process.report.stopped, len(process.report.lost), world.times_sent()) == (True, 2, {})


def test_told_to_stop_it_ends_between_two_chunks_with_everything_written_down(world):
    sent = world.topics.setdefault("clicks", [])
    process = world.redrive(stop=lambda: len(sent) >= 2)
    process.run([letter(offset) for offset in range(6)])
    assert (process.report.stopped, len(sent)) == (True, 2)
    again = world.redrive()
    again.plan([letter(offset) for offset in range(6)])
    assert (again.report.already_sent, again.report.unknown, again.report.free.total()) == (2, 0, 4)


def test_a_limit_counts_records_that_are_sent_not_those_that_were(world):
    for expected in (2, 2, 1):
        process = world.redrive(limit=2)
        process.run([letter(offset) for offset in range(5)])
        assert process.report.sent.total() == expected
    assert process.report.complete


def test_a_claim_that_took_too_long_to_write_is_given_up(world):
    """Somebody may have settled it as not sent by then."""

    def sleep(point):
        world.now_ms += SEND_WITHIN_MS + 1 if point == "after create" else 0

    process = world.redrive(sleep)
    process.run([letter(1)])
    assert world.times_sent() == {}
    assert [each.record for each in process.report.not_sent] == [str(letter(1).record)]


def test_what_is_under_way_is_neither_settled_nor_sent_again_on_demand(world):
    with pytest.raises(Killed):
        world.redrive(at(1, killed)).run([letter(1)])
    impatient = world.redrive(resend_unknown=True)
    assert impatient.settle() == (0, 0, 0)
    impatient.run([letter(1)])
    assert (impatient.report.under_way, world.times_sent()) == (1, {})
    assert not impatient.report.complete
    world.advance(UNDER_WAY_MS)
    patient = world.redrive()
    assert patient.settle() == (0, 1, 0)
    patient.run([letter(1)])
    assert world.times_sent() == {str(letter(1).record): 1}


def test_what_is_not_found_in_a_topic_that_lost_records_stays_unknown(world):
    world.redrive(faults=["lost on the way", "answer lost"]).run([letter(1), letter(2)])
    world.trimmed = True
    world.advance(UNDER_WAY_MS)
    process = world.redrive()
    assert process.settle() == (1, 0, 1)
    process.run([letter(1), letter(2)])
    assert (process.report.already_sent, process.report.unknown, process.report.complete) == (1, 1, False)


def test_chunks_end_by_number_and_by_size(monkeypatch):
    monkeypatch.setattr(redrive, "CHUNK_BYTES", 10)
    sizes = [("clicks", 4), ("logs", 1), ("clicks", 6), ("logs", 20), ("logs", 1), ("clicks", 1), ("clicks", 1)]
    items = [(topic, letter(number, topic=topic, size=size)) for number, (topic, size) in enumerate(sizes)]
    chunks = [(topic, [each.record.offset for each in chunk]) for topic, chunk in redrive._chunks(items)]
    assert chunks == [("clicks", [0, 2]), ("logs", [1, 3]), ("clicks", [5, 6]), ("logs", [4])]


class TestLog:
    def log(self, world):
        return RedriveLog(world.objects, clock_ms=lambda: world.now_ms)

    def claimed(self, log, *letters):
        return log.claim(CLICKS, {0: 7}, letters, lambda fate: fate is None)

    def test_a_claim_of_another_process_is_seen_when_claiming(self, world):
        mine, yours = self.log(world), self.log(world)
        assert self.claimed(mine, "a", "b").letters == ("a", "b")
        assert self.claimed(yours, "b", "c").letters == ("c",)
        assert self.claimed(mine, "a", "c") is None

    def test_it_is_read_back_as_it_was_written(self, world):
        log = self.log(world)
        claim = self.claimed(log, "a", "b", "c", "d")
        log.record(Outcome(claim.id, 8, (Sent("a", 3, 9),), {"b": "too large"}, {"c": "timed out"}))
        for each in (log, self.log(world)):
            assert [each.fate(CLICKS, letter) for letter in "abcde"] == [
                Fate("sent", claim, 8, "", 3, 9),
                Fate("not_sent", claim, 8, "too large"),
                Fate("unknown", claim, 8, "timed out"),
                Fate("claimed", claim, START_MS),
                None,
            ]
            assert [letter for letter, _ in each.unsettled("c1")] == ["c", "d"]
            assert list(each.unsettled("c2")) == []

    def test_old_news_of_a_letter_that_was_claimed_again_does_not_free_it(self, world):
        log = self.log(world)
        old = self.claimed(log, "a", "b")
        new = log.claim(CLICKS, {}, ["a", "b"], lambda _: True)
        log.record(Outcome(old.id, 1, (), {"a": "not found"}))
        assert log.fate(CLICKS, "a") == Fate("claimed", new, START_MS)
        log.record(Outcome(old.id, 2, (Sent("b", 0, 1),)))
        log.record(Outcome(new.id, 3, (), {"b": "refused"}))
        assert log.fate(CLICKS, "b").status == "sent"

    def test_a_letter_that_the_topic_has_stays_sent_whatever_is_said_later(self, world):
        log = self.log(world)
        claim = self.claimed(log, "a")
        log.record(Outcome(claim.id, 1, (Sent("a", 0, 1),)))
        log.record(Outcome(claim.id, 2, (), {"a": "not found"}))
        assert log.fate(CLICKS, "a").status == "sent"

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (
                lambda objects: objects.delete([f"{FOLDER}/0000000000.json"]),
                "0000000001.json where .*0000000000.json sh",
            ),
            (lambda objects: objects.stage({f"{FOLDER}/0000000001.json": b"{"}), "0000000001.json cannot be read"),
            (lambda objects: objects.stage({f"{FOLDER}/0000000001.json": b'{"entry":"x"}'}), "1.json cannot be read"),
            (lambda objects: objects.stage({f"{FOLDER}/notes.txt": b""}), "notes.txt where .*0000000002.json should"),
            (
                lambda objects: objects.stage(
                    {f"{FOLDER}/0000000001.json": b'{"entry":"outcome","claim":"?","at_ms":1}'}
                ),
                "0000000001.json tells of a claim",
            ),
        ],
    )
    def test_a_damaged_log_is_an_error_that_names_the_entry(self, world, damage, message):
        log = self.log(world)
        log.record(Outcome(self.claimed(log, "a").id, 1))
        damage(world.objects)
        with pytest.raises(CommandError, match=message):
            self.log(world)

    def test_a_number_that_somebody_is_just_writing_is_waited_for(self, world, monkeypatch):
        answers = iter([False, False])
        create = world.objects.create
        monkeypatch.setattr(world.objects, "create", lambda key, data: next(answers, True) and create(key, data))
        assert isinstance(self.claimed(self.log(world), "a"), Claim)
        monkeypatch.setattr(world.objects, "create", lambda *_: False)
        monkeypatch.setattr("headrace_cli.dead.redrive_log.PAUSE_S", 0)
        with pytest.raises(CommandError, match="others wrote to redriven/ 20 times"):
            self.claimed(self.log(world), "b")
