"""The local AWS server: exact under threads, empty at every start, and without a trace in the process."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from headrace_cli.local import aws_server
from headrace_cli.local.aws_server import LocalAws


def test_it_has_the_bucket_and_the_table_and_leaves_the_environment_alone():
    before = dict(os.environ)
    with LocalAws(bucket="a-lake", table="some-checkpoints") as server:
        assert os.environ == before
        assert server.client("s3").list_buckets()["Buckets"][0]["Name"] == "a-lake"
        table = server.client("dynamodb").describe_table(TableName="some-checkpoints")["Table"]
        assert [key["AttributeName"] for key in table["KeySchema"]] == ["pk", "partition"]
        assert server.endpoint.startswith("http://127.0.0.1:")
        assert server.environment["AWS_ENDPOINT_URL"] == server.endpoint
    assert os.environ == before


def test_the_next_server_knows_nothing_of_the_one_before():
    with LocalAws() as server:
        server.client("s3").put_object(Bucket=server.bucket, Key="a", Body=b"")
    with LocalAws() as server:
        assert server.client("s3").list_objects_v2(Bucket=server.bucket)["KeyCount"] == 0


def test_after_closing_no_thread_and_no_address_is_left():
    with LocalAws() as server:
        pass
    assert "local-aws" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.endpoint


def test_requests_are_answered_one_at_a_time():
    """moto is not atomic under threads; a race test of ours would blame us."""
    inside = threading.Semaphore(1)

    def app(environ, _):
        assert inside.acquire(blocking=False), "two requests at once"
        time.sleep(0.001)
        yield environ["body"]
        inside.release()

    serialised = aws_server._one_at_a_time(app)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: serialised({"body": b"%d" % n}, None), range(50)))
    assert answers == [[b"%d" % n] for n in range(50)]
