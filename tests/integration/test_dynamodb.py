"""The checkpoint table at a real endpoint: what the items look like, and what goes wrong on the wire."""

import time

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError
from botocore.httpsession import URLLib3Session
from msgspec.structs import replace

from headrace import dynamodb
from headrace.aws import client_config
from headrace.checkpoint import Checkpoint, CheckpointKey, OutboxEntry
from headrace.dynamodb import DynamoDBCheckpointStore
from headrace.errors import CheckpointCorrupt, CommitConflict, ConfigurationError, InfrastructureError, InvariantError

KEY = CheckpointKey("headrace", "clickstream", "1", "web.clicks_v-1", 3)
FIRST = Checkpoint(
    key=KEY,
    version=1,
    base_offset=0,
    next_offset=10,
    committed_at_ms=1_700_000_000_000,
    max_timestamp_ms=1_700_000_000_001,
    fingerprint="f",
)
ITEM_KEY = {"pk": {"S": "headrace#clickstream#1#web.clicks_v-1"}, "partition": {"N": "3"}}


@pytest.fixture
def aws(dynamodb_server):
    return dynamodb_server


@pytest.fixture
def client(aws):
    """A client of its own, because tests hook into it; the table is empty."""
    client = aws.client("dynamodb", client_config())
    for page in client.get_paginator("scan").paginate(TableName=aws.table):
        for item in page["Items"]:
            client.delete_item(TableName=aws.table, Key={name: item[name] for name in ITEM_KEY})
    return client


@pytest.fixture
def naps():
    return []


@pytest.fixture
def store(aws, client, naps):
    return DynamoDBCheckpointStore(aws.table, client, sleep=naps.append)


@pytest.fixture
def impatient(aws):
    """A client that tries once: the pauses between botocore's own attempts would only cost time."""
    return aws.client("dynamodb", client_config(attempts=1))


def refused_with(client, operation, status, body, times=1000):
    """Let the endpoint answer this operation so, instead of the server, the next few times."""
    left = [times]

    class Body:
        def stream(self, *_, **__):
            yield body

    def answer(request, **_):
        if not left[0]:
            return None
        left[0] -= 1
        return AWSResponse(request.url, status, {"Content-Type": "application/x-amz-json-1.0"}, Body())

    client.meta.events.register(f"before-send.dynamodb.{operation}", answer)


def test_an_item_can_be_read_by_a_person(store, client, aws):
    checkpoint = replace(
        FIRST,
        watermark_ms=5,
        state=b"\x01",
        outbox=(OutboxEntry("staging/é", "lake/a=1"),),
        open_until_ms=6,
        totals={"applied": 9, "dead": 1},
    )
    store.commit(checkpoint, 0)
    assert client.get_item(TableName=aws.table, Key=ITEM_KEY)["Item"] == ITEM_KEY | {
        "version": {"N": "1"},
        "base_offset": {"N": "0"},
        "next_offset": {"N": "10"},
        "watermark_ms": {"N": "5"},
        "committed_at_ms": {"N": "1700000000000"},
        "max_timestamp_ms": {"N": "1700000000001"},
        "open_until_ms": {"N": "6"},
        "fingerprint": {"S": "f"},
        "state": {"B": b"\x01"},
        "outbox": {"S": '[["staging/é","lake/a=1"]]'},
        "totals": {"M": {"applied": {"N": "9"}, "dead": {"N": "1"}}},
    }


def test_more_keys_than_one_batch_are_loaded(store):
    keys = [KEY._replace(partition=number) for number in range(150)]
    for key in keys[::10] + keys[1::10]:
        store.commit(replace(FIRST, key=key, next_offset=key.partition), 0)
    found = store.load(keys)
    assert {key.partition: each.next_offset for key, each in found.items()} == {
        number: number for number in range(150) if number % 10 < 2
    }


def test_every_read_is_strongly_consistent(store, client, aws):
    """An old version would make a turn apply records again, and lose the race for it."""
    asked = []
    client.meta.events.register("provide-client-params.dynamodb", lambda params, **_: asked.append(params))
    store.load([KEY])
    list(store.checkpoints("headrace"))
    batch, scan = asked
    assert batch["RequestItems"][aws.table]["ConsistentRead"] is True
    assert scan["ConsistentRead"] is True


def test_more_checkpoints_than_one_page_are_listed(store):
    checkpoints = [replace(FIRST, key=KEY._replace(partition=n), state=bytes(300_000)) for n in range(8)]
    for checkpoint in checkpoints:
        store.commit(checkpoint, 0)
    pages = []
    store._client.meta.events.register("after-call.dynamodb.Scan", lambda parsed, **_: pages.append(parsed))
    assert {each.key.partition for each in store.checkpoints("headrace")} == set(range(8))
    assert len(pages) > 1


def test_keys_left_unprocessed_are_asked_for_again_after_growing_pauses(store, client, aws, naps):
    keys = [KEY._replace(partition=number) for number in range(10)]
    for key in keys:
        store.commit(replace(FIRST, key=key), 0)

    def leave_all_but_four(parsed, **_):
        items = parsed["Responses"][aws.table]
        left = [{name: item[name] for name in ITEM_KEY} for item in items[4:]]
        del items[4:]
        parsed["UnprocessedKeys"] = {aws.table: {"Keys": left, "ConsistentRead": True}} if left else {}

    client.meta.events.register("after-call.dynamodb.BatchGetItem", leave_all_but_four)
    assert set(store.load(keys)) == set(keys)
    assert naps == [0.05, 0.1]


def test_keys_never_processed_are_a_retriable_error_in_bounded_time(store, client, aws, naps):
    def leave_all(parsed, **_):
        parsed["Responses"] = {}
        parsed["UnprocessedKeys"] = {aws.table: {"Keys": [ITEM_KEY]}}

    client.meta.events.register("after-call.dynamodb.BatchGetItem", leave_all)
    with pytest.raises(InfrastructureError, match="left 1 keys unprocessed in 6 attempts"):
        store.load([KEY])
    assert sum(naps) < 2


def test_a_commit_whose_answer_got_lost_looks_like_a_conflict_until_one_reloads(store, client):
    """The client's own retry meets the version that its first attempt wrote."""
    lost = []

    def lose_the_first_answer(request, **_):
        if not lost:
            lost.append(URLLib3Session().send(request))
            raise ConnectionClosedError(endpoint_url=request.url)

    client.meta.events.register("before-send.dynamodb.PutItem", lose_the_first_answer)
    with pytest.raises(CommitConflict):
        store.commit(FIRST, 0)
    assert [answer.status_code for answer in lost] == [200]
    assert store.load([KEY]) == {KEY: FIRST}


def test_an_unknown_outcome_is_retriable_and_may_have_happened(store, aws, impatient):
    def lose_every_answer(request, **_):
        URLLib3Session().send(request)
        raise ConnectionClosedError(endpoint_url=request.url)

    impatient.meta.events.register("before-send.dynamodb.PutItem", lose_every_answer)
    with pytest.raises(
        InfrastructureError, match=r"commit headrace#clickstream#1#web\.clicks_v-1-3 over version 0"
    ) as e:
        DynamoDBCheckpointStore(aws.table, impatient).commit(FIRST, 0)
    assert not isinstance(e.value, CommitConflict)
    assert store.load([KEY]) == {KEY: FIRST}


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "ProvisionedThroughputExceededException", InfrastructureError),
        (400, "ThrottlingException", InfrastructureError),
        (500, "InternalServerError", InfrastructureError),
        (503, "ServiceUnavailable", InfrastructureError),
        (400, "AccessDeniedException", ConfigurationError),
        (400, "UnrecognizedClientException", ConfigurationError),
        (400, "ValidationException", ConfigurationError),
    ],
)
def test_what_the_service_refuses_is_told_apart(impatient, aws, status, code, error):
    store = DynamoDBCheckpointStore(aws.table, impatient)
    body = f'{{"__type":"com.amazonaws.dynamodb#{code}","message":"because"}}'.encode()
    for operation in ("BatchGetItem", "PutItem", "UpdateItem", "Scan"):
        refused_with(impatient, operation, status, body)
    calls = [
        lambda: store.load([KEY]),
        lambda: store.commit(FIRST, 0),
        lambda: store.clear_outbox(KEY, 1),
        lambda: list(store.checkpoints("headrace")),
    ]
    for call in calls:
        with pytest.raises(error, match=f"DynamoDB table '{aws.table}': {code}: because"):
            call()


def test_a_throttle_that_passes_is_not_noticed(store, client):
    refused_with(client, "PutItem", 500, b'{"__type":"InternalServerError"}', times=1)
    store.commit(FIRST, 0)
    assert store.load([KEY]) == {KEY: FIRST}


def test_a_missing_table_is_named(client):
    store = DynamoDBCheckpointStore("no-such-table", client)
    with pytest.raises(ConfigurationError, match="'no-such-table': ResourceNotFoundException"):
        store.load([KEY])


def test_missing_credentials_are_named(aws, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.endpoint)
    with pytest.raises(ConfigurationError, match="NoCredentialsError"):
        DynamoDBCheckpointStore(aws.table).load([KEY])


@pytest.mark.usefixtures("client")
def test_the_standard_environment_leads_to_the_endpoint(aws, monkeypatch):
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    store = DynamoDBCheckpointStore(aws.table)
    store.commit(FIRST, 0)
    assert store.load([KEY]) == {KEY: FIRST}


def test_calls_are_bounded(aws, monkeypatch):
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    config = DynamoDBCheckpointStore(aws.table)._client.meta.config
    assert (config.connect_timeout, config.read_timeout) == (2, 5)
    assert config.retries == {"mode": "standard", "total_max_attempts": 3}


def test_an_unreachable_endpoint_is_a_retriable_error_in_bounded_time(aws, monkeypatch):
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1")
    started = time.monotonic()
    with pytest.raises(InfrastructureError, match="EndpointConnectionError"):
        DynamoDBCheckpointStore("table").load([KEY])
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("version", None),
        ("version", {"S": "1"}),
        ("next_offset", {"N": "1.5"}),
        ("fingerprint", {"N": "1"}),
        ("state", {"S": "text"}),
        ("totals", {"M": {"applied": {"S": "many"}}}),
        ("totals", None),
        ("outbox", {"S": "not json"}),
        ("outbox", {"S": '[["only one"]]'}),
    ],
    ids=str,
)
def test_an_item_that_is_no_checkpoint_is_named(store, client, aws, attribute, value):
    store.commit(FIRST, 0)
    item = client.get_item(TableName=aws.table, Key=ITEM_KEY)["Item"] | {attribute: value}
    client.put_item(TableName=aws.table, Item={name: each for name, each in item.items() if each})
    for read in (lambda: store.load([KEY]), lambda: list(store.checkpoints("headrace"))):
        with pytest.raises(CheckpointCorrupt, match=r"item pk=.*web.clicks_v-1.* partition=.*3.* of DynamoDB table"):
            read()


def test_another_tool_s_item_under_our_prefix_is_named(store, client, aws):
    client.put_item(TableName=aws.table, Item={"pk": {"S": "headrace#lock"}, "partition": {"N": "0"}})
    with pytest.raises(CheckpointCorrupt, match="headrace#lock"):
        list(store.checkpoints("headrace"))


def test_a_checkpoint_larger_than_an_item_is_refused_before_it_is_sent(store):
    with pytest.raises(InvariantError, match="bytes, a DynamoDB item at most 409600"):
        store.commit(replace(FIRST, state=bytes(dynamodb.MAX_ITEM_BYTES)), 0)
    assert store.load([KEY]) == {}


def test_a_checkpoint_with_a_large_state_is_stored(store):
    """The server here counts binary values by their base64 text: 300 KB are all that it lets through."""
    checkpoint = replace(FIRST, state=bytes(290_000))
    store.commit(checkpoint, 0)
    assert store.load([KEY]) == {KEY: checkpoint}


def test_an_item_s_size_counts_names_and_values():
    item = {
        "pk": {"S": "é"},  # 2 + 2
        "n": {"N": "12345"},  # 1 + 5 + 2, at least DynamoDB's 1 + 4
        "b": {"B": b"123"},  # 1 + 3
        "m": {"M": {"a": {"N": "1"}}},  # 1 + 3 for the map + 1 for its entry + 1 + 1 + 2
    }
    assert dynamodb._bytes(item) == 4 + 8 + 4 + 9


@pytest.mark.parametrize("part", ["application", "pipeline", "generation", "topic"])
def test_a_name_with_the_separator_is_refused(store, part):
    with pytest.raises(ConfigurationError, match="may have a '#'"):
        store.load([KEY._replace(**{part: "a#b"})])
