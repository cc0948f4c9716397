"""Who may import whom: the rings of the library, read from its sources.

    ring 0    errors, records                  import nothing of ours but the errors
    ring 1    decoding, time, rows             pure: no I/O, no clock, no environment
    ring 2    operators, stores as ports
    ring 3    the order of effects
    adapters  the world                        rings 0-2; nobody imports them but functions, command line and tests
    edge      settings                         errors only

The rows above the adapters may import their own ring and those within it.
"""

import ast
import graphlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LIBRARY = ROOT / "layers" / "streaming" / "headrace"

RINGS = {
    0: {"errors", "records"},
    1: {
        *("aggregates", "alert_rules", "sample_values"),
        *("avro", "avro_layout", "avro_types", "avsc", "buckets", "cells", "checksum"),
        *("catalog", "catalog_changes", "codec", "duplicate_keys", "footer", "hive"),
        *("columns", "distinct_count", "event", "event_time", "evolution", "fold", "json_object", "json_spelling"),
        "lake",
        *("ledger", "log_event", "log_fields", "logs", "parquet", "patterns", "quantiles", "readers", "rescued"),
        *(
            f"log_formats.{name}"
            for name in ("access", "access_format", "cloudwatch", "error_log", "format", "java_text", "json_lines")
        ),
        *(f"log_formats.{name}" for name in ("cri", "lambda_text", "logfmt", "syslog", "vpc_flow")),
        *("schema", "spelling", "state"),
        *("top_k", "watermark", "windows"),
    },
    2: {
        "alerts",
        *("checkpoint", "early", "event_clock", "first_seen", "fixed", "land_logs", "operators", "outbox"),
        *("own_tables", "sessions", "sliding"),
        *("topology", "warm", "window_rows", "windowed"),
    },
    3: {"janitor", "pipeline", "registrar", "sweeper"},
}
ADAPTERS = {"aws", "dynamodb", "folder", "glue", "kafka", "objects", "sns"}
EDGE = {"settings"}
PLACED = {*RINGS[0], *RINGS[1], *RINGS[2], *RINGS[3], *ADAPTERS, *EDGE}

SDKS = {"aws_msk_iam_sasl_signer", "boto3", "botocore", "confluent_kafka", "obstore", "s3transfer"}
ROW_FORMATS = {"arro3", "fastavro", "msgspec"}
"""What a module outside the adapters needs that Python does not have."""
IMPURE = {
    *("asyncio", "ctypes", "fcntl", "glob", "http", "locale", "logging", "multiprocessing", "os", "platform", "random"),
    *("secrets", "select", "shutil", "signal", "socket", "ssl", "subprocess", "sys", "tempfile", "threading", "time"),
    *("urllib", "uuid", "warnings"),
}
CLOCKS = {"now", "today", "utcnow", "time", "time_ns", "monotonic", "perf_counter"}
READS_A_FILE = {"schema"}
"""`schema.load` reads the .avsc files that are shipped with the code: for the purposes of purity they are code."""
EMPTY_NAMES = {
    "base",
    "common",
    "commons",
    "helper",
    "helpers",
    "manager",
    "managers",
    "misc",
    "shared",
    "util",
    "utils",
}

SOURCES = sorted(
    path
    for folder in (
        "layers/streaming/headrace",
        "layers/iceberg/headrace_iceberg",
        "functions",
        "emulator/kafka_esm",
        "cli/headrace_cli",
        "scripts",
    )
    for path in (ROOT / folder).rglob("*.py")
)


def parse(path):
    return ast.parse(path.read_text(), str(path))


def tree(module):
    return parse(LIBRARY / f"{module.replace('.', '/')}.py")


def imports(syntax):
    """Dotted names of all imports, those inside functions and type-checking blocks too."""
    for node in ast.walk(syntax):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative imports hide the direction"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_modules(module):
    """The library's own modules that this one imports; those of a package within it have a dot in their names."""
    parts = [name.split(".") for name in imports(tree(module))]
    return {
        next((name for name in (".".join(rest[:2]), rest[0]) if name in PLACED), rest[0])
        for package, *rest in parts
        if package == "headrace"
    }


def packages(path):
    return {name.partition(".")[0] for name in imports(parse(path))}


def within(ring):
    return set().union(*(RINGS[number] for number in range(ring + 1)))


def test_every_module_has_a_place():
    """A new module needs a ring above; that decides what it may import."""
    paths = [path.relative_to(LIBRARY).with_suffix("") for path in LIBRARY.rglob("*.py") if path.stem != "__init__"]
    assert {".".join(path.parts) for path in paths} == PLACED
    assert sum(map(len, [*RINGS.values(), ADAPTERS, EDGE])) == len(PLACED)


def test_the_packages_themselves_import_nothing():
    """Importing one module must not cost what the others import."""
    for path in LIBRARY.rglob("__init__.py"):
        assert list(imports(parse(path))) == []


@pytest.mark.parametrize(("ring", "module"), [(ring, module) for ring in RINGS for module in sorted(RINGS[ring])])
def test_rings_import_inwards(ring, module):
    allowed = within(ring) if ring else {"errors"} - {module}
    assert imported_modules(module) <= allowed


@pytest.mark.parametrize("module", sorted(ADAPTERS))
def test_adapters_know_ports_and_never_the_pipeline(module):
    assert imported_modules(module) <= within(2) | ADAPTERS


@pytest.mark.parametrize("module", sorted(EDGE))
def test_settings_know_only_errors(module):
    assert imported_modules(module) <= {"errors"}


def test_only_a_function_that_declares_a_sketch_loads_it():
    """Nobody else's cold start pays for it."""
    sketches = {"cells", "distinct_count", "fold", "quantiles", "sample_values", "top_k"}
    assert not set().union(*map(imported_modules, PLACED - sketches)) & sketches


def test_no_modules_import_each_other_in_circles():
    graphlib.TopologicalSorter({module: imported_modules(module) for module in PLACED}).prepare()


@pytest.mark.parametrize("module", sorted(PLACED - ADAPTERS))
def test_the_world_appears_only_in_adapters(module):
    foreign = {name.partition(".")[0] for name in imports(tree(module))} - sys.stdlib_module_names - {"headrace"}
    assert foreign <= ROW_FORMATS


@pytest.mark.parametrize("module", sorted(RINGS[0] | RINGS[1]))
def test_the_inner_rings_are_pure(module):
    """No file, no network, no clock, no environment, no randomness, no log."""
    assert not {name.partition(".")[0] for name in imports(tree(module))} & IMPURE
    calls = [node.func for node in ast.walk(tree(module)) if isinstance(node, ast.Call)]
    assert not {call.attr for call in calls if isinstance(call, ast.Attribute)} & CLOCKS
    assert not {call.id for call in calls if isinstance(call, ast.Name)} & {"open", "print", "input"}


@pytest.mark.parametrize("module", sorted(RINGS[0] | RINGS[1]))
def test_only_the_schema_touches_files(module):
    assert ("pathlib" in {name.partition(".")[0] for name in imports(tree(module))}) is (module in READS_A_FILE)


def folder_sources(folder):
    found = [path for path in SOURCES if path.is_relative_to(ROOT / folder)]
    assert found, f"{folder} has no sources"
    return found


def test_the_library_knows_nobody_outside():
    for path in folder_sources("layers/streaming/headrace"):
        outside = {"kafka_esm", "headrace_cli", "catalog", "clickstream", "landing", "sweeper"} & packages(path)
        assert not outside, path


def test_the_emulator_knows_nothing_of_the_library():
    """It works on any SAM template."""
    for path in folder_sources("emulator/kafka_esm"):
        assert not packages(path) & {"headrace", "headrace_cli"}, path
        assert "headrace" not in path.read_text().lower(), path


def test_pyiceberg_and_pyarrow_stay_in_a_layer_of_their_own():
    """What they cost, 150 MB and half a second, is paid by one function and by no other command."""
    heavy = {"pyiceberg", "pyarrow"}
    for path in SOURCES:
        assert not packages(path) & heavy or "headrace_iceberg" in path.parts, path


def test_what_is_to_be_added_is_decided_without_a_catalog():
    for module in ("high_water", "landing_zone", "errors"):
        found = packages(ROOT / "layers" / "iceberg" / "headrace_iceberg" / f"{module}.py") - sys.stdlib_module_names
        assert found <= {"headrace", "headrace_iceberg", "msgspec"}


def test_functions_reach_the_world_through_adapters():
    for path in folder_sources("functions"):
        assert not packages(path) & (SDKS | {"kafka_esm", "headrace_cli"}), path


def test_sources_are_searched_where_they_are():
    """Else the tests below would pass over nothing."""
    assert {path.parts[len(ROOT.parts)] for path in SOURCES} == {"layers", "functions", "emulator", "cli", "scripts"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_owns(path):
    assert ast.get_docstring(parse(path)), "a module opens with a docstring"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_say_something(path):
    assert not EMPTY_NAMES & {*path.relative_to(ROOT).parts, path.stem}
