"""Where a run on this machine keeps checkpoints and lake: AWS's server in this process, or a folder that stays."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from obstore.store import LocalStore, S3Store

from headrace.checkpoint import Checkpoint, CheckpointCatalog
from headrace_cli.audit.audit import Books
from headrace_cli.errors import CommandError
from headrace_cli.stores import CHECKPOINTS

if TYPE_CHECKING:
    from headrace_cli.local.aws_endpoint import AwsEndpoint
    from headrace_cli.local.aws_server import LocalAws

# The local server knows no profiles, but a profile that does not exist stops every AWS client.
_PROFILE_VARIABLES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")


class LocalStores(NamedTuple):
    """Both stores of a run."""

    environment: Mapping[str, str]
    """What tells a function where they are."""
    checkpoints: CheckpointCatalog
    objects: S3Store | LocalStore
    """The root of the lake."""

    def books(self, application: str) -> list[Books]:
        """What every checkpoint says."""
        return [_books(checkpoint) for checkpoint in self.checkpoints.checkpoints(application)]


@contextmanager
def open_stores(out: Path | None) -> Iterator[LocalStores]:
    """The stores in the folder `out`, which stay, or those of a server that ends with the context.

    Raises:
        CommandError: the folder cannot be used, or has something in it already.
    """
    if out is not None:
        yield _in_folder(out)
        return
    for name in _PROFILE_VARIABLES:
        os.environ.pop(name, None)
    # Here, because it takes two seconds that a wrong option need not cost.
    from headrace_cli.local.aws_server import LocalAws  # noqa: PLC0415

    with LocalAws() as aws:
        yield on_servers(aws, aws)


def on_servers(aws: "LocalAws", dynamodb: "AwsEndpoint") -> LocalStores:
    """The lake in the first server's bucket, the checkpoints in the second one's table."""
    from headrace.dynamodb import DynamoDBCheckpointStore  # noqa: PLC0415 - boto3, which a wrong option need not cost

    environment = {
        **aws.environment,
        # The user's own, for these two services, would win over the general one: never write there.
        "AWS_ENDPOINT_URL_S3": aws.endpoint,
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        "HEADRACE_CHECKPOINTS": f"dynamodb:{dynamodb.table}",
        "HEADRACE_LAKE": f"s3://{aws.bucket}",
    }
    bucket = S3Store(
        aws.bucket,
        endpoint=aws.endpoint,
        region=environment["AWS_REGION"],
        access_key_id=environment["AWS_ACCESS_KEY_ID"],
        secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        client_options={"allow_http": True},
    )
    return LocalStores(environment, DynamoDBCheckpointStore(dynamodb.table, dynamodb.client("dynamodb")), bucket)


def _in_folder(out: Path) -> LocalStores:
    from headrace.folder import FolderCheckpointStore  # noqa: PLC0415 - as above

    checkpoints = out.absolute() / CHECKPOINTS
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise CommandError(f"--out {out}: the folder is not empty; name a new one, or empty it")
        checkpoints.mkdir()
    except OSError as error:
        raise CommandError(f"--out {out}: {error.strerror}") from error
    environment = {"HEADRACE_CHECKPOINTS": f"file:{checkpoints}", "HEADRACE_LAKE": f"file:{out.absolute()}"}
    return LocalStores(environment, FolderCheckpointStore(checkpoints), LocalStore(out.absolute()))


def _books(checkpoint: Checkpoint) -> Books:
    key, totals = checkpoint.key, checkpoint.totals
    return Books(
        pipeline=key.pipeline,
        topic=key.topic,
        partition=key.partition,
        base_offset=checkpoint.base_offset,
        next_offset=checkpoint.next_offset,
        applied=totals.get("applied", 0),
        dead=totals.get("dead", 0),
        late=totals.get("late", 0),
        gaps=totals.get("gaps", 0),
        unpublished=checkpoint.pending,
        open_windows=checkpoint.open_until_ms is not None,
    )
