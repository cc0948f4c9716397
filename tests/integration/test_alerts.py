"""From log lines to messages: an outage in the lake of a local AWS, announced, read and sent to a topic."""

import json
import time
from pathlib import Path
from uuid import uuid4

import pytest
from samples import lambda_event, record

from headrace.checkpoint import MemoryCheckpointStore
from headrace.logs import AUTO
from headrace.objects import open_lake
from headrace.pipeline import Pipeline
from headrace.settings import Settings
from headrace_cli.local.aws_server import LocalAws
from kafka_esm import Function, FunctionError, FunctionLoadError, InProcessInvoker
from logs.topology import topology

FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"
MINUTE_MS = 60_000


@pytest.fixture(scope="module")
def aws():
    with LocalAws() as server:
        yield server


@pytest.fixture
def lake(aws, monkeypatch):
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    return open_lake(f"s3://{aws.bucket}/{uuid4().hex}")


class Subscribed:
    """A topic, and the queue that gets its messages."""

    def __init__(self, aws, *, fifo=False):
        self.sqs = aws.client("sqs")
        name = f"alerts-{uuid4().hex}" + ".fifo" * fifo
        attributes = {"FifoTopic": "true"} if fifo else {}
        sns = aws.client("sns")
        self.arn = sns.create_topic(Name=name, Attributes=attributes)["TopicArn"]
        queue = {"FifoQueue": "true"} if fifo else {}
        self.url = self.sqs.create_queue(QueueName=name, Attributes=queue)["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sns.subscribe(TopicArn=self.arn, Protocol="sqs", Endpoint=arn)

    def received(self):
        found = []
        while messages := self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                found.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return found


def publish_outages(prefix, services, *, age_ms=0):
    """Two services, say, are down in the third of five minutes; the keys of the files that say so."""
    noon_ms = (time.time_ns() // 1_000_000 - age_ms) // MINUTE_MS * MINUTE_MS - 10 * MINUTE_MS
    lines = [
        {"timestamp": noon_ms + m * MINUTE_MS + n, "level": level, "service": service, "message": f"{service} {m}:{n}"}
        for m, level in enumerate(["INFO", "INFO", "ERROR", "ERROR", "INFO"])
        for n in range(30)
        for service in services
    ]
    # Without patterns, whose new errors would be alerts in files of their own.
    settings = Settings(max_skew_ms=10**12, out_of_orderness_ms=0, log_tables="minutes,alerts")
    made = topology(settings, AUTO)
    checkpoints = MemoryCheckpointStore()
    pipeline = Pipeline("logs", lambda _topic: made, checkpoints, prefix)
    records = [record(n, json.dumps(line).encode(), topic="logs") for n, line in enumerate(lines)]
    pipeline.handle(lambda_event(records))
    (checkpoint,) = checkpoints.checkpoints("headrace")
    pipeline.tick(checkpoint)
    return list(prefix.keys("lake/logs/alerts/"))


def invoke(aws, lake, topic, key, **variables):
    prefix = lake._store.prefix
    environment = {
        **aws.environment,
        "HEADRACE_CHECKPOINTS": "dynamodb:checkpoints",
        "HEADRACE_LAKE": f"s3://{aws.bucket}/{prefix}",
        "HEADRACE_ALERT_TOPIC": topic,
        # The log's handlers are the process's; other tests have functions of the usual names.
        "POWERTOOLS_SERVICE_NAME": "test-alerts",
        "POWERTOOLS_TRACE_DISABLED": "true",
        **variables,
    }
    detail = {"bucket": {"name": aws.bucket}, "object": {"key": f"{prefix}/{key}", "size": 3000}}
    event = {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}
    function = Function("alerts", "alerts.app.lambda_handler", FUNCTIONS, (), environment, 60)
    return InProcessInvoker(function).invoke(json.dumps(event).encode())


def test_an_outage_is_one_message_for_each_service(aws, lake):
    topic = Subscribed(aws)
    (key,) = publish_outages(lake, ["shop", "cart"])
    assert invoke(aws, lake, topic.arn, key) == {"sent": 2, "old": 0}
    received = topic.received()
    assert sorted(m["Subject"] for m in received) == [
        f"error-ratio: {service}: errors/events is 1 (30 of 30), above 0.25" for service in ("cart", "shop")
    ]
    for message in received:
        body = json.loads(message["Message"])
        assert message["MessageAttributes"]["alert_id"]["Value"] == body["alert_id"]
        assert body["samples"] == [f"{body['key']['service']} 2:{n}" for n in range(3)]
        assert body["file"].endswith(key)


def test_an_announcement_that_comes_twice_is_sent_twice_under_the_same_ids(aws, lake):
    topic = Subscribed(aws)
    (key,) = publish_outages(lake, ["shop", "cart"])
    for _ in range(2):
        invoke(aws, lake, topic.arn, key)
    ids = [message["MessageAttributes"]["alert_id"]["Value"] for message in topic.received()]
    assert len(ids) == 4
    assert len(set(ids)) == 2


def test_a_fifo_topic_passes_each_alert_on_once(aws, lake):
    topic = Subscribed(aws, fifo=True)
    (key,) = publish_outages(lake, [f"s{n:02}" for n in range(23)])
    for _ in range(2):
        assert invoke(aws, lake, topic.arn, key)["sent"] == 23
    received = [json.loads(message["Message"])["key"]["service"] for message in topic.received()]
    assert sorted(received) == [f"s{n:02}" for n in range(23)]


def test_alerts_about_long_ago_stay_in_their_table(aws, lake):
    """A topic that is read again from its beginning wakes nobody up."""
    topic = Subscribed(aws)
    (key,) = publish_outages(lake, ["shop"], age_ms=2 * 3_600_000)
    assert invoke(aws, lake, topic.arn, key, HEADRACE_ALERT_MAX_AGE_HOURS="1") == {"sent": 0, "old": 1}
    assert topic.received() == []
    assert invoke(aws, lake, topic.arn, key)["sent"] == 1


@pytest.mark.filterwarnings("ignore:No application metrics to publish")
@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "FileMissing"), (b"rubbish", "FileUnreadable"), (b"", "FileUnreadable"), ("late", "FileUnreadable")],
)
def test_a_file_that_cannot_be_read_is_named(aws, lake, content, says):
    topic = Subscribed(aws)
    key = "lake/logs/alerts/date=2024-03-13/hour=12/1-logs-0-7-0.parquet"
    if content == "late":
        publish_outages(lake, ["shop"])
        content = lake.read(next(iter(lake.keys("lake/logs/service_minutes/"))))
    if content is not None:
        lake.stage({key: content})
    with pytest.raises(FunctionError, match=f"{says}: {key}"):
        invoke(aws, lake, topic.arn, key)
    assert topic.received() == []


@pytest.mark.filterwarnings("ignore:No application metrics to publish")
def test_a_topic_that_is_gone_and_an_object_of_another_table_are_errors(aws, lake):
    (key,) = publish_outages(lake, ["shop"])
    with pytest.raises(FunctionError, match="ConfigurationError"):
        invoke(aws, lake, "arn:aws:sns:eu-west-1:123456789012:nobody", key)
    with pytest.raises(FunctionError, match="ForeignObject"):
        invoke(aws, lake, Subscribed(aws).arn, key.replace("alerts", "late"))


def test_a_deployment_without_a_topic_does_not_start(aws, lake):
    with pytest.raises(FunctionLoadError, match="HEADRACE_ALERT_TOPIC must be the ARN"):
        invoke(aws, lake, "", "any")
