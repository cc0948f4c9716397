"""Whether files can be copied into a table: whether their columns are the table's, as they are."""

import re

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import pyarrow_to_schema, schema_to_pyarrow
from pyiceberg.schema import Schema
from pyiceberg.table.name_mapping import NameMapping

from headrace_iceberg.columns import RESERVED
from headrace_iceberg.encoding import empty_file

_ID = re.compile(r"field_id=-?\d+ ")


class Layouts:
    """What was found out about files' columns, at one state of the table's."""

    def __init__(self, table: Schema, names: NameMapping) -> None:
        self._table, self._names = _described(table), names
        self._known: dict[str, bytes | None] = {}

    def empty_like(self, columns: pq.ParquetSchema) -> bytes | None:
        """An empty file of these columns and their ids in the table; None if the table has other ones."""
        text = in_words(columns)
        if text not in self._known:
            self._known[text] = self._with_ids(columns.to_arrow_schema(), text)
        return self._known[text]

    def _with_ids(self, columns: pa.Schema, text: str) -> bytes | None:
        schema = pyarrow_to_schema(columns, self._names, downcast_ns_timestamp_to_us=True)
        described = {number: (RESERVED.get(name, name), kind) for number, (name, kind) in _described(schema).items()}
        if described != self._table or "." in text:  # a path of names with dots is ambiguous
            return None
        empty = empty_file(schema_to_pyarrow(schema, include_field_ids=True))
        # Of several ways to store a type pyarrow's may not be the file's; and a time may have another unit.
        same = in_words(pq.read_metadata(pa.BufferReader(empty)).schema) == text
        return empty.to_pybytes() if same else None


def in_words(columns: pq.ParquetSchema) -> str:
    """All that there is to say about columns, except their ids: the same for files whose pages can be mixed."""
    _, _, fields = str(columns).partition("{")
    return _ID.sub("", fields)


def _described(schema: Schema) -> dict[int, tuple[str, str]]:
    """The columns by id, whether they are optional or not."""
    fields = {number: schema.find_field(number) for number in schema.field_ids}
    return {
        number: (
            schema.find_column_name(number) or "",
            str(field.field_type) if field.field_type.is_primitive else type(field.field_type).__name__,
        )
        for number, field in fields.items()
    }
