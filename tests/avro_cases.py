"""Random Avro schemas with values, each in every form: as sent in JSON and in Avro, as readers of the files see it.

Nothing here is the library's: what a value is in each form is said a second time, from Avro's and Parquet's rules.
"""

import base64
import datetime as dt
import decimal
import io
import itertools
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import fastavro
from hypothesis import strategies as st

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
LOCAL_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - a local time has no zone
FIRST_US, LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999
DAY_US = 86_400_000_000


class Case(NamedTuple):
    """A type and a value of it."""

    avro: Any
    """As in an .avsc file."""
    sent: Any
    """In JSON, as a Python value for `json.dumps`."""
    written: Any
    """For fastavro's writer."""
    read: Any
    """What pyarrow's `to_pylist` gives."""


def same(value: Any) -> Any:
    return value


def scalar(avro: Any, values: Any, sent: Callable = same, read: Callable = same, written: Callable = same):
    """Cases of a type without parts."""
    return values.map(lambda value: Case(avro, sent(value), written(value), read(value)))


def logical(base: str, name: str, values: Any, read: Callable, sent: Callable = same):
    return scalar({"type": base, "logicalType": name}, values, sent, read)


def moment(ticks: int, per_second: int, epoch: dt.datetime = EPOCH) -> dt.datetime:
    return epoch + dt.timedelta(microseconds=ticks * 1_000_000 // per_second)


def text64(data: bytes) -> str:
    return base64.b64encode(data).decode()


names = (f"T{n}" for n in itertools.count())
"""Of named types: no two in a schema may have the same."""


@st.composite
def decimals(draw):
    precision = draw(st.integers(1, 38))
    scale = draw(st.integers(0, precision))
    unscaled = draw(st.integers(-(10**precision) + 1, 10**precision - 1))
    value = decimal.Decimal(unscaled).scaleb(-scale, context=decimal.Context(prec=60))
    avro = {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}
    if draw(st.booleans()):
        avro |= {"type": "fixed", "name": next(names), "size": 16}
    return Case(avro, str(value), value, value)


@st.composite
def fixeds(draw):
    data = draw(st.binary(min_size=1, max_size=20))
    return Case({"type": "fixed", "name": next(names), "size": len(data)}, text64(data), data, data)


@st.composite
def enums(draw):
    symbols = draw(st.lists(st.sampled_from(["red", "green", "blue", "x_1"]), min_size=1, unique=True))
    value = draw(st.sampled_from(symbols))
    return Case({"type": "enum", "name": next(names), "symbols": symbols}, value, value, value)


@st.composite
def uuids(draw):
    value = draw(st.uuids())
    if draw(st.booleans()):
        avro = {"type": "fixed", "name": next(names), "size": 16}  # fastavro knows no uuids of bytes
        return Case(avro | {"logicalType": "uuid"}, str(value), value.bytes, str(value))
    return Case({"type": "string", "logicalType": "uuid"}, str(value).upper(), str(value), str(value))


def rfc3339(value: dt.datetime) -> str:
    return value.isoformat()


PRIMITIVES = {
    "boolean": scalar("boolean", st.booleans()),
    "int": scalar("int", st.integers(-(2**31), 2**31 - 1)),
    "long": scalar("long", st.integers(-(2**63), 2**63 - 1)),
    "float": scalar("float", st.floats(width=32, allow_nan=False, allow_infinity=False)),
    "double": scalar("double", st.floats(allow_nan=False, allow_infinity=False)),
    "string": scalar("string", st.text(max_size=5)),
}
NOT_FINITE = st.sampled_from([("Infinity", float("inf")), ("-Infinity", float("-inf"))])
BYTES = scalar("bytes", st.binary(max_size=5), text64)
SCALARS = st.one_of(
    *PRIMITIVES.values(),
    BYTES,
    scalar("double", NOT_FINITE, sent=lambda v: v[0], read=lambda v: v[1], written=lambda v: v[1]),
    scalar("float", NOT_FINITE, sent=lambda v: v[0], read=lambda v: v[1], written=lambda v: v[1]),
    decimals(),
    fixeds(),
    enums(),
    uuids(),
    logical("int", "date", st.integers(-719_162, 2_932_896), lambda d: EPOCH.date() + dt.timedelta(days=d)),
    logical("int", "time-millis", st.integers(0, DAY_US // 1000 - 1), same),
    logical("long", "time-micros", st.integers(0, DAY_US - 1), same),
    logical("long", "timestamp-millis", st.integers(FIRST_US // 1000, LAST_US // 1000), lambda t: moment(t, 1000)),
    logical("long", "timestamp-micros", st.integers(FIRST_US, LAST_US), lambda t: moment(t, 10**6)),
    logical("long", "timestamp-micros", st.integers(FIRST_US, LAST_US), lambda t: moment(t, 10**6)),
    logical(
        *("long", "timestamp-micros", st.integers(FIRST_US, LAST_US), lambda t: moment(t, 10**6)),
        sent=lambda t: rfc3339(moment(t, 10**6)),
    ),
    logical("long", "timestamp-nanos", st.integers(-(2**63), 2**63 - 1), same),
    logical(
        *("long", "local-timestamp-millis", st.integers(FIRST_US // 1000, LAST_US // 1000)),
        lambda t: moment(t, 1000, LOCAL_EPOCH),
    ),
    logical(
        *("long", "local-timestamp-micros", st.integers(FIRST_US, LAST_US)),
        lambda t: moment(t, 10**6, LOCAL_EPOCH),
        sent=lambda t: rfc3339(moment(t, 10**6, LOCAL_EPOCH)),
    ),
    logical("long", "local-timestamp-nanos", st.integers(-(2**63), 2**63 - 1), same),
)


def typed_like(case: Case, other: Case) -> bool:
    return case.avro == other.avro


@st.composite
def nullables(draw, inner):
    case = draw(inner)
    avro = draw(st.sampled_from([["null", case.avro], [case.avro, "null"]]))
    if draw(st.booleans()):
        return Case(avro, None, None, None)
    return case._replace(avro=avro)


@st.composite
def arrays(draw, inner):
    """All items are the same: a type's values come one by one here."""
    case, count = draw(inner), draw(st.integers(0, 3))
    return Case({"type": "array", "items": case.avro}, [case.sent] * count, [case.written] * count, [case.read] * count)


@st.composite
def maps(draw, inner):
    case, keys = draw(inner), draw(st.lists(st.text(max_size=3), max_size=3, unique=True))
    return Case(
        {"type": "map", "values": case.avro},
        dict.fromkeys(keys, case.sent),
        dict.fromkeys(keys, case.written),
        [(key, case.read) for key in keys],
    )


@st.composite
def records(draw, inner):
    cases = draw(st.lists(inner, min_size=1, max_size=3))
    members = {f"f{n}": case for n, case in enumerate(cases)}
    return Case(
        {"type": "record", "name": next(names), "fields": [{"name": n, "type": c.avro} for n, c in members.items()]},
        {name: case.sent for name, case in members.items()},
        {name: case.written for name, case in members.items()},
        {name: case.read for name, case in members.items()},
    )


@st.composite
def unions(draw, inner):
    """Of types that JSON tells apart, and one that it does not."""
    kinds = draw(
        st.lists(st.sampled_from(["boolean", "long", "double", "string"]), min_size=1, max_size=3, unique=True)
    )
    record = draw(records(inner))
    branches = [*kinds, record.avro]
    members = [f"member_{kind}" for kind in kinds] + [f"member_{record.avro['name'].lower()}"]
    chosen = draw(st.integers(0, len(kinds)))
    case = draw(PRIMITIVES[kinds[chosen]]) if chosen < len(kinds) else record
    tag = kinds[chosen] if chosen < len(kinds) else record.avro["name"]
    # A whole number is rather a long, so a double says that it is one.
    tagged = tag == "double" or draw(st.booleans())
    read = dict.fromkeys(members) | {members[chosen]: case.read}
    found = Case(branches, {tag: case.sent} if tagged else case.sent, (tag, case.written), read)
    if draw(st.booleans()):
        return found
    place = draw(st.integers(0, len(branches)))
    return found._replace(avro=[*branches[:place], "null", *branches[place:]])


def composed(inner):
    plain = st.one_of(arrays(inner), maps(inner), records(inner))
    return st.one_of(plain, nullables(plain), unions(inner))


CASES = st.recursive(st.one_of(SCALARS, nullables(SCALARS)), composed, max_leaves=6)
ROWS = records(CASES)


def json_bytes(case: Case) -> bytes:
    return json.dumps(case.sent).encode()


def avro_bytes(case: Case) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(case.avro), case.written)
    return stream.getvalue()
