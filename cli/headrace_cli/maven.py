"""Java programs from Maven Central: their jars, kept per version in the user's cache folder, and a Java for them."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from headrace_cli.errors import CommandError

OLDEST_JAVA = 17

_DEPENDENCY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
_RESOLVE_TIMEOUT_S = 600.0
_JAVA_TIMEOUT_S = 30.0
_WAY_OUT = {
    "java": f"install a Java runtime, version {OLDEST_JAVA} or newer (Debian: apt-get install openjdk-17-jre-headless)",
    "mvn": "install Maven (Debian: apt-get install maven)",
}

_POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>headrace</groupId>
  <artifactId>fetched</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
{dependencies}  </dependencies>
</project>
"""
_DEPENDENCY = """\
    <dependency>
      <groupId>{}</groupId>
      <artifactId>{}</artifactId>
      <version>{}</version>
    </dependency>
"""


class Distribution(NamedTuple):
    """A program, as Maven Central has it."""

    name: str
    """For messages."""
    folder: str
    """Its own below the cache folder."""
    version: str
    artifacts: tuple[str, ...]
    """`group:artifact:version`; what they depend on is fetched too."""


def missing_tools() -> list[str]:
    """Which of the programs that a first start needs are not on this machine."""
    return [tool for tool in _WAY_OUT if shutil.which(tool) is None]


def java() -> str:
    """The path of a Java that can run these programs.

    Raises:
        CommandError: there is none, it does not work, or it is too old.
    """
    path = _program("java")
    # macOS has a `java` that only says that there is no Java.
    answer = subprocess.run(  # noqa: S603 - a program of this machine, no shell
        [path, "-version"], capture_output=True, text=True, timeout=_JAVA_TIMEOUT_S, check=False
    )
    version = re.search(r'version "(\d+)', answer.stderr)
    if version is None:
        raise CommandError(f"{path} does not work: {_WAY_OUT['java']}")
    if int(version[1]) < OLDEST_JAVA:
        raise CommandError(f"{path} is Java {version[1]}: {_WAY_OUT['java']}")
    return path


def jars(distribution: Distribution, notify: Callable[[str], None]) -> Path:
    """The folder with the jars of a distribution; the first call fetches them (some 50 MB).

    Safe when several processes do it at once, and when one is interrupted: a folder appears complete.

    Raises:
        CommandError: Maven is missing, or could not resolve the version.
    """
    folder = _cache() / distribution.folder / distribution.version
    if not folder.is_dir():
        notify(f"fetching {distribution.name} {distribution.version} from Maven Central into {folder}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as fetching:
            _resolve(distribution, Path(fetching))
            _publish(Path(fetching, "jars"), folder)
    return folder


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "headrace")


def _publish(fetched: Path, folder: Path) -> None:
    try:
        fetched.rename(folder)
    except OSError:
        # Another process was faster: its jars are the same.
        if not folder.is_dir():
            raise


def _resolve(distribution: Distribution, folder: Path) -> None:
    what = f"{distribution.name} {distribution.version}"
    pom = folder / "pom.xml"
    dependencies = "".join(_DEPENDENCY.format(*artifact.split(":")) for artifact in distribution.artifacts)
    pom.write_text(_POM.format(dependencies=dependencies), encoding="utf-8")
    command = [_program("mvn"), "-q", "-B", "-f", str(pom), f"{_DEPENDENCY_PLUGIN}:copy-dependencies"]
    settings = [f"-DoutputDirectory={folder / 'jars'}", "-DincludeScope=runtime"]
    try:
        answer = subprocess.run(  # noqa: S603 - a program of this machine, no shell
            [*command, *settings],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_RESOLVE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"Maven did not fetch {what} in {_RESOLVE_TIMEOUT_S:g} s: try again") from error
    if answer.returncode:
        raise CommandError(f"Maven cannot fetch {what}: {_first_error(answer.stdout)}")


def _first_error(output: str) -> str:
    errors = (line.partition("[ERROR]")[2].strip() for line in output.splitlines())
    return next(filter(None, errors), output.strip()[:500] or "it says nothing")


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise CommandError(f"{name} is not on this machine: {_WAY_OUT[name]}")
    return path
