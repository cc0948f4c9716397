"""Makes the client instance's programs: `client_bundle.py TARGET.tar.gz`, then upload it where ClientBundleKey says.

The instance has no way to the internet, so the bundle brings along what is not in Amazon Linux's repositories: the
headrace command in the versions of uv.lock, Kafka's own tools, and AWS's login module for them. Needs Maven.
"""

import argparse
import gzip
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "scripts"))

import package  # noqa: E402 - found through the line above
from package_functions import ARCHITECTURE  # noqa: E402 - same

SOURCES = ("cli/headrace_cli", "emulator/kafka_esm", "layers/streaming/headrace")
NOT_THERE = ("moto",)
"""Dependencies of the command that only its local servers import."""
DEPENDENCY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
MAVEN_TIMEOUT_S = 900


def make_bundle(target: Path) -> None:
    """Write the bundle; the same input makes the same bytes.

    Raises:
        SystemExit: Maven or uv refused; its own message is shown.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(HERE / "client" / "bin", folder / "bin", symlinks=True)
        shutil.copy(HERE / "client" / "client.properties", folder)
        add_python(folder / "python")
        add_jars(folder / "jars")
        write_archive(folder, target)


def add_python(folder: Path) -> None:
    """Fill the folder with the headrace command and what it imports, for the instance's processor."""
    package.install(command_requirements(), ARCHITECTURE, folder)
    for source in SOURCES:
        path = package.ROOT / source
        shutil.copytree(path, folder / path.name, ignore=shutil.ignore_patterns("__pycache__"))


def command_requirements() -> list[str]:
    """The command's locked requirement lines, with hashes."""
    prune = [option for name in NOT_THERE for option in ("--prune", name)]
    export = ["export", "--frozen", "--package", "headrace-cli", "--no-emit-workspace", "--no-dev", "--no-annotate"]
    text = _run([str(package.UV), *export, "--no-header", *prune])
    return text.replace("\\\n", " ").splitlines()


def add_jars(folder: Path) -> None:
    """Fill the folder with Kafka's tools and the login module, from Maven Central in the versions of client/pom.xml."""
    pom = str(HERE / "client" / "pom.xml")
    _run(["mvn", "-q", "-B", "-f", pom, f"{DEPENDENCY_PLUGIN}:copy-dependencies", f"-DoutputDirectory={folder}"])


def write_archive(folder: Path, target: Path) -> None:
    """Pack the folder, in order and without names, owners and times of this machine."""

    def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mtime = package.FIXED_MTIME
        return member

    with (
        target.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|") as archive,
    ):
        for path in sorted(folder.rglob("*")):
            archive.add(path, str(path.relative_to(folder)), recursive=False, filter=anonymous)


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - programs of this machine, no shell
            command, cwd=package.ROOT, capture_output=True, text=True, check=False, timeout=MAVEN_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SystemExit(f"{command[0]} did not run: {error}") from error
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n{(done.stderr or done.stdout).strip()}")
    return done.stdout


def main() -> None:
    """Write the bundle and say how to upload it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("target", type=Path)
    target = parser.parse_args().target
    make_bundle(target)
    print(f"{target}: {target.stat().st_size / 1_000_000:.0f} MB")
    print(f"aws s3 cp {target} s3://YOUR-BUCKET/headrace-client.tar.gz")


if __name__ == "__main__":
    main()
