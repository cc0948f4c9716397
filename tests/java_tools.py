"""What tests need that run a Java program from Maven Central."""

import os

import pytest

from headrace_cli.maven import missing_tools


def require_java_tools():
    """Need Java and Maven: a user's machine without them skips these tests, a CI without them fails."""
    if missing := missing_tools():
        reason = f"programs from Maven Central need {' and '.join(missing)}, not on this machine"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
