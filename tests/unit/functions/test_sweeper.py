"""The sweeper's handler says everything that it found, also when the janitor must not clean."""

import json
import os
from pathlib import Path

import pytest
from samples import lambda_event, record

from headrace.outbox import STAGING
from kafka_esm import Function, FunctionError, InProcessInvoker

FUNCTIONS = Path(__file__).resolve().parents[3] / "functions"
CLICK = b'{"user_id": "ann", "page": "/", "event_type": "view", "timestamp": 1710331200000}'


def invoker(name, folder):
    environment = {
        "HEADRACE_CHECKPOINTS": f"file:{folder / 'checkpoints'}",
        "HEADRACE_LAKE": f"file:{folder}",
        "HEADRACE_IDLE_TIMEOUT_MS": "1",
        "HEADRACE_DRAIN": "true",
        # The log's handlers are the process's; other tests have functions of the usual names.
        "POWERTOOLS_SERVICE_NAME": f"bad-input-{name}",
        "POWERTOOLS_TRACE_DISABLED": "true",
    }
    return InProcessInvoker(Function(name, f"{name}.app.lambda_handler", FUNCTIONS, (), environment, 60))


@pytest.mark.filterwarnings("ignore:No application metrics to publish")
def test_a_corrupt_checkpoint_is_reported_with_everything_else(tmp_path):
    records = [record(0, CLICK, topic="clicks", partition=partition) for partition in range(2)]
    invoker("clickstream", tmp_path).invoke(json.dumps(lambda_event(records)).encode())
    corrupt = tmp_path / "checkpoints/headrace/clickstream/1/clicks/0.msgpack"
    corrupt.write_bytes(b"rubbish")
    leftover = tmp_path / STAGING / "left" / "0"
    leftover.parent.mkdir(parents=True)
    leftover.touch()
    os.utime(leftover, (0, 0))
    with pytest.raises(FunctionError) as failed:
        invoker("sweeper", tmp_path).invoke(b"{}")
    message = str(failed.value)
    assert "2 partition(s) failed" in message
    assert f"{corrupt}: CheckpointCorrupt" in message
    assert "janitor: CheckpointCorrupt" in message
    assert "headrace generation new" in message
    published = [path for path in tmp_path.rglob("*.parquet") if STAGING not in path.parts]
    assert published, "the other partition's windows were closed"
    assert leftover.exists()
