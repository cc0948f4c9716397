"""The stores of a deployment as a command names them: a run's folder, or a bucket and a table."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from headrace.checkpoint import Checkpoint, CheckpointStore, OnCorrupt, raise_corrupt
from headrace_cli.errors import OptionError

if TYPE_CHECKING:
    from headrace.objects import ObjectStoreOutbox

APPLICATION = "headrace"
"""HEADRACE_APPLICATION in template.yaml."""
CHECKPOINTS = "checkpoints"
"""The folder of the checkpoints in what `headrace demo --out` keeps."""


class Checkpoints(CheckpointStore, Protocol):
    """A checkpoint store that can also list."""

    def checkpoints(self, application: str, on_corrupt: OnCorrupt = raise_corrupt) -> Iterator[Checkpoint]:
        """See `CheckpointCatalog.checkpoints`."""
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

    return open_lake(lake_url(location))


def lake_url(location: str) -> str:
    """The lake as the functions' HEADRACE_LAKE names it. Raises as `open_objects`."""
    if location.startswith("s3://"):
        return location
    return _folder_url(location, "a lake is a folder, file:DIR or s3://BUCKET[/PREFIX]")


def checkpoints_url(location: str, checkpoints: str | None) -> str:
    """The checkpoints as the functions' HEADRACE_CHECKPOINTS names them. Arguments and errors as of `open_stores`."""
    if checkpoints is not None and checkpoints.startswith("dynamodb:"):
        return checkpoints
    if checkpoints is None and location.startswith("s3://"):
        raise OptionError(f"where are the checkpoints of {location}? name them with --checkpoints dynamodb:TABLE")
    place = checkpoints or str(Path(location.removeprefix("file:"), CHECKPOINTS))
    return _folder_url(place, "--checkpoints names another one, file:DIR or dynamodb:TABLE")


def _open_checkpoints(location: str, checkpoints: str | None) -> Checkpoints:
    scheme, _, place = checkpoints_url(location, checkpoints).partition(":")
    if scheme == "dynamodb":
        from headrace.dynamodb import DynamoDBCheckpointStore  # noqa: PLC0415 - as above

        return DynamoDBCheckpointStore(place)
    from headrace.folder import FolderCheckpointStore  # noqa: PLC0415 - as above

    return FolderCheckpointStore(Path(place))


def _folder_url(place: str, forms: str) -> str:
    folder = Path(place.removeprefix("file:"))
    if not folder.is_dir():
        raise OptionError(f"{place}: no such folder ({forms})")
    return f"file:{folder.absolute()}"
