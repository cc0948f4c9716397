"""The broker is killed (SIGKILL) and comes back on the same data and port."""

import time

import pytest

from headrace.errors import InfrastructureError
from headrace.kafka import KafkaLog
from headrace.records import TopicPartition
from kafka_esm import BrokerError

from .conftest import Recorder, eventually


@pytest.fixture(autouse=True)
def _running_again(server):
    yield
    server.start()


def test_a_mapping_whose_broker_died_stops_with_a_named_error_and_the_next_run_loses_nothing(
    *, server, new_topic, produce, mapping, emulate, committed
):
    """The broker dies while the function works on the second batch: the function succeeds, the commit cannot.

    So the second batch is delivered twice, the first one once, and nothing is left out. The sweeper, which asked
    before, gets a retriable error meanwhile, and its answer when the broker is back.
    """
    topic = new_topic()
    one, place = mapping(topic, batch_size=10), TopicPartition(topic, 0)
    produce(topic, range(25))
    before, after = _Killing(server), Recorder()
    with KafkaLog(server.bootstrap_servers, "plaintext", timeout_s=2) as log:
        assert log.has_backlog(place, 24) is True
        with pytest.raises(BrokerError) as error, emulate(before, one) as emulator:
            _wait_until_it_stops(emulator, before)
        assert error.value.retriable
        assert before.applied == {0: list(range(20))}
        with pytest.raises(InfrastructureError):
            log.has_backlog(place, 24)

        server.start()
        assert [log.has_backlog(place, offset) for offset in (24, 25)] == [True, False]
    assert committed(one) == [10]
    with emulate(after, one) as emulator:
        emulator.wait_drained(20)
    assert after.applied == {0: list(range(10, 25))}
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


def _wait_until_it_stops(emulator, handler):
    eventually(lambda: len(handler.events) == 2)
    died = time.monotonic()
    try:
        emulator.wait_drained(60)
    finally:
        assert time.monotonic() - died < 20
