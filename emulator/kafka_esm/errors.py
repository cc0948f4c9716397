"""Everything this package raises on purpose.

KafkaEsmError
├── TemplateError               the SAM template cannot be run as it is
├── UsageError                  the command line or a file it names is wrong
├── BrokerError
│   ├── BrokerUnreachableError  nobody answered at the bootstrap servers
│   └── OffsetLostError         the next offset of a group is no longer in the topic
├── RecordTooLargeError         one record alone exceeds the payload limit
├── InvocationError
│   ├── FunctionError           the handler raised
│   │   ├── FunctionThrottled   the invocation was refused before it started
│   │   ├── FunctionTimeout     the handler took longer than its Timeout
│   │   └── FunctionExit        the runtime process ended during the invocation
│   ├── FunctionLoadError       the handler cannot be imported
│   └── RuntimeUnavailableError the Lambda runtime cannot be started here
├── RetriesExhaustedError       `max_attempts` invocations of one batch failed
└── DrainTimeoutError           records were still waiting when the time was up

`retriable` answers one question: can the same call succeed later without anybody changing anything?
"""

from typing import ClassVar


class KafkaEsmError(Exception):
    """Base of all errors of this package."""

    retriable: ClassVar[bool] = False
    """Whether the same call may succeed later."""


class TemplateError(KafkaEsmError):
    """The template, or one of its values, cannot be run; names resource, property and value."""


class UsageError(KafkaEsmError):
    """An argument, or a file named by one, is wrong."""


class BrokerError(KafkaEsmError):
    """Kafka answered with an error."""

    retriable: ClassVar[bool] = True


class BrokerUnreachableError(BrokerError):
    """Nobody answered at the bootstrap servers."""

    def __init__(self, bootstrap_servers: str, reason: str) -> None:
        super().__init__(f"no Kafka broker answers at {bootstrap_servers} ({reason}): check the address")
        self.bootstrap_servers = bootstrap_servers


class OffsetLostError(BrokerError):
    """The topic does not hold the offset that is next: records are gone, or the topic was deleted and made again."""

    retriable: ClassVar[bool] = False

    def __init__(self, topic: str, partition: int, offset: int, low: int, high: int) -> None:
        reason = (
            f"ends at {high}: it was deleted and made again, or lost records; use another consumer group"
            if offset > high
            else f"starts at {low}: undelivered records were deleted; use another consumer group, or produce no "
            "faster than the mapping reads"
        )
        super().__init__(f"{topic}-{partition}: the next offset is {offset}, but the topic {reason}")
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.low = low
        self.high = high


class RecordTooLargeError(KafkaEsmError):
    """One record alone makes a payload over the limit: the mapping can never deliver it."""

    def __init__(self, topic: str, partition: int, offset: int, size: int, limit: int) -> None:
        super().__init__(
            f"{topic}-{partition} offset {offset}: its event has {size} bytes, more than the payload limit "
            f"of {limit}: the mapping cannot deliver it; produce smaller records"
        )
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.size = size
        self.limit = limit


class InvocationError(KafkaEsmError):
    """An invocation did not succeed."""


class FunctionError(InvocationError):
    """The function answered with an error; Lambda retries the batch."""

    retriable: ClassVar[bool] = True

    def __init__(
        self, error_type: str, message: str, stack_trace: tuple[str, ...] = (), *, injected: bool = False
    ) -> None:
        super().__init__(f"{error_type}: {message}" if message else error_type)
        self.error_type = error_type
        self.message = message
        self.stack_trace = stack_trace
        self.injected = injected
        """Whether chaos made it up: it says nothing about the function."""


class FunctionThrottled(FunctionError):
    """The invocation was refused before it started."""


class FunctionTimeout(FunctionError):
    """The function took longer than its Timeout."""


class FunctionExit(FunctionError):
    """The process of the function ended, or was killed, during the invocation."""


class FunctionLoadError(InvocationError):
    """The handler cannot be imported: no retry helps before the code has changed."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(f"{error_type}: {message}")
        self.error_type = error_type
        self.message = message


class RuntimeUnavailableError(InvocationError):
    """The Lambda runtime cannot be started on this machine."""


class RetriesExhaustedError(KafkaEsmError):
    """A batch failed as often as the caller allowed."""

    def __init__(self, mapping: str, attempts: int, error: FunctionError) -> None:
        super().__init__(f"{mapping}: the function failed {attempts} times on one batch, last with {error}")
        self.mapping = mapping
        self.attempts = attempts
        self.error = error


class DrainTimeoutError(KafkaEsmError):
    """Some mappings had not delivered everything in time."""

    def __init__(self, waiting: dict[str, str], timeout_seconds: float) -> None:
        details = "; ".join(f"{mapping}: {reason}" for mapping, reason in sorted(waiting.items()))
        super().__init__(f"not drained after {timeout_seconds:g} s ({details})")
        self.waiting = waiting
