"""What `make build` makes for Lambda: the same from the same input, and within Lambda's limits."""

import hashlib
import os
import sys
from pathlib import Path

import artifacts
import package
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "provisioning"))

import package_functions

ARCHITECTURE = "arm64"
"""What is deployed unless a parameter says otherwise."""


def digests(folder):
    """Every file by its name: mode, time and content, as a zip archive would keep them."""
    return {
        str(path.relative_to(folder)): (
            oct(path.stat().st_mode),
            path.stat().st_mtime,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def built(folder):
    package.package_layer(ARCHITECTURE, folder / "layer" / "python")
    package.package_iceberg_layer(ARCHITECTURE, folder / "iceberg-layer" / "python")
    package.package_functions(ARCHITECTURE, folder / "functions")
    package_functions.lay_out(folder / "topic_admin", kafka=True)
    package_functions.lay_out(folder / "lookup", kafka=False)
    return folder


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return built(tmp_path_factory.mktemp("first"))


def test_two_builds_in_different_places_are_equal_byte_for_byte(first, tmp_path):
    again = built(tmp_path / "a much longer name of a folder")
    assert digests(again) == digests(first)
    assert len(digests(first)) > 100


def test_another_time_is_another_build_and_building_again_mends_it(tmp_path):
    folder = tmp_path / "functions"
    package.package_functions(ARCHITECTURE, folder)
    same = digests(folder)
    schema = folder / "schemas" / "clicks.avsc"
    os.utime(schema, (1, 1))
    assert digests(folder) != same
    package.package_functions(ARCHITECTURE, folder)
    assert digests(folder) == same


def test_no_file_says_where_it_was_built(first):
    place = str(first).encode()
    assert [path for path in first.rglob("*") if path.is_file() and place in path.read_bytes()] == []


def test_a_platform_function_is_within_lambdas_limit_and_has_what_it_imports_only(first):
    assert 0 < artifacts.tree_bytes(first / "topic_admin") <= artifacts.UNZIPPED_LIMIT_BYTES
    assert (first / "topic_admin" / "confluent_kafka").is_dir()
    assert [path.name for path in (first / "lookup").iterdir()] == ["topic_admin"]


def test_function_and_layer_are_within_lambdas_limit(first):
    functions = artifacts.tree_bytes(first / "functions")
    for name in ("layer", "iceberg-layer"):
        layer = artifacts.tree_bytes(first / name)
        assert 0 < layer + functions <= artifacts.UNZIPPED_LIMIT_BYTES
        # The layer has what is heavy; a function is its own few files.
        assert functions < layer / 50


def test_the_binaries_are_for_the_processor_that_is_deployed(first):
    """ELF's e_machine, two bytes at 18: 183 is AArch64."""
    libraries = [path for path in first.rglob("*.so*") if path.is_file()]
    assert len(libraries) > 5
    assert {int.from_bytes(path.read_bytes()[18:20], "little") for path in libraries} == {183}
