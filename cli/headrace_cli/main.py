"""The command `headrace`: its subcommands, imported when called, and how each failure ends the process."""

import importlib
import sys
from typing import NoReturn

import click

from headrace.errors import ConfigurationError, HeadraceError
from headrace_cli.commands.examples import examples
from headrace_cli.errors import CommandError

USAGE = 2
"""Exit status after a wrong option or setting."""
FAILURE = 1
"""Exit status after anything else that went wrong."""
INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 + SIGINT, as shells have it."""

_COMMANDS = {
    "audit": ("audit:audit", "Do the books balance? Checkpoints beside the lake's files and Kafka's log."),
    "dead": ("dead:dead", "Dead letters and late rows: list, show, send back to a topic."),
    "demo": (
        "demo:demo",
        "Run everything on this machine, and audit that the results are exact.",
    ),
    "events": ("events:events", "Make a sample MSK event of a file, for `sam local invoke`."),
    "generation": ("generation:generation", "Look at generations, end one, begin the next."),
    "kafka": ("kafka:kafka", "Run a real Apache Kafka on this machine: start, stop, status."),
    "lake": ("lake:lake", "Look into the lake: list tables, show rows, merge partial ones, copy a table out."),
    "logs": ("logs:logs", "Try log lines: what the logs function makes of a file."),
    "produce": ("produce:produce", "Send the records of a file to a Kafka topic."),
    "schema": ("schema:schema", "Look into Avro schemas: a file's columns, and whether a new version can follow."),
}


class LazyGroup(click.Group):
    """Knows its commands by name and imports one only when it is called: `--help` imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, sorted."""
        del ctx
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command; None if there is none of that name."""
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(f"headrace_cli.commands.{module}"), attribute)
        assert isinstance(command, click.Command)  # noqa: S101 - the table above names commands only
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table instead of importing each for its first sentence."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line) in sorted(_COMMANDS.items())])


@click.group(
    cls=LazyGroup,
    name="headrace",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        """
        headrace demo
        headrace produce clicks.ndjson --topic clicks --kafka localhost:9092 --key user_id
        headrace lake tables ./out/lake
        """
    ),
)
@click.version_option(package_name="headrace-cli", prog_name="headrace")
def cli() -> None:
    """Exact serverless stream processing for Amazon MSK, on this machine."""


def main() -> NoReturn:
    """Run the command line and end the process: 0, 1 (failed), 2 (wrong usage) or 130 (Ctrl-C)."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit status; expected failures become one line on stderr."""
    try:
        result = cli.main(arguments, prog_name="headrace", standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except (click.ClickException, CommandError, HeadraceError, OSError) as error:
        return _failed(error)
    except _kafka_errors() as error:
        return _failed(error)
    return result if isinstance(result, int) else 0


def _failed(error: Exception) -> int:
    message, exit_code = _explained(error)
    # One line, whatever the message was made of: it is read in logs too.
    print("headrace:", " ".join(message.split()), file=sys.stderr)
    return exit_code


def _explained(error: Exception) -> tuple[str, int]:
    match error:
        case click.ClickException():
            return _click_message(error), error.exit_code
        case CommandError():
            return str(error), error.exit_code
        case ConfigurationError():
            return str(error), USAGE
        case OSError():
            return _os_message(error), FAILURE
        case HeadraceError():
            return str(error), FAILURE
    return _kafka_message(error), FAILURE


def _click_message(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "headrace"
    return f"{error.format_message().rstrip('.')}; see `{path} --help`"


def _kafka_errors() -> tuple[type[Exception], ...]:
    # Only a command that talks to Kafka has imported it; importing it here would cost every other one.
    kafka = sys.modules.get("confluent_kafka")
    return () if kafka is None else (kafka.KafkaException,)


def _kafka_message(error: Exception) -> str:
    reason = error.args[0] if error.args else error
    return f"Kafka: {reason.str() if hasattr(reason, 'str') else reason}"


def _os_message(error: OSError) -> str:
    if error.filename is None:
        return str(error)
    return f"{error.filename}: {error.strerror}"
