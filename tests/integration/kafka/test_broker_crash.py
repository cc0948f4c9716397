"""The broker is killed (SIGKILL) and comes back on the same data and port."""

import pytest

from headrace.errors import InfrastructureError
from headrace.kafka import KafkaLog
from headrace.records import TopicPartition
from kafka_esm import DrainTimeoutError

from .conftest import Recorder, eventually


@pytest.fixture(autouse=True)
def _running_again(server):
    yield
    server.start()


def test_a_mapping_outlasts_its_broker_and_loses_nothing(*, server, new_topic, produce, mapping, emulate, committed):
    """The broker dies while the function works on the second batch: the function succeeds, the commit cannot.

    So the second batch is delivered twice, the others once, and nothing is left out. The sweeper, which asked
    before, gets a retriable error meanwhile, and its answer when the broker is back.
    """
    topic = new_topic()
    one, place, notices = mapping(topic, batch_size=10), TopicPartition(topic, 0), []
    produce(topic, range(25))
    handler = _Killing(server)
    with KafkaLog(server.bootstrap_servers, "plaintext", timeout_s=2) as log:
        assert log.has_backlog(place, 24) is True
        with emulate(handler, one, on_event=lambda notice: notices.append(notice.text)) as emulator:
            eventually(lambda: any(text.startswith("waits for Kafka: ") for text in notices), seconds=20)
            with pytest.raises(DrainTimeoutError, match="F: waits for Kafka: "):
                emulator.wait_drained(0.1)
            assert handler.applied == {0: list(range(20))}
            with pytest.raises(InfrastructureError):
                log.has_backlog(place, 24)

            server.start()
            assert [log.has_backlog(place, offset) for offset in (24, 25)] == [True, False]
            emulator.wait_drained(20)
    assert handler.applied == {0: [*range(20), *range(10, 25)]}
    assert committed(one) == [25]


class _Killing(Recorder):
    """Kills the broker in its second call, and succeeds."""

    def __init__(self, server):
        super().__init__()
        self._server = server

    def __call__(self, event, context):
        if len(self.events) == 1:
            self._server.kill()
        return super().__call__(event, context)
