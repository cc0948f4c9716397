"""The template and the scripts that check and build it."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import validate_application  # noqa: E402 - found through the line above


@pytest.fixture(scope="session")
def template():
    """The SAM template as written, intrinsic functions in long form."""
    return validate_application.load_template()


@pytest.fixture(scope="session")
def cloudformation(template):
    """What CloudFormation gets of it, with default parameters."""
    return validate_application.translate(template, {})
