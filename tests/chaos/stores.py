"""The world outside a process, in memory: DynamoDB under the real adapter, objects, and the broker's log.

Every request goes through `Calls`, so that anything can happen before, in and after it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from botocore import exceptions as aws
from chaos.calls import Calls, Errors, Fault
from chaos.topic import Topic

from headrace.checkpoint import OutboxEntry
from headrace.errors import InfrastructureError, TopicRecreated
from headrace.outbox import STATE, ObjectCatalog, Outbox
from headrace.records import TopicPartition

Item = dict[str, Any]
ItemKey = tuple[str, str]
"""`pk` and partition."""


def _refusal(code: str, operation: str, status: int = 400) -> aws.ClientError:
    response = {"Error": {"Code": code, "Message": "simulated"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return aws.ClientError(response, operation)  # type: ignore[arg-type]


_DYNAMODB = Errors(
    throttled=lambda: _refusal("ThrottlingException", "simulated"),
    unreachable=lambda: aws.EndpointConnectionError(endpoint_url="simulated"),
    unknown=lambda: aws.ReadTimeoutError(endpoint_url="simulated"),
)
OBJECTS = Errors(*[lambda: InfrastructureError("simulated")] * 3)
_BROKER = OBJECTS


class SimulatedDynamoDB:
    """The calls of a DynamoDB client that the adapter makes, on a dict; knows the conditions that it uses.

    A read that is not strongly consistent may answer what was there before the last write: DynamoDB's developer
    guide, "Read consistency".
    """

    def __init__(self, calls: Calls, on_write: Callable[[Item], None]) -> None:
        self.items: dict[ItemKey, Item] = {}
        self._before: dict[ItemKey, Item | None] = {}
        self._calls = calls
        self._on_write = on_write

    def batch_get_item(self, RequestItems: Mapping[str, Any]) -> Item:  # noqa: N803 - the client's own names
        ((table, request),) = RequestItems.items()
        keys = request["Keys"]
        process = self._calls.running
        first = process.kind == "turn" and not process.loaded
        process.keys.update(map(_key, keys))
        process.publishing = False
        what = "1 load" if first else "6 load again"
        answer = self._calls.through(what, lambda: self._read(table, keys, request["ConsistentRead"]), _DYNAMODB)
        if answer["UnprocessedKeys"]:
            self._calls.count(f"{process.kind} {what}", Fault.PARTIAL)
        process.loaded = not answer["UnprocessedKeys"]
        return answer

    def _read(self, table: str, keys: list[Item], consistent: bool) -> Item:
        left: list[Item] = []
        if len(keys) > 1 and not self._calls.calm and self._calls.choices.chance(8):
            keys, left = keys[:1], keys[1:]
        found = [item for key in keys if (item := self._seen(_key(key), consistent))]
        unprocessed = {table: {"Keys": left}} if left else {}
        return {"Responses": {table: found}, "UnprocessedKeys": unprocessed}

    def _seen(self, key: ItemKey, consistent: bool) -> Item | None:
        if not consistent and self._calls.choices.chance(50):
            return self._before.get(key)
        return self.items.get(key)

    def put_item(self, TableName: str, Item: Item, **condition: Any) -> None:  # noqa: N803 - as above
        key = _key(Item)
        self._calls.running.keys.add(key)
        self._calls.through("6 commit", lambda: self._put(key, Item, condition), _DYNAMODB)

    def _put(self, key: ItemKey, item: Item, condition: Mapping[str, Any]) -> None:
        if not self._holds(key, condition):
            raise _refusal("ConditionalCheckFailedException", "PutItem")
        self._write(key, item)
        self._calls.running.publishing = True
        self._on_write(item)

    def update_item(self, TableName: str, Key: Item, UpdateExpression: str, **condition: Any) -> None:  # noqa: N803 - as above
        assert UpdateExpression == "REMOVE outbox, outbox_manifest", UpdateExpression
        key = _key(Key)
        process = self._calls.running
        number = "7" if process.publishing else "2"
        process.publishing = False
        self._calls.through(f"{number} clear", lambda: self._clear(key, condition), _DYNAMODB)

    def _clear(self, key: ItemKey, condition: Mapping[str, Any]) -> None:
        if not self._holds(key, condition):
            raise _refusal("ConditionalCheckFailedException", "UpdateItem")
        cleared = {name: v for name, v in self.items[key].items() if name not in {"outbox", "outbox_manifest"}}
        self._write(key, cleared)

    def scan(self, TableName: str, ConsistentRead: bool, ExclusiveStartKey: Item | None = None, **_: Any) -> Item:  # noqa: N803 - as above
        """One item a page: every page is a call of its own."""
        keys = sorted(self.items)
        start = keys.index(_key(ExclusiveStartKey)) + 1 if ExclusiveStartKey else 0

        def page() -> Item:
            found = [item for key in keys[start : start + 2] if (item := self._seen(key, ConsistentRead))]
            more = {"LastEvaluatedKey": self.items[keys[start + 1]]} if len(keys) > start + 2 else {}
            return {"Items": found, **more}

        return self._calls.through("list the checkpoints", page, _DYNAMODB)

    def _write(self, key: ItemKey, item: Item) -> None:
        self._before[key] = self.items.get(key)
        self.items[key] = item
        self._calls.effects[key] += 1

    def _holds(self, key: ItemKey, condition: Mapping[str, Any]) -> bool:
        stored = self.items.get(key)
        match condition.get("ConditionExpression"):
            case None:
                return True
            case "attribute_not_exists(pk)":
                return stored is None
            case "#version = :version":
                assert condition["ExpressionAttributeNames"] == {"#version": "version"}
                return stored is not None and stored["version"] == condition["ExpressionAttributeValues"][":version"]
        raise AssertionError(condition)


def _key(item: Item) -> ItemKey:
    return item["pk"]["S"], item["partition"]["N"]


class Objects(Outbox, ObjectCatalog, Protocol):
    """Everything that is done with objects."""


class SimulatedObjects:
    """The objects of S3: an outbox of the library's own, a request per object."""

    def __init__(self, inner: Objects, calls: Calls, on_publish: Callable[[OutboxEntry], None]) -> None:
        self._inner = inner
        self._calls = calls
        self._on_publish = on_publish
        self.on_delete: Callable[[Sequence[str]], None] = lambda _: None

    def stage(self, objects: Mapping[str, bytes]) -> None:
        self._calls.each("5 stage", list(objects.items()), lambda item: self._inner.stage(dict([item])), OBJECTS)

    def load(self, keys: Sequence[str]) -> list[bytes]:
        return [self._load(key) for key in keys]

    def _load(self, key: str) -> bytes:
        what = "4 read the snapshot" if key.startswith(f"{STATE}/") else f"{self._phase()}read the manifest"
        return self._calls.through(what, lambda: self._inner.read(key), OBJECTS)

    def publish(self, entries: Sequence[OutboxEntry]) -> None:
        self._calls.each(f"{self._phase()}copy", list(entries), self._copy, OBJECTS)

    def _copy(self, entry: OutboxEntry) -> None:
        self._on_publish(entry)
        self._inner.publish([entry])

    def keys(self, prefix: str, *, older_than_ms: int | None = None) -> Iterator[str]:
        found = self._calls.through(
            "list the objects", lambda: list(self._inner.keys(prefix, older_than_ms=older_than_ms)), OBJECTS
        )
        yield from found

    def delete(self, keys: Sequence[str]) -> None:
        def effect(part: Sequence[str] = keys) -> None:
            self.on_delete(part)
            self._inner.delete(part)

        self._calls.through("delete", effect, OBJECTS, part=lambda: effect(keys[::2]))

    def _phase(self) -> str:
        process = self._calls.running
        if process.kind == "janitor":
            return ""
        return "7 " if process.publishing else "2 "


class SimulatedLog:
    """What the broker still has."""

    def __init__(self, topic_of: Callable[[], Topic], calls: Calls) -> None:
        self._topic_of = topic_of
        self._calls = calls

    def has_backlog(self, topic_partition: TopicPartition, next_offset: int) -> bool:
        def ask() -> bool:
            log = self._topic_of().logs[topic_partition.partition]
            if log.end_offset < next_offset:
                raise TopicRecreated(f"simulated: {topic_partition} ends at {log.end_offset}, before {next_offset}")
            return log.has_record_from(next_offset)

        return self._calls.through("ask the broker", ask, _BROKER)
