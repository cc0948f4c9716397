"""A file's rows as the table's columns: pyiceberg's projection by field ids, with nulls that stay null."""

import pyarrow as pa
from pyiceberg.io.pyarrow import ArrowAccessor, ArrowProjectionVisitor
from pyiceberg.schema import Schema, visit_with_partner
from pyiceberg.types import ListType, MapType


def project(table: Schema, file: Schema, batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with the table's columns, in their order.

    Args:
        table: the columns wanted.
        file: the batch's own, with the ids that they have in the table.
        batch: rows.
    """
    visitor = _KeepingNulls(file, downcast_ns_timestamp_to_us=True, include_field_ids=False)
    return pa.RecordBatch.from_struct_array(visit_with_partner(table, batch, visitor, ArrowAccessor(file)))


class _KeepingNulls(ArrowProjectionVisitor):
    """pyiceberg (0.12) puts arrays and maps of records together anew, from their offsets alone: null becomes empty."""

    def list(self, list_type: ListType, list_array: pa.Array | None, value_array: pa.Array | None) -> pa.Array | None:
        found = super().list(list_type, list_array, value_array)
        if found is None or list_array is None or found.null_count == list_array.null_count:
            return found
        return pa.ListArray.from_arrays(found.offsets, found.values, type=found.type, mask=list_array.is_null())

    def map(
        self, map_type: MapType, map_array: pa.Array | None, key_result: pa.Array | None, value_result: pa.Array | None
    ) -> pa.Array | None:
        found = super().map(map_type, map_array, key_result, value_result)
        if found is None or map_array is None or found.null_count == map_array.null_count:
            return found
        return pa.MapArray.from_arrays(found.offsets, found.keys, found.items, found.type, mask=map_array.is_null())
