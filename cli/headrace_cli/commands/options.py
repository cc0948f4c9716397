"""Options that several commands have, and the forms of their values, written once."""

import functools
import re
from collections.abc import Callable
from typing import Any, get_args

import click

from headrace.kafka import KafkaAuth
from headrace_cli.sources.fields import FieldOptions
from headrace_cli.sources.source import AUTO, FORMATS
from headrace_cli.stores import APPLICATION

Command = Callable[..., Any]

GENERATION_PATTERN = r"[a-z0-9_]{1,32}"
"""As the template has it."""


class TopicName(click.ParamType):
    """A name that Kafka takes for a topic."""

    name = "topic"
    _legal = re.compile(r"[a-zA-Z0-9._-]{1,249}")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the name by Kafka's rule (`org.apache.kafka.common.internals.Topic`)."""
        if not self._legal.fullmatch(value) or value in {".", ".."}:
            self.fail(f"{value!r} is no topic name: 1 to 249 letters, digits, '.', '_' and '-'", param, ctx)
        return str(value)


class BootstrapServers(click.ParamType):
    """Brokers to start from: `HOST:PORT`, or several with commas."""

    name = "host:port"
    _server = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s,:]+):[0-9]{1,5}")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the form: librdkafka would try for ten seconds to reach what is no address."""
        if not all(self._server.fullmatch(server) for server in str(value).split(",")):
            self.fail(f"{value!r} is not HOST:PORT[,HOST:PORT…]", param, ctx)
        return str(value)


class Rename(click.ParamType):
    """`new=old`: the payload's name for a field, and the input's."""

    name = "new=old"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Split the text into its two names."""
        new, equals, old = str(value).partition("=")
        if not (new and equals and old):
            self.fail(f"{value!r} is not new=old, e.g. --field page=url", param, ctx)
        return new, old


class GenerationName(click.ParamType):
    """A name that the template takes for a generation."""

    name = "name"
    _legal = re.compile(GENERATION_PATTERN)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the name by the template's rule."""
        if not self._legal.fullmatch(str(value)):
            self.fail(f"{value!r} is not 1 to 32 of a-z, 0-9 and _", param, ctx)
        return str(value)


class Assignment(click.ParamType):
    """`NAME=VALUE`: a parameter of the stack."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Split the text into both halves."""
        name, equals, text = str(value).partition("=")
        if not (name and equals and text):
            self.fail(f"{value!r} is not NAME=VALUE", param, ctx)
        return name, text


def several(name: str, field: str, **attributes: Any) -> Callable[[Command], Command]:
    """An option that may be repeated, as a set."""
    return click.option(name, field, multiple=True, callback=lambda _ctx, _param, given: frozenset(given), **attributes)


def store_options(command: Command) -> Command:
    """Give a command with a LOCATION the options `checkpoints` and `application`, as `open_stores` takes them."""
    application = click.option("--application", default=APPLICATION, show_default=True, help="Whose checkpoints.")
    checkpoints = click.option(
        "--checkpoints",
        metavar="STORE",
        help="dynamodb:TABLE, file:DIR or a folder.  [default: `checkpoints` in LOCATION, if that is a folder]",
    )
    return checkpoints(application(command))


def auth_option(*names: str) -> Callable[[Command], Command]:
    """How a command logs in to Kafka, as `KafkaAuth`."""
    return click.option(
        *names,
        type=click.Choice(get_args(KafkaAuth)),
        default="plaintext",
        show_default=True,
        help="How to log in: not at all, or with MSK's IAM over TLS.",
    )


def field_options(command: Command) -> Command:
    """Give a command the field options; it gets them as `source_format: str` and `fields: FieldOptions`."""

    @click.option(
        "--format",
        "source_format",
        type=click.Choice([AUTO, *FORMATS]),
        default=AUTO,
        show_default=True,
        help="What the input is.",
    )
    @click.option("--key", metavar="FIELD", help="The record key is this field's value.")
    @click.option("--field", "renames", type=Rename(), multiple=True, help="Rename a field; may be repeated.")
    @click.option("--time-field", metavar="FIELD", help="Turn this field's time into epoch milliseconds (UTC).")
    @click.option("--order-by", metavar="FIELD", help="Sort by this field first (in memory, stable).")
    @click.option("--number", "numbers", metavar="FIELD", multiple=True, help="A CSV column that is a number.")
    @functools.wraps(command)
    def gathered(
        *args: Any,
        key: str | None,
        renames: tuple[tuple[str, str], ...],
        time_field: str | None,
        order_by: str | None,
        numbers: tuple[str, ...],
        **kwargs: Any,
    ) -> Any:
        fields = FieldOptions(key, renames, time_field, order_by, numbers)
        return command(*args, fields=fields, **kwargs)

    return gathered
