"""A real cluster's topics: confluent-kafka's admin client, logged in by IAM."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its types forget to export them
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from topic_admin.answer import Refused
from topic_admin.topics import NotYet, Step, Topic

if TYPE_CHECKING:
    from concurrent.futures import Future

CALL_S = 20.0
"""Longest wait for one answer of the cluster."""
BROKERS_OWN = -1
"""Replication factor that leaves it to the cluster, as Serverless wants it."""
HOPELESS = {
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.INVALID_CONFIG,
    KafkaError.INVALID_PARTITIONS,
    KafkaError.INVALID_REPLICATION_FACTOR,
    KafkaError.POLICY_VIOLATION,
    KafkaError.TOPIC_EXCEPTION,
}
"""Answers that no waiting changes. Authorisation on topics is not among them: a new role's policies take a while."""


class KafkaTopics:
    """The topics of one cluster, changed until a deadline at the latest. Not thread-safe."""

    def __init__(self, settings: Mapping[str, Any], deadline_s: float) -> None:
        self._client = AdminClient(dict(settings))
        # Calls the login's callback, which nothing does by itself before the first request.
        self._client.poll(0)
        self._deadline_s = deadline_s

    def find(self, names: Iterable[str]) -> dict[str, Topic]:
        """Those of the named topics that exist.

        Raises:
            NotYet: the cluster did not answer.
        """
        wanted = set(names)
        known = self._ask(lambda: self._client.list_topics(timeout=self._patience_s())).topics
        found = {name: len(known[name].partitions) for name in wanted & set(known) if known[name].error is None}
        return {name: Topic(name, count, self._configs(name)) for name, count in found.items()}

    def take(self, step: Step) -> None:
        """Make one change.

        Raises:
            NotYet: the cluster did not answer, or will do it later.
            Refused: the cluster will never do it.
        """
        (future,) = self._request(step).values()
        self._ask(future.result)

    def _request(self, step: Step) -> Mapping[Any, "Future[Any]"]:
        topic, timeout_s = step.topic, self._patience_s()
        options = {"request_timeout": timeout_s, "operation_timeout": timeout_s}
        if step.kind == "create":
            new = NewTopic(topic.name, topic.partitions, BROKERS_OWN, config=dict(topic.configs))
            return self._client.create_topics([new], **options)
        if step.kind == "grow":
            return self._client.create_partitions([NewPartitions(topic.name, topic.partitions)], **options)
        if step.kind == "delete":
            return self._client.delete_topics([topic.name], **options)
        return self._client.incremental_alter_configs([_changes(topic)], request_timeout=timeout_s)

    def _configs(self, name: str) -> dict[str, str]:
        resource = ConfigResource(ResourceType.TOPIC, name)
        (future,) = self._client.describe_configs([resource], request_timeout=self._patience_s()).values()
        return {entry.name: entry.value for entry in self._ask(future.result).values()}

    def _patience_s(self) -> float:
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise NotYet("no time is left")
        # librdkafka takes no shorter one than a second.
        return max(1.0, min(CALL_S, left_s))

    def _ask(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except KafkaException as error:
            reason = error.args[0]
            # A retry of a creation or deletion whose answer was lost; the next look shows what is.
            if reason.code() in {KafkaError.TOPIC_ALREADY_EXISTS, KafkaError.UNKNOWN_TOPIC_OR_PART}:
                raise NotYet(reason.str()) from error
            if reason.code() in HOPELESS:
                raise Refused(f"the cluster refuses: {reason.str()}") from error
            raise NotYet(f"Kafka: {reason.str()}") from error


def _changes(topic: Topic) -> ConfigResource:
    entries = [
        ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in topic.configs.items()
    ]
    return ConfigResource(ResourceType.TOPIC, topic.name, incremental_configs=entries)


def iam_settings(bootstrap_brokers: str, region: str) -> dict[str, Any]:
    """Settings of librdkafka for brokers that take IAM's tokens."""
    from aws_msk_iam_sasl_signer import MSKAuthTokenProvider  # noqa: PLC0415 - not where the brokers want no login

    def token(_: str) -> tuple[str, float]:
        text, expiry_ms = MSKAuthTokenProvider.generate_auth_token(region)
        return text, expiry_ms / 1000

    return {
        "bootstrap.servers": bootstrap_brokers,
        "security.protocol": "SASL_SSL",
        "sasl.mechanisms": "OAUTHBEARER",
        "oauth_cb": token,
    }
