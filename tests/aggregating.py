"""Aggregates at work: events into the row of a window, snapshots in between, partial rows into one by SQL."""

from itertools import pairwise

import duckdb
import msgspec
import pyarrow as pa

from headrace import lake

DATABASE = duckdb.connect()
"""One for all: opening it takes longer than a query."""
OTHER = "another window's"


def state_of(aggregate, events, *, cuts=()):
    """The state of `(time, value)` events, stored, read back and restored before each event that is in `cuts`."""
    events = list(events)
    columns = [[scalar] for scalar in aggregate.initial()]
    edges = sorted({0, len(events), *(min(cut, len(events)) for cut in cuts)})
    for start, end in pairwise(edges):
        if start:
            columns = snapshot_and_back(aggregate, columns)
        columns = [[OTHER, *column] for column in columns]
        times_ms, values = zip(*events[start:end], strict=True)
        aggregate.add(columns, [1] * len(values), values, times_ms)
        assert [column.pop(0) for column in columns] == [OTHER] * len(columns)
    return tuple(column[0] for column in columns)


def snapshot_and_back(aggregate, columns):
    stored = aggregate.stored(columns, range(len(columns[0])))
    return aggregate.restored(msgspec.msgpack.decode(msgspec.msgpack.encode(stored)))


def stored(aggregate, state):
    """The bytes of a state in a snapshot."""
    return msgspec.msgpack.encode(aggregate.stored([[scalar] for scalar in state], [0]))


def result_of(aggregate, *values):
    """The result of values that come one millisecond after the other."""
    return aggregate.result(state_of(aggregate, enumerate(values)))


def merged_by_sql(aggregate, field_type, partitions):
    """The merged result of each partition's partial row."""
    states = [state_of(aggregate, events) for events in partitions if events]
    columns = [("it", aggregate.result_type(field_type)), *aggregate.partials("it", field_type)]
    rows = [(aggregate.result(state), *partial_of(aggregate, state)) for state in states]
    partial_rows = pa.table(
        {
            name: pa.array(lake.column(list(values), kind))
            for (name, kind), values in zip(columns, zip(*rows, strict=True), strict=True)
        }
    )
    DATABASE.register("partial_rows", partial_rows)
    ((merged,),) = DATABASE.execute(f"select {aggregate.merged('it')} from partial_rows").fetchall()
    return merged


def partial_of(aggregate, state):
    """What a partial row has beside the result."""
    return tuple(column[0] for column in aggregate.partial_columns([[scalar] for scalar in state]))
