"""Tumbling windows and sessions once more, by SQL over the raw payloads: DuckDB shares nothing with oracle or library.

Windows are worked out from the log, the ticks and the rules alone. For sessions SQL is told which events were in time,
and finds the sessions by their gaps; where a watermark closed a session that a later event would have joined, gaps
cannot tell, and the user's sessions are counted as `split`, not compared.
"""

from collections import Counter, defaultdict
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
from chaos.oracle import Row
from chaos.verdict import Judged

_RECORDS = pa.schema(
    [
        *((name, pa.int64()) for name in ("place", "seq", "timestamp_ms", "tick_ms")),
        *((name, pa.int64()) for name in ("window_ms", "gap_ms", "disorder_ms", "lateness_ms", "skew_ms")),
        ("payload", pa.string()),
        ("in_session", pa.bool_()),
    ]
)
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
    select events.*, mark, cast(floor(at_ms / window_ms::double) as bigint) * window_ms as start_ms
    from events join before using (place, seq)
)
select place, start_ms, start_ms + any_value(window_ms), page, count(*), sum(amount)
from placed
where mark is null or start_ms + window_ms + lateness_ms > mark
group by place, start_ms, page
"""
_SESSIONS = """
with gaps as (
    select *, at_ms - lag(at_ms) over (partition by place, user_id order by at_ms, seq) as silence_ms
    from events where in_session
), numbered as (
    select *, count_if(silence_ms is null or silence_ms > gap_ms) over (
        partition by place, user_id order by at_ms, seq
    ) as session
    from gaps
)
select place, min(at_ms), max(at_ms) + any_value(gap_ms), user_id, count(*),
       arg_min(page, (at_ms, seq)), arg_max(page, (at_ms, seq))
from numbered
group by place, user_id, session
"""


class Case(NamedTuple):
    """One partition of one schedule."""

    seed: int
    judged: Judged


class Opinion(NamedTuple):
    """What SQL says of the cases."""

    confirmed: Counter[str]
    """Rows by table; `split` are sessions that were not compared."""
    differences: list[tuple[int, str]]
    """Seed and what differs."""


def opinion(cases: list[Case]) -> Opinion:
    """Work the cases out by SQL, all at once, and compare with the oracle's rows."""
    columns: dict[str, list[Any]] = {name: [] for name in _RECORDS.names}
    for place, case in enumerate(cases):
        for row in _rows(place, case.judged):
            for name, value in zip(columns, row, strict=True):
                columns[name].append(value)
    with duckdb.connect() as connection:
        connection.register("records", pa.table(columns, schema=_RECORDS))
        connection.execute(_READ)
        windows = _by_place(connection.execute(_WINDOWS).fetchall())
        sessions = _by_place(connection.execute(_SESSIONS).fetchall())
    found = Opinion(Counter(), [])
    for place, case in enumerate(cases):
        _compare(case, windows[place], sessions[place], found)
    return found


def _rows(place: int, judged: Judged) -> list[tuple[Any, ...]]:
    accepted = {event.record.offset for table, event in judged.expected.accepted if table == "sessions"}
    rows: list[tuple[Any, ...]] = [
        (
            *(place, 2 * record.offset + 1, record.timestamp_ms, None, *judged.rules),
            record.value.decode() if record.value is not None else None,
            record.offset in accepted,
        )
        for record in judged.records
    ]
    ticks = [(place, 2 * tick.next_offset, None, tick.watermark_ms, *judged.rules) for tick in judged.expected.ticks]
    return rows + [(*tick, None, False) for tick in ticks]


def _by_place(rows: list[tuple[Any, ...]]) -> defaultdict[int, Counter[Row]]:
    found: defaultdict[int, Counter[Row]] = defaultdict(Counter)
    for place, *row in rows:
        found[place][tuple(row)] += 1
    return found


def _compare(case: Case, windows: Counter[Row], sessions: Counter[Row], found: Opinion) -> None:
    tables = case.judged.expected.tables
    split = _split_users(tables["sessions"])
    opinions = {
        "pages": (windows, _without_place(tables["pages"])),
        "sessions": (_of_others(sessions, split), _of_others(_without_place(tables["sessions"]), split)),
    }
    for table, (by_sql, by_oracle) in opinions.items():
        found.confirmed[table] += (by_sql & by_oracle).total()
        if by_sql != by_oracle:
            text = f"{table}: SQL has {list(by_sql - by_oracle)}, the oracle {list(by_oracle - by_sql)}"
            found.differences.append((case.seed, text))
    found.confirmed["split"] += tables["sessions"].total() - opinions["sessions"][1].total()


def _without_place(rows: Counter[Row]) -> Counter[Row]:
    return Counter({row[:-2]: count for row, count in rows.items()})


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
