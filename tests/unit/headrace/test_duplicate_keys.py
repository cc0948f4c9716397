"""Keys that come twice: whatever is around them, the values before the last are rescued, and nothing else is."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace import duplicate_keys, schema
from headrace.codec import JsonCodec
from headrace.records import Record

INNER = {
    "type": "record",
    "name": "Inner",
    "fields": [{"name": "a", "type": ["null", "string"], "default": None}, {"name": "b", "type": "int", "default": 3}],
}
FIELDS = [
    {"name": "id", "type": "string"},
    {"name": "n", "type": ["null", "long"], "default": None},
    {"name": "s", "type": ["null", "string"], "default": None},
    {"name": "kept", "type": "string", "default": "x"},
    {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["x", "y"]}, "default": "x"},
    {"name": "price", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 9}], "default": None},
    {"name": "one", "type": ["null", INNER], "default": None},
    {"name": "many", "type": {"type": "array", "items": "Inner"}, "default": []},
    {"name": "by", "type": {"type": "map", "values": ["null", "string"]}, "default": {}},
    {"name": "either", "type": ["null", "string", "long", "Inner"], "default": None},
]
SCHEMA = schema.parse(json.dumps({"type": "record", "name": "R", "fields": FIELDS}))
CODEC = JsonCodec(SCHEMA)

# Text that looks like keys, quotes and nulls, to those who do not look closely.
TEXT = st.sampled_from(
    ["", "x", "y", ":", '":', '":null', '"s":null', ":null,", '\\"', "\\", '"', " : ", "é", "a:b", "\n"]
)
NULL = st.just("null")
NUMBER = st.sampled_from(["0", "-1", "7", "1.0", "1E+400", "18446744073709551616"])


def written(text):
    """JSON of the text: plain, or with everything escaped that may be."""
    return st.sampled_from([json.dumps(text), '"' + "".join(f"\\u{ord(c):04x}" for c in text) + '"'])


def obj(keys, values, most):
    """The text of an object whose keys may come again, with white space anywhere."""
    space = st.sampled_from(["", "", "", " ", "\t\n"])
    pair = st.tuples(space, st.sampled_from(keys).flatmap(written), space, space, values, space).map(
        lambda parts: "{}{}{}:{}{}{}".format(*parts)
    )
    return st.lists(pair, max_size=most).map(lambda pairs: "{" + ",".join(pairs) + "}")


STRING = TEXT.flatmap(written)
LEAF = NULL | NUMBER | STRING
INNERS = obj(["a", "b", "a", "z"], LEAF, 4)
VALUE = LEAF | INNERS | st.lists(INNERS | LEAF, max_size=2).map(lambda items: f"[{','.join(items)}]")
NAMES = [field["name"] for field in FIELDS]
PAYLOAD = obj([*NAMES, "new", "a.b"], VALUE, 8).map(
    lambda text: text[:-1] + (", " if text != "{}" else "") + '"id":"i"}'
)
LIKELY = obj(["n", "s", "s", "kept"], NULL | st.just("5") | STRING, 5).map(
    lambda text: '{"id":"i"' + ("," if text != "{}" else "") + text[1:]
)
"""Payloads that are mostly as declared."""


def left_out(payload):
    """By the standard library's pairs: what every key's earlier values are."""
    found = {}

    def place(path, key):
        quoted = not key or set('."[]') & set(key)
        step = f"[{json.dumps(key, ensure_ascii=False)}]" if quoted else key
        return step if not path or (quoted and path == "") else f"{path}{step}" if quoted else f"{path}.{step}"

    def plain(value):
        if isinstance(value, tuple):
            return {key: plain(item) for key, item in value[0]}
        return [plain(item) for item in value] if isinstance(value, list) else value

    def visit(value, path):
        if isinstance(value, list):
            for number, item in enumerate(value):
                visit(item, f"{path}[{number}]")
        elif isinstance(value, tuple):
            pairs = value[0]
            for key in {key for key, _ in pairs}:
                *before, last = [item for name, item in pairs if name == key]
                visit(last, place(path, key))
                if before := [item for item in before if item is not None]:
                    found[f"{place(path, key)}[earlier]"] = [plain(item) for item in before]
                    visit(before, f"{place(path, key)}[earlier]")

    visit(json.loads(payload, object_pairs_hook=lambda pairs: (pairs,), parse_float=str, parse_int=str), "")
    return found


def decoded(payloads, codec=CODEC):
    records = [Record("t", 0, offset, value=payload.encode()) for offset, payload in enumerate(payloads)]
    result = codec.decode(records)
    found = {record.offset: value._rescued for record, value in zip(result.records, result.values, strict=True)}
    return [found.get(offset, "poison") for offset in range(len(payloads))]


def earlier(rescued):
    members = json.loads(rescued or "{}", parse_float=str, parse_int=str)
    return {path: value for path, value in members.items() if path.endswith("[earlier]")}


@given(st.lists(LIKELY | PAYLOAD, min_size=1, max_size=6))
@example(['{"id":"i","id":"j","s":":null"}'])
@example(['{"id":"i","s":"x","s" :"\\u0022:null"}'])
@example(['{"id":"i","n":1,"\\u006e":2,"s":null}'])
@example(['{"id":"i","n":1}', '{"id":"i","n":1,"n":2}', '{"id":"i","s":"\\":\\"\\""}'])
def test_what_is_left_out_is_what_an_independent_reader_finds(payloads):
    together = decoded(payloads)
    assert together == [decoded([payload])[0] for payload in payloads]
    for payload, rescued in zip(payloads, together, strict=True):
        if rescued != "poison":
            assert earlier(rescued) == left_out(payload), payload


@given(st.lists(LIKELY | PAYLOAD, min_size=1, max_size=4))
def test_the_rest_is_what_it_is_without_looking(payloads):
    for rescued, plain in zip(
        decoded(payloads), decoded(payloads, JsonCodec(SCHEMA, keep_duplicates=False)), strict=True
    ):
        if plain == "poison":
            assert rescued == "poison"
        else:
            kept = {p: v for p, v in json.loads(rescued or "{}").items() if "[earlier]" not in p}
            assert kept == json.loads(plain or "{}")


CLEAN = [
    '{"id":"i"}',
    '{"id":"i","n":null,"s":null,"price":7,"one":{"a":null,"b":4},"many":[{"a":"\\"\\\\"}],"by":{"k":"v"}}',
    '{"id": "i", "s": null, "kept": "z", "kind": "y", "either": "text"}',
]


def test_of_clean_payloads_none_is_looked_at_alone(monkeypatch):
    """That is what makes it cheap; white space and escapes included."""
    monkeypatch.setattr(duplicate_keys, "earlier", None)  # would be called
    assert decoded(CLEAN * 3) == [None] * 9


@pytest.mark.parametrize("position", [0, 2_047, 2_048, 4_999])
def test_one_of_many_is_found_wherever_it_is(position):
    payloads = ['{"id":"i","n":null}'] * 5_000
    payloads[position] = '{"id":"i","n":4,"n":null}'
    found = decoded(payloads)
    assert found[position] == '{"n[earlier]":[4]}'
    assert found.count(None) == 4_999


def test_numbers_are_kept_digit_by_digit():
    digits = "9" * 4_000
    assert decoded([f'{{"id":"i","s":1.50,"s":{digits},"s":"x"}}']) == [f'{{"s[earlier]":[1.50,{digits}]}}']


def test_functions_that_only_need_some_fields_do_not_look():
    codec = JsonCodec(SCHEMA.project(("id",)), keep_unknown=False)
    assert decoded(['{"id":"j","id":"i"}'], codec) == [None]
