"""The log of what was redriven: `redriven/<number>.json` beside the lake, an object per entry, never changed.

    claim (these letters, to this topic) ─► sending ─► outcome (sent where | not sent | not known)

A letter may be sent by whoever's claim is in the log while nobody else's holds it. An entry is written only if its
number is free, so two redrives at once cannot both claim a letter: the second finds the number taken, reads what the
first one claimed, and claims what is left. A claim without an outcome is a redrive that was killed, or one that is
still running: what became of its letters is not known.
"""

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple, Protocol

import msgspec

from headrace_cli.errors import CommandError

FOLDER = "redriven"
APPEND_ATTEMPTS = 20
"""Each lost one means that another redrive wrote an entry."""
PARALLEL = 8
"""Entries read at once."""
PAUSE_S = 0.02

Status = Literal["claimed", "sent", "not_sent", "unknown"]


class Destination(NamedTuple):
    """Where letters are sent. The same topic name in another cluster is another destination."""

    cluster: str
    """The cluster's own id."""
    topic: str


class Claim(msgspec.Struct, frozen=True, tag="claim", tag_field="entry"):
    """Letters that are about to be sent."""

    id: str
    """Nobody else's."""
    at_ms: int
    """Wall clock, epoch milliseconds."""
    to: Destination
    ends: dict[int, int]
    """Offset after the last record of each partition of the topic at some time before: what is sent comes later."""
    letters: tuple[str, ...]


class Sent(NamedTuple):
    """A letter that the broker has."""

    letter: str
    partition: int
    offset: int


class Outcome(msgspec.Struct, frozen=True, tag="outcome", tag_field="entry"):
    """What became of a claim's letters; those not named are as before."""

    claim: str
    at_ms: int
    """Wall clock, epoch milliseconds."""
    sent: tuple[Sent, ...] = ()
    not_sent: dict[str, str] = {}
    """Letters that the topic certainly does not have, and why."""
    unknown: dict[str, str] = {}
    """Letters whose answer was lost, and how."""


class Fate(msgspec.Struct, frozen=True):
    """What the log knows of one letter and one destination."""

    status: Status
    claim: Claim
    """The last one."""
    at_ms: int
    reason: str = ""
    partition: int | None = None
    offset: int | None = None


class LogObjects(Protocol):
    """The part of a store that the log takes."""

    def keys(self, prefix: str) -> Iterator[str]:
        """Keys below the folder, sorted."""
        ...

    def read(self, key: str) -> bytes:
        """The object's bytes."""
        ...

    def create(self, key: str, data: bytes) -> bool:
        """Write the object unless there is one of that name; whether the object there is this one."""
        ...


class RedriveLog:
    """The log of one lake, and what follows from it. Not thread-safe; several processes may append."""

    def __init__(self, objects: LogObjects, *, clock_ms: Callable[[], int]) -> None:
        """Read what there is.

        Raises:
            CommandError: an entry is missing or cannot be read.
        """
        self._objects = objects
        self._clock_ms = clock_ms
        self._next = 0
        self._claims: dict[str, Claim] = {}
        self._fates: dict[Destination, dict[str, Fate]] = {}
        self._catch_up()

    def fate(self, to: Destination, letter: str) -> Fate | None:
        """What became of a letter; None if nobody ever meant to send it there."""
        return self._fates.get(to, {}).get(letter)

    def fates(self, letter: str) -> dict[Destination, Fate]:
        """What became of a letter, for each destination that it was meant for."""
        return {to: fates[letter] for to, fates in self._fates.items() if letter in fates}

    def unsettled(self, cluster: str) -> Iterator[tuple[str, Fate]]:
        """The letters of which it is not known whether they were sent to this cluster."""
        for to, fates in self._fates.items():
            if to.cluster == cluster:
                yield from (item for item in fates.items() if item[1].status in {"claimed", "unknown"})

    def claim(
        self, to: Destination, ends: dict[int, int], letters: Sequence[str], free: Callable[[Fate | None], bool]
    ) -> Claim | None:
        """Claim those of the letters that are free; None if none is, by now.

        Raises:
            CommandError: others appended again and again.
            InfrastructureError: the store failed. The claim may hold all the same: send nothing.
        """
        for attempt in range(APPEND_ATTEMPTS):
            wanted = tuple(letter for letter in letters if free(self.fate(to, letter)))
            if not wanted:
                return None
            claim = Claim(uuid.uuid4().hex, self._clock_ms(), to, ends, wanted)
            if self._append(claim):
                return claim
            time.sleep(PAUSE_S * attempt)
        raise _crowded()

    def record(self, outcome: Outcome) -> None:
        """Write down what became of a claim. Raises as `claim`; the letters are then as unknown as before."""
        for attempt in range(APPEND_ATTEMPTS):
            if self._append(outcome):
                return
            time.sleep(PAUSE_S * attempt)
        raise _crowded()

    def _append(self, entry: Claim | Outcome) -> bool:
        created = self._objects.create(_key(self._next), msgspec.json.encode(entry))
        if created:
            self._apply(entry)
        else:
            self._catch_up()
        return created

    def _catch_up(self) -> None:
        keys = [key for key in self._objects.keys(f"{FOLDER}/") if key >= _key(self._next)]
        for number, key in enumerate(keys, self._next):
            if key != _key(number):
                raise CommandError(
                    f"the log of what was redriven has {key} where {_key(number)} should be: without each of its"
                    " entries nobody knows what was sent; restore it (a bucket keeps deleted objects for a week)"
                )
        with ThreadPoolExecutor(PARALLEL) as pool:
            for key, data in zip(keys, pool.map(self._objects.read, keys), strict=True):
                self._apply(_entry(key, data))

    def _apply(self, entry: Claim | Outcome) -> None:
        self._next += 1
        if isinstance(entry, Claim):
            self._claims[entry.id] = entry
            fates = self._fates.setdefault(entry.to, {})
            fates.update((letter, Fate("claimed", entry, entry.at_ms)) for letter in entry.letters)
            return
        claim = self._claims.get(entry.claim)
        if claim is None:
            raise CommandError(f"{_key(self._next - 1)} tells of a claim {entry.claim} that no entry before it made")
        self._apply_outcome(claim, entry)

    def _apply_outcome(self, claim: Claim, outcome: Outcome) -> None:
        fates = self._fates[claim.to]
        for sent in outcome.sent:
            # Whoever's claim it was by now: the topic has it.
            fates[sent.letter] = Fate("sent", claim, outcome.at_ms, "", sent.partition, sent.offset)
        told: tuple[tuple[Status, dict[str, str]], ...] = (("not_sent", outcome.not_sent), ("unknown", outcome.unknown))
        for status, letters in told:
            for letter, reason in letters.items():
                current = fates[letter]
                # Of a letter that was claimed again since, this is old news.
                if current.claim is claim and current.status != "sent":
                    fates[letter] = Fate(status, claim, outcome.at_ms, reason)


def _key(number: int) -> str:
    return f"{FOLDER}/{number:010}.json"


def _entry(key: str, data: bytes) -> Claim | Outcome:
    try:
        return msgspec.json.decode(data, type=Claim | Outcome)
    except msgspec.MsgspecError as error:
        raise CommandError(f"{key} cannot be read as an entry of the log of what was redriven: {error}") from error


def _crowded() -> CommandError:
    return CommandError(f"others wrote to {FOLDER}/ {APPEND_ATTEMPTS} times meanwhile: run it again when they are done")
