"""The broker of a run: the embedded one, or somebody's, with topics of this run only."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from headrace_cli.audit.audit import Roles
from headrace_cli.errors import CommandError
from kafka_esm import EmbeddedBroker

EMBEDDED = "embedded"
PARTITIONS = 4
ANSWER_TIMEOUT_S = 6.0
CREATE_TIMEOUT_S = 4.0

_LOG_CRITICAL = 2


class RunBroker(NamedTuple):
    """Where a run produces to."""

    servers: str
    roles: Roles
    """Names of the topics."""
    group_prefix: str
    """First part of the consumer groups' names."""


@contextmanager
def open_broker(address: str) -> Iterator[RunBroker]:
    """The broker at `HOST:PORT`, or one that lives as long as the context (`embedded`).

    At somebody's broker the topics have names that nobody has used before, so that no other record is among them.
    They stay there.

    Raises:
        CommandError: the broker does not answer, or lets us make no topics.
    """
    if address != EMBEDDED:
        prefix = f"headrace-demo-{uuid.uuid4().hex[:8]}"
        roles = Roles(clicks=f"{prefix}-clicks", logs=f"{prefix}-logs")
        _create_topics(address, roles)
        yield RunBroker(address, roles, prefix)
        return
    with EmbeddedBroker() as broker:
        roles = Roles(clicks="clicks", logs="logs")
        for topic in roles:
            broker.create_topic(topic)
        yield RunBroker(broker.bootstrap_servers, roles, "headrace")


def _create_topics(servers: str, roles: Roles) -> None:
    last_error = "no answer"

    def remember(error: KafkaError) -> None:
        nonlocal last_error
        last_error = error.str()

    try:
        settings: dict[str, Any] = {"bootstrap.servers": servers, "log_level": _LOG_CRITICAL, "error_cb": remember}
        admin = AdminClient(settings)
    except KafkaException as error:
        raise CommandError(f"--kafka {servers}: {error.args[0].str()}") from error
    try:
        admin.list_topics(timeout=ANSWER_TIMEOUT_S)
    except KafkaException as error:
        admin.poll(0)  # hands the reason to `remember`
        raise CommandError(f"--kafka {servers}: no answer in {ANSWER_TIMEOUT_S:g} s ({last_error})") from error
    topics = [NewTopic(topic, PARTITIONS) for topic in roles]
    for topic, created in admin.create_topics(topics, request_timeout=CREATE_TIMEOUT_S).items():
        try:
            created.result()
        except KafkaException as error:
            # A broker that makes topics on first use may not know the request at all (librdkafka's mock).
            if error.args[0].code() != KafkaError._TIMED_OUT:  # noqa: SLF001 - its public name
                raise CommandError(f"--kafka {servers}: cannot create topic {topic}: {error.args[0].str()}") from error
