"""Published files for tests that read a lake: a row each, of any columns and hour."""

from arro3.core import Array, DataType, Field

from headrace import lake
from headrace.lake import LakeTable, Rows

HOUR_MS = 3_600_000


def column(name, kind, doc=None):
    return Field(name, kind, nullable=True, metadata={"doc": doc} if doc else None)


def file_of(
    table, hour_ms, fields, values=None, *, merge=None, pipeline="landing", generation="1", version=1, number=0
):
    """Key and bytes of a file with one row; its values are null unless given."""
    lake_table = LakeTable(table, tuple(fields), complete=merge is None, merge=merge)
    columns = [_column((values or {}).get(each.name), each.type) for each in fields]
    (part,) = lake.split(Rows(lake_table, [hour_ms], columns))
    made = lake.encode(part, {})
    key = lake.final_key(
        made, pipeline=pipeline, generation=generation, topic="t", partition=0, version=version, number=number
    )
    return key, made.content


def _column(value, kind):
    if value is not None:
        return lake.column([value], kind)
    # Taking nothing makes a null of every type.
    return lake.column([], kind).take(Array([None], DataType.uint32()))
