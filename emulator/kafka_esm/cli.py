"""The `kafka-esm` command.

Exit codes: 0 done, 1 the run failed, 2 the command line or the template is wrong, 130 Ctrl-C,
143 terminated.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any, NoReturn

from kafka_esm.emulator import Emulator, InvokerFactory
from kafka_esm.errors import KafkaEsmError, TemplateError, UsageError
from kafka_esm.inprocess import InProcessInvoker
from kafka_esm.invoker import Invoker
from kafka_esm.mapping import Function, Mapping
from kafka_esm.poller import Invocation, Notice
from kafka_esm.rie import RuntimeInvoker
from kafka_esm.template import SamTemplate

_LOOK_SECONDS = 0.2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        command: Callable[[argparse.Namespace], None] = options.command
        command(options)
    except KafkaEsmError as error:
        _complain(str(error))
        return 2 if isinstance(error, (TemplateError, UsageError)) else 1
    except KeyboardInterrupt:
        return 130
    return 0


def _complain(text: str) -> None:
    print(f"kafka-esm: {' '.join(text.split())}", file=sys.stderr)  # noqa: T201 - the command's voice


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kafka-esm", description="A local Lambda event source mapping for Kafka topics."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="deliver records to the functions of a template")
    run.set_defaults(command=_run)
    _add_template_options(run)
    _add_run_options(run)
    listing = commands.add_parser("mappings", help="list what would run")
    listing.set_defaults(command=_list)
    _add_template_options(listing)
    return parser


def _add_template_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--template", type=Path, default=Path("template.yaml"), help="SAM template (default: %(default)s)")
    add("--function", action="append", default=[], metavar="ID", help="only this function; repeatable")
    add("--region", default="us-east-1", help="value of AWS::Region (default: %(default)s)")
    add("--parameter-overrides", nargs="+", action="extend", default=[], metavar="NAME=VALUE")
    add("--env-vars", type=Path, metavar="FILE", help='JSON: {"Parameters": {...}, "LogicalId": {...}}')
    add("--code-dir", type=Path, metavar="DIR", help="in place of every CodeUri")
    add("--json", action="store_true", help="print JSON")


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--kafka", required=True, metavar="HOST:PORT", help="bootstrap servers")
    add("--runtime", choices=("inprocess", "rie"), default="inprocess", help="default: %(default)s")
    add("--layer-dir", type=Path, action="append", default=[], metavar="DIR", help="a built layer; repeatable")
    add("--until-drained", action="store_true", help="end when everything in the topics was delivered")
    add("--timeout", type=float, default=300.0, metavar="SECONDS", help="for --until-drained")
    add("--max-attempts", type=int, metavar="N", help="give up on a batch after N failures (default: never)")
    add(
        "--chaos",
        type=int,
        metavar="SEED",
        help="deliver again, elsewhere cut, twice at once, …: same seed, same faults",
    )


def _list(options: argparse.Namespace) -> None:
    mappings = _mappings(options)
    if options.json:
        rows = [asdict(mapping) for mapping in mappings]
        print(json.dumps(rows, indent=2, default=str))  # noqa: T201 - the command's voice
        return
    for mapping in mappings:
        state = "" if mapping.enabled else "  (disabled)"
        print(  # noqa: T201 - the command's voice
            f"{mapping.name}: {mapping.topic} -> {mapping.function.logical_id}, "
            f"group {mapping.consumer_group}, {mapping.starting_position}, "
            f"up to {mapping.batch_size} records or {mapping.batching_window_ms} ms{state}"
        )


def _run(options: argparse.Namespace) -> None:
    mappings = [mapping for mapping in _mappings(options) if mapping.enabled]
    if not mappings:
        raise TemplateError(f"{options.template}: no enabled Kafka event source mapping to run")
    report = _Report(sys.stdout, as_json=options.json)
    # What functions in this process print must not mix with the report.
    with redirect_stdout(sys.stderr), _terminable():
        injected = _deliver(options, mappings, report)
    report.end(injected and {"seed": options.chaos, **injected})


def _deliver(options: argparse.Namespace, mappings: list[Mapping], report: "_Report") -> dict[str, int]:
    """Return what chaos injected, if there was any."""
    emulator = Emulator(
        mappings,
        options.kafka,
        _invoker_factory(options),
        max_attempts=options.max_attempts,
        on_invocation=report.invocation,
        on_event=report.notice,
        chaos=options.chaos,
    )
    with emulator:
        if options.until_drained:
            emulator.wait_drained(options.timeout)
        while not options.until_drained:
            emulator.check()
            time.sleep(_LOOK_SECONDS)
    return emulator.injected()


@contextmanager
def _terminable() -> Iterator[None]:
    """Leave by an exception when terminated, so that no process of a function stays behind."""
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminated(_signal: int, _frame: object) -> NoReturn:
    sys.exit(143)


def _invoker_factory(options: argparse.Namespace) -> InvokerFactory:
    layers = tuple(_layer_dir(folder) for folder in options.layer_dir)

    def make(mapping: Mapping) -> Invoker:
        name = mapping.function.logical_id
        if options.runtime == "inprocess":
            return InProcessInvoker(mapping.function, layer_dirs=layers)
        return RuntimeInvoker(
            mapping.function,
            layer_dirs=layers,
            on_log=lambda line: print(f"[{name}] {line}", file=sys.stderr),  # noqa: T201
        )

    return make


def _layer_dir(folder: Path) -> Path:
    python_dir = folder.resolve() / "python"
    if not python_dir.is_dir():
        raise UsageError(f"--layer-dir {folder}: no python folder in it: build the layer first")
    return python_dir


def _mappings(options: argparse.Namespace) -> list[Mapping]:
    template = SamTemplate.load(options.template, _overrides(options.parameter_overrides), options.region)
    variables = _env_vars(options.env_vars)
    return [
        replace(mapping, function=_adjusted(mapping.function, variables, options.code_dir))
        for mapping in template.mappings(options.function)
    ]


def _adjusted(function: Function, variables: dict[str, Any], code_dir: Path | None) -> Function:
    own = {**variables.get("Parameters", {}), **variables.get(function.logical_id, {})}
    environment = {**function.environment, **{name: str(value) for name, value in own.items()}}
    if code_dir is not None and not code_dir.is_dir():
        raise UsageError(f"--code-dir {code_dir}: no such folder")
    return replace(
        function,
        environment=environment,
        code_uri=function.code_uri if code_dir is None else code_dir.resolve(),
    )


def _overrides(pairs: Sequence[str]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise UsageError(f"--parameter-overrides {pair}: NAME=VALUE is needed")
    return dict(pair.split("=", 1) for pair in pairs)


def _env_vars(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        variables = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"--env-vars {path}: {error}") from error
    if not isinstance(variables, dict) or not all(isinstance(entry, dict) for entry in variables.values()):
        raise UsageError(f'--env-vars {path}: {{"Parameters": {{...}}, "LogicalId": {{...}}}} is needed')
    return variables


class _Report:
    """Tells what happens: invocations on stdout, everything else on stderr."""

    def __init__(self, output: IO[str], *, as_json: bool) -> None:
        self._output = output
        self._as_json = as_json
        self._records = self._succeeded = self._failed = 0

    def invocation(self, invocation: Invocation) -> None:
        """Print one attempt."""
        if invocation.error is None:
            self._succeeded += 1
            self._records += invocation.records
        else:
            self._failed += 1
        self._print(_fields(invocation) if self._as_json else _line(invocation))

    def notice(self, notice: Notice) -> None:
        """Print something else."""
        print(f"{notice.mapping}: {notice.text}", file=sys.stderr, flush=True)  # noqa: T201

    def end(self, chaos: dict[str, int]) -> None:
        """Print the sums."""
        sums = {"records": self._records, "invocations": self._succeeded, "failures": self._failed}
        if self._as_json:
            self._print({**sums, "chaos": chaos} if chaos else sums)
            return
        self._print("drained: " + ", ".join(f"{count} {name}" for name, count in sums.items()))
        if chaos:
            self._print("chaos: " + ", ".join(f"{name} {count}" for name, count in chaos.items()))

    def _print(self, what: object) -> None:
        text = json.dumps(what) if self._as_json else str(what)
        print(text, file=self._output, flush=True)


def _fields(invocation: Invocation) -> dict[str, Any]:
    return {
        "mapping": invocation.mapping,
        "function": invocation.function,
        "attempt": invocation.attempt,
        "records": invocation.records,
        "partitions": {f"{topic}-{number}": [first, end] for (topic, number), first, end in invocation.partitions},
        "payload_bytes": invocation.payload_bytes,
        "duration_ms": invocation.duration_ms,
        "outcome": invocation.outcome,
        "error": invocation.error.message if invocation.error else None,
        "injected": invocation.error is not None and invocation.error.injected,
        "response": invocation.response,
    }


def _line(invocation: Invocation) -> str:
    ranges = " ".join(f"{topic}-{number}[{first},{end})" for (topic, number), first, end in invocation.partitions)
    again = f", attempt {invocation.attempt}" if invocation.attempt > 1 else ""
    outcome = f"failed: {invocation.error}" if invocation.error else "ok"
    return (
        f"{invocation.mapping}: {invocation.records} records {ranges}, {invocation.payload_bytes} bytes, "
        f"{invocation.duration_ms} ms{again}: {' '.join(outcome.split())}"
    )
