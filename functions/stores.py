"""The stores that a deployment's settings name, opened once per process.

Only the adapter that is used gets imported: each would cost every cold start 10 to 300 ms.
"""

from functools import cache
from pathlib import Path
from typing import Protocol

from headrace.checkpoint import CheckpointCatalog, CheckpointStore, MemoryCheckpointStore
from headrace.outbox import MemoryOutbox, ObjectCatalog, Outbox
from headrace.settings import MEMORY, Settings

# ruff: noqa: PLC0415 - choosing which adapter to import is what this module is for


class Checkpoints(CheckpointStore, CheckpointCatalog, Protocol):
    """A checkpoint store that can also list."""


class Objects(Outbox, ObjectCatalog, Protocol):
    """An outbox that can also list and delete."""


def checkpoint_store(settings: Settings) -> Checkpoints:
    """The deployment's checkpoints.

    Raises:
        ConfigurationError: the store cannot be opened (no AWS region, no such profile).
    """
    return _checkpoints(settings.checkpoints)


def outbox(settings: Settings) -> Objects:
    """The deployment's lake: staged and published objects.

    Raises:
        ConfigurationError: the store cannot be opened.
    """
    return _objects(settings.lake)


@cache
def _checkpoints(url: str) -> Checkpoints:
    scheme, _, place = url.partition(":")
    if scheme == "dynamodb":
        from headrace.dynamodb import DynamoDBCheckpointStore

        return DynamoDBCheckpointStore(place)
    if scheme == "file":
        from headrace.folder import FolderCheckpointStore

        return FolderCheckpointStore(Path(place))
    return MemoryCheckpointStore()


@cache
def _objects(url: str) -> Objects:
    if url == MEMORY:
        return MemoryOutbox()
    from headrace.objects import open_lake

    return open_lake(url)
