"""DynamoDB Local, AWS's own, on this machine: for conditional writes that are atomic without a lock of ours.

Its own command listens on every interface of the machine; so the server that it would make is described to Jetty
here, which it consists of, with one address more. Its command is also what sends telemetry.
"""

import os
import tempfile
import time
import weakref
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from headrace_cli import child, loopback, maven
from headrace_cli.errors import CommandError
from headrace_cli.interrupts import interrupts_later
from headrace_cli.local.aws_endpoint import AwsEndpoint
from headrace_cli.maven import Distribution

if TYPE_CHECKING:
    import subprocess

DYNAMODB_VERSION = "3.3.1"
"""Of DynamoDB Local; runs on Java 17 and later."""
JETTY_VERSION = "12.1.11"
"""What this DynamoDB Local depends on itself; only the reader of descriptions is missing among its dependencies."""
READY_TIMEOUT_S = 60.0
"""A start takes one to two seconds; a busy machine takes longer."""

_DISTRIBUTION = Distribution(
    "DynamoDB Local",
    "dynamodb",
    DYNAMODB_VERSION,
    (
        f"software.amazon.dynamodb:DynamoDBLocal:{DYNAMODB_VERSION}",
        f"org.eclipse.jetty:jetty-xml:{JETTY_VERSION}",
    ),
)
_JVM = ("-Xms32m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError")
_LOOK_S = 0.05
# The handler's arguments: a port for its banner, in memory, no folder, one database for all callers, no delays; CORS.
_SERVER = """\
<!DOCTYPE Configure PUBLIC "-//Jetty//Configure//EN" "https://jetty.org/configure_12_0.dtd">
<Configure class="org.eclipse.jetty.server.Server">
  <Arg><New class="java.net.InetSocketAddress"><Arg>{host}</Arg><Arg type="int">{port}</Arg></New></Arg>
  <Set name="handler">
    <New class="software.amazon.dynamodb.services.local.server.LocalDynamoDBServerHandler">
      <Arg>
        <New class="software.amazon.dynamodb.services.local.server.LocalDynamoDBRequestHandler">
          <Arg type="int">0</Arg><Arg type="boolean">true</Arg><Arg/>
          <Arg type="boolean">true</Arg><Arg type="boolean">false</Arg>
        </New>
      </Arg>
      <Arg>*</Arg>
    </New>
  </Set>
</Configure>
"""


class DynamoDBLocal(AwsEndpoint):
    """A DynamoDB with the checkpoint table, in memory, while the context is open."""

    def __init__(self, table: str = "checkpoints", notify: Callable[[str], None] = lambda _: None) -> None:
        """Say what it shall have.

        Args:
            table: name of the checkpoint table to make.
            notify: told in a line of what takes long.
        """
        super().__init__(table)
        self._notify = notify
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._last_resort: weakref.finalize[..., DynamoDBLocal] | None = None

    @property
    def endpoint(self) -> str:
        """The server's address; see `AwsEndpoint`."""
        if self._process is None:
            raise RuntimeError("DynamoDB Local is not running")
        return f"http://{loopback.HOST}:{self._port}"

    @property
    def pid(self) -> int | None:
        """The server's process; None if there is none."""
        return self._process.pid if self._process else None

    def __enter__(self) -> Self:
        """Start it.

        Raises:
            CommandError: java or mvn is missing, the process ended (with its last words), or the time is up.
        """
        command = [maven.java(), *_JVM, "-cp", f"{maven.jars(_DISTRIBUTION, self._notify)}/*"]
        self._folder = tempfile.TemporaryDirectory(prefix="headrace-dynamodb-")
        try:
            self._start([*command, f"-Djava.io.tmpdir={self._folder.name}"], Path(self._folder.name))
            self.create_checkpoint_table()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _start(self, java: list[str], folder: Path) -> None:
        (self._port,) = loopback.free_ports(1)
        description, log = folder / "server.xml", folder / "server.log"
        description.write_text(_SERVER.format(host=loopback.HOST, port=self._port), encoding="utf-8")
        environment = {**os.environ, "DDB_LOCAL_TELEMETRY": "0"}
        with interrupts_later():
            command = [*java, "org.eclipse.jetty.xml.XmlConfiguration", str(description)]
            self._process = child.spawn(command, log, environment)
            self._last_resort = weakref.finalize(self, child.kill, self._process)
        self._wait_until_ready(self._process, log)

    def _wait_until_ready(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while not self._answers():
            if process.poll() is not None:
                raise CommandError(f"DynamoDB Local ended: {child.last_words(log)}")
            if time.monotonic() > deadline_s:
                raise CommandError(f"DynamoDB Local was not ready after {READY_TIMEOUT_S:g} s: {child.last_words(log)}")
            time.sleep(_LOOK_S)

    def _answers(self) -> bool:
        connection = HTTPConnection(loopback.HOST, self._port, timeout=READY_TIMEOUT_S)
        try:
            connection.request("GET", "/")
            return bool(connection.getresponse().status)
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def _stop(self) -> None:
        """Kill it: it keeps nothing that could be lost."""
        if self._last_resort is not None:
            self._last_resort()
        if self._folder is not None:
            self._folder.cleanup()
        self._process = self._folder = self._last_resort = None
