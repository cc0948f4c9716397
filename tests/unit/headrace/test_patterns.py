"""Patterns: what is masked, what stays, and that no message takes long."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.patterns import MAX_LENGTH, READ, VARIABLE, pattern_of

MASKED = {
    "number": ("took 15 of 20", "took <*> of <*>"),
    "sign": ("delta -5, +3.25 or x=-1", "delta <*> or x=<*>"),
    "unit": ("read 1.5GiB in 250ms at 12%", "read <*> in <*> at <*>%"),
    "thousands": ("sent 1,234,567 bytes", "sent <*> bytes"),
    "hexadecimal": ("fault at 0x7fff5fbff8a0", "fault at <*>"),
    "hash": ("commit d41d8cd98f00b204 is e5f6a7b", "commit <*> is <*>"),
    "UUID": ("request 3f2504e0-4f89-11d3-9a0c-0305e82c3301 done", "request <*> done"),
    "UUID with a group of letters only": ("[deadbeef-cafe-babe-feed-0305e82c330a]", "[<*>]"),
    "base64": ("body aGVsbG8gd29ybGQgdGhpcyBpcyBiYXNlNjQ2NA== ok", "body <*> ok"),
    "UUID in base64": ("topic 8aF3kM1-zPq2_x9YbnQ0OZ made", "topic <*> made"),
    "web token": ("Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9", "Bearer <*>"),
    "IPv4": ("src: /10.251.42.84:33145 dest: 10.0.0.1", "src: /<*> dest: <*>"),
    "IPv6": ("from fe80::1ff:fe23:4567:890a and ::1 to 2001:db8::8a2e:370:7334", "from <*> and <*> to <*>"),
    "MAC": ("leased to 00:1b:44:11:3a:b7", "leased to <*>"),
    "mail": ("sent to <ann.b@mail.example.com>", "sent to <<*>>"),
    "time": ("since 2024-03-13T12:00:00.123Z or 2024-03-13 12:00:00,123 +0100", "since <*> or <*>"),
    "version": ("Kafka 4.1.2 on Java 17.0.2+8", "Kafka <*> on Java <*>"),
    "list of any length": ("replicas [1, 2, 3] of [4] and (5,6)", "replicas [<*>] of [<*>] and (<*>)"),
    "identifier": ("attempt_1445144423722_0020_m_000002_0 done", "<*> done"),
    "place": ("R02-M1-N0-C:J12-U11 stopped", "R<*>-C:J<*> stopped"),
    "name with a number": ("node-7 to __consumer_offsets-12 and blk_-6952", "<*> to <*> and <*>"),
    "name with a number within": ("[ExpirationReaper-1-AlterAcls]: Starting", "[<*>]: Starting"),
    "names with numbers": ("partitions [orders-1, orders-2, bids-0]", "partitions [<*>]"),
    "UUID in base64 as a value": ("incarnationId=vYkoKNBqRcC3PoIFLzaoSQ, ok", "incarnationId=<*>, ok"),
    "quoted": ("user 'ann' opened \"a/b.txt\"", "user <*> opened <*>"),
    "ids in a path": ("GET /orders/12/items/7f3a9b2c1d", "GET /orders/<*>/items/<*>"),
    "columns": ("size     5 of  120", "size <*> of <*>"),
}
KEPT = (
    "Starting the controller",
    "can't open it: users' files",
    "POST \"GET /orders HTTP\" as 'two words'",
    "deadbeef added a facade",
    "std::string in a::b::c",
    "größer als früher, 三つ",
    "",
    " ",
)
NAMES = {
    "eth0 over ssh2": "eth<*> over ssh<*>",
    "log4j and k8s": "log<*> and k<*>",
    "GET /api/v1/orders": "GET /api/v<*>/orders",
}


@pytest.mark.parametrize(("message", "pattern"), MASKED.values(), ids=MASKED)
def test_what_varies_is_masked(message: str, pattern: str) -> None:
    assert pattern_of(message) == pattern


@pytest.mark.parametrize("message", KEPT)
def test_words_stay(message: str) -> None:
    assert pattern_of(message) == message


@pytest.mark.parametrize(("message", "pattern"), NAMES.items())
def test_the_letters_of_a_name_with_a_number_stay(message: str, pattern: str) -> None:
    assert pattern_of(message) == pattern


pieces = st.sampled_from(
    [*(message for message, _ in MASKED.values()), *KEPT, *NAMES, VARIABLE, *"<*>\"'@:;,.-+_=/#() \n\t019afzAFZé٣²"]
)
messages = st.one_of(st.text(), st.lists(pieces, max_size=40).map("".join), st.lists(pieces, max_size=8).map(" ".join))


@given(messages)
def test_the_pattern_of_a_pattern_is_itself(message: str) -> None:
    pattern = pattern_of(message)
    assert pattern_of(pattern) == pattern
    assert len(pattern) <= MAX_LENGTH
    assert not re.search("[0-9]", pattern)


words = st.lists(st.from_regex(r"[A-Za-zé]{1,12}", fullmatch=True), min_size=1, max_size=8)
variables = st.one_of(
    st.integers().map(str),
    st.floats(0, 1e6).map("{:.3f}".format),
    st.uuids().map(str),
    st.ip_addresses().map(str),
    st.datetimes().map(str),
    st.binary(min_size=8, max_size=8).map(bytes.hex),
).filter(lambda text: re.search("[0-9]", text))


@given(words, st.data())
def test_messages_that_differ_in_variables_have_one_pattern(texts: list[str], data: st.DataObject) -> None:
    first, second = (" ".join(f"{word} {data.draw(variables)}" for word in texts) for _ in range(2))
    assert pattern_of(first) == pattern_of(second)


@given(words, words, st.data())
def test_messages_that_differ_in_a_word_differ_in_their_pattern(
    some: list[str], others: list[str], data: st.DataObject
) -> None:
    variable = data.draw(variables)
    patterns = [pattern_of(" ".join(f"{word} {variable}" for word in texts)) for texts in (some, others)]
    assert (patterns[0] == patterns[1]) == (some == others)


HOSTILE = (
    *("a", "0", "a0", "0a", "aA0_", "-", "_", ":", "::", "a:", "'", "'a", '"', '"a', "@", "a@", "a@a.", "a.", "+", "<"),
    *(
        "<*>",
        "<*>-",
        "1-",
        "1, ",
        "-1",
        "a-",
        "0x",
        "=",
        "é",
        "\0",
        " ",
        "a ",
        "deadbeef",
        "1.1.1.1:",
        "Aa1+/",
        "A1b-",
        "a-b_",
        "a_1",
        "-a",
    ),
)


@pytest.mark.parametrize("atom", HOSTILE)
def test_time_is_linear_in_what_is_read(atom: str) -> None:
    """Of a message that is four times as long; squared time would be sixteen times as much."""

    def cpu_s(length: int) -> float:
        message = (atom * length)[:length]
        start = time.process_time()
        for _ in range(20):
            pattern_of(message)
        return time.process_time() - start

    quarter, whole = (min(cpu_s(length) for _ in range(3)) for length in (READ // 4, READ))
    assert whole < 9 * quarter + 1e-3


def test_of_a_long_message_the_beginning_is_read() -> None:
    assert pattern_of("x" * 10_000_000) == "x" * MAX_LENGTH
    assert pattern_of("1" * (READ + 5)) == VARIABLE
