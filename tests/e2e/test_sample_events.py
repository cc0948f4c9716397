"""Each file in events/ through the real Lambda runtime, over what the build makes: what `sam local invoke` shows."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from built_functions import BUILT, LOGICAL_IDS, OVERRIDES, wait_for_rows
from sample_events import EVENTS, EXPECTED

from headrace_cli.local.deployment import build_for_runtime
from kafka_esm import RuntimeInvoker, SamTemplate

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.runtime


@pytest.fixture(scope="module")
def template():
    build_for_runtime(lambda _line: None)
    return SamTemplate.load(ROOT / "template.yaml", OVERRIDES)


OTHERS = ("sweeper/schedule", "catalog/schedule", "iceberg/schedule", "alerts/published")


@pytest.mark.parametrize("name", [*EXPECTED, *OTHERS])
def test_each_event_prints_its_rows(template, name):
    """An execution environment of its own for each, as `sam local invoke` has: a warm one would skip known offsets."""
    function = replace(template.function(LOGICAL_IDS[name.partition("/")[0]]), code_uri=BUILT / "functions")
    applied, dead, late, rows = EXPECTED.get(name, (0, 0, 0, {}))
    lines = []
    layer = "iceberg-layer" if name.startswith("iceberg") else "layer"
    invoker = RuntimeInvoker(function, layer_dirs=[BUILT / layer / "python"], on_log=lines.append)
    try:
        answer = invoker.invoke((EVENTS / f"{name}.json").read_bytes())
        wait_for_rows(lines, sum(rows.values()))
    finally:
        invoker.close()
    counts = {key: answer.get(key, 0) for key in ("applied", "dead", "late", "rows")}
    assert counts == {"applied": applied, "dead": dead, "late": late, "rows": sum(rows.values())}
    assert Counter(json.loads(line)["table"] for line in lines if line.startswith('{"table"')) == rows
