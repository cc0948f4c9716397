"""docs/deploy.md as an operator would type it: each command is known to its own program with these options.

`sam` and `headrace` commands go through their own click parsers, `aws` commands through botocore's models, `make`
targets are looked up, scripts parse with their own parser. Nothing is run.
"""

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import botocore.session
import click
import deploy
import pytest
import validate_application
from botocore import xform_name
from samcli.cli.main import cli as sam

from headrace_cli.main import cli as headrace

ROOT = validate_application.ROOT
DOCUMENT = ROOT / "docs" / "deploy.md"
TEXT = DOCUMENT.read_text()
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
ON_EVERY_SYSTEM = {"seq", "awk", "echo", "date", "export"}
ON_THE_CLIENT = {path.name for path in (ROOT / "provisioning" / "client" / "bin").iterdir()}
AWS_GLOBAL = {"query", "output", "region", "profile"}
LOGS_TAIL_OPTIONS = {"since", "filter-pattern", "follow"}
S3_OPTIONS = {"mb": set(), "rb": {"force"}, "cp": set(), "rm": {"recursive"}}
SCRIPTS = {"scripts/deploy.py": deploy.parser()}
OUTPUTS = {"brokers": "b-1.example:9098", "date -u +%F": "2026-11-27"}
"""What a command in $(…) prints, where the command around it looks at that."""
SUBSTITUTION = re.compile(r"\$\(([^()]*)\)")


def blocks(text):
    return re.findall(r"^ *```sh\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)


def commands(line):
    """The simple commands of one line, those in $(…) included, without comments and assignments."""
    found = []
    while match := SUBSTITUTION.search(line):
        found += commands(match[1])
        line = line[: match.start()] + OUTPUTS.get(match[1], "value") + line[match.end() :]
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&")
    lexer.whitespace_split = True
    command = []
    for token in [*lexer, ";"]:
        if set(token) <= set("|;&"):
            found += [command] if command else []
            command = []
        elif command or not re.match(r"[A-Z]+=", token):
            command.append(re.sub(r"\$\{?[A-Z]\w*\}?", "value", token))
    return found


def documented(text=TEXT):
    lines = [line for block in blocks(text) for line in block.replace("\\\n", " ").splitlines()]
    return [command for line in lines for command in commands(line)]


def check_click(group, name, arguments):
    """Parse as click would before it runs the command; click's own exceptions say what is wrong."""
    context = group.make_context(name, [arguments[0]])
    command, rest = group, list(arguments)
    while isinstance(command, click.Group):
        command = command.get_command(context, rest.pop(0))
        assert command is not None, arguments
    return command.make_context(command.name, rest, parent=context).params


def check_aws(arguments):
    service, operation, *rest = arguments
    given = {token.removeprefix("--") for token in rest if token.startswith("--")}
    if service == "s3":
        assert given <= S3_OPTIONS[operation] | AWS_GLOBAL, arguments
        return
    if (service, operation) == ("logs", "tail"):  # the program's own, like `s3`: no operation of the service
        assert given <= LOGS_TAIL_OPTIONS | AWS_GLOBAL, arguments
        return
    model = botocore.session.get_session().get_service_model(service)
    names = {xform_name(name, "-"): name for name in model.operation_names}
    shape = model.operation_model(names[operation]).input_shape
    options = {xform_name(member, "-"): member for member in (shape.members if shape else ())}
    assert given <= set(options) | AWS_GLOBAL, arguments
    assert {xform_name(name, "-") for name in (shape.required_members if shape else ())} <= given, arguments


def check_make(arguments):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for argument in arguments:
        assert "=" in argument or argument in targets, argument
        if argument.startswith("ENV="):
            assert argument.removeprefix("ENV=") in deploy.ENVIRONMENTS


def check_python(arguments):
    script, *rest = arguments
    assert (ROOT / script).is_file(), script
    if script in SCRIPTS:
        SCRIPTS[script].parse_args(rest)


def check(command):
    program, *arguments = command
    name = Path(program).name
    if name == "sam":
        check_click(sam, "sam", arguments)
    elif name == "headrace":
        check_click(headrace, "headrace", arguments)
    elif name == "python":
        check_python(arguments)
    elif name == "aws":
        check_aws(arguments)
    elif name == "make":
        check_make(arguments)
    else:
        assert name in ON_EVERY_SYSTEM | ON_THE_CLIENT, name


@pytest.fixture(autouse=True)
def _after_a_build(monkeypatch, tmp_path):
    """A checkout in which everything was built, as `sam deploy` wants it: configurations, and templates in place."""
    for config in ("samconfig.toml", "provisioning/samconfig.toml"):
        section = tomllib.loads((ROOT / config).read_text())["dev"]
        source = ROOT / Path(config).parent / "template.yaml"
        built = Path(section["deploy"]["parameters"]["template_file"])
        for place in (tmp_path / config, tmp_path / Path(config).with_name("template.yaml"), tmp_path / built):
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / config if place.name == "samconfig.toml" else source, place)
    for nested in (ROOT / "provisioning").glob("*.yaml"):
        shutil.copyfile(nested, tmp_path / "provisioning" / nested.name)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", documented(), ids=lambda command: " ".join(command)[:80])
def test_the_command_is_what_its_program_takes(command):
    check(command)


@pytest.mark.parametrize(
    "command",
    [command for command in documented(RUNBOOK) if Path(command[0]).name in {"headrace", "aws"}],
    ids=lambda command: " ".join(command)[:80],
)
def test_the_runbooks_command_is_what_its_program_takes(command):
    check(command)


def test_the_runbook_has_commands_of_both_programs():
    programs = [Path(command[0]).name for command in documented(RUNBOOK)]
    assert programs.count("headrace") >= 6
    assert programs.count("aws") >= 8


def test_the_commands_of_every_program_are_found():
    programs = [Path(command[0]).name for command in documented()]
    for name, least in {"sam": 5, "aws": 14, "make": 5, "headrace": 8, "python": 1, "brokers": 2}.items():
        assert programs.count(name) >= least, name
    assert len(blocks(TEXT)) == len(re.findall(r"^ *```", TEXT, re.MULTILINE)) // 2


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ("sam deploy --config-environment dev", click.UsageError),
        ("headrace lake shows x", AssertionError),
        ("headrace produce - --topic clicks --broker x", click.UsageError),
        ("make deploi", AssertionError),
        ("make deploy ENV=stage", AssertionError),
        ("aws dynamodb scann --table-name x", KeyError),
        ("aws dynamodb scan --table x", AssertionError),
        ("aws kafka delete-cluster", AssertionError),
        ("aws s3 rm s3://x --recurse", AssertionError),
        ("X=$(aws nothing at-all)", botocore.exceptions.UnknownServiceError),
        ("echo x | kafka-topic --list", AssertionError),
        ("headrace generation new --stack headrace-dev --generations 2", click.UsageError),
        (".venv/bin/python scripts/deploy.py dev --nothing", SystemExit),
        (".venv/bin/python scripts/none.py", AssertionError),
    ],
)
def test_a_wrong_command_is_found(wrong, error):
    *others, command = commands(wrong)
    for other in others:
        check(other)
    with pytest.raises(error):
        check(command)


@pytest.mark.parametrize("environment", deploy.ENVIRONMENTS)
def test_what_make_deploy_runs_is_in_the_document_and_is_what_sam_takes(environment):
    stacks = deploy.read_stacks(environment)
    typed = [" ".join(command) for command in documented()]
    for step in deploy.commands(environment, *stacks)[1:]:
        shown = " ".join(("sam", *step[1:]))
        assert environment != "dev" or shown in typed
        parameters = check_click(sam, "sam", list(step[1:]))
        if step[1] == "deploy":
            stack = stacks[0] if "provisioning/samconfig.toml" in step else stacks[1]
            assert parameters["stack_name"] == stack.name
            assert Path(parameters["template_file"]) == Path.cwd() / stack.template
            assert tuple(f"{k}={v}" for k, v in parameters["parameter_overrides"].items()) == stack.overrides


def test_the_first_records_are_clicks():
    (line,) = [line for block in blocks(TEXT) for line in block.splitlines() if line.startswith("seq ")]
    made, _ = line.split(" | headrace ")
    done = subprocess.run(["bash", "-c", made], capture_output=True, text=True, check=True, timeout=30)
    clicks = [json.loads(click_event) for click_event in done.stdout.splitlines()]
    schema = json.loads((ROOT / "functions" / "schemas" / "clicks.avsc").read_text())
    required = {field["name"] for field in schema["fields"] if "default" not in field}
    assert len(clicks) == 1000
    assert all(set(event) == required for event in clicks)
    assert {type(event["timestamp"]) for event in clicks} == {int}


def test_deleting_a_stack_names_the_stack_and_its_files():
    deletions = [command for command in documented() if command[:2] == ["sam", "delete"]]
    found = [check_click(sam, "sam", command[1:]) for command in deletions]
    assert [(p["stack_name"], p["s3_prefix"]) for p in found] == [
        ("headrace-dev", "headrace-dev"),
        ("headrace-platform-dev", "headrace-platform-dev"),
    ]


def test_every_parameter_of_the_table_is_one_of_its_template():
    templates = {
        "application": validate_application.load_template()["Parameters"],
        "platform": validate_application.load_template(ROOT / "provisioning" / "template.yaml")["Parameters"],
    }
    rows = re.findall(r"^\| (platform|application|both) \| (`.*?`) \|", TEXT, re.MULTILINE)
    assert len(rows) > 8
    for stack, names in rows:
        for name in re.findall(r"`(\w+)`", names):
            assert all(name in templates[s] for s in templates if stack in (s, "both")), (stack, name)


@pytest.mark.parametrize("environment", deploy.ENVIRONMENTS)
def test_the_quantities_of_the_cost_table_are_those_of_the_configuration(environment):
    values = dict(v.split("=", 1) for v in deploy.read_stacks(environment)[0].overrides)
    brokers, zones, volume = int(values["Brokers"]), int(values["Zones"]), int(values["VolumeGiB"])
    for quantity in (
        f"{brokers} * {values['BrokerType']} * 730 h = {brokers * 730:,} broker-hours",
        f"{brokers} * {volume} GiB = {brokers * volume:,} GiB-months",
        f"2 * {zones} zones * 730 h = {2 * zones * 730:,} endpoint-hours",
        f"{zones} gateways * 730 h = {zones * 730:,} gateway-hours",
        f"4 mappings * 1 unit * 730 h = 2,920 unit-hours * $0.185 = ${2920 * 0.185:.2f}",
    ):
        assert quantity.replace("*", "\N{MULTIPLICATION SIGN}") in TEXT, quantity


def test_four_mappings_and_the_sweeps_are_the_templates(cloudformation):
    kinds = [resource["Type"] for resource in cloudformation["Resources"].values()]
    assert kinds.count("AWS::Lambda::EventSourceMapping") == 4
    parameters = validate_application.load_template()["Parameters"]
    assert 60 // int(parameters["SweepIntervalMinutes"]["Default"]) * 730 == 8760
    assert f"{int(parameters['MemoryMb']['Default']):,} MB" in TEXT


def test_every_link_of_the_document_leads_somewhere():
    anchors = {
        re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]*)\)", TEXT):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        elif not target.startswith("https://"):
            assert (DOCUMENT.parent / target.split("#")[0]).exists(), target
