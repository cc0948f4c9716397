"""The stores of a deployment as a command names them: a run's folder, or a bucket and a table."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from headrace.checkpoint import Checkpoint, CheckpointStore
from headrace_cli.errors import OptionError

if TYPE_CHECKING:
    from headrace.objects import ObjectStoreOutbox

CHECKPOINTS = "checkpoints"
"""The folder of the checkpoints in what `headrace demo --out` keeps."""


class Checkpoints(CheckpointStore, Protocol):
    """A checkpoint store that can also list."""

    def checkpoints(self, application: str) -> Iterator[Checkpoint]:
        """Every checkpoint of the application."""
        ...


class Stores(NamedTuple):
    """Both stores of a deployment."""

    objects: "ObjectStoreOutbox"
    checkpoints: Checkpoints


def open_stores(location: str, checkpoints: str | None) -> Stores:
    """The lake at `location` and the checkpoints that belong to it.

    Args:
        location: the lake, as for `open_objects`.
        checkpoints: `dynamodb:TABLE`, `file:DIR` or a folder's plain path; None is the folder `checkpoints` beside a
            lake that is a folder.

    Raises:
        OptionError: a folder does not exist, or a bucket is named without its table.
        ConfigurationError: a store cannot be opened.
    """
    return Stores(open_objects(location), _open_checkpoints(location, checkpoints))


def open_objects(location: str) -> "ObjectStoreOutbox":
    """The objects of `s3://BUCKET[/PREFIX]`, `file:DIR` or a folder's plain path.

    Raises:
        OptionError: the folder does not exist (`open_lake` would make it).
        ConfigurationError: the store cannot be opened.
    """
    from headrace.objects import open_lake  # noqa: PLC0415 - `--help` must not pay for it

    if location.startswith("s3://"):
        return open_lake(location)
    folder = _folder(location, "a lake is a folder, file:DIR or s3://BUCKET[/PREFIX]")
    return open_lake(f"file:{folder}")


def _open_checkpoints(location: str, checkpoints: str | None) -> Checkpoints:
    if checkpoints is not None and checkpoints.startswith("dynamodb:"):
        from headrace.dynamodb import DynamoDBCheckpointStore  # noqa: PLC0415 - as above

        return DynamoDBCheckpointStore(checkpoints.removeprefix("dynamodb:"))
    if checkpoints is None and location.startswith("s3://"):
        raise OptionError(f"where are the checkpoints of {location}? name them with --checkpoints dynamodb:TABLE")
    from headrace.folder import FolderCheckpointStore  # noqa: PLC0415 - as above

    place = checkpoints or str(Path(location.removeprefix("file:"), CHECKPOINTS))
    return FolderCheckpointStore(_folder(place, "checkpoints are in a folder, file:DIR or dynamodb:TABLE"))


def _folder(place: str, forms: str) -> Path:
    folder = Path(place.removeprefix("file:"))
    if not folder.is_dir():
        raise OptionError(f"{place}: no such folder ({forms})")
    return folder
