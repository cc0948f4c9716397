"""One mapping at work: read, batch, invoke, commit.

What it promises:

- Records of a partition reach the function in offset order, none is left out.
- An offset is committed only after the invocation that carried its record succeeded: at least once.
- A batch that failed is sent again, the same bytes, and nothing newer of the mapping before it succeeds.
  (AWS may run several pollers, each with partitions of its own; here one poller has them all.)
- A broker that goes away is waited for without end; then reading goes on after what was committed.

Under chaos batches that succeeded come again as well, and what comes again may be cut elsewhere, so that not the bytes
are the same but the records: nothing newer of a partition is sent before all that is older has succeeded once.
"""

import functools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from kafka_esm.batching import Batch, Batcher, Limits
from kafka_esm.chaos import ChaosPlan, Fault
from kafka_esm.chaos_batching import ChaosBatcher
from kafka_esm.consumer import Start, TopicConsumer
from kafka_esm.errors import BrokerError, FunctionError, RetriesExhaustedError
from kafka_esm.event import TopicPartition, encode
from kafka_esm.invoker import Invoker
from kafka_esm.mapping import Mapping

_READ_AT_ONCE = 1_000
_IDLE_MS = 50
_LOOK_FOR_TOPIC_MS = 200
_LOOK_FOR_PARTITIONS_MS = 5_000

Clock = Callable[[], int]
"""Milliseconds of a clock that never goes back."""


def monotonic_ms() -> int:
    """Return milliseconds of this machine's monotonic clock."""
    return time.monotonic_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before a failed batch is sent again: doubling, up to a bound."""

    first_ms: int = 200
    """After the first failure."""
    longest_ms: int = 10_000
    """Never longer than this."""

    def delay_ms(self, failures: int) -> int:
        """Return the wait after so many failures."""
        return int(min(self.longest_ms, self.first_ms * 2 ** min(failures - 1, 30)))


@dataclass(frozen=True, slots=True)
class Invocation:
    """One attempt to deliver one batch."""

    mapping: str
    """Name of the mapping."""
    function: str
    """Logical id of the function."""
    attempt: int
    """1 for the first, or for the first after a success."""
    records: int
    """Records in the batch."""
    partitions: tuple[tuple[TopicPartition, int, int], ...]
    """Partition, first offset, offset after the last."""
    payload_bytes: int
    """Size of the event."""
    duration_ms: int
    """Of the call, as the mapping saw it."""
    response: object = None
    """What the function answered; None if it failed."""
    error: FunctionError | None = None
    """Why it failed; None if it succeeded."""

    @property
    def outcome(self) -> str:
        """`success`, or the type of the error."""
        return self.error.error_type if self.error else "success"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something else a person may want to know."""

    mapping: str
    """Name of the mapping."""
    text: str
    """One line."""
    fault: Fault | None = None
    """What was injected; None for everything that was not."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the caller of a mapping decides; nothing of it is in the template."""

    clock: Clock = monotonic_ms
    """Time for the batching window and for durations."""
    backoff: Backoff = Backoff()
    """Between attempts."""
    max_attempts: int | None = None
    """Failures of one batch, injected ones aside, before the mapping gives up; None: as on AWS, it never does."""
    on_invocation: Callable[[Invocation], None] = lambda _: None
    """Called after every attempt, in the mapping's thread."""
    on_event: Callable[[Notice], None] = lambda _: None
    """Called with everything else, in the mapping's thread."""


class Poller:
    """Runs one mapping in the thread that calls `run`."""

    def __init__(
        self,
        mapping: Mapping,
        bootstrap_servers: str,
        invoker: Invoker,
        policy: Policy | None = None,
        chaos: ChaosPlan | None = None,
    ) -> None:
        self.mapping = mapping
        self._servers = bootstrap_servers
        self._invoker = invoker
        self._policy = policy or Policy()
        limits = Limits(mapping.batch_size, mapping.batching_window_ms, mapping.payload_limit_bytes)
        envelope = mapping.envelope(bootstrap_servers)
        plain = functools.partial(Batcher, limits, envelope)
        self._new_batcher: Callable[[], Batcher]
        self._new_batcher = functools.partial(ChaosBatcher, limits, envelope, chaos) if chaos else plain
        self._batcher = self._new_batcher()
        self._attempts = self._failures = 0
        self._stop = threading.Event()
        self._consumer: TopicConsumer | None = None
        self._next_look_ms = 0
        self._topic_announced = False
        self._broker_errors = 0
        # Drain requests are numbered; an answer holds for every request made before it was looked for.
        self._drain_asked = 0
        self._drain_answered = 0
        self._state = "not started"

    @property
    def state(self) -> str:
        """What it is doing, or waiting for."""
        return self._state

    def positions(self) -> dict[TopicPartition, int]:
        """Return the offset each partition continues at; empty before the topic exists."""
        known = self._consumer.positions if self._consumer else {}
        return {TopicPartition(self.mapping.topic, number): offset for number, offset in known.items()}

    def ask_drained(self) -> int:
        """Ask whether all that is in the topic now has been delivered; pass the answer to `is_drained`."""
        self._drain_asked += 1
        return self._drain_asked

    def is_drained(self, request: int) -> bool:
        """Whether everything that was in the topic at the time of the request is delivered and committed."""
        return self._drain_answered >= request

    def stop(self) -> None:
        """Ask `run` to return after the current attempt. Callable from any thread."""
        self._stop.set()

    def run(self) -> None:
        """Deliver until stopped.

        Raises:
            BrokerError: Kafka was never reached, or records were deleted before they were delivered.
            RecordTooLargeError: a record cannot be delivered at all.
            RetriesExhaustedError: only with `max_attempts`.
            InvocationError: the function cannot be started.
        """
        start = Start(self.mapping.starting_position, self.mapping.starting_timestamp_ms)
        consumer = TopicConsumer(self._servers, self.mapping.topic, self.mapping.consumer_group, start)
        self._consumer = consumer
        try:
            while not self._stop.is_set():
                try:
                    self._turn(consumer)
                except BrokerError as error:
                    self._outlast(consumer, error)
        finally:
            self._state = "stopped"
            consumer.close()

    def _turn(self, consumer: TopicConsumer) -> None:
        if self._policy.clock() >= self._next_look_ms:
            self._discover(consumer)
        if not consumer.positions:
            self._stop.wait(_LOOK_FOR_TOPIC_MS / 1000)
            return
        self._read(consumer)
        batch = self._batcher.next_batch(self._policy.clock())
        if batch is not None:
            self._deliver(consumer, batch)
        elif not len(self._batcher):
            self._answer_drained(consumer)

    def _outlast(self, consumer: TopicConsumer, error: BrokerError) -> None:
        """Wait for a broker that went away; before it was ever met, the address may as well be wrong.

        What is queued is forgotten: an error in the middle of reading may have cost records, which come again.
        """
        if not (error.retriable and consumer.met_broker):
            raise error
        self._state = f"waits for Kafka: {error}"
        if not self._broker_errors:
            self._notify(self._state)
        self._broker_errors += 1
        consumer.rewind()
        self._batcher = self._new_batcher()
        self._next_look_ms = self._policy.clock()
        self._stop.wait(self._policy.backoff.delay_ms(self._broker_errors) / 1000)

    def _discover(self, consumer: TopicConsumer) -> None:
        new = consumer.discover()
        self._broker_errors = 0
        if new:
            self._notify(f"reads {', '.join(f'{topic}-{number}' for topic, number in new)}")
        elif not consumer.positions and not self._topic_announced:
            self._state = f"topic {self.mapping.topic} does not exist yet"
            self._notify(f"waits: {self._state}")
            self._topic_announced = True
        pause_ms = _LOOK_FOR_PARTITIONS_MS if consumer.positions else _LOOK_FOR_TOPIC_MS
        self._next_look_ms = self._policy.clock() + pause_ms

    def _read(self, consumer: TopicConsumer) -> None:
        self._state = "reads"
        due_ms = self._batcher.due_in_ms(self._policy.clock())
        if due_ms == 0 and self._batcher.full:
            return
        room = min(_READ_AT_ONCE, self.mapping.batch_size - len(self._batcher))
        wait_ms = _IDLE_MS if due_ms is None else min(_IDLE_MS, due_ms)
        records = consumer.read(room, wait_ms / 1000)
        now_ms = self._policy.clock()
        for record in records:
            self._batcher.add(encode(record), now_ms)

    def _deliver(self, consumer: TopicConsumer, batch: Batch) -> None:
        """Try until it succeeds, the caller's patience ends, or the poller is stopped.

        1. Invoke. 2. Commit the offsets. 3. Let the next batch be cut. Stopped between 1 and 2, the batch
        is delivered again by the next run. Under chaos a failed batch may have to be cut again.
        """
        while not self._stop.is_set() and self._batcher.outstanding is batch:
            self._attempts += 1
            error = self._attempt(batch)
            if error is not None:
                self._failed(batch, error)
                continue
            self._attempts = self._failures = 0
            consumer.commit(batch.next_offsets)
            self._batcher.settled()

    def _failed(self, batch: Batch, error: FunctionError) -> None:
        self._failures += not error.injected
        if not error.injected and self._failures == self._policy.max_attempts:
            raise RetriesExhaustedError(self.mapping.name, self._failures, error) from error
        self._state = f"retries a batch of {batch.size} records after {self._attempts} failures, last {error}"
        self._stop.wait(self._policy.backoff.delay_ms(self._attempts) / 1000)
        self._batcher.failed()

    def _attempt(self, batch: Batch) -> FunctionError | None:
        started_ms = self._policy.clock()
        response: object = None
        failure: FunctionError | None = None
        try:
            response = self._invoker.invoke(batch.payload)
        except FunctionError as error:
            failure = error
        invocation = Invocation(
            mapping=self.mapping.name,
            function=self.mapping.function.logical_id,
            attempt=self._attempts,
            records=batch.size,
            partitions=tuple(
                (source, records[0].offset, records[-1].offset + 1) for source, records in batch.partitions.items()
            ),
            payload_bytes=len(batch.payload),
            duration_ms=self._policy.clock() - started_ms,
            response=response,
            error=failure,
        )
        self._policy.on_invocation(invocation)
        return failure

    def _answer_drained(self, consumer: TopicConsumer) -> None:
        """Answer a drain request; nothing is queued or outstanding here, so what was read is committed."""
        request = self._drain_asked  # before the broker is asked: it may get more records meanwhile
        if request == self._drain_answered:
            return
        self._discover(consumer)
        behind = sum(consumer.lag().values())
        if behind:
            self._state = f"{behind} records behind"
        else:
            self._drain_answered = request

    def _notify(self, text: str) -> None:
        self._policy.on_event(Notice(self.mapping.name, text))
