"""The lake in a bucket at a real endpoint: prefixes, listing of many keys, and a bucket that is not there."""

import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

from headrace.checkpoint import OutboxEntry
from headrace.errors import ConfigurationError, ObjectMissing
from headrace.objects import open_lake
from headrace_cli.local.aws_server import LocalAws


@pytest.fixture(scope="module")
def aws():
    with LocalAws() as server:
        yield server


@pytest.fixture
def s3(aws, monkeypatch):
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    return aws.client("s3")


def test_lakes_in_one_bucket_do_not_see_each_other(aws, s3):
    lakes = [open_lake(f"s3://{aws.bucket}{prefix}") for prefix in ("/one", "/one-more/", "/one/deeper")]
    for number, lake in enumerate(lakes):
        lake.stage({"staging/u/0": bytes([number])})
        lake.publish([OutboxEntry("staging/u/0", "lake/p/t/date=2026-11-22/é %25.parquet")])
    assert [lake.read("lake/p/t/date=2026-11-22/é %25.parquet") for lake in lakes] == [b"\0", b"\1", b"\2"]
    assert list(lakes[0].keys("lake/")) == ["lake/p/t/date=2026-11-22/é %25.parquet"]
    stored = [each["Key"] for each in s3.list_objects_v2(Bucket=aws.bucket)["Contents"]]
    assert "one-more/lake/p/t/date=2026-11-22/é %25.parquet" in stored


@pytest.mark.usefixtures("s3")
def test_more_keys_than_one_page_are_listed_sorted_and_deleted(aws):
    lake = open_lake(f"s3://{aws.bucket}/many")
    keys = [f"staging/{n:04}" for n in range(1_050)]
    bucket = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    for key in keys:  # straight into moto's memory: a thousand requests would only test moto
        bucket.put_object(aws.bucket, f"many/{key}", b"")
    assert list(lake.keys("staging/")) == keys
    lake.delete(keys)
    assert list(lake.keys("staging/")) == []


def test_a_large_object_goes_in_one_request_and_comes_back_whole(aws, s3):
    data = bytes(range(256)) * 40_000
    lake = open_lake(f"s3://{aws.bucket}/large")
    lake.stage({"state/large": data})
    assert lake.read("state/large") == data
    assert "-" not in s3.head_object(Bucket=aws.bucket, Key="large/state/large")["ETag"]


@pytest.mark.usefixtures("s3")
def test_a_bucket_that_is_not_there_is_named_when_written_to():
    with pytest.raises(ConfigurationError, match="cannot write staging/a in bucket 'no-such-bucket': it does not"):
        open_lake("s3://no-such-bucket").stage({"staging/a": b""})


def test_a_lost_staged_object_is_never_published_as_something_else(aws, s3):
    lake = open_lake(f"s3://{aws.bucket}/lost")
    lake.stage({"staging/a": b"a", "staging/b": b"b"})
    s3.delete_object(Bucket=aws.bucket, Key="lost/staging/b")
    with pytest.raises(ObjectMissing) as missing:
        lake.publish([OutboxEntry("staging/a", "lake/a"), OutboxEntry("staging/b", "lake/b")])
    assert missing.value.key == "staging/b"
    assert "lake/b" not in list(lake.keys("lake/"))
