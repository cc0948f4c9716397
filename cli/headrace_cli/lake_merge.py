"""Partial rows merged over partitions, by the aggregates' own `merge`: what an SQL engine does, and sketches too.

An hour at a time: a window's start decides its hour, so that all rows of one window are in one hour's folder. Sessions
of a key that overlap or touch are one; those that reach into a later hour are kept until it has been read.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple, Protocol

import msgspec
from arro3.core import DataType, RecordBatch

from headrace.aggregates import Aggregate, Count, First, Last, Max, Mean, Min, State, Sum
from headrace.distinct_count import DistinctCount
from headrace.lake import column
from headrace.quantiles import Quantile, Quantiles
from headrace.sample_values import Samples
from headrace.top_k import TopK
from headrace_cli.lake_reader import LakeObjects, TableFile, file_batches
from headrace_cli.lake_windows import Merging, WindowedTable, check_same

Key = tuple[Any, ...]
States = Sequence[State]
"""One for each aggregate."""
Merge = Callable[[States, States], States]
Hours = Iterable[tuple[str, list[TableFile]]]


class Part(NamedTuple):
    """What one partition has of a window, or what several have together."""

    start: datetime
    end: datetime
    key: Key
    states: States


class Column(NamedTuple):
    """A result column: how the partial rows of it merge."""

    name: str
    aggregate: Aggregate
    sources: tuple[str, ...]
    """The columns whose values are the scalars of a state."""
    sketch_of: DataType | None
    """The column's type, if its states are sketches: those keep values as they were decoded, times as integers."""


_OWN, _TIMED, _SKETCH = ("{}",), ("{}", "{}__at"), ("{}__sketch",)
_KINDS: dict[str, tuple[type[Any], tuple[str, ...]]] = {
    kind.__name__: (kind, sources)
    for sources, kinds in (
        (_OWN, (Count, Sum, Min, Max)),
        (_TIMED, (First, Last)),
        (("{}__sum", "{}__count"), (Mean,)),
        (_SKETCH, (DistinctCount, Quantile, Quantiles, Samples, TopK)),
    )
    for kind in kinds
}
"""The library's aggregates, and the columns that hold the scalars of their states."""


def columns(table: WindowedTable, merging: Merging) -> tuple[list[Column], list[str]]:
    """The columns that can be merged here, and the names of those that cannot: aggregates that a function brought."""
    found: list[Column] = []
    left_out = []
    for name, (kind, members) in merging.aggregates.items():
        try:
            of_kind, sources = _KINDS[kind]
            aggregate = msgspec.convert(members, of_kind)
        except (KeyError, msgspec.ValidationError):  # not the library's, or of another version of it
            left_out.append(name)
            continue
        sketch_of = table.schema.field(name).type if sources is _SKETCH else None
        found.append(Column(name, aggregate, tuple(source.format(name) for source in sources), sketch_of))
    return found, left_out


def by_hour(files: Sequence[TableFile]) -> list[tuple[str, list[TableFile]]]:
    """The files of each hour."""
    return [(hour, list(group)) for hour, group in groupby(files, attrgetter("hour"))]


def merged_rows(
    objects: LakeObjects, table: WindowedTable, known: Sequence[Column], hours: Hours, *, only_hour: str | None = None
) -> Iterator[dict[str, Any]]:
    """The merged rows, oldest hour first. Memory grows with the windows of an hour.

    Args:
        objects: the lake.
        table: whose rows.
        known: the result columns.
        hours: the files by hour, ascending.
        only_hour: only rows that start in this hour; of sessions `hours` must have the earlier ones too.

    Raises:
        CommandError: a file cannot be read, or does not fit the others.
    """
    merge = partial(_merged, [each.aggregate for each in known])
    windows: _Windows = _Sessions(merge) if table.bounds == "session" else _FixedWindows(merge)
    names = [*table.bound_columns, *table.key_columns, *(each.name for each in known)]
    for hour, files in hours:
        for part in windows.finished_before(hour):
            if _starts_in(only_hour, part):
                yield dict(zip(names, _values(known, part), strict=True))
        if only_hour is not None and hour > only_hour and not any(_starts_in(only_hour, p) for p in windows.open()):
            return
        for file in files:
            windows.add(_parts(objects, table, known, file))
    for part in windows.finished_before(None):
        if _starts_in(only_hour, part):
            yield dict(zip(names, _values(known, part), strict=True))


def _values(known: Sequence[Column], part: Part) -> Iterator[Any]:
    yield from (part.start, part.end, *part.key)
    for each, state in zip(known, part.states, strict=True):
        result = each.aggregate.result(state)
        yield result if each.sketch_of is None else column([result], each.sketch_of).to_pylist()[0]


def _starts_in(hour: str | None, part: Part) -> bool:
    return hour is None or f"{part.start:%Y-%m-%dT%H}" == hour


class _Windows(Protocol):
    """Where partial rows meet."""

    def add(self, parts: Iterable[Part]) -> None:
        """Take the rows of one file in."""
        ...

    def finished_before(self, hour: str | None) -> Iterator[Part]:
        """Hand out what no row of this hour, or a later one, can change; None: everything."""
        ...

    def open(self) -> Iterable[Part]:
        """What the last call kept."""
        ...


class _FixedWindows:
    """Rows of the same bounds and key are one; all of them are in one hour's folder."""

    def __init__(self, merge: Merge) -> None:
        self._merge = merge
        self._parts: dict[tuple[datetime, datetime, Key], Part] = {}

    def add(self, parts: Iterable[Part]) -> None:
        known = self._parts
        for part in parts:
            place = part[:3]
            other = known.get(place)
            known[place] = part if other is None else Part(*place, self._merge(other.states, part.states))

    def finished_before(self, hour: str | None) -> Iterator[Part]:
        parts, self._parts = self._parts, {}
        yield from sorted(parts.values(), key=itemgetter(0))

    def open(self) -> Iterable[Part]:
        return self._parts.values()


class _Sessions:
    """Rows of a key that overlap or touch are one.

    partition 0   [10 ------ 30)          [50 -- 60)
    partition 1             [30 - 40)
    merged        [10 ---------- 40)      [50 -- 60)
    """

    def __init__(self, merge: Merge) -> None:
        self._merge = merge
        self._arrived: list[Part] = []
        self._open: dict[Key, Part] = {}

    def add(self, parts: Iterable[Part]) -> None:
        self._arrived += parts

    def finished_before(self, hour: str | None) -> Iterator[Part]:
        done = self._joined()
        hour_starts = None if hour is None else datetime.fromisoformat(f"{hour}:00:00+00:00")
        ended = [key for key, part in self._open.items() if hour_starts is None or part.end < hour_starts]
        done += [self._open.pop(key) for key in ended]
        yield from sorted(done, key=itemgetter(0))

    def open(self) -> Iterable[Part]:
        return self._open.values()

    def _joined(self) -> list[Part]:
        """Continue the open sessions with what arrived; those that another one of their key followed are over."""
        arrived, self._arrived = sorted(self._arrived, key=itemgetter(0)), []
        over = []
        for part in arrived:
            last = self._open.get(part.key)
            if last is not None and part.start <= last.end:
                states = self._merge(last.states, part.states)
                self._open[part.key] = Part(last.start, max(last.end, part.end), part.key, states)
                continue
            if last is not None:
                over.append(last)
            self._open[part.key] = part
        return over


def _parts(objects: LakeObjects, table: WindowedTable, known: Sequence[Column], file: TableFile) -> Iterator[Part]:
    for batch in file_batches(objects, file, partial(check_same, table, file)):
        starts, ends = (batch.column(name).to_pylist() for name in table.bound_columns)
        keys = _tuples(batch, table.key_columns)
        states: Iterable[States] = [()] * batch.num_rows
        if known:
            states = zip(*(_tuples(batch, each.sources) for each in known), strict=True)
        yield from map(Part, starts, ends, keys, states)


def _tuples(batch: RecordBatch, names: Sequence[str]) -> list[tuple[Any, ...]]:
    if not names:
        return [()] * batch.num_rows
    return list(zip(*(batch.column(name).to_pylist() for name in names), strict=True))


def _merged(of: Sequence[Aggregate], earlier: States, later: States) -> States:
    return [aggregate.merge(a, b) for aggregate, a, b in zip(of, earlier, later, strict=True)]
