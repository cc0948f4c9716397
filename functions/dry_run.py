"""What a handler would have written, printed: for `sam local invoke` with a sample event and no AWS at all."""

import io
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import msgspec
from arro3.io import read_parquet

import stores
from headrace.lake import LAKE
from headrace.outbox import ObjectCatalog
from headrace.settings import Settings

Handler = Callable[[Any, Any], dict[str, int]]


def show_rows(settings: Settings) -> Callable[[Handler], Handler]:
    """A decorator that prints the rows of each invocation as JSON lines; outside a dry run it does nothing."""

    def decorate(handler: Handler) -> Handler:
        if not settings.dry_run:
            return handler

        @wraps(handler)
        def shown(event: Any, context: Any) -> dict[str, int]:
            answer = handler(event, context)
            outbox = stores.outbox(settings)
            for line in _lines(outbox):
                print(line)  # noqa: T201 - printing is what a dry run is for
            return answer

        return shown

    return decorate


def _lines(objects: ObjectCatalog) -> Iterator[str]:
    """The rows of all published files, which are then forgotten: the next invocation shows its own only."""
    keys = list(objects.keys(f"{LAKE}/"))
    for key in keys:
        pipeline, table = key.split("/")[1:3]
        for batch in read_parquet(io.BytesIO(objects.read(key))):
            columns = [batch.column(name).to_pylist() for name in batch.schema.names]
            for values in zip(*columns, strict=True):
                row = dict(zip(batch.schema.names, map(_readable, values), strict=True))
                yield msgspec.json.encode({"table": f"{pipeline}/{table}", "row": row}).decode()
    objects.delete(keys)


def _readable(value: Any) -> Any:
    """Bytes as text where they are text, headers too; else msgspec shows them in base64."""
    if isinstance(value, list):
        return [_readable(item) for item in value]
    if isinstance(value, dict):
        return {name: _readable(item) for name, item in value.items()}
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
