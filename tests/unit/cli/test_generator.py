"""The demo's streams: the same for a seed, in the promised proportions."""

import hashlib
import json
import time
from collections import Counter, defaultdict
from itertools import pairwise

import pytest

from headrace.errors import PoisonError
from headrace.log_event import LogEvent
from headrace.logs import Continuation, Lines
from headrace_cli.generator.bad_records import BAD_CLICKS, BAD_LOGS, LARGE_BYTES, ODD_CLICKS, ODD_LOGS
from headrace_cli.generator.streams import (
    LATE_MS,
    OUT_OF_ORDER_MS,
    OUTAGE_MESSAGES,
    OUTAGE_SERVICE,
    SPAN_MS,
    clicks,
    outage_ms,
    service_logs,
)

START_MS = 1_700_000_000_000
RECORDS = 40_000
GENERATORS = pytest.mark.parametrize("generate", [clicks, service_logs])


def fingerprint(records):
    digest = hashlib.sha256()
    for record in records:
        digest.update(repr(tuple(record)).encode())
    return digest.hexdigest()[:16]


def good(records):
    return [record for record in records if record.time_ms is not None]


@pytest.fixture(scope="module")
def click_records():
    return list(clicks(RECORDS, 1, START_MS))


@pytest.fixture(scope="module")
def log_records():
    return list(service_logs(RECORDS, 1, START_MS))


@pytest.mark.parametrize(("generate", "expected"), [(clicks, "b449bbf1d24fc762"), (service_logs, "e3bc0f65abb47c75")])
def test_a_seed_gives_the_same_stream_on_every_machine_and_python(generate, expected):
    assert fingerprint(generate(5_000, 7, START_MS)) == expected


@GENERATORS
def test_another_seed_gives_another_stream(generate):
    assert fingerprint(generate(500, 7, START_MS)) != fingerprint(generate(500, 8, START_MS))


@GENERATORS
@pytest.mark.parametrize("records", [0, 1, 2, 9, 10, 100, 1_234])
def test_as_many_records_as_asked_for(generate, records):
    assert sum(1 for _ in generate(records, 1, START_MS)) == records


@pytest.mark.parametrize("records", [200, 5_000])
@pytest.mark.parametrize(
    ("generate", "kinds"), [(clicks, {**BAD_CLICKS, **ODD_CLICKS}), (service_logs, {**BAD_LOGS, **ODD_LOGS})]
)
def test_every_kind_of_bad_record_is_there(generate, kinds, records):
    bad = [record for record in generate(records, 3, START_MS) if record.time_ms is None]
    assert len(bad) >= len(kinds)
    assert any(record.value is None and record.key for record in bad)
    assert any(record.value == b"" for record in bad)
    assert sum(len(record.headers) == 100 for record in bad) == 1
    assert sum(len(record.value or b"") > LARGE_BYTES for record in bad) == 1


def test_one_record_in_500_is_bad(click_records):
    bad = [record for record in click_records if record.time_ms is None]
    assert len(bad) == RECORDS * 0.002
    assert sum(len(record.value or b"") > LARGE_BYTES for record in bad) == 1


def test_good_clicks_are_what_the_schema_declares(click_records):
    for record in good(click_records):
        click = json.loads(record.value)
        assert click["timestamp"] == record.time_ms
        assert click["user_id"].encode() == record.key
        assert {"page", "event_type"} <= click.keys()
        assert ("value" in click) == (click["event_type"] in {"add_to_cart", "purchase"})
        assert click.get("value", 0.25) % 0.25 == 0


@pytest.mark.parametrize("stream", ["click_records", "log_records"])
def test_times_ascend_except_for_a_little_disorder_and_few_late_ones(stream, request):
    times = [record.time_ms for record in good(request.getfixturevalue(stream))]
    newest, behind = 0, []
    for time_ms in times:
        newest = max(newest, time_ms)
        behind.append(newest - time_ms)
    late = sum(ms >= LATE_MS[0] - OUT_OF_ORDER_MS for ms in behind)
    assert min(times) > START_MS - OUT_OF_ORDER_MS
    assert max(times) < START_MS + SPAN_MS
    assert 0.0005 < late / len(times) < 0.0015
    assert 0.2 < sum(0 < ms <= OUT_OF_ORDER_MS for ms in behind) / len(times) < 0.35
    assert sum(OUT_OF_ORDER_MS + 2000 < ms < LATE_MS[0] - OUT_OF_ORDER_MS for ms in behind) == 0
    assert max(behind) < LATE_MS[1] + OUT_OF_ORDER_MS


def test_users_come_back_after_more_than_a_session_gap(click_records):
    by_user = defaultdict(list)
    for record in good(click_records):
        by_user[record.key].append(record.time_ms)
    sessions = Counter()
    for user, times in by_user.items():
        ordered = sorted(times)
        sessions[user] = 1 + sum(b - a > 1_800_000 for a, b in pairwise(ordered))
    assert sum(count > 1 for count in sessions.values()) > len(sessions) / 3
    assert max(sessions.values()) >= 4


def test_pages_are_skewed_and_optional_and_unknown_fields_come_and_go(click_records):
    values = [json.loads(record.value) for record in good(click_records)]
    pages = Counter(value["page"] for value in values).most_common()
    assert len(pages) == 60
    assert pages[0][1] > 1.7 * pages[1][1] > 20 * pages[-1][1]
    for name, least, most in [("platform", 0.8, 0.97), ("referrer", 0.01, 0.1), ("experiment", 0.005, 0.02)]:
        assert least < sum(name in value for value in values) / len(values) < most


def events_of(records):
    """The events of the good lines, with the service that the codec would give them."""
    for record in good(records):
        event = Lines().read(record.value, record.sent_ms)
        if isinstance(event, LogEvent):
            yield event.service or record.key.decode(), event


def test_good_log_lines_are_in_five_formats_and_happened_when_they_say(log_records):
    events = [event for _, event in events_of(log_records)]
    shares = {name: count / len(events) for name, count in Counter(event.format for event in events).items()}
    expected = {"json": 0.37, "combined": 0.3, "logfmt": 0.15, "java_text": 0.11, "syslog": 0.06}
    assert shares == pytest.approx(expected, abs=0.02)
    lines = [record for record in good(log_records) if record.value.split()[0] not in STACK_TRACE]
    seconds = [event.timestamp // 1000 for event in events]
    assert seconds == [record.time_ms // 1000 for record in lines], "access logs have seconds"
    assert len({service for service, _ in events_of(log_records)}) == 10


STACK_TRACE = {b"java.util.concurrent.TimeoutException:", b"at", b"..."}


def test_lines_of_a_stack_trace_come_after_a_line_of_their_service(log_records):
    lines = [record for record in good(log_records) if record.key == b"cart"]
    is_trace = [line.value.split()[0] in STACK_TRACE for line in lines]
    assert 0.05 < sum(is_trace) / len(lines) < 0.35
    before = [previous.value for previous, line in pairwise(lines) if line.value.startswith(b"java.util")]
    assert len(before) > 50
    assert all(b"WARN" in value or b"ERROR" in value or b"FATAL" in value for value in before)
    assert all(
        isinstance(Lines().read(x.value, 0), Continuation) for x, its in zip(lines, is_trace, strict=True) if its
    )


@pytest.mark.parametrize("records", [1_000, 4_000, RECORDS])
@pytest.mark.parametrize("start_ms", [START_MS, START_MS + 59_999])
def test_the_outage_shows_in_one_service_only_and_in_enough_lines_a_minute(records, start_ms):
    outage = outage_ms(start_ms)
    minutes, errors = Counter(), Counter()
    for service, event in events_of(service_logs(records, 1, start_ms)):
        out = event.timestamp in outage
        if service == OUTAGE_SERVICE and out:
            minutes[event.timestamp // 60_000] += 1
            errors[event.timestamp // 60_000] += event.is_error
        assert (event.message in OUTAGE_MESSAGES) <= (service == OUTAGE_SERVICE and out)
        if service == OUTAGE_SERVICE and out and event.is_error:
            assert event.message in OUTAGE_MESSAGES
    assert len(minutes) == 4
    assert min(minutes.values()) >= 25
    assert all(0.3 < errors[minute] / lines < 0.9 for minute, lines in minutes.items())


def test_the_moment_of_the_start_changes_no_more_than_the_times_and_who_is_out():
    one, other = (
        [(record.key, (record.time_ms or start) - start) for record in service_logs(4_000, 1, start)]
        for start in (START_MS, START_MS + 59_000)
    )
    assert one == other


def test_kafka_gets_log_lines_when_they_are_sent(log_records):
    sent = [record.sent_ms for record in log_records]
    assert sent == sorted(sent)
    assert (sent[0], START_MS + SPAN_MS - sent[-1]) == (START_MS, pytest.approx(0, abs=1_000))
    assert all(record.time_ms <= record.sent_ms for record in good(log_records))


@pytest.mark.parametrize("kind", ["broken_json", "wrong_type", "unknown_format"])
def test_bad_log_lines_that_are_text_are_events_that_say_so(kind):
    assert Lines().read(BAD_LOGS[kind](b"web", START_MS).value, START_MS).is_unparsed


@pytest.mark.parametrize("kind", ["empty", "invalid_utf8"])
def test_bad_log_lines_that_are_no_text_are_poison(kind):
    with pytest.raises(PoisonError):
        Lines().read(BAD_LOGS[kind](b"web", START_MS).value, START_MS)


def test_a_status_in_words_is_an_attribute():
    event = Lines().read(BAD_LOGS["wrong_optional"](b"web", START_MS).value, START_MS)
    assert (event.status, event.attributes) == (None, '{"status":"two hundred"}')


@GENERATORS
def test_fast_enough_not_to_be_what_the_demo_waits_for(generate):
    """About 200,000 records per CPU second; the bound leaves room for a slow machine."""
    started = time.process_time()
    assert sum(1 for _ in generate(RECORDS, 1, START_MS)) / (time.process_time() - started) > 30_000
