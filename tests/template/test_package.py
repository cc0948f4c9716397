"""What goes into the layer: locked, hash-checked, complete together with what the managed runtime brings."""

import subprocess
import sys

import artifacts
import build
import package
import pytest
import validate_application

LAYER_LIMIT_BYTES = 90 * 1024 * 1024
# The budget is 400; a shared machine's CPU clock wavers.
IMPORT_LIMIT_CPU_MS = 600


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """What `make build` makes for this machine."""
    folder = tmp_path_factory.mktemp("host")
    build.build_host(folder)
    return folder


@pytest.fixture(scope="module")
def layer(host):
    return host / "layer" / "python"


@pytest.fixture(scope="module")
def runtime(host):
    return host / "runtime" / "python"


def names(requirements):
    return {line.split("==")[0] for line in requirements}


def run_isolated(code, *folders):
    """Run code with these folders and the standard library only."""
    environment = {"PYTHONPATH": ":".join(map(str, folders)), "AWS_EC2_METADATA_DISABLED": "true"}
    return subprocess.run(
        [sys.executable, "-S", "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_every_requirement_is_locked_with_a_hash():
    requirements = package.locked_requirements()
    assert len(requirements) > 5
    assert all("==" in line and " --hash=sha256:" in line for line in requirements)


def test_what_the_runtime_brings_stays_out_with_all_that_only_it_needs():
    layer = names(package.locked_requirements(*package.RUNTIME_PROVIDES, *package.NOT_IMPORTED))
    assert layer.isdisjoint({"boto3", "botocore", "s3transfer", "urllib3", "python-dateutil", "six", "click"})
    assert {"msgspec", "obstore", "confluent-kafka", "aws-msk-iam-sasl-signer-python", "jmespath"} <= layer


def test_a_wrong_hash_is_refused(tmp_path):
    (line,) = [line for line in package.locked_requirements() if line.startswith("jmespath==")]
    forged = f"{line.split()[0]} --hash=sha256:{'0' * 64}"
    with pytest.raises(SystemExit, match=r"(?i)hash mismatch|mismatch"):
        package.install([forged], "host", tmp_path / "target")


def test_the_layer_and_the_runtime_together_are_complete(layer, runtime):
    code = (
        "import arro3.core, arro3.io, aws_lambda_powertools, aws_msk_iam_sasl_signer, confluent_kafka;"
        "import msgspec, obstore, headrace.errors; print(headrace.errors.__file__)"
    )
    done = run_isolated(code, layer, runtime)
    assert done.stderr == ""
    assert done.stdout.startswith(str(layer))


def test_the_layer_brings_its_own_time_zones(layer):
    """As on a system without any: calendar windows must not depend on what the runtime's image happens to have."""
    code = (
        "import zoneinfo; zoneinfo.reset_tzpath(());"
        "from headrace.windows import CalendarWindows;"
        "(day,) = CalendarWindows('day', 'Europe/Berlin').containing(1711846800000); print(day.end_ms - day.start_ms)"
    )
    done = run_isolated(code, layer)
    assert done.stderr == ""
    assert int(done.stdout) == 23 * 3_600_000


def test_the_layer_alone_has_no_boto3(layer):
    assert "No module named 'boto3'" in run_isolated("import boto3", layer).stderr


def test_the_layer_is_clean_and_within_its_budget(layer):
    assert artifacts.tree_bytes(layer) < LAYER_LIMIT_BYTES
    present = {path.name for path in layer.rglob("*")}
    assert present.isdisjoint({".lock", "bin", "RECORD", "INSTALLER", "direct_url.json"})
    assert (layer / "headrace" / "py.typed").exists()


def test_the_same_input_makes_the_same_files_and_times(layer, tmp_path):
    again = tmp_path / "python"
    package.package_layer("host", again)

    def listing(folder):
        return {
            path.relative_to(folder): (path.stat().st_mtime, path.read_bytes() if path.suffix == ".py" else None)
            for path in folder.rglob("*")
        }

    assert listing(again) == listing(layer)


def test_every_function_of_the_template_is_imported_from_the_build_alone(host):
    modules = artifacts.handler_modules(host)
    handlers = [r["Properties"].get("Handler") for r in validate_application.load_template()["Resources"].values()]
    assert modules == sorted(h.removesuffix(".lambda_handler") for h in handlers if h)
    for module in modules:
        assert artifacts.import_cpu_ms(module, host) < IMPORT_LIMIT_CPU_MS, module


def test_functions_are_packaged_whole_without_tests_or_bytecode_of_elsewhere(host):
    def sources(folder):
        return {path.relative_to(folder) for path in folder.rglob("*") if path.suffix in {".py", ".avsc"}}

    packaged = host / "functions"
    assert sources(packaged) == sources(validate_application.ROOT / "functions")
    assert not (packaged / "Makefile").exists()


def test_bytecode_is_trusted_whatever_the_times_say(layer):
    """PEP 552: flags 1 is hash-based and unchecked. A zip's times would otherwise make every one look stale."""
    compiled = sorted(layer.glob("headrace/__pycache__/*.pyc"))
    assert compiled
    assert {path.read_bytes()[4:8] for path in compiled} == {(1).to_bytes(4, "little")}


def test_a_deployment_asks_for_what_avro_needs(monkeypatch):
    assert "fastavro" not in names(package.locked_requirements())
    monkeypatch.setattr(package, "EXTRAS", ("avro",))
    assert "fastavro" in names(package.locked_requirements())
