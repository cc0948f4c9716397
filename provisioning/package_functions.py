"""Lays out what the platform's functions contain, for `sam build`: `package_functions.py [--kafka] TARGET`.

With --kafka also the Kafka client and the IAM signer, in the versions and with the hashes of uv.lock. boto3 is the
runtime's own.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "scripts"))

import package  # noqa: E402 - found through the line above

ARCHITECTURE = "arm64"
"""As the templates say."""
APPLICATIONS_OWN = ("arro3-core", "arro3-io", "aws-lambda-powertools", "msgspec", "obstore", "tzdata")
"""What the library imports and these functions do not."""


def kafka_requirements() -> list[str]:
    """The locked requirement lines, with hashes, of the Kafka client and the signer."""
    return package.locked_requirements(*package.RUNTIME_PROVIDES, *package.NOT_IMPORTED, *APPLICATIONS_OWN)


def lay_out(target: Path, *, kafka: bool) -> None:
    """Fill the folder, whatever was in it; the same input gives the same bytes and times."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    if kafka:
        package.install(kafka_requirements(), ARCHITECTURE, target)
    shutil.copytree(HERE / "topic_admin", target / "topic_admin", ignore=shutil.ignore_patterns("__pycache__"))
    for path in sorted(target.rglob("*"), reverse=True):
        os.utime(path, (package.FIXED_MTIME, package.FIXED_MTIME))


def main() -> None:
    """Fill the folder that is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kafka", action="store_true", help="with the Kafka client and the IAM signer")
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    lay_out(arguments.target, kafka=arguments.kafka)


if __name__ == "__main__":
    main()
