"""Letters back to a topic, each once: the only place that knows the order of effects.

    1 which are free ─ 2 CLAIM them in the log ─ 3 send ─ 4 write down what became of each

Killed before 2 nothing happened. Killed between 2 and 4, or with the broker's answer lost, it is not known whether a
letter was sent: it is not sent again by itself. `settle` looks in the topic for the header that every redriven record
carries and writes down what it finds; whoever would rather have it twice than not at all says `resend_unknown`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

import msgspec

from headrace_cli.dead.letters import Letter, RecordId
from headrace_cli.dead.redrive_log import Claim, Destination, Fate, Outcome, RedriveLog, Sent

CHUNK_LETTERS = 500
"""Letters per claim: two objects in the log for so many."""
CHUNK_BYTES = 4 * 1024 * 1024
SEND_WITHIN_MS = 30_000
"""A claim older than that (the store was slow, the machine slept) is given up instead of sent."""
UNDER_WAY_MS = 300_000
"""For so long after its claim a letter may still be on its way: the time to start, the broker's time-out, and much
more than two machines' clocks differ."""


class Deliveries(msgspec.Struct):
    """What became of letters that were to be sent; every one of them is in one of the three."""

    sent: list[Sent] = []
    not_sent: dict[str, str] = {}
    """Letters that the topic certainly does not have, and why."""
    unknown: dict[str, str] = {}
    """Letters whose answer was lost, and how."""


class Search(NamedTuple):
    """What was found in a topic."""

    found: list[Sent]
    complete: bool
    """Whether every record was looked at, so that what was not found is not there."""


class Topics(Protocol):
    """The topics of one Kafka cluster."""

    @property
    def cluster(self) -> str:
        """The cluster's own id."""
        ...

    def ends(self, topic: str) -> dict[int, int]:
        """The offset after the last record of each partition.

        Raises:
            CommandError: there is no such topic, or no answer.
        """
        ...

    def send(self, topic: str, letters: Sequence[Letter]) -> Deliveries:
        """Send each letter with its identity in a header; ends in bounded time."""
        ...

    def search(self, topic: str, starts: dict[int, int], letters: frozenset[str]) -> Search:
        """Look for redriven letters by that header, from these offsets (0 for others) to the end of each partition."""
        ...


class Settled(NamedTuple):
    """What was found out about letters whose sending was cut short."""

    sent: int
    not_sent: int
    unknown: int
    """Not found, in a topic of which something is gone already."""


class Refused(NamedTuple):
    """A record that was not sent, or of which that is not known."""

    record: str
    reason: str


class Report(msgspec.Struct):
    """What a redrive did, or would do."""

    letters: int = 0
    """Rows that were selected."""
    records: int = 0
    """Different records among them."""
    free: Counter[str] = msgspec.field(default_factory=Counter)
    """Records that may be sent, per topic."""
    sent: Counter[str] = msgspec.field(default_factory=Counter)
    """Records that were, per topic."""
    already_sent: int = 0
    under_way: int = 0
    """Claimed a moment ago by a redrive that may still be running, or that got no answer yet."""
    unknown: int = 0
    """Of an earlier redrive, which did not hear what became of them."""
    not_sent: list[Refused] = []
    """Refused, of this redrive."""
    lost: list[Refused] = []
    """Of this redrive, which did not hear what became of them."""
    stopped: bool = False
    """Whether it ended before all were tried."""

    @property
    def tried(self) -> bool:
        """Whether anything was handed to the broker."""
        return bool(self.sent or self.not_sent or self.lost)

    @property
    def complete(self) -> bool:
        """Whether every selected record is known to have been sent, now or earlier."""
        return not (self.stopped or self.under_way or self.unknown or self.not_sent or self.lost)


class Options(msgspec.Struct, frozen=True):
    """What a person says about a redrive."""

    to: str | None = None
    """The topic for all letters; None sends each record to the topic that it came from."""
    limit: int | None = None
    """Send at most so many records."""
    resend_unknown: bool = False
    """Send again what may have been sent."""


class Redrive:
    """One run of `headrace dead redrive` over some letters."""

    def __init__(
        self,
        log: RedriveLog,
        topics: Topics,
        options: Options,
        *,
        clock_ms: Callable[[], int],
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Say where to and how.

        Args:
            log: what was sent before.
            topics: of the cluster that gets the letters.
            options: where to, how many, how careful.
            clock_ms: wall clock, epoch milliseconds.
            stop: whether to come to an end soon.
        """
        self._log = log
        self._topics = topics
        self._options = options
        self._clock_ms = clock_ms
        self._stop = stop
        self._ends: dict[str, dict[int, int]] = {}
        self.report = Report()
        """What was done so far."""

    def plan(self, letters: Iterable[Letter]) -> None:
        """Only find out what would be sent.

        Raises:
            CommandError: a topic does not exist, or no answer.
        """
        for _ in self._free(letters):
            pass

    def run(self, letters: Iterable[Letter]) -> None:
        """Send every letter that is free, each record once.

        Ends early when told to stop, and after a chunk to which there was no answer: each would take its time-out.

        Raises:
            CommandError: a topic does not exist, no answer, or the log is not what it should be.
            InfrastructureError: the store failed; what was claimed last is not known to have been sent.
        """
        self.report.stopped = True
        for topic, chunk in _chunks(self._free(letters)):
            if self._stop() or not self._redrive(topic, chunk):
                return
        self.report.stopped = self._stop()

    def settle(self) -> Settled:
        """Find out whether their topics have the letters whose sending was cut short.

        Raises:
            CommandError: a topic does not exist, no answer, or the log is not what it should be.
        """
        settled = Settled(0, 0, 0)
        for topic, claims in self._cut_short().items():
            settled = Settled(*map(sum, zip(settled, self._settle(topic, claims), strict=True)))
        return settled

    def _free(self, letters: Iterable[Letter]) -> Iterator[tuple[str, Letter]]:  # 1
        seen: set[RecordId] = set()
        for letter in letters:
            if self._stop() or self.report.free.total() == self._options.limit:
                return
            self.report.letters += 1
            if letter.record in seen:
                continue
            seen.add(letter.record)
            self.report.records += 1
            to = self._destination(self._options.to or letter.record.topic)
            fate = self._log.fate(to, str(letter.record))
            if self._may_send(fate):
                self.report.free[to.topic] += 1
                yield to.topic, letter
            else:
                self._count_held(fate)

    def _destination(self, topic: str) -> Destination:
        if topic not in self._ends:
            self._ends[topic] = self._topics.ends(topic)
        return Destination(self._topics.cluster, topic)

    def _may_send(self, fate: Fate | None) -> bool:
        if fate is None or fate.status == "not_sent":
            return True
        return self._options.resend_unknown and fate.status != "sent" and not self._under_way(fate)

    def _under_way(self, fate: Fate) -> bool:
        """Whether it may still arrive: also what got no answer may be with a broker that is slow."""
        lost = fate.status in {"claimed", "unknown"}
        return lost and self._clock_ms() < fate.claim.at_ms + UNDER_WAY_MS

    def _count_held(self, fate: Fate | None) -> None:
        if fate is not None and fate.status == "sent":
            self.report.already_sent += 1
        elif fate is not None and self._under_way(fate):
            self.report.under_way += 1
        else:
            self.report.unknown += 1

    def _redrive(self, topic: str, chunk: Sequence[Letter]) -> bool:
        """Redrive a chunk; whether there is a point in going on."""
        to, letters = self._destination(topic), {str(letter.record): letter for letter in chunk}
        claim = self._log.claim(to, self._ends[topic], list(letters), self._may_send)  # 2
        claimed = claim.letters if claim else ()
        for identity in letters.keys() - set(claimed):  # by another redrive, since we looked
            self._count_held(self._log.fate(to, identity))
        if claim is None:
            return True
        done = self._send(claim, [letters[identity] for identity in claimed])  # 3
        self.report.sent[topic] += len(done.sent)
        self.report.not_sent += [Refused(*item) for item in done.not_sent.items()]
        self.report.lost += [Refused(*item) for item in done.unknown.items()]
        self._log.record(Outcome(claim.id, self._clock_ms(), tuple(done.sent), done.not_sent, done.unknown))  # 4
        return bool(done.sent) or not done.unknown

    def _send(self, claim: Claim, letters: Sequence[Letter]) -> Deliveries:
        if self._clock_ms() > claim.at_ms + SEND_WITHIN_MS:
            reason = f"its claim took longer than {SEND_WITHIN_MS // 1000} s to write: run it again"
            return Deliveries(not_sent=dict.fromkeys(claim.letters, reason))
        return self._topics.send(claim.to.topic, letters)

    def _cut_short(self) -> dict[str, dict[str, Claim]]:
        """The letters to settle with their claims, by topic."""
        found: dict[str, dict[str, Claim]] = {}
        for letter, fate in self._log.unsettled(self._topics.cluster):
            if not self._under_way(fate):
                found.setdefault(fate.claim.to.topic, {})[letter] = fate.claim
        return found

    def _settle(self, topic: str, claims: dict[str, Claim]) -> Settled:
        search = self._topics.search(topic, _earliest(claims.values()), frozenset(claims))
        missing = claims.keys() - {sent.letter for sent in search.found}
        absent = missing if search.complete else set()
        for claim in {claim.id: claim for claim in claims.values()}.values():
            found = tuple(sent for sent in search.found if claims[sent.letter] is claim)
            not_sent = {letter: "not found in the topic" for letter in absent if claims[letter] is claim}
            if found or not_sent:
                self._log.record(Outcome(claim.id, self._clock_ms(), found, not_sent))
        return Settled(len(search.found), len(absent), len(missing) - len(absent))


def _earliest(claims: Iterable[Claim]) -> dict[int, int]:
    """Where to start looking in each partition; in one that a claim did not know, from its beginning."""
    ends = [claim.ends for claim in claims]
    common = set(ends[0]).intersection(*ends[1:])
    return {partition: min(each[partition] for each in ends) for partition in common}


def _chunks(letters: Iterable[tuple[str, Letter]]) -> Iterator[tuple[str, list[Letter]]]:
    """Letters of one topic each, few enough for one claim and small enough for the producer's queue."""
    waiting: dict[str, list[Letter]] = {}
    sizes: Counter[str] = Counter()
    for topic, letter in letters:
        waiting.setdefault(topic, []).append(letter)
        sizes[topic] += len(letter.value or b"")
        if len(waiting[topic]) >= CHUNK_LETTERS or sizes[topic] >= CHUNK_BYTES:
            yield topic, waiting.pop(topic)
            del sizes[topic]
    yield from waiting.items()
