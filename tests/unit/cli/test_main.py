"""The command line as a whole: help, exit statuses, and failures in one line."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from confluent_kafka import KafkaError, KafkaException

from headrace.errors import ConfigurationError, InfrastructureError
from headrace_cli import main
from headrace_cli.errors import CommandError, OptionError
from headrace_cli.main import run

HEADRACE = Path(sys.executable).with_name("headrace")
COMMANDS = ["audit", "dead", "demo", "events", "generation", "kafka", "lake", "logs", "produce", "schema"]
# The commands with tests of their own are not here.
WITH_EXAMPLES = [
    ["audit"],
    ["dead"],
    ["dead", "list"],
    ["dead", "show"],
    ["dead", "redrive"],
    ["events"],
    *(["generation", *name] for name in ([], ["show"], ["drain"], ["new"])),
    ["lake"],
    ["lake", "tables"],
    ["lake", "show"],
    ["lake", "copy"],
    ["logs", "try"],
    ["produce"],
    *(["schema", *name] for name in ([], ["show"], ["check"])),
    [],
]


def headrace(*arguments, stdin=b""):
    return subprocess.run([HEADRACE, *arguments], input=stdin, capture_output=True, timeout=60, check=False)


class TestHelp:
    def test_lists_the_commands(self, capsys):
        assert run(["--help"]) == 0
        listed = re.findall(r"^  ([a-z]+)  ", capsys.readouterr().out, flags=re.MULTILINE)
        assert listed == COMMANDS

    def test_imports_no_command_and_no_heavy_library(self):
        """Which keeps `headrace --help` far below half a second."""
        program = (
            "import sys; from headrace_cli.main import run; run(['--help']);"
            "print([name for name in ('confluent_kafka', 'rich', 'arro3', 'obstore', 'moto', 'msgspec',"
            " 'headrace_cli.commands.lake', 'headrace_cli.commands.produce') if name in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=True)
        assert done.stdout.splitlines()[-1] == b"[]"

    def test_costs_less_than_half_a_second_of_cpu(self):
        before = os.times()
        assert headrace("--help").returncode == 0
        after = os.times()
        assert after.children_user + after.children_system - before.children_user - before.children_system < 0.5

    @pytest.mark.parametrize("command", WITH_EXAMPLES, ids=" ".join)
    def test_has_examples_to_copy_whose_options_exist(self, command, capsys):
        assert run([*command, "--help"]) == 0
        text = capsys.readouterr().out
        examples = text.partition("Examples:\n")[2].replace("\\\n", "")
        lines = [line for line in examples.splitlines() if "headrace" in line]
        assert lines
        for line in lines:
            self.options_exist(line.rpartition("headrace ")[2].split())

    def options_exist(self, words):
        command, context = main.cli, click.Context(main.cli)
        while isinstance(command, click.Group) and words[0] in command.list_commands(context):
            command = command.get_command(context, words.pop(0))
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known

    def test_version(self, capsys):
        assert run(["--version"]) == 0
        assert re.fullmatch(r"headrace, version \d+\.\d+\.\d+\n", capsys.readouterr().out)


@pytest.fixture
def failing(monkeypatch):
    """A command `fail` that raises what it is given."""

    def fail_with(error):
        @click.command()
        def fail():
            raise error

        monkeypatch.setattr(main.LazyGroup, "get_command", lambda *_: fail)
        return run(["fail"])

    return fail_with


class TestFailures:
    @pytest.mark.parametrize(
        ("error", "status", "line"),
        [
            (CommandError("the broker\n  is gone"), 1, "headrace: the broker is gone"),
            (OptionError("--key x: no such field"), 2, "headrace: --key x: no such field"),
            (ConfigurationError("HEADRACE_LAKE is 'x'"), 2, "headrace: HEADRACE_LAKE is 'x'"),
            (InfrastructureError("throttled"), 1, "headrace: throttled"),
            (
                FileNotFoundError(2, "No such file or directory", "a.csv"),
                1,
                "headrace: a.csv: No such file or directory",
            ),
            (OSError(98, "Address already in use"), 1, "headrace: [Errno 98] Address already in use"),
            (KafkaException(KafkaError(KafkaError._TRANSPORT)), 1, "headrace: Kafka: Local: Broker transport failure"),
            (click.UsageError("what?"), 2, "headrace: what?; see `headrace fail --help`"),
            (click.FileError("x.csv", "locked"), 1, "headrace: Could not open file 'x.csv': locked; see"),
        ],
    )
    def test_expected_ones_are_one_line_on_stderr(self, failing, error, status, line, capsys):
        assert failing(error) == status
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith(line)
        assert len(printed.err.splitlines()) == 1

    def test_a_fault_of_the_program_keeps_its_traceback(self, failing):
        with pytest.raises(ZeroDivisionError):
            failing(ZeroDivisionError())

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
    def test_an_interruption_is_130(self, failing, error):
        assert failing(error) == 130

    @pytest.mark.parametrize(("status", "error"), [(3, click.exceptions.Exit(3)), (0, click.exceptions.Exit(0))])
    def test_a_command_may_choose_its_status(self, failing, status, error):
        assert failing(error) == status

    @pytest.mark.parametrize(
        ("arguments", "status", "message"),
        [
            (["produce", "no-such-file", "--topic", "t", "--kafka", "127.0.0.1:1"], 1, "no-such-file: No such file"),
            (["produce", ".", "--topic", "t", "--kafka", "127.0.0.1:1"], 1, ".: Is a directory"),
            (["produce", "-", "--kafka", "127.0.0.1:1"], 2, "Missing option '--topic'; see `headrace produce --help`"),
            (["produce", "-", "--topic", "a b", "--kafka", "127.0.0.1:1"], 2, "'a b' is no topic name"),
            (["produce", "-", "--topic", "t", "--kafka", "x:1", "--field", "page"], 2, "'page' is not new=old"),
            (["produce", "-", "--topic", "t", "--kafka", "localhost"], 2, "'localhost' is not HOST:PORT"),
            (["produce", "-", "--topic", "t", "--kafka", "a:1,b:x"], 2, "'a:1,b:x' is not HOST:PORT"),
            (["produce", "-", "--bogus"], 2, "No such option: --bogus; see `headrace produce --help`"),
            (["events", "-", "--topic", "t", "--format", "csv"], 1, "standard input is empty"),
            (["evnts"], 2, "No such command 'evnts'; see `headrace --help`"),
            (["lake", "tables", "no-such-lake"], 2, "no-such-lake: no such folder"),
            (["lake", "tables", "s3://"], 2, "is neither file:DIR nor s3://BUCKET"),
        ],
    )
    def test_the_process_ends_with_one_line_and_its_status(self, arguments, status, message):
        done = headrace(*arguments)
        (line,) = done.stderr.decode().splitlines()
        assert (done.returncode, done.stdout) == (status, b"")
        assert line.startswith("headrace: ")
        assert message in line

    def test_ctrl_c_ends_the_process_with_130_and_no_traceback(self):
        arguments = [HEADRACE, "events", "-", "--topic", "t"]
        with subprocess.Popen(arguments, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            # It sleeps in its read of standard input once it has started up.
            wait_until_reading(process.pid)
            process.send_signal(signal.SIGINT)
            assert process.stderr.read().strip() == b""
            assert process.wait(timeout=10) == 130

    def test_a_reader_that_goes_away_is_no_traceback(self, tmp_path):
        path = tmp_path / "lines"
        path.write_text("a line\n" * 20_000)
        with subprocess.Popen(
            [HEADRACE, "events", path, "--topic", "t"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            process.stdout.read(10)
            process.stdout.close()
            assert b"Traceback" not in process.stderr.read()


def wait_until_reading(pid, timeout_s=20):
    if not Path("/proc/self/syscall").exists():
        pytest.skip("needs /proc to see what a process waits for")
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        # The system call number of `read` is 0 on x86_64 and 63 on arm64; its first argument here is 0, stdin.
        call = Path(f"/proc/{pid}/syscall").read_text().split()
        if call[0] in {"0", "63"} and call[1:2] == ["0x0"]:
            return
        time.sleep(0.02)
    pytest.fail(f"process {pid} does not read its standard input")
