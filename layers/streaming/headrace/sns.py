"""Messages to an SNS topic, standard or FIFO, in batches: each at least once, under an id that stays the same."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace import aws
from headrace.errors import ConfigurationError, HeadraceError, InfrastructureError

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

MAX_BATCH = 10
"""Messages of one call, as SNS limits them."""
MAX_BATCH_BYTES = 262_144
"""Of their bodies, subjects and attributes together, and so of a single one."""
ATTEMPTS = 4
"""For the messages that a call did not take, though it took others."""
FIRST_PAUSE_S = 0.2
PASSING = {"InternalError", "InternalFailure", "KMSThrottling", "RequestThrottled", "Throttled", "Throttling"}
"""Error codes that the next attempt may not meet again."""
_ATTRIBUTE = "alert_id"
_OVERHEAD_BYTES = 100
"""More than the names and types of the attributes take."""


class Message(NamedTuple):
    """What subscribers get."""

    alert_id: str
    """Who gets a message again knows it by this; letters, digits, `-`, `_`."""
    subject: str
    """Less than 100 printable ASCII characters."""
    body: str
    group: str
    """Messages of a group arrive in their order, if the topic is FIFO."""

    @property
    def size(self) -> int:
        """What it counts in a batch, at most."""
        ids = 2 * len(self.alert_id) + len(self.group)
        return len(self.body.encode()) + len(self.subject.encode()) + ids + _OVERHEAD_BYTES


class SnsTopic:
    """One topic."""

    def __init__(self, arn: str, client: Any = None, sleep: Callable[[float], None] = time.sleep) -> None:
        """Open it; whether it exists is found out by its first use.

        Args:
            arn: of the topic; it ends with `.fifo` if it is one.
            client: a botocore client for `sns`; None: by AWS's standard environment.
            sleep: seconds, between attempts.

        Raises:
            ConfigurationError: no region, or no credentials.
        """
        self._arn = arn
        self._is_fifo = arn.endswith(".fifo")
        self._sleep = sleep
        with self._errors():
            self._client = client or aws.client("sns")

    def publish(self, messages: Sequence[Message]) -> None:
        """Send them, in their order; after a failure of some it goes on, and raises at the end.

        Raises:
            InfrastructureError: some could not be sent, by their ids: send all again.
            ConfigurationError: no retry will help: no such topic, denied, a message that SNS refuses.
        """
        failed: dict[str, dict[str, Any]] = {}
        for batch in batches(messages):
            failed |= self._publish(batch)
        if failed:
            reasons = "; ".join(f"{name}: {e['Code']}: {e.get('Message', '')}" for name, e in list(failed.items())[:3])
            kind = ConfigurationError if any(e.get("SenderFault") for e in failed.values()) else InfrastructureError
            raise kind(f"{len(failed)} of {len(messages)} messages could not be sent to {self._arn}: {reasons}")

    def _publish(self, batch: Sequence[Message]) -> dict[str, dict[str, Any]]:
        """What SNS did not take, by alert."""
        waiting = {str(number): message for number, message in enumerate(batch)}
        failed: dict[str, dict[str, Any]] = {}
        for attempt in range(ATTEMPTS):
            if attempt:
                self._sleep(FIRST_PAUSE_S * 2 ** (attempt - 1))
            entries = [self._entry(number, message) for number, message in waiting.items()]
            with self._errors():
                answer = self._client.publish_batch(TopicArn=self._arn, PublishBatchRequestEntries=entries)
            refused = {each["Id"]: each for each in answer.get("Failed", [])}
            failed |= {waiting[number].alert_id: e for number, e in refused.items() if e.get("SenderFault")}
            waiting = {number: waiting[number] for number, e in refused.items() if not e.get("SenderFault")}
            if not waiting:
                return failed
        return failed | {message.alert_id: refused[number] for number, message in waiting.items()}

    def _entry(self, number: str, message: Message) -> dict[str, Any]:
        entry = {
            "Id": number,
            "Subject": message.subject,
            "Message": message.body,
            "MessageAttributes": {_ATTRIBUTE: {"DataType": "String", "StringValue": message.alert_id}},
        }
        fifo = {"MessageDeduplicationId": message.alert_id, "MessageGroupId": message.group}
        return entry | fifo if self._is_fifo else entry

    def _errors(self) -> Any:
        return aws.errors(f"cannot publish to {self._arn}", _error_of)


def batches(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """As many at once as SNS takes, in their order; a message that is too large is in a batch of its own."""
    batch: list[Message] = []
    size = 0
    for message in messages:
        if batch and (len(batch) == MAX_BATCH or size + message.size > MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += message.size
    if batch:
        yield batch


def _error_of(error: "ClientError", what: str) -> HeadraceError:
    return aws.error_of_answer(error, what, PASSING)
