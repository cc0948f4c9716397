"""The README's commands and links: every one of them exists, with the options it is shown with."""

import re
import shlex
from pathlib import Path

import click
import pytest

from headrace_cli.main import cli

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
COMMANDS = [shlex.split(line, comments=True) for block in BLOCKS for line in block.splitlines() if line.strip()]
HEADRACE = [words[1:] for words in COMMANDS if words[0] == ".venv/bin/headrace"]


def test_the_blocks_hold_known_commands_only():
    assert {words[0] for words in COMMANDS} == {"make", "sam", ".venv/bin/headrace"}
    assert len(HEADRACE) > 5


@pytest.mark.parametrize("words", HEADRACE, ids=" ".join)
def test_a_headrace_command_takes_the_options_it_is_shown_with(words, tmp_path, monkeypatch):
    """Parsed by the command itself, not run; files that an example takes as given are made first."""
    monkeypatch.chdir(tmp_path)
    for word in words:
        if word.endswith((".ndjson", ".gz", ".log")):
            Path(word).touch()
    command: click.Command = cli
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, words[0]
        command, words = found, words[1:]
    command.make_context(command.name, words)


@pytest.mark.parametrize("target", sorted({words[1] for words in COMMANDS if words[0] == "make"}))
def test_a_make_target_exists(target):
    assert re.search(rf"^{target}:.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_a_link_leads_somewhere(link):
    assert (ROOT / link).exists()


def test_make_test_and_make_demo_are_what_is_shown_first():
    assert [words[:2] for words in COMMANDS[:2]] == [["make", "demo"], ["make", "test"]]
