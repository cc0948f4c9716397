"""Checkpoints in a DynamoDB table: one item per partition, one conditional write per commit.

Key: `pk` (S) = `application#pipeline#generation#topic`, `partition` (N). The attributes are named after the
fields of `Checkpoint` and can be read in the console by the person who was paged: numbers are N, `totals` is
a map of numbers, `outbox` a JSON list of `[staged key, final key]`, `state` binary. A field without a value
has no attribute.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any, cast

import msgspec

from headrace import aws
from headrace.checkpoint import Checkpoint, CheckpointKey, OnCorrupt, OutboxEntry, raise_corrupt
from headrace.errors import (
    CheckpointCorrupt,
    CommitConflict,
    ConfigurationError,
    HeadraceError,
    InfrastructureError,
    InvariantError,
)

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from mypy_boto3_dynamodb import DynamoDBClient

BATCH_KEYS = 100
"""BatchGetItem's limit."""
BATCH_ATTEMPTS = 6
"""A batch that DynamoDB served only in part is asked for again this often, after 50, 100, … 800 ms."""
BATCH_BACKOFF_S = 0.05
MAX_ITEM_BYTES = 400 * 1024
"""DynamoDB's limit for one item, attribute names included."""

SCALARS = {
    "version": "N",
    "base_offset": "N",
    "next_offset": "N",
    "watermark_ms": "N",
    "committed_at_ms": "N",
    "max_timestamp_ms": "N",
    "open_until_ms": "N",
    "fingerprint": "S",
    "state": "B",
    "outbox_manifest": "S",
}
"""Fields of a checkpoint that are attributes as they are, with DynamoDB's name of their type."""
THROTTLES = {
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "ReplicatedWriteConflictException",
    "RequestLimitExceeded",
    "ThrottlingException",
    "TransactionConflictException",
}
"""Error codes with a 4xx status that a later call may not meet again."""

Item = dict[str, Any]
"""An item as the low-level client has it: attribute name to `{type: value}`."""


class DynamoDBCheckpointStore:
    """Checkpoints in one table. Thread-safe.

    Besides the port's errors every method raises `ConfigurationError`, naming the table and AWS's code, for
    what no retry can heal: a missing table, region or credentials, a denied access, a wrong key schema.
    """

    def __init__(
        self,
        table_name: str,
        client: "DynamoDBClient | None" = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._table = table_name
        self._sleep = sleep
        with self._errors("open"):
            self._client = client or cast("DynamoDBClient", aws.client("dynamodb"))

    def load(self, keys: Sequence[CheckpointKey]) -> Mapping[CheckpointKey, Checkpoint]:
        """See `CheckpointStore.load`.

        Raises:
            CheckpointCorrupt: an item is not a checkpoint; names the item.
            InfrastructureError: DynamoDB failed, or left keys unprocessed in every attempt.
        """
        wanted = [_item_key(key) for key in dict.fromkeys(keys)]  # BatchGetItem refuses repeated keys
        batches = (wanted[start : start + BATCH_KEYS] for start in range(0, len(wanted), BATCH_KEYS))
        found = (self._checkpoint(item) for batch in batches for item in self._batch(batch))
        return {checkpoint.key: checkpoint for checkpoint in found}

    def commit(self, checkpoint: Checkpoint, expected_version: int) -> None:
        """See `CheckpointStore.commit`.

        Raises:
            InvariantError: the checkpoint is larger than an item may be.
        """
        item = _item(checkpoint)
        size = _bytes(item)
        if size > MAX_ITEM_BYTES:
            raise InvariantError(
                f"the checkpoint of {checkpoint.key} has {size} bytes, a DynamoDB item at most {MAX_ITEM_BYTES}:"
                " its state or its outbox belongs in an object"
            )
        condition = _at_version(expected_version) if expected_version else _absent()
        with self._errors(f"commit {checkpoint.key} over version {expected_version} in"):
            self._client.put_item(TableName=self._table, Item=item, **condition)

    def clear_outbox(self, key: CheckpointKey, version: int) -> None:
        """See `CheckpointStore.clear_outbox`."""
        with suppress(CommitConflict), self._errors(f"clear the outbox of {key} in"):
            self._client.update_item(
                TableName=self._table,
                Key=_item_key(key),
                UpdateExpression="REMOVE outbox, outbox_manifest",
                **_at_version(version),
            )

    def checkpoints(self, application: str, on_corrupt: OnCorrupt = raise_corrupt) -> Iterator[Checkpoint]:
        """See `CheckpointCatalog.checkpoints`. Reads the whole table."""
        start: Mapping[str, Any] = {}
        while True:
            with self._errors("scan"):
                page = self._client.scan(
                    TableName=self._table,
                    ConsistentRead=True,
                    FilterExpression="begins_with(pk, :application)",
                    ExpressionAttributeValues={":application": {"S": f"{application}#"}},
                    **start,
                )
            for item in page["Items"]:
                try:
                    checkpoint = self._checkpoint(item)
                except CheckpointCorrupt as error:
                    on_corrupt(error)
                    continue
                yield checkpoint
            if "LastEvaluatedKey" not in page:
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def _batch(self, keys: list[Item]) -> list[Item]:
        found: list[Item] = []
        for attempt in range(BATCH_ATTEMPTS):
            if attempt:
                self._sleep(BATCH_BACKOFF_S * 2 ** (attempt - 1))
            with self._errors("load from"):
                answer = self._client.batch_get_item(RequestItems={self._table: {"Keys": keys, "ConsistentRead": True}})
            found += answer["Responses"].get(self._table, [])
            left = answer.get("UnprocessedKeys", {}).get(self._table)
            if not left:
                return found
            keys = list(left["Keys"])
        raise InfrastructureError(
            f"DynamoDB table {self._table!r} left {len(keys)} keys unprocessed in {BATCH_ATTEMPTS} attempts"
        )

    def _checkpoint(self, item: Item) -> Checkpoint:
        try:
            return _decode(item)
        except (LookupError, TypeError, ValueError, msgspec.DecodeError) as error:
            place = f"item pk={item.get('pk')} partition={item.get('partition')} of DynamoDB table {self._table!r}"
            raise CheckpointCorrupt(f"{place} is not a checkpoint: {type(error).__name__}: {error}", place) from error

    def _errors(self, action: str) -> AbstractContextManager[None]:
        """Raise botocore's errors as ours; a retriable one may have done what it was asked to do."""
        return aws.errors(f"cannot {action} DynamoDB table {self._table!r}", _of_answer)


def _of_answer(error: "ClientError", what: str) -> HeadraceError:
    """The error that an answer of DynamoDB means."""
    meant = aws.error_of_answer(error, what, THROTTLES)
    return CommitConflict(str(meant)) if aws.code_of(error) == "ConditionalCheckFailedException" else meant


def _absent() -> Mapping[str, Any]:
    return {"ConditionExpression": "attribute_not_exists(pk)"}


def _at_version(version: int) -> Mapping[str, Any]:
    return {
        "ConditionExpression": "#version = :version",
        "ExpressionAttributeNames": {"#version": "version"},
        "ExpressionAttributeValues": {":version": {"N": str(version)}},
    }


def _item_key(key: CheckpointKey) -> Item:
    names = key[:-1]
    if any("#" in name for name in names):
        raise ConfigurationError(f"no part of the checkpoint's key {key} may have a '#'")
    return {"pk": {"S": "#".join(names)}, "partition": {"N": str(key.partition)}}


def _item(checkpoint: Checkpoint) -> Item:
    item = _item_key(checkpoint.key)
    for name, kind in SCALARS.items():
        value = getattr(checkpoint, name)
        if value is not None:
            item[name] = {kind: str(value) if kind == "N" else value}
    if checkpoint.state_keys:
        item["state_keys"] = {"S": msgspec.json.encode(checkpoint.state_keys).decode()}
    if checkpoint.outbox:
        item["outbox"] = {"S": msgspec.json.encode(checkpoint.outbox).decode()}
    item["totals"] = {"M": {name: {"N": str(total)} for name, total in checkpoint.totals.items()}}
    return item


def _decode(item: Item) -> Checkpoint:
    application, pipeline, generation, topic = item["pk"]["S"].split("#")
    partition = int(item["partition"]["N"])
    fields: dict[str, Any] = {name: _scalar(item[name], kind) for name, kind in SCALARS.items() if name in item}
    fields["key"] = CheckpointKey(application, pipeline, generation, topic, partition)
    fields["totals"] = {name: int(total["N"]) for name, total in item["totals"]["M"].items()}
    if "state_keys" in item:
        fields["state_keys"] = msgspec.json.decode(item["state_keys"]["S"], type=tuple[str, ...])
    elif "state_key" in item:  # of a version before 2026-11-27: its state has another form, and must not pass for none
        fields["state_keys"] = (item["state_key"]["S"],)
    if "outbox" in item:
        fields["outbox"] = msgspec.json.decode(item["outbox"]["S"], type=tuple[OutboxEntry, ...])
    return msgspec.convert(fields, Checkpoint)


def _scalar(attribute: Mapping[str, Any], kind: str) -> int | str | bytes:
    value = attribute[kind]
    return int(value) if kind == "N" else value


def _bytes(attributes: Item) -> int:
    """The attributes' size by DynamoDB's rules, or a little more: numbers count as their digits."""
    return sum(len(name.encode()) + _value_bytes(value) for name, value in attributes.items())


def _value_bytes(attribute: Mapping[str, Any]) -> int:
    ((kind, value),) = attribute.items()
    if kind == "M":
        return 3 + len(value) + _bytes(value)
    if kind == "N":
        return len(value) + 2
    return len(value.encode() if kind == "S" else value)
