"""One Kafka broker, which is a controller too: its settings, its data folder and its process.

Files: `server.properties`, `log4j2.properties`, `data/`, `server.log` (of the last start), and `pid` while a
process runs. A pid counts only if the process's command line names this folder's settings.
"""

import os
import signal
import subprocess
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from headrace_cli.errors import CommandError
from headrace_cli.interrupts import interrupts_later
from headrace_cli.kafka import distribution as kafka_distribution

HOST = "127.0.0.1"
STOP_TIMEOUT_S = 15.0
"""An orderly end takes about two seconds."""

_FORMAT_TIMEOUT_S = 60.0
_KILL_TIMEOUT_S = 5.0
_LOOK_S = 0.05
_TAIL_LINES = 5
_MAIN_CLASS = "kafka.Kafka"
_ON_A_LAPTOP = {
    "auto.create.topics.enable": "false",
    "log.segment.bytes": 16 * 1024 * 1024,
    # Allocated on the heap at the start; the default is 128 MiB.
    "log.cleaner.dedupe.buffer.size": 4 * 1024 * 1024,
    "log.cleaner.backoff.ms": 1_000,
    "log.index.size.max.bytes": 1024 * 1024,
    "log.retention.check.interval.ms": 5_000,
    "num.network.threads": 2,
    "num.io.threads": 2,
    "background.threads": 2,
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.num.partitions": 4,
    "share.coordinator.state.topic.num.partitions": 1,
    "group.initial.rebalance.delay.ms": 0,
    # A broker that was killed may register again only when its last session is over.
    "broker.session.timeout.ms": 3_000,
    "broker.heartbeat.interval.ms": 500,
}
_JVM = (
    "-Xms64m",
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",  # half the CPU of a start; a laptop's load does not need the second compiler
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
)
_LOGGING = """\
rootLogger.level = warn
rootLogger.appenderRef.stdout.ref = STDOUT
appender.console.type = Console
appender.console.name = STDOUT
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %-5p %c{1}: %m%n%throwable{short}
"""


class Node(NamedTuple):
    """A broker's place in its cluster."""

    node_id: int
    """From 1."""
    port: int
    """For clients and the other brokers."""
    controller_port: int
    """For the other controllers."""


class Broker:
    """One broker of a cluster. `start`, `stop` and `kill` may be called in any order and more than once."""

    def __init__(self, folder: Path, node: Node) -> None:
        self.node = node
        """Its number and ports."""
        self.log = folder / "server.log"
        """What the last start wrote."""
        self._folder = folder
        self._properties = folder / "server.properties"
        self._data = folder / "data"
        self._pid_file = folder / "pid"
        self._process: subprocess.Popen[bytes] | None = None
        self._last_resort: weakref.finalize[[subprocess.Popen[bytes]], Broker] | None = None

    @property
    def address(self) -> str:
        """`HOST:PORT` for clients."""
        return f"{HOST}:{self.node.port}"

    @property
    def pid(self) -> int | None:
        """The process that runs this broker, whoever started it; None if none does."""
        if self._process is not None:
            return self._process.pid if self._process.poll() is None else None
        with suppress(OSError, ValueError):
            pid = int(self._pid_file.read_text(encoding="ascii"))
            return pid if self._runs_us(pid) else None
        return None

    def format(self, jars: Path, cluster_id: str, peers: list[Node]) -> None:
        """Write the settings, and make the data folder unless it is there.

        Raises:
            CommandError: Kafka's own tool refused; the message is its own.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "log4j2.properties").write_text(_LOGGING, encoding="utf-8")
        settings = _settings(self.node, peers, self._data)
        text = "".join(f"{name}={value}\n" for name, value in settings.items())
        self._properties.write_text(text, encoding="utf-8")
        if (self._data / "meta.properties").is_file():
            return
        arguments = ["format", "--config", str(self._properties), "--cluster-id", cluster_id]
        command = [*self._java(jars), "kafka.tools.StorageTool", *arguments]
        answer = subprocess.run(  # noqa: S603 - Kafka's own tool, no shell
            command, capture_output=True, text=True, timeout=_FORMAT_TIMEOUT_S, check=False
        )
        if answer.returncode:
            raise CommandError(f"Kafka cannot format {self._data}: {(answer.stderr or answer.stdout).strip()}")

    def start(self, jars: Path) -> None:
        """Start the process; it is not ready yet. It ends with this interpreter at the latest."""
        command = [*self._java(jars), _MAIN_CLASS, str(self._properties)]
        # Interrupted after the process came to be and before it is noted, it would be nobody's.
        with self.log.open("wb") as log, interrupts_later():
            self._process = subprocess.Popen(  # noqa: S603 - Kafka itself, no shell
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for us: we stop it in order.
                start_new_session=True,
            )
            self._last_resort = weakref.finalize(self, _kill, self._process)
            self._pid_file.write_text(str(self._process.pid), encoding="ascii")

    def detach(self) -> None:
        """Let the process outlive this one."""
        if self._last_resort is not None:
            self._last_resort.detach()

    def terminate(self) -> None:
        """Ask the process to end; `stop` waits for it."""
        self._signal(signal.SIGTERM)

    def stop(self) -> None:
        """End the process: orderly if it takes no longer than the timeout, and else at once."""
        self.terminate()
        if not self._ended(STOP_TIMEOUT_S):
            self.kill()
        self._forget()

    def kill(self) -> None:
        """End the process at once, as a crash would: nothing is flushed, nobody is told."""
        self._signal(signal.SIGKILL)
        self._ended(_KILL_TIMEOUT_S)
        self._forget()

    def last_words(self) -> str:
        """The end of the log in one line, for an error message."""
        with suppress(OSError):
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
            return " | ".join(line.strip() for line in lines[-_TAIL_LINES:]) or "its log is empty"
        return "it has no log"

    def _java(self, jars: Path) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={self._folder / 'log4j2.properties'}"
        return [kafka_distribution.java(), *_JVM, logging, "-cp", f"{jars}/*"]

    def _signal(self, number: signal.Signals) -> None:
        pid = self.pid
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _ended(self, timeout_s: float) -> bool:
        deadline_s = time.monotonic() + timeout_s
        while self.pid is not None:
            if time.monotonic() > deadline_s:
                return False
            time.sleep(_LOOK_S)
        return True

    def _forget(self) -> None:
        self._process = None
        self._pid_file.unlink(missing_ok=True)

    def _runs_us(self, pid: int) -> bool:
        """Whether the process is this broker: after a reboot the number may be anybody's."""
        arguments = _command_line(pid)
        return _MAIN_CLASS in arguments and str(self._properties) in arguments


def _settings(node: Node, peers: list[Node], data: Path) -> dict[str, object]:
    copies = len(peers)
    in_sync = min(2, copies)  # as Amazon MSK sets it for three
    return {
        "process.roles": "broker,controller",
        "node.id": node.node_id,
        "controller.quorum.voters": ",".join(f"{peer.node_id}@{HOST}:{peer.controller_port}" for peer in peers),
        "listeners": f"PLAINTEXT://{HOST}:{node.port},CONTROLLER://{HOST}:{node.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{node.port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": data,
        "default.replication.factor": copies,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": in_sync,
        **_ON_A_LAPTOP,
    }


def _command_line(pid: int) -> list[str]:
    if Path("/proc/self/cmdline").exists():
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace").split("\0")
    answer = subprocess.run(  # noqa: S603 - macOS has no /proc
        ["/bin/ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return answer.stdout.split()


def _kill(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
