"""Real Apache Kafka on this machine: one broker, or a cluster of three, on loopback, without containers.

A folder is a cluster: its data, settings and ports stay there from one start to the next. Stored in it:
`cluster.json`, and a folder for each broker.
"""

import base64
import json
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from headrace_cli import loopback, maven
from headrace_cli.errors import CommandError, OptionError
from headrace_cli.kafka.broker import Broker, Node
from headrace_cli.kafka.distribution import KAFKA_VERSION, apache_kafka

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.admin._metadata import ClusterMetadata

READY_TIMEOUT_S = 60.0
"""A start takes four to eight seconds; a busy machine takes longer."""
CLUSTER_SIZES = (1, 3)

_TOPIC_TIMEOUT_S = 15.0
_LOOK_S = 0.1


class KafkaServer:
    """A cluster in a folder. As a context manager it runs while the context is open.

    Args:
        folder: where it lives; made if it is not there.
        brokers: 1 or 3 for a new folder; None is what the folder has, or 1.
        version: of Kafka; a folder keeps the version that made it.
        notify: told in a line of what takes long.

    Raises:
        OptionError: the folder holds another number of brokers or another version, or is not a cluster's.
    """

    def __init__(
        self,
        folder: Path,
        brokers: int | None = None,
        version: str = KAFKA_VERSION,
        notify: Callable[[str], None] = lambda _: None,
    ) -> None:
        if brokers not in (None, *CLUSTER_SIZES):
            raise OptionError(f"{brokers} brokers: a cluster has 1 or 3")
        self.folder = folder.resolve()
        """Where it lives."""
        self.version = version
        """Of Apache Kafka."""
        self._notify = notify
        self._cluster = self._known(brokers) or _new_cluster(brokers or 1, version)
        self.brokers = [
            Broker(self.folder / f"broker-{node.node_id}", node) for node in map(_node, self._cluster["brokers"])
        ]
        """One for each node, running or not."""

    @property
    def bootstrap_servers(self) -> str:
        """`HOST:PORT`, of three brokers with commas: for any client, also while it is stopped."""
        return ",".join(broker.address for broker in self.brokers)

    @property
    def running(self) -> bool:
        """Whether every broker has a process."""
        return all(broker.pid is not None for broker in self.brokers)

    def start(self, timeout_s: float = READY_TIMEOUT_S) -> Self:
        """Start the brokers that are not running, and wait until a client sees all of them.

        Raises:
            CommandError: java or mvn is missing, a port is in use, a broker ended (with its last words), or the
                time is up. What this call started is stopped then.
        """
        stopped = [broker for broker in self.brokers if broker.pid is None]
        jars = maven.jars(apache_kafka(self.version), self._notify)
        self._save()
        for broker in stopped:
            _must_be_free(broker.node)
        try:
            self._start(stopped, jars)
            self._wait_until_ready(timeout_s)
        except BaseException:
            for broker in stopped:
                broker.kill()
            raise
        return self

    def stop(self) -> None:
        """End every broker in order, whoever started it; none is left, none need have run."""
        for broker in self.brokers:
            broker.terminate()  # all at once: together they are as quick as one
        for broker in self.brokers:
            broker.stop()

    def kill(self, *node_ids: int) -> None:
        """Kill these brokers, or all: SIGKILL, as in a crash. `start` brings them back on the same data."""
        for broker in self.brokers:
            if broker.node.node_id in node_ids or not node_ids:
                broker.kill()

    def detach(self) -> None:
        """Let the brokers outlive this process; `stop` of another one with the same folder ends them."""
        for broker in self.brokers:
            broker.detach()

    def create_topic(self, name: str, partitions: int = 1, configs: Mapping[str, str] | None = None) -> None:
        """Make a topic, if there is none of that name, and wait until it takes records.

        Raises:
            CommandError: Kafka refuses, or has the topic with another number of partitions.
        """
        from confluent_kafka import KafkaError, KafkaException  # noqa: PLC0415 - 50 ms that `--help` must not pay
        from confluent_kafka.cimpl import NewTopic  # noqa: PLC0415 - same

        topic = NewTopic(name, partitions, len(self.brokers), config=dict(configs or {}))
        client = self._client()
        try:
            client.create_topics([topic])[name].result(_TOPIC_TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise CommandError(f"Kafka does not make topic {name}: {error.args[0].str()}") from error
        self._wait_for_topic(client, name, partitions)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def check(self) -> None:
        """Raise a CommandError with its last words if a broker has ended by itself."""
        for broker in self.brokers:
            if broker.pid is None:
                raise CommandError(
                    f"Kafka broker {broker.node.node_id} ended: {broker.last_words()} (see {broker.log})"
                )

    def _known(self, brokers: int | None) -> dict[str, Any] | None:
        path = self.folder / "cluster.json"
        if not path.is_file():
            return None
        try:
            cluster: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            found = cluster["version"], len(cluster["brokers"])
        except (ValueError, KeyError, TypeError) as error:
            raise OptionError(f"{path} is not a cluster's file: use another folder") from error
        if found != (self.version, brokers or found[1]):
            raise OptionError(
                f"{self.folder} holds Kafka {found[0]} with {found[1]} broker(s): use another folder, or delete it"
            )
        return cluster

    def _save(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / ".gitignore").write_text("*\n", encoding="utf-8")
        (self.folder / "cluster.json").write_text(json.dumps(self._cluster, indent=2) + "\n", encoding="utf-8")

    def _start(self, stopped: list[Broker], jars: Path) -> None:
        if stopped:
            self._notify(f"starting Apache Kafka {self.version} in {self.folder}")
        nodes = [broker.node for broker in self.brokers]
        for broker in stopped:
            broker.format(jars, self._cluster["cluster_id"], nodes)
        for broker in stopped:
            broker.start(jars)

    def _wait_until_ready(self, timeout_s: float) -> None:
        from confluent_kafka import KafkaException  # noqa: PLC0415 - see `create_topic`

        client, deadline_s = self._client(), time.monotonic() + timeout_s
        while True:
            self.check()
            with suppress(KafkaException):
                if self._is_complete(client.list_topics(timeout=1)):
                    return
            if time.monotonic() > deadline_s:
                raise CommandError(
                    f"Kafka was not ready after {timeout_s:g} s: {self.brokers[0].last_words()}"
                    f" (see {self.brokers[0].log})"
                )
            time.sleep(_LOOK_S)

    def _is_complete(self, cluster: "ClusterMetadata") -> bool:
        """Whether all brokers are there, and every partition of earlier starts has a leader again."""
        partitions = (partition for topic in cluster.topics.values() for partition in topic.partitions.values())
        return (
            len(cluster.brokers) == len(self.brokers)
            # The others count a broker that was killed for some seconds more.
            and all(loopback.listens(broker.node.port) for broker in self.brokers)
            and all(partition.leader >= 0 for partition in partitions)
        )

    def _wait_for_topic(self, client: "AdminClient", name: str, partitions: int) -> None:
        deadline_s = time.monotonic() + _TOPIC_TIMEOUT_S
        while True:
            found = client.list_topics(name, timeout=_TOPIC_TIMEOUT_S).topics[name]
            leaders = [partition.leader for partition in found.partitions.values()]
            if found.error is None and len(leaders) != partitions:
                raise CommandError(f"topic {name} exists with {len(leaders)} partition(s), not {partitions}")
            if found.error is None and min(leaders) >= 0:
                return
            if time.monotonic() > deadline_s:
                raise CommandError(f"topic {name} has no leaders after {_TOPIC_TIMEOUT_S:g} s")
            time.sleep(_LOOK_S)

    def _client(self) -> "AdminClient":
        from confluent_kafka.admin import AdminClient  # noqa: PLC0415 - see `create_topic`

        log_critical = 2  # refused connections are what waiting for a start consists of
        return AdminClient(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "log_level": log_critical,
                "reconnect.backoff.ms": 50,
                "reconnect.backoff.max.ms": 250,
            }
        )


def _new_cluster(brokers: int, version: str) -> dict[str, Any]:
    ports = loopback.free_ports(2 * brokers)
    nodes = [Node(number + 1, ports[2 * number], ports[2 * number + 1]) for number in range(brokers)]
    return {
        "version": version,
        # Kafka's form of a UUID: 22 characters of URL-safe base64.
        "cluster_id": new_cluster_id(),
        "brokers": [node._asdict() for node in nodes],
    }


def _node(fields: Mapping[str, int]) -> Node:
    return Node(**fields)


def _must_be_free(node: Node) -> None:
    for port in (node.port, node.controller_port):
        if not loopback.is_free(port):
            raise CommandError(
                f"port {port} is in use, and Kafka broker {node.node_id} of this folder needs it:"
                " stop who listens there, or use another folder"
            )


def new_cluster_id() -> str:
    """A random id as Kafka makes them: never with a dash first, which its own tool would take for an option."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode("ascii").rstrip("=")
        if not text.startswith("-"):
            return text
