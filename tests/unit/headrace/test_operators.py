"""Windows and sessions: what closes when, what is late, and that cutting changes nothing."""

import itertools
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import PER_PAGE, PER_USER, hit, record, topology

from headrace.aggregates import Count, First, Last, Max, Mean, Min, Sum
from headrace.codec import RawCodec
from headrace.errors import CheckpointCorrupt, ConfigurationError, SchemaError
from headrace.operators import Land, Operator, members
from headrace.records import Record, TopicPartition
from headrace.topology import Logic, Topology
from headrace.window_rows import Top
from headrace.windowed import Windowed
from headrace.windows import SessionWindows, SlidingWindows, TumblingWindows

PLACE = TopicPartition("hits", 0)


def run(logic: Logic, *records: Record) -> dict[str, list[dict[str, Any]]]:
    """The rows per table after applying the records, bounds as epoch milliseconds."""
    logic.apply(records)
    return rows_of(logic)


def rows_of(logic: Logic) -> dict[str, list[dict[str, Any]]]:
    tables: dict[str, list[dict[str, Any]]] = {}
    for rows in logic.rows:
        names = [field.name for field in rows.table.fields]
        columns = [[_plain(value) for value in column.to_pylist()] for column in rows.columns]
        tables.setdefault(rows.table.name, []).extend(
            dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)
        )
    return tables


def _plain(value: Any) -> Any:
    return round(value.timestamp() * 1000) if hasattr(value, "timestamp") else value


def build(*operators: Operator, **settings: int) -> Logic:
    return topology(*operators, **settings).build(PLACE, None)


def saved(logic: Logic) -> list[bytes]:
    """The state as a whole, as a chain."""
    state = logic.save(may_extend=False)
    return [state.content] if state else []


def picked(rows: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in rows]


WINDOW = ("window_start", "window_end", "page", "events", "value_sum")
SESSION = ("session_start", "session_end", "user", "events", "first_page", "last_page")


def test_a_window_closes_when_the_watermark_reaches_its_end() -> None:
    """Events     1    9 | 10
    window    [0 ---- 10)          closed by 10, which belongs to the next one
    """
    tables = run(build(PER_PAGE), hit(0, 1, value=1.5), hit(1, 9, value=2.0), hit(2, 10))
    assert picked(tables["pages"], *WINDOW) == [(0, 10, "/", 2, 3.5)]


def test_out_of_orderness_holds_the_watermark_back() -> None:
    """Events     1    14 | 3 | 15    out of orderness 5: 3 is in time, 15 closes the window"""
    logic = build(PER_PAGE, out_of_orderness_ms=5)
    tables = run(logic, hit(0, 1), hit(1, 14), hit(2, 3), hit(3, 15))
    assert picked(tables["pages"], *WINDOW) == [(0, 10, "/", 2, None)]
    assert logic.watermark_ms == 10
    assert logic.late == 0


@pytest.mark.parametrize(("lateness_ms", "late"), [(0, 1), (2, 1), (3, 0)])
def test_a_record_is_late_when_its_window_had_closed_before_it(lateness_ms: int, late: int) -> None:
    """Events     1    12 | 5         the watermark is 12: the window is closed unless lateness > 2"""
    logic = build(PER_PAGE, allowed_lateness_ms=lateness_ms)
    tables = run(logic, hit(0, 1), hit(1, 12), hit(2, 5))
    assert logic.late == late
    if late:
        (row,) = tables["late"]
        expected = ("pages", 5, 0, 10, 12, 2)
        assert picked([row], "operator", "event_time", "window_start", "window_end", "watermark", "_offset") == [
            expected
        ]


def test_lateness_is_decided_per_record_not_per_batch() -> None:
    """The record that moves the watermark makes later ones of its own batch late."""
    logic = build(PER_PAGE)
    tables = run(logic, hit(0, 1), hit(1, 30), hit(2, 2), hit(3, 31))
    assert logic.late == 1
    assert picked(tables["pages"], *WINDOW) == [(0, 10, "/", 1, None)]


def test_windows_before_the_epoch_have_negative_starts() -> None:
    tables = run(build(PER_PAGE), hit(0, -1), hit(1, 0))
    assert picked(tables["pages"], *WINDOW) == [(-10, 0, "/", 1, None)]


def test_a_session_ends_one_gap_after_its_last_event() -> None:
    """Events     3   8       29
    session   [3 ----- 18)         gap 10
    """
    tables = run(build(PER_USER), hit(0, 3, page="/a"), hit(1, 8, page="/b"), hit(2, 29))
    assert picked(tables["sessions"], *SESSION) == [(3, 18, "ann", 2, "/a", "/b")]


def test_an_event_exactly_one_gap_later_still_belongs_to_the_session() -> None:
    tables = run(build(PER_USER), hit(0, 0), hit(1, 10), hit(2, 21))
    assert picked(tables["sessions"], *SESSION) == [(0, 20, "ann", 2, "/", "/")]


def test_a_late_comer_between_two_sessions_merges_them() -> None:
    """Events     0           16          8
    sessions  [0 -- 10)   [16 -- 26)   ── 8 touches both ──►  [0 ------------ 26)
    """
    logic = build(PER_USER, out_of_orderness_ms=20)
    tables = run(logic, hit(0, 0, page="/a"), hit(1, 16, page="/c"), hit(2, 8, page="/b"), hit(3, 60, user="bob"))
    assert picked(tables["sessions"], *SESSION) == [(0, 26, "ann", 3, "/a", "/c")]


def test_an_earlier_event_extends_a_session_backwards() -> None:
    logic = build(PER_USER, out_of_orderness_ms=20)
    tables = run(logic, hit(0, 10, page="/b"), hit(1, 2, page="/a"), hit(2, 60, user="bob"))
    assert picked(tables["sessions"], *SESSION) == [(2, 20, "ann", 2, "/a", "/b")]


def test_an_event_does_not_join_a_session_that_the_watermark_has_closed() -> None:
    """Ann        0          4         bob's 15 closes [0, 10); 4 would make [4, 14): late as well
    bob             15
    """
    logic = build(PER_USER)
    tables = run(logic, hit(0, 0), hit(1, 15, user="bob"), hit(2, 4))
    assert picked(tables["sessions"], *SESSION) == [(0, 10, "ann", 1, "/", "/")]
    assert picked(tables["late"], "operator", "window_start", "window_end") == [("sessions", 4, 14)]


def test_an_event_near_a_closed_session_starts_a_new_one_when_in_time() -> None:
    """Ann        0               8     bob's 15 closes [0, 10); 8 alone is [8, 18): in time, a session of its own
    bob             15
    """
    tables = run(build(PER_USER), hit(0, 0), hit(1, 15, user="bob"), hit(2, 8), hit(3, 90, user="bob"))
    assert sorted(picked(tables["sessions"], *SESSION[:4])) == [
        (0, 10, "ann", 1),
        (8, 18, "ann", 1),
        (15, 25, "bob", 1),
    ]


def test_first_and_last_go_by_event_time_and_ties_by_offset() -> None:
    logic = build(PER_USER, out_of_orderness_ms=50)
    tables = run(
        logic, hit(0, 5, page="/x"), hit(1, 5, page="/y"), hit(2, 3, page="/w"), hit(3, 5, page="/z"), hit(4, 99)
    )
    assert picked(tables["sessions"], *SESSION) == [(3, 15, "ann", 4, "/w", "/z")]


def test_a_tick_closes_everything_and_moves_the_watermark() -> None:
    logic = build(PER_PAGE, PER_USER, out_of_orderness_ms=5)
    logic.apply([hit(0, 3), hit(1, 12)])
    assert logic.open_until_ms == 22
    assert logic.tick()
    assert logic.watermark_ms == 22
    assert logic.open_until_ms is None
    assert logic.save(may_extend=False) is None
    assert sorted(picked(rows_of(logic)["sessions"], *SESSION[:4])) == [(3, 22, "ann", 2)]
    assert not build(PER_PAGE).tick(), "nothing open: no tick"


def test_every_aggregate_reaches_the_table() -> None:
    every = Windowed(
        table="all",
        window=TumblingWindows(size_ms=10),
        key=("user", "page"),
        aggregates={
            "n": Count(),
            "sum": Sum("value"),
            "min": Min("value"),
            "max": Max("value"),
            "mean": Mean("value"),
            "first": First("value"),
            "last": Last("value"),
        },
    )
    tables = run(build(every), hit(0, 1, value=4.0), hit(1, 2, value=1.0), hit(2, 3), hit(3, 20))
    assert picked(tables["all"], "n", "sum", "min", "max", "mean", "first", "last") == [
        (3, 5.0, 1.0, 4.0, 2.5, 4.0, None)
    ]


def test_an_event_time_far_ahead_of_the_broker_is_a_dead_letter_and_closes_nothing() -> None:
    logic = build(PER_PAGE, max_skew_ms=1000)
    tables = run(logic, hit(0, 1, timestamp_ms=5), hit(1, 1006, timestamp_ms=5), hit(2, 1005, timestamp_ms=5))
    assert picked(tables["dead_letters"], "reason", "_offset") == [("from_the_future", 1)]
    assert (logic.applied, logic.dead) == (2, 1)
    assert logic.watermark_ms == 1005


@pytest.mark.parametrize("at_ms", [-(2**62), 2**62])
def test_an_event_time_without_an_hour_is_a_dead_letter(at_ms: int) -> None:
    tables = run(build(PER_PAGE), hit(0, at_ms))
    assert picked(tables["dead_letters"], "reason") == [("invalid_field",)]
    by_kafka_time = Topology(codec=RawCodec(), operators=(Land(),)).build(PLACE, None)
    tables = run(by_kafka_time, record(0, b"x", timestamp_ms=at_ms))
    assert picked(tables["dead_letters"], "reason") == [("time_out_of_range",)]


def test_poison_keeps_its_bytes_key_and_place() -> None:
    logic = build(PER_PAGE)
    tables = run(logic, record(7, b"{broken"))
    (row,) = tables["dead_letters"]
    assert (row["reason"], row["value"], row["_key"], row["_offset"]) == ("invalid_json", b"{broken", b"k", 7)


def test_a_snapshot_of_other_operators_is_refused() -> None:
    logic = build(PER_PAGE)
    logic.apply([hit(0, 1)])
    with pytest.raises(CheckpointCorrupt, match="1 operators, not 2"):
        topology(PER_PAGE, PER_USER).build(PLACE, 1, saved(logic))
    with pytest.raises(CheckpointCorrupt, match="cannot be read"):
        topology(PER_USER).build(PLACE, 1, [b"\x91\xa1x"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TumblingWindows(size_ms=0), "size_ms must be positive, not 0"),
        (lambda: SessionWindows(gap_ms=-1), "gap_ms must be positive, not -1"),
    ],
)
def test_a_window_that_contains_nothing_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make()


def test_an_operator_over_an_unknown_field_is_refused() -> None:
    wrong = Windowed("t", TumblingWindows(size_ms=1), key=("nobody",), aggregates={"n": Count()})
    with pytest.raises(SchemaError, match="'nobody'"):
        build(wrong)


def test_a_topic_called_like_a_table_of_every_pipeline_is_not_landed() -> None:
    with pytest.raises(ConfigurationError, match="'dead_letters' cannot be landed"):
        topology(Land()).build(TopicPartition("dead_letters", 0), None)


def test_the_fingerprint_follows_the_configuration() -> None:
    longer = Windowed("sessions", SessionWindows(gap_ms=11), PER_USER.key, PER_USER.aggregates)
    prints = {
        topology(PER_USER).fingerprint(),
        topology(longer).fingerprint(),
        topology(PER_USER, out_of_orderness_ms=1).fingerprint(),
        topology(PER_USER, PER_PAGE).fingerprint(),
    }
    assert len(prints) == 4
    assert topology(PER_USER).fingerprint() == topology(PER_USER).fingerprint()


HITS = st.lists(
    st.tuples(st.integers(0, 120), st.sampled_from(["ann", "bob"]), st.sampled_from(["/a", "/b"]), st.integers(0, 3)),
    max_size=60,
)


def all_rows(made: Topology, batches: list[list[Record]]) -> dict[str, Counter[tuple[Any, ...]]]:
    """Rows after the batches, each from the snapshot of the one before, and a final tick."""
    tables: dict[str, Counter[tuple[Any, ...]]] = {}
    watermark_ms, state = None, []
    for batch in [*batches, None]:
        logic = made.build(PLACE, watermark_ms, state)
        if batch is None:
            logic.tick()
        else:
            logic.apply(batch)
        watermark_ms, state = logic.watermark_ms, saved(logic)
        for name, rows in rows_of(logic).items():
            tables.setdefault(name, Counter()).update(tuple(map(repr, row.values())) for row in rows)
    return tables


@given(
    hits=HITS, cuts=st.sets(st.integers(1, 59)), out_of_orderness_ms=st.integers(0, 30), lateness_ms=st.integers(0, 9)
)
def test_where_a_batch_is_cut_changes_nothing(
    hits: list[tuple[int, str, str, int]], cuts: set[int], out_of_orderness_ms: int, lateness_ms: int
) -> None:
    records = [hit(i, at, user, page, value / 3) for i, (at, user, page, value) in enumerate(hits)]
    made = topology(PER_PAGE, PER_USER, out_of_orderness_ms=out_of_orderness_ms, allowed_lateness_ms=lateness_ms)
    bounds = [0, *sorted(cut for cut in cuts if cut < len(records)), len(records)]
    batches = [records[a:b] for a, b in itertools.pairwise(bounds)]
    assert all_rows(made, batches) == all_rows(made, [[r] for r in records])


@given(hits=HITS, out_of_orderness_ms=st.integers(0, 30))
def test_every_record_is_counted_once_or_late(hits: list[tuple[int, str, str, int]], out_of_orderness_ms: int) -> None:
    records = [hit(i, at, user, page) for i, (at, user, page, _) in enumerate(hits)]
    tables = all_rows(topology(PER_PAGE, PER_USER, out_of_orderness_ms=out_of_orderness_ms), [records])
    for operator, position in (("pages", 3), ("sessions", 3)):
        counted = sum(int(row[position]) * n for row, n in tables.get(operator, Counter()).items())
        late = sum(n for row, n in tables.get("late", Counter()).items() if row[0] == repr(operator))
        assert counted + late == len(records)


def test_an_operator_with_nothing_open_is_restored_beside_one_that_has_something_open() -> None:
    """Events     30 | tick | 31
    window    [30 -- 40)            closed by the tick, 31 is late for it
    session   [30 -- 40)            closed by the tick, but [31 -- 41) is still to come: it opens
    """
    logic = build()
    logic.apply([hit(0, 30)])
    logic.tick()
    reopened = topology().build(PLACE, logic.watermark_ms, saved(logic))
    reopened.apply([hit(1, 31)])
    restored = topology().build(PLACE, reopened.watermark_ms, saved(reopened))
    assert restored.open_until_ms == 41
    assert restored.tick()
    assert picked(rows_of(restored)["sessions"], *SESSION[:2]) == [(31, 41)]


PAYLOADS = [
    b'{"user":"ann","page":"/","at":1,"value":0.5}',
    b'{"at":2,"page":"/b","user":"bob"}',
    b'{"user":"eve","page":"/","at":3,"value":"wrong"}',
    b'{"user":"joe","page":"/","at":4,"unknown":[1]}',
]


@given(payloads=st.lists(st.sampled_from(PAYLOADS)), names=st.permutations(["user", "page", "at", "value", "_rescued"]))
def test_members_are_the_values_attributes_whatever_became_of_their_neighbours(
    payloads: list[bytes], names: list[str]
) -> None:
    values = topology().codec.decode([record(n, payload) for n, payload in enumerate(payloads)]).values
    assert len(values) == len(payloads)
    for asked in (names, ["user", "page", "at", "value", "_rescued"], names[:2]):
        columns = members(values, asked)
        assert list(map(list, columns)) == [[getattr(value, name) for value in values] for name in asked]


def test_members_of_records_are_their_attributes() -> None:
    records = [hit(0, 1), hit(1, 2)]
    assert members(records, ["value"]) == [[r.value for r in records]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: topology(PER_PAGE, PER_PAGE), "table 'pages' has another use in the same topology"),
        (lambda: topology(msgspec.structs.replace(PER_PAGE, table="late")), "table 'late' has another use"),
        (lambda: topology(msgspec.structs.replace(PER_PAGE, key=("nobody",))), "has no field 'nobody'"),
        (lambda: topology(msgspec.structs.replace(PER_PAGE, aggregates={"s": Sum("page")})), "needs a number field"),
        (lambda: topology(msgspec.structs.replace(PER_PAGE, aggregates={})), "need at least one aggregate"),
        (lambda: topology(PER_PAGE, out_of_orderness_ms=-1), "out_of_orderness_ms must not be negative, not -1"),
        (lambda: msgspec.structs.replace(PER_PAGE, allowed_lateness_ms=-1), "allowed_lateness_ms must not be negative"),
        (lambda: msgspec.structs.replace(PER_PAGE, top=Top(1, by="visits")), "top is by 'visits', which is none of"),
        (lambda: msgspec.structs.replace(PER_USER, top=Top(1, by="events")), "top compares the keys of one window"),
        (lambda: msgspec.structs.replace(PER_PAGE, top=Top(1, "events"), early_results=True), "top and early_results"),
        (lambda: Windowed("t", SlidingWindows(5), (), {"n": Count()}, early_results=True), "have no early results"),
        (lambda: Top(0, by="n"), "top's count must be positive, not 0"),
    ],
)
def test_a_declaration_that_cannot_be_meant_is_refused_where_it_is_made(make: Any, message: str) -> None:
    with pytest.raises((ConfigurationError, SchemaError), match=message):
        make()
