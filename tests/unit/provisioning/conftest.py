"""The platform's functions, a server in place of CloudFormation's bucket, and requests such as CloudFormation sends."""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "provisioning"))

ARN = "arn:aws:kafka:us-east-1:123456789012:cluster/headrace-dev-Serverless/0a-1"


class Bucket:
    """Takes answers by PUT as the bucket behind a ResponseURL does; refuses the first ones when told."""

    def __init__(self):
        self.answers = []
        self.content_types = []
        self.attempts = 0
        self.refusals = 0
        bucket = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self):
                bucket.attempts += 1
                body = self.rfile.read(int(self.headers["Content-Length"]))
                refused = bucket.attempts <= bucket.refusals
                if not refused:
                    bucket.answers.append(json.loads(body))
                    bucket.content_types.append(self.headers["Content-Type"])
                self.send_response(503 if refused else 200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/answer?signature=secret"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def bucket():
    bucket = Bucket()
    yield bucket
    bucket.close()


class Context:
    """Lambda's context of an invocation with so much time left."""

    log_stream_name = "2026/11/23/[1]abc"

    def __init__(self, remaining_s=60.0):
        self._remaining_s = remaining_s

    def get_remaining_time_in_millis(self):
        return int(self._remaining_s * 1000)


@pytest.fixture
def context():
    return Context


@pytest.fixture
def request_of(bucket):
    """Return a function that makes a request to the bucket's URL."""

    def make(kind, resource_type="Custom::KafkaTopics", old=None, physical_id="topics-of-it", **properties):
        event = {
            "RequestType": kind,
            "RequestId": "r-1",
            "StackId": "arn:aws:cloudformation:us-east-1:123456789012:stack/s/u",
            "LogicalResourceId": "Topics",
            "ResourceType": resource_type,
            "ResponseURL": bucket.url,
            "ResourceProperties": {"ClusterArn": ARN, **properties},
        }
        if kind != "Create":
            event["PhysicalResourceId"] = physical_id
        if old is not None:
            event["OldResourceProperties"] = {"ClusterArn": ARN, **old}
        return event

    return make
