"""What S3 announces through EventBridge: which file of the alerts was published, and its rows."""

import io
from collections.abc import Callable
from typing import Any

import msgspec
from arro3.io import read_parquet

from headrace import lake
from headrace.alerts import FIELDS
from headrace.errors import EventError, FileMissing, FileUnreadable, ForeignObject, ObjectMissing

Row = dict[str, Any]
"""A row of the table, by column."""

MAX_BYTES = 64 * 1024 * 1024
"""Of a file: far more than the alerts of one commit take."""


class _Object(msgspec.Struct):
    key: str
    size: int = 0


class _Bucket(msgspec.Struct):
    name: str


class _Detail(msgspec.Struct):
    bucket: _Bucket
    object: _Object


class _Event(msgspec.Struct):
    """See "EventBridge event message structure" in the S3 user guide; keys are not URL-encoded there."""

    source: str
    kind: str = msgspec.field(name="detail-type")
    detail: _Detail


class File(msgspec.Struct, frozen=True):
    """A published file of alerts."""

    key: str
    """In the lake."""
    name: lake.FileName


def announced(event: Any, lake_url: str, table: str) -> File:
    """The file that the event is about.

    Args:
        event: of EventBridge.
        lake_url: `s3://BUCKET[/PREFIX]`, where files may be.
        table: whose files they may be, `PIPELINE/TABLE`.

    Raises:
        EventError: it is no "Object Created" of S3.
        ForeignObject: the object is not in the lake, is no published file, is another table's, or is too large.
    """
    try:
        found = msgspec.convert(event, _Event)
    except msgspec.ValidationError as error:
        raise EventError(f"not an event of S3 through EventBridge: {error}") from None
    if (found.source, found.kind) != ("aws.s3", "Object Created"):
        raise EventError(f"{found.source!r} {found.kind!r} is no 'Object Created' of 'aws.s3'")
    return _file(found.detail, lake_url, table)


def _file(detail: _Detail, lake_url: str, table: str) -> File:
    what = f"object {detail.object.key[:300]!r} in bucket {detail.bucket.name!r}"
    bucket, _, prefix = lake_url.removeprefix("s3://").partition("/")
    folder = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    if detail.bucket.name != bucket or not detail.object.key.startswith(folder):
        raise ForeignObject(f"{what} is not in the lake, {lake_url}")
    key = detail.object.key.removeprefix(folder)
    name = lake.read_final_key(key)
    if name is None:
        raise ForeignObject(f"{what} has no name that a pipeline publishes files under")
    if f"{name.pipeline}/{name.table}" != table:
        raise ForeignObject(f"{what} is a file of {name.pipeline}/{name.table}, not of {table}")
    if detail.object.size > MAX_BYTES:
        raise ForeignObject(f"{what} has {detail.object.size} bytes, more than {MAX_BYTES}: no commit makes such files")
    return File(key, name)


def rows_of(file: File, read: Callable[[str], bytes]) -> list[Row]:
    """The alerts in a file, in its order.

    Args:
        file: that was announced.
        read: an object of the lake by its key.

    Raises:
        FileMissing: it is gone.
        FileUnreadable: it is no Parquet file, or it lacks a column.
        InfrastructureError: it cannot be read now.
    """
    try:
        content = read(file.key)
    except ObjectMissing:
        raise FileMissing(f"{file.key} was announced and is not there: it expired, or somebody deleted it") from None
    names = [field.name for field in FIELDS]
    rows: list[Row] = []
    try:
        for batch in read_parquet(io.BytesIO(content)):
            columns = [batch.column(name).to_pylist() for name in names]
            rows += [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
    except BaseException as error:
        # arro3 answers damaged files with a bare Exception or a panic, which is not even one.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise FileUnreadable(f"{file.key} is no file of alerts: {type(error).__name__}: {error}") from error
    return rows
