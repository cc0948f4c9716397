"""One reading of a topic from given offsets to its end, for letters that carry their identity in a header. No I/O.

What was not found is known to be missing only if a record was seen at every offset: retention, compaction, and a topic
that was made again take records away, and a transaction's marker looks the same from outside.
"""

from confluent_kafka import KafkaError, Message

from headrace_cli.dead.letters import REDRIVE_HEADER
from headrace_cli.dead.redrive import Search
from headrace_cli.dead.redrive_log import Sent


class TopicSearch:
    """Knows what is still to be read, and what was found."""

    def __init__(self, topic: str, letters: frozenset[str]) -> None:
        self._topic = topic
        self._wanted = {letter.encode(): letter for letter in letters}
        self._next: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self._whole = True
        self._found: dict[str, Sent] = {}

    def expect(self, partition: int, start: int, low: int, high: int) -> None:
        """Say what there is to read of a partition: it has offsets from `low` to before `high`."""
        if not low <= start <= high:
            self._whole = False
            start = low
        if start < high:
            self._next[partition], self._ends[partition] = start, high

    @property
    def starts(self) -> dict[int, int]:
        """Where to go on reading, for each partition that is not at its end."""
        return dict(self._next)

    @property
    def done(self) -> bool:
        """Whether there is nothing left to read, or to find."""
        return not self._next or len(self._found) == len(self._wanted)

    def take(self, message: Message) -> None:
        """Look at what the consumer brought."""
        partition, offset = message.partition(), message.offset()
        if message.topic() != self._topic or partition not in self._next or offset is None:
            return
        error = message.error()
        if error is None:
            self._look_at(message, partition, offset)
            self._pass(partition, offset, offset + 1)
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
            self._pass(partition, self._ends[partition], self._ends[partition])

    def result(self) -> Search:
        """What was found, and whether that is all."""
        whole = self._whole and not self._next
        return Search(list(self._found.values()), complete=whole or len(self._found) == len(self._wanted))

    def _look_at(self, message: Message, partition: int, offset: int) -> None:
        identity = dict(message.headers() or ()).get(REDRIVE_HEADER)  # the last one: earlier ones are older redrives'
        letter = self._wanted.get(identity) if isinstance(identity, bytes) else None
        if letter is not None:
            self._found.setdefault(letter, Sent(letter, partition, offset))

    def _pass(self, partition: int, offset: int, following: int) -> None:
        if offset > self._next[partition]:
            self._whole = False
        self._next[partition] = following
        if following >= self._ends[partition]:
            del self._next[partition]
