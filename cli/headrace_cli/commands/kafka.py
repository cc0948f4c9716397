"""`headrace kafka`: start, stop and look at a real Apache Kafka on this machine."""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click

from headrace_cli.commands.examples import examples
from headrace_cli.commands.options import TopicName
from headrace_cli.errors import CommandError, OptionError
from headrace_cli.kafka.server import CLUSTER_SIZES, KafkaServer

DEFAULT_FOLDER = Path(".headrace", "kafka")
"""In the current folder, with a `.gitignore` of its own."""
MOST_PARTITIONS = 1_000
TERMINATED = 143
"""Exit status after SIGTERM: 128 + 15, as shells have it."""
_LOOK_S = 0.2


class TopicSpec(click.ParamType):
    """`NAME[:PARTITIONS]`."""

    name = "name[:partitions]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Split the text, and check both halves."""
        if isinstance(value, tuple):  # click converts a default a second time
            return value
        name, _, partitions = str(value).partition(":")
        if partitions and not (partitions.isascii() and partitions.isdigit()):
            self.fail(f"{value!r}: after the colon comes the number of partitions, e.g. clicks:3", param, ctx)
        count = int(partitions or 1)
        if not 1 <= count <= MOST_PARTITIONS:
            self.fail(f"{value!r}: a topic has 1 to {MOST_PARTITIONS} partitions here", param, ctx)
        return TopicName().convert(name, param, ctx), count


def _folder_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--dir",
        "folder",
        type=click.Path(file_okay=False, path_type=Path),
        default=DEFAULT_FOLDER,
        show_default=True,
        help="The cluster's folder: data, settings, log.",
    )(command)


@click.group(
    epilog=examples(
        """
        headrace kafka start --topic clicks:3 --topic logs:3
        headrace kafka start --detach && headrace kafka status --json
        headrace kafka stop
        """
    )
)
def kafka() -> None:
    """Run a real Apache Kafka on this machine.

    Needs Java 17 or newer; the first start also needs Maven, which fetches Kafka from Maven Central (45 MB).
    """


@kafka.command(
    epilog=examples(
        """
        headrace kafka start --topic clicks:3 --topic logs
        headrace kafka start --dir /tmp/three --brokers 3 --detach
        """
    )
)
@_folder_option
@click.option(
    "--brokers", type=click.Choice([str(size) for size in CLUSTER_SIZES]), help="Of a new folder.  [default: 1]"
)
@click.option("--detach", is_flag=True, help="Come back as soon as it is ready, and leave it running.")
@click.option("--topic", "topics", type=TopicSpec(), multiple=True, help="Make a topic; may be repeated.")
def start(*, folder: Path, brokers: str | None, detach: bool, topics: tuple[tuple[str, int], ...]) -> None:
    """Start Kafka, and print its bootstrap servers; it runs until Ctrl-C, or with --detach until `stop`.

    It listens on loopback only. What was produced is there again at the next start with the same folder.
    """
    server = KafkaServer(folder, int(brokers) if brokers else None, notify=_tell)
    if any(broker.pid is not None for broker in server.brokers):
        raise CommandError(f"Kafka is running in {folder} already: headrace kafka stop --dir {folder}")
    with _terminable(), _stopped_unless_detached(server) as keep:
        server.start()
        for name, partitions in topics:
            server.create_topic(name, partitions)
        click.echo(server.bootstrap_servers)
        if detach:
            keep()
            return
        _tell("Kafka is ready; Ctrl-C stops it")
        while True:
            server.check()
            time.sleep(_LOOK_S)


@kafka.command(
    epilog=examples(
        """
        headrace kafka stop
        headrace kafka stop --dir /tmp/three
        """
    )
)
@_folder_option
def stop(*, folder: Path) -> None:
    """Stop the Kafka of a folder, whoever started it; its data stays."""
    server = _existing(folder)
    pids = [broker.pid for broker in server.brokers if broker.pid is not None]
    server.stop()
    _tell(f"stopped {len(pids)} broker(s)" if pids else "Kafka was not running")


@kafka.command(
    epilog=examples(
        """
        headrace kafka status
        headrace kafka status --json
        """
    )
)
@_folder_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of lines.")
def status(*, folder: Path, as_json: bool) -> int:
    """Tell whether Kafka runs in a folder, and where. Exit status 0 if every broker does, and else 1."""
    server = _existing(folder)
    if as_json:
        click.echo(json.dumps(_described(server)))
    else:
        click.echo(f"{server.bootstrap_servers} Kafka {server.version}, {'running' if server.running else 'stopped'}")
        for broker in server.brokers:
            state = f"pid {broker.pid}" if broker.pid is not None else "stopped"
            click.echo(f"  broker {broker.node.node_id} {broker.address} {state}")
    return 0 if server.running else 1


def _existing(folder: Path) -> KafkaServer:
    if not (folder / "cluster.json").is_file():
        raise OptionError(f"{folder} holds no Kafka: headrace kafka start --dir {folder}")
    return KafkaServer(folder)


def _described(server: KafkaServer) -> dict[str, Any]:
    return {
        "running": server.running,
        "bootstrap_servers": server.bootstrap_servers,
        "version": server.version,
        "dir": str(server.folder),
        "brokers": [
            {"node_id": broker.node.node_id, "address": broker.address, "pid": broker.pid} for broker in server.brokers
        ],
    }


@contextmanager
def _stopped_unless_detached(server: KafkaServer) -> Iterator[Callable[[], None]]:
    try:
        yield server.detach
    except BaseException:
        server.stop()
        raise


@contextmanager
def _terminable() -> Iterator[None]:
    """Leave by an exception when terminated, so that no broker stays behind."""
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminated(_signal: int, _frame: object) -> NoReturn:
    sys.exit(TERMINATED)


def _tell(text: str) -> None:
    click.echo(text, err=True)
