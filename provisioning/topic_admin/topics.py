"""Topics as the list wants them, topics as the cluster has them, and the steps from here to there.

Nothing here deletes a topic unless the stack's RemovedTopics says so, and partitions only ever grow.
"""

import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from topic_admin.answer import Outcome, Refused

LOG = logging.getLogger(__name__)

MOST_TOPICS = 100
MOST_PARTITIONS = 1000
NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
ROUND_S = 2.0
"""Pause between two looks at the cluster: its answers lag behind its changes by a second or two."""

Clock = Callable[[], float]


@dataclass(frozen=True)
class Topic:
    """One topic, wanted or found."""

    name: str
    partitions: int
    configs: Mapping[str, str] = field(default_factory=dict)
    """Settings by Kafka's name; of a wanted topic only those that the list cares about."""


@dataclass(frozen=True)
class Step:
    """One change of the cluster."""

    kind: Literal["create", "grow", "configure", "delete"]
    topic: Topic
    """As it shall be; of a configuration only the settings that differ."""


class NotYet(Exception):
    """The cluster did not do it, or not yet: another look will tell."""


class TopicAdmin(Protocol):
    """A cluster's topics."""

    def find(self, names: Iterable[str]) -> dict[str, Topic]:
        """Those of the named topics that exist.

        Raises:
            NotYet: the cluster did not answer.
        """

    def take(self, step: Step) -> None:
        """Make one change. Doing it twice is no error.

        Raises:
            NotYet: the cluster did not answer, or says that it will do it later.
            Refused: the cluster will never do it.
        """


class InMemoryTopics:
    """A cluster's topics without a cluster: for tests and dry runs."""

    def __init__(self, *topics: Topic) -> None:
        self.topics = {topic.name: topic for topic in topics}

    def find(self, names: Iterable[str]) -> dict[str, Topic]:
        """Those of the named topics that exist."""
        return {name: self.topics[name] for name in names if name in self.topics}

    def take(self, step: Step) -> None:
        """Make one change."""
        name, known = step.topic.name, self.topics.get(step.topic.name)
        if step.kind == "delete":
            self.topics.pop(name, None)
        elif step.kind == "create":
            self.topics.setdefault(name, step.topic)
        elif known is not None:
            partitions = max(known.partitions, step.topic.partitions)
            self.topics[name] = Topic(name, partitions, {**known.configs, **step.topic.configs})


def wanted_topics(properties: Mapping[str, Any]) -> dict[str, Topic]:
    """The topics of a custom resource, by name. CloudFormation hands every number over as text.

    Raises:
        Refused: the list is not one that Kafka could have.
    """
    entries = properties.get("Topics")
    if not isinstance(entries, list) or not 0 < len(entries) <= MOST_TOPICS:
        raise Refused(f"Topics must be a list of 1 to {MOST_TOPICS}")
    topics = {topic.name: topic for topic in map(_topic, entries)}
    if len(topics) < len(entries):
        raise Refused("Topics names one topic twice")
    return topics


def _topic(entry: Any) -> Topic:
    try:
        name, partitions = str(entry["Name"]), int(entry["Partitions"])
        configs = {str(key): str(value) for key, value in entry.get("Configs", {}).items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Refused(f"a topic needs Name, Partitions and Configs: {type(error).__name__} {error}") from error
    if not NAME.fullmatch(name) or not 1 <= partitions <= MOST_PARTITIONS:
        raise Refused(f"{name!r} with {partitions} partitions is no topic (1 to {MOST_PARTITIONS} partitions)")
    return Topic(name, partitions, configs)


def plan(wanted: Mapping[str, Topic], found: Mapping[str, Topic], removed: Iterable[str] = ()) -> list[Step]:
    """The steps that make the found topics the wanted ones, and delete the removed ones. Nothing to do: no step.

    Raises:
        Refused: a topic has more partitions than wanted; Kafka takes none away.
    """
    steps = [step for topic in wanted.values() for step in _steps(topic, found.get(topic.name))]
    return steps + [Step("delete", found[name]) for name in removed if name in found]


def _steps(wanted: Topic, found: Topic | None) -> list[Step]:
    if found is None:
        return [Step("create", wanted)]
    if found.partitions > wanted.partitions:
        raise Refused(
            f"{wanted.name} has {found.partitions} partitions and the list wants {wanted.partitions}: Kafka takes none"
            " away. Put the list right, or delete the topic, which deletes its records"
        )
    changed = {key: value for key, value in wanted.configs.items() if found.configs.get(key) != value}
    grow = [Step("grow", wanted)] if found.partitions < wanted.partitions else []
    return grow + ([Step("configure", Topic(wanted.name, wanted.partitions, changed))] if changed else [])


def converge(
    admin: TopicAdmin,
    wanted: Mapping[str, Topic],
    removed: Iterable[str],
    deadline_s: float,
    *,
    clock: Clock = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Change the cluster until it is as wanted; look again after each round, because its answers lag behind.

    Raises:
        Refused: the list asks for what Kafka cannot do, or the deadline passed.
    """
    names, gone = list(wanted), list(removed)
    trouble = "the cluster shows another state than it was told"
    while clock() < deadline_s:
        try:
            steps = plan(wanted, admin.find([*names, *gone]), gone)
            if not steps:
                return
            for step in steps:
                LOG.info(
                    "%s %s: %d partitions, %s", step.kind, step.topic.name, step.topic.partitions, step.topic.configs
                )
                admin.take(step)
        except NotYet as not_yet:
            trouble = str(not_yet)
            LOG.info("not yet: %s", trouble)
        sleep(max(0.0, min(ROUND_S, deadline_s - clock())))
    raise Refused(f"the topics are not as wanted in time: {trouble}")


def reconcile(
    event: Mapping[str, Any], deadline_s: float, connect: Callable[[Mapping[str, Any], float], TopicAdmin]
) -> Outcome:
    """Do what a request about topics asks for; `connect` makes the cluster's admin from the resource's properties.

    On a deletion, and for topics that left the list, topics go only if the resource says `RemovedTopics: delete`.

    Raises:
        Refused: it cannot be done, or not in time.
    """
    properties = event["ResourceProperties"]
    # The cluster is part of the name: topics of another cluster are other topics.
    outcome = Outcome(f"topics-of-{properties.get('ClusterArn')}")
    deleting = properties.get("RemovedTopics") == "delete"
    if event["RequestType"] == "Delete":
        # A creation that was refused before it began left nothing behind.
        if deleting and not str(event.get("PhysicalResourceId", "")).startswith("failed-"):
            converge(connect(properties, deadline_s), {}, wanted_topics(properties), deadline_s)
        return Outcome(str(event["PhysicalResourceId"]))
    wanted = wanted_topics(properties)
    removed = _left_the_list(event, wanted) if deleting else []
    converge(connect(properties, deadline_s), wanted, removed, deadline_s)
    return outcome


def _left_the_list(event: Mapping[str, Any], wanted: Mapping[str, Topic]) -> list[str]:
    old = event.get("OldResourceProperties", {})
    # After a change of the cluster the old one gets a deletion of its own.
    if old.get("ClusterArn") != event["ResourceProperties"].get("ClusterArn"):
        return []
    return [name for name in wanted_topics(old) if name not in wanted]
