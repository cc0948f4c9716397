"""What the broker's answer to one letter means."""

import pytest
from confluent_kafka import KafkaError, Message

from headrace_cli.dead.kafka_topics import take_answer
from headrace_cli.dead.redrive import Deliveries
from headrace_cli.dead.redrive_log import Sent


@pytest.mark.parametrize(
    ("error", "offset", "sent", "not_sent", "unknown"),
    [
        pytest.param(None, 14, [Sent("a", 3, 14)], set(), set(), id="it is there"),
        pytest.param(None, -1, [], set(), {"a"}, id="it is there, but a broker that crashed does not know where"),
        pytest.param(KafkaError.MSG_SIZE_TOO_LARGE, -1, [], {"a"}, set(), id="refused before it was written"),
        pytest.param(KafkaError._MSG_TIMED_OUT, -1, [], set(), {"a"}, id="no answer in time"),
    ],
)
def test_a_letter_is_sent_or_refused_or_left_for_a_search(error, offset, sent, not_sent, unknown):
    deliveries = Deliveries()
    take_answer(deliveries, "a", error and KafkaError(error), Message(topic="t", partition=3, offset=offset))
    assert (deliveries.sent, set(deliveries.not_sent), set(deliveries.unknown)) == (sent, not_sent, unknown)
