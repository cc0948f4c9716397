"""HEADRACE_RAW_EVENTS under the real Lambda runtime: handlers get bytes, and nothing else is different."""

import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from awslambdaric import lambda_runtime_client
from built_functions import BUILT, LOGICAL_IDS, OVERRIDES, wait_for_lines, wait_for_rows
from sample_events import EVENTS, EXPECTED

import raw_event
from headrace.settings import Settings
from headrace_cli.local.deployment import build_for_runtime
from kafka_esm import FunctionError, FunctionExit, RuntimeInvoker, SamTemplate

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.runtime

PROBE = """
import json, os
import deployment, raw_event
from observability import logger, metrics

asked = raw_event.ask_for(deployment.settings())

@logger.inject_lambda_context(correlation_id_path="id", log_event=True, clear_state=True)
@metrics.log_metrics(capture_cold_start_metric=True, raise_on_empty_metrics=False)
def handler(event, context):
    kind = type(event).__name__
    do = json.loads(event)["do"] if isinstance(event, bytes) else event["do"]
    if do == "raise":
        raise ValueError("broken")
    if do == "unserialisable":
        return object()
    if do == "exit":
        os._exit(7)
    logger.info("seen")
    return [asked, kind, context.function_name, len(context.aws_request_id), context.get_remaining_time_in_millis() > 0]
"""


@pytest.fixture(scope="module")
def template():
    build_for_runtime(lambda _line: None)
    return SamTemplate.load(ROOT / "template.yaml", OVERRIDES)


@pytest.fixture(params=["true", "false"], ids=["raw", "parsed"])
def probe(request, template, tmp_path):
    (tmp_path / "app.py").write_text(PROBE)
    landing = template.function("LandingFunction")
    function = replace(
        landing,
        handler="app.handler",
        code_uri=tmp_path,
        environment={**landing.environment, "HEADRACE_RAW_EVENTS": request.param},
        timeout_seconds=60,
    )
    lines = []
    folders = [BUILT / "layer" / "python", BUILT / "functions"]
    invoker = RuntimeInvoker(function, layer_dirs=folders, on_log=lines.append)
    yield invoker, request.param == "true", lines
    invoker.close()


def ask(invoker, what):
    return invoker.invoke(json.dumps({"do": what, "id": "abc"}).encode())


def test_context_errors_and_powertools_are_the_same_with_bytes_and_dicts(probe):
    invoker, raw, lines = probe
    seen = [raw, "bytes" if raw else "dict", "LandingFunction", 36, True]
    assert ask(invoker, "ok") == seen
    wait_for_lines(lines, '"message":"seen"', 1)
    # A path into the event finds nothing in bytes: Kafka's events have no identity of their own anyway.
    (log,) = [json.loads(line) for line in lines if '"message":"seen"' in line]
    assert log.get("correlation_id") == (None if raw else "abc")

    with pytest.raises(FunctionError, match=r"^ValueError: broken$") as error:
        ask(invoker, "raise")
    assert 'raise ValueError("broken")' in error.value.stack_trace[-1]
    with pytest.raises(FunctionError, match=r"^Runtime.MarshalError: Unable to marshal response: .*not JSON serializ"):
        ask(invoker, "unserialisable")
    assert ask(invoker, "ok") == seen
    with pytest.raises(FunctionExit, match=r"Runtime.ExitError: .* exit status 7"):
        ask(invoker, "exit")
    assert ask(invoker, "ok") == seen


@pytest.mark.parametrize("name", ["clickstream/basic", "logs/access_log", "landing/clicks"])
def test_each_function_makes_the_same_rows_of_bytes(template, name):
    applied, dead, late, rows = EXPECTED[name]
    function = template.function(LOGICAL_IDS[name.partition("/")[0]])
    raw = {**function.environment, "HEADRACE_RAW_EVENTS": "true"}
    lines = []
    invoker = RuntimeInvoker(
        replace(function, code_uri=BUILT / "functions", environment=raw),
        layer_dirs=[BUILT / "layer" / "python"],
        on_log=lines.append,
    )
    try:
        answer = invoker.invoke((EVENTS / f"{name}.json").read_bytes())
        wait_for_rows(lines, sum(rows.values()))
    finally:
        invoker.close()
    assert [answer[key] for key in ("applied", "dead", "late")] == [applied, dead, late]
    assert Counter(json.loads(line)["table"] for line in lines if line.startswith('{"table"')) == rows


def test_a_template_says_whether(template):
    chosen = SamTemplate.load(ROOT / "template.yaml", {**OVERRIDES, "RawEvents": "true"})
    for name, logical_id in LOGICAL_IDS.items():
        variables = [t.function(logical_id).environment["HEADRACE_RAW_EVENTS"] for t in (template, chosen)]
        assert variables == ["false", "true"], name


def test_where_the_runtime_has_no_place_for_it_handlers_go_on_with_dicts(monkeypatch):
    """Another release of the client, or none: a setting, never a reason to fail."""
    wanted = Settings(raw_events="true")
    client = lambda_runtime_client.LambdaRuntimeClient
    original = client.marshaller
    monkeypatch.setattr(client, "marshaller", object())
    assert not raw_event.ask_for(wanted)
    monkeypatch.setattr(client, "marshaller", original)
    assert not raw_event.ask_for(Settings())
    assert client.marshaller is original
    assert raw_event.ask_for(wanted)
    assert client.marshaller is not original
    assert client.marshaller.unmarshal_request("{}", "application/json") == {}
    monkeypatch.setitem(sys.modules, "awslambdaric.lambda_runtime_client", None)
    assert not raw_event.ask_for(wanted)
