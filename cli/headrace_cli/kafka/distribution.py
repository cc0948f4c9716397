"""Apache Kafka's own jars, from Maven Central, kept per version in the user's cache folder."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from headrace_cli.errors import CommandError

KAFKA_VERSION = "4.1.2"
"""The last release of the newest line that Amazon MSK offers (4.1.x); its brokers run on Java 17 and later."""
LOG4J_VERSION = "2.25.3"
"""What this Kafka depends on itself; only the bridge from slf4j is missing among its dependencies."""
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
  <artifactId>kafka-server</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>{kafka}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>{log4j}</version>
    </dependency>
  </dependencies>
</project>
"""


def missing_tools() -> list[str]:
    """Which of the programs that a first start needs are not on this machine."""
    return [tool for tool in _WAY_OUT if shutil.which(tool) is None]


def java() -> str:
    """The path of a Java that can run this Kafka.

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


def jars(version: str, notify: Callable[[str], None]) -> Path:
    """The folder with the jars of this version; the first call fetches them (some 45 MB).

    Safe when several processes do it at once, and when one is interrupted: a folder appears complete.

    Raises:
        CommandError: Maven is missing, or could not resolve the version.
    """
    folder = _cache() / version
    if not folder.is_dir():
        notify(f"fetching Apache Kafka {version} from Maven Central into {folder}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as fetching:
            _resolve(version, Path(fetching))
            _publish(Path(fetching, "jars"), folder)
    return folder


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "headrace", "kafka")


def _publish(fetched: Path, folder: Path) -> None:
    try:
        fetched.rename(folder)
    except OSError:
        # Another process was faster: its jars are the same.
        if not folder.is_dir():
            raise


def _resolve(version: str, folder: Path) -> None:
    pom = folder / "pom.xml"
    pom.write_text(_POM.format(kafka=version, log4j=LOG4J_VERSION), encoding="utf-8")
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
        raise CommandError(f"Maven did not fetch Kafka {version} in {_RESOLVE_TIMEOUT_S:g} s: try again") from error
    if answer.returncode:
        raise CommandError(f"Maven cannot fetch Kafka {version}: {_first_error(answer.stdout)}")


def _first_error(output: str) -> str:
    errors = (line.partition("[ERROR]")[2].strip() for line in output.splitlines())
    return next(filter(None, errors), output.strip()[:500] or "it says nothing")


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise CommandError(f"{name} is not on this machine: {_WAY_OUT[name]}")
    return path
