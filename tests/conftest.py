"""What every test gets: an environment without this machine's settings, and the shared input files."""

import os
from collections.abc import MutableMapping
from pathlib import Path

import pytest
from hypothesis import settings

# This machine may be busy: an example's wall time says nothing about the code.
settings.register_profile("headrace", deadline=None)
settings.load_profile("headrace")

ROOT = Path(__file__).resolve().parent.parent

SCRUBBED_PREFIXES = ("AWS_", "HEADRACE_", "POWERTOOLS_")
KEPT = {"HEADRACE_TEST_DATA"}
FIXED = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
    # Nothing may ask the network or a home directory for credentials.
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "POWERTOOLS_TRACE_DISABLED": "true",
    "SAM_CLI_TELEMETRY": "0",
}


def _leaking(environment: MutableMapping[str, str]) -> list[str]:
    return [name for name in environment if name.startswith(SCRUBBED_PREFIXES) and name not in KEPT]


# Handler modules read their settings when they are imported, which may be during collection.
for _name in _leaking(os.environ):
    del os.environ[_name]
os.environ.update(FIXED)


@pytest.fixture(autouse=True)
def _scrubbed_environment(monkeypatch):
    """Each test starts from the same environment, whatever a test before it left behind."""
    for name in _leaking(os.environ):
        monkeypatch.delenv(name)
    for name, value in FIXED.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public input files; on a machine without it the test is skipped, in CI it fails.

    `HEADRACE_TEST_DATA=none` says that a CI without the files is meant to be one.
    """
    if os.environ.get("HEADRACE_TEST_DATA") == "none":
        pytest.skip("HEADRACE_TEST_DATA=none: the public input files are not on this machine")
    folder = Path(os.environ.get("HEADRACE_TEST_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        reason = f"no test data in {folder}: set HEADRACE_TEST_DATA to the folder that has it"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return folder
