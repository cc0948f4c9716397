"""What the Lambda runtime brings: its variables, its runtime client and the AWS SDK.

The packages are in a folder of their own: a function under the real runtime must see its code, its layers
and this folder, and nothing else that happens to be installed here: a dependency missing in its layer has
to fail locally too.
"""

import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from platform import machine

from kafka_esm.errors import RuntimeUnavailableError
from kafka_esm.mapping import Function

_INSTALL = "install kafka-esm[runtime]"
_RUNTIME_CLIENT = ("awslambdaric", "simplejson", "snapshot-restore-py")
_SDK = ("boto3", "botocore", "s3transfer", "jmespath", "python-dateutil", "six", "urllib3")
_ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}


def reserved_variables(function: Function) -> dict[str, str]:
    """Return the environment variables Lambda sets about the function itself."""
    return {
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_FUNCTION_NAME": function.logical_id,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        # By this name libraries know that there is no X-Ray daemon.
        "AWS_SAM_LOCAL": "true",
        "LAMBDA_TASK_ROOT": str(function.code_uri),
    }


def link_runtime_packages(folder: Path) -> None:
    """Fill an empty folder with links to the packages of the managed runtime.

    Raises:
        RuntimeUnavailableError: the runtime client is not installed. The SDK may be missing: a function
            that imports it then says so itself.
    """
    for name in _RUNTIME_CLIENT:
        _link(_installed(name), folder)
    for name in _SDK:
        try:
            _link(distribution(name), folder)
        except PackageNotFoundError:
            continue


def interface_emulator() -> Path:
    """Return the runtime interface emulator that aws-sam-cli ships.

    Raises:
        RuntimeUnavailableError: it is not there, or not for this processor.
    """
    name = f"aws-lambda-rie-{_ARCHITECTURES.get(machine().lower(), machine())}"
    path = Path(str(_installed("aws-sam-cli").locate_file(f"samcli/local/rapid/{name}")))
    if not sys.platform.startswith("linux") or not path.is_file():
        raise RuntimeUnavailableError(
            f"{name}: no runtime interface emulator for this machine: use the in-process runtime"
        )
    return path


def _installed(name: str) -> Distribution:
    try:
        return distribution(name)
    except PackageNotFoundError as error:
        raise RuntimeUnavailableError(f"{name} is not installed: {_INSTALL}") from error


def _link(package: Distribution, folder: Path) -> None:
    # Its own top level only: a wheel's files start with its packages, its metadata, or "..", the scripts.
    tops = {file.parts[0] for file in package.files or ()} - {"..", "__pycache__"}
    for top in tops:
        target, link = Path(str(package.locate_file(top))).resolve(), folder / top
        if not link.exists():
            link.symlink_to(target, target_is_directory=target.is_dir())
