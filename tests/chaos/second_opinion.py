"""Tumbling and hopping windows and sessions once more, by SQL over the raw payloads: DuckDB shares nothing with oracle
or library.

Windows are worked out from the log, the ticks and the rules alone. For sessions SQL is told which events were in time,
and finds the sessions by their gaps; where a watermark closed a session that a later event would have joined, gaps
cannot tell, and the user's sessions are counted as `split`, not compared.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
from chaos.oracle.events import MORE
from chaos.oracle.rules import Declared, Hopping, Row, Sessions, Tumbling
from chaos.verdict import Judged

_RECORDS = pa.schema(
    [
        *((name, pa.int64()) for name in ("place", "seq", "timestamp_ms", "tick_ms", "disorder_ms", "skew_ms")),
        ("payload", pa.string()),
    ]
)
_FIXED = pa.schema(
    [(n, pa.int64()) for n in ("place", "table_id", "size_ms", "advance_ms", "offset_ms", "lateness_ms")]
)
_IN_SESSIONS = pa.schema([(name, pa.int64()) for name in ("place", "table_id", "gap_ms", "seq")])
_READ = """
create temp view events as
select *, (payload->>'$.user') as user_id, (payload->>'$.page') as page,
       (payload->>'$.at')::bigint as at_ms, (payload->>'$.value')::double as amount
from records
where tick_ms is null and json_valid(payload) and json_exists(payload, '$.user')
  and (payload->>'$.at')::bigint <= timestamp_ms + skew_ms
"""
_WINDOWS = """
with progress as (
    select place, seq, at_ms - disorder_ms as watermark from events
    union all select place, seq, tick_ms from records where tick_ms is not null
), before as (
    select place, seq,
           max(watermark) over (
               partition by place order by seq rows between unbounded preceding and 1 preceding
           ) as mark
    from progress
), placed as (
    select *, cast(floor((at_ms - offset_ms) / advance_ms::double) as bigint) * advance_ms + offset_ms as last_ms
    from events join before using (place, seq) join declared using (place)
), hopped as (
    select *, last_ms - unnest(range(size_ms // advance_ms + 1)) * advance_ms as start_ms from placed
)
select place, table_id, start_ms, start_ms + any_value(size_ms), page, count(*), sum(amount)
from hopped
where start_ms + size_ms > at_ms and (mark is null or start_ms + size_ms + lateness_ms > mark)
group by place, table_id, start_ms, page
"""
_SESSIONS = """
with gaps as (
    select *, at_ms - lag(at_ms) over (partition by place, table_id, user_id order by at_ms, seq) as silence_ms
    from events join in_sessions using (place, seq)
), numbered as (
    select *, count_if(silence_ms is null or silence_ms > gap_ms) over (
        partition by place, table_id, user_id order by at_ms, seq
    ) as session
    from gaps
)
select place, table_id, min(at_ms), max(at_ms) + any_value(gap_ms), user_id, count(*),
       arg_min(page, (at_ms, seq)), arg_max(page, (at_ms, seq))
from numbered
group by place, table_id, user_id, session
"""
_COMPARED = {Tumbling: ("events", "value_sum"), Hopping: ("events", "value_sum")}
_OF_SESSIONS = ("events", "first_page", "last_page")


class Case(NamedTuple):
    """One partition of one schedule."""

    seed: int
    judged: Judged


class Opinion(NamedTuple):
    """What SQL says of the cases."""

    confirmed: Counter[str]
    """Rows by kind of window; `split` are sessions that were not compared."""
    differences: list[tuple[int, str]]
    """Seed and what differs."""


def opinion(cases: list[Case]) -> Opinion:
    """Work the cases out by SQL, all at once, and compare with the oracle's rows."""
    with duckdb.connect() as connection:
        for name, schema, rows in (
            ("records", _RECORDS, [row for place, case in enumerate(cases) for row in _records(place, case.judged)]),
            ("declared", _FIXED, [row for place, case in enumerate(cases) for row in _fixed(place, case.judged)]),
            (
                "in_sessions",
                _IN_SESSIONS,
                [r for place, case in enumerate(cases) for r in _sessions(place, case.judged)],
            ),
        ):
            columns = zip(schema, zip(*rows, strict=True), strict=True) if rows else ((field, ()) for field in schema)
            arrays = [pa.array(values, type=field.type) for field, values in columns]
            connection.register(name, pa.table(arrays, schema=schema))
        connection.execute(_READ)
        found_by_sql = _by_table(connection.execute(_WINDOWS).fetchall() + connection.execute(_SESSIONS).fetchall())
    found = Opinion(Counter(), [])
    for place, case in enumerate(cases):
        for table_id, declared in _asked(case.judged):
            _compare(case, declared, found_by_sql[place, table_id], found)
    return found


def _asked(judged: Judged) -> Iterator[tuple[int, Declared]]:
    """The operators that SQL has an opinion about, with their numbers."""
    for table_id, declared in enumerate(judged.rules.operators):
        needed = (
            _OF_SESSIONS if isinstance(declared.window, Sessions) else _COMPARED.get(type(declared.window), ("none",))
        )
        key = ("user",) if isinstance(declared.window, Sessions) else ("page",)
        names = [column.name for column in declared.columns]
        if declared.has_table and declared.key == key and declared.top is None and set(needed) <= set(names):
            yield table_id, declared


def _records(place: int, judged: Judged) -> Iterator[tuple[Any, ...]]:
    rules = (judged.rules.out_of_orderness_ms, judged.rules.max_skew_ms)
    for record in judged.records:
        payload = record.value.decode() if record.value is not None else None
        yield (place, 2 * record.offset + 1, record.timestamp_ms, None, *rules, payload)
    for tick in judged.expected.ticks:
        yield (place, 2 * tick.next_offset, None, tick.watermark_ms, *rules, None)


def _fixed(place: int, judged: Judged) -> Iterator[tuple[int, ...]]:
    for table_id, declared in _asked(judged):
        match declared.window:
            case Tumbling(size_ms, offset_ms):
                yield (place, table_id, size_ms, size_ms, offset_ms, declared.lateness_ms)
            case Hopping(size_ms, advance_ms, offset_ms):
                yield (place, table_id, size_ms, advance_ms, offset_ms, declared.lateness_ms)


def _sessions(place: int, judged: Judged) -> Iterator[tuple[int, ...]]:
    for table_id, declared in _asked(judged):
        if isinstance(declared.window, Sessions):
            for event in judged.expected.operators[declared.table].accepted:
                yield (place, table_id, declared.window.gap_ms, 2 * event.record.offset + 1)


def _by_table(rows: list[tuple[Any, ...]]) -> defaultdict[tuple[int, int], Counter[Row]]:
    found: defaultdict[tuple[int, int], Counter[Row]] = defaultdict(Counter)
    for place, table_id, *row in rows:
        found[place, table_id][tuple(row)] += 1
    return found


def _compare(case: Case, declared: Declared, by_sql: Counter[Row], found: Opinion) -> None:
    is_session = isinstance(declared.window, Sessions)
    rows = case.judged.expected.operators[declared.table].rows
    by_oracle = _projected(rows, declared, _OF_SESSIONS if is_session else _COMPARED[type(declared.window)])
    if is_session:
        split = _split_users(by_oracle)
        by_sql, by_oracle = _of_others(by_sql, split), _of_others(by_oracle, split)
        found.confirmed["split"] += rows.total() - by_oracle.total()
    found.confirmed[declared.kind] += (by_sql & by_oracle).total()
    if by_sql != by_oracle:
        text = f"{declared.table}: SQL has {list(by_sql - by_oracle)}, the oracle {list(by_oracle - by_sql)}"
        found.differences.append((case.seed, text))


def _projected(rows: Counter[Row], declared: Declared, names: tuple[str, ...]) -> Counter[Row]:
    """Bounds, key and the columns of these names."""
    first = 2 + len(declared.key)
    more = [0 if declared.complete else MORE.get(column.what, 0) for column in declared.columns]
    by_name = {column.name: first + n + sum(more[:n]) for n, column in enumerate(declared.columns)}
    found: Counter[Row] = Counter()
    for row, count in rows.items():
        found[(*row[:first], *(row[by_name[name]] for name in names))] += count
    return found


def _split_users(sessions: Counter[Row]) -> set[str]:
    """Users with two sessions that are no more than a gap apart."""
    by_user: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for start_ms, end_ms, user, *_ in sessions.elements():
        by_user[user].append((start_ms, end_ms))
    return {
        user
        for user, found in by_user.items()
        if any(later[0] <= earlier[1] for earlier, later in zip(sorted(found), sorted(found)[1:], strict=False))
    }


def _of_others(rows: Counter[Row], users: set[str]) -> Counter[Row]:
    return Counter({row: count for row, count in rows.items() if row[2] not in users})
