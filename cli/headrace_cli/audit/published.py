"""The lake as any reader finds it: Parquet files by table, topic and partition, read without the library's help."""

import io
import re
from collections.abc import Callable, Iterable
from typing import Any

from arro3.core import DataType
from arro3.io import read_parquet
from obstore.store import LocalStore, S3Store

Row = dict[str, Any]
"""Column name to value. Times are epoch milliseconds."""
Place = tuple[str, str, int]
"""Table, topic and partition."""
SeeRows = Callable[[str, list[Row]], None]

_KEY = re.compile(
    r"lake/(?P<table>[^/]+/[^/]+)/date=[^/]+/hour=[^/]+/"
    r"[a-z0-9_]+-(?P<topic>.+)-(?P<partition>\d+)-\d+-\d+\.parquet"
)


class PublishedLake:
    """What the store holds now; the files are listed once."""

    def __init__(self, store: S3Store | LocalStore, on_rows: SeeRows = lambda _table, _rows: None) -> None:
        """List the files.

        Args:
            store: the root of the lake.
            on_rows: sees whatever is read, with its table's name.

        Raises:
            ValueError: a published file has a name that no table has.
        """
        self._store = store
        self._on_rows = on_rows
        self._keys: dict[Place, list[str]] = {}
        for page in store.list("lake"):
            for meta in page:
                self._keys.setdefault(_place(meta["path"]), []).append(meta["path"])

    def files(self) -> dict[str, int]:
        """The number of files of each table."""
        found: dict[str, int] = {}
        for (table, _, _), keys in self._keys.items():
            found[table] = found.get(table, 0) + len(keys)
        return dict(sorted(found.items()))

    def places(self) -> Iterable[Place]:
        """What there are files of."""
        return self._keys.keys()

    def rows(self, table: str, topic: str, partition: int) -> list[Row]:
        """Every row of the partition in the table."""
        rows = [row for key in self._keys.get((table, topic, partition), ()) for row in self._rows_of(key)]
        self._on_rows(table, rows)
        return rows

    def _rows_of(self, key: str) -> list[Row]:
        rows: list[Row] = []
        for batch in read_parquet(io.BytesIO(self._store.get(key).bytes())):
            names = batch.schema.names
            columns = [_values(batch.column(name), batch.schema.field(name).type) for name in names]
            rows += [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
        return rows


def _place(key: str) -> Place:
    match = _KEY.fullmatch(key)
    if match is None:
        raise ValueError(f"{key} is no file of any table")
    return match["table"], match["topic"], int(match["partition"])


def _values(column: Any, arrow_type: DataType) -> list[Any]:
    if DataType.is_timestamp(arrow_type):
        # Landed times are microseconds in the files; what is expected of the demo's records is in milliseconds.
        column = column.cast(DataType.timestamp("ms", tz=arrow_type.tz)).cast(DataType.int64())
    values: list[Any] = column.to_pylist()
    return values
