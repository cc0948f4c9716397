"""The public names, and who may import what."""

import ast
import sys
from pathlib import Path

import pytest

import kafka_esm

MODULES = {path.stem: path for path in Path(kafka_esm.__file__).parent.glob("*.py")}
BOTTOM = {
    "errors": set(),
    "event": set(),
    "batching": {"errors", "event"},
    "chaos": set(),
    "chaos_batching": {"batching", "chaos", "event"},
}


def imports(name):
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def test_every_public_name_is_there():
    assert kafka_esm.__all__ == sorted(kafka_esm.__all__)
    assert all(hasattr(kafka_esm, name) for name in kafka_esm.__all__)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_nothing_is_imported_from_the_application(name):
    tops = {module.partition(".")[0] for module in imports(name)}

    assert tops - set(sys.stdlib_module_names) <= {"kafka_esm", "confluent_kafka", "yaml"}
    assert ("confluent_kafka" in tops) == (name in {"broker", "consumer"})


@pytest.mark.parametrize(("name", "allowed"), BOTTOM.items())
def test_the_pure_modules_import_only_what_is_below_them(name, allowed):
    ours = {module.partition(".")[2] for module in imports(name) if module.startswith("kafka_esm")}

    assert ours <= allowed
    assert not {"os", "time", "threading", "socket"} & set(imports(name))
