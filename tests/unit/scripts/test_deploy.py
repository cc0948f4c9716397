"""`make deploy`: what is run in which order, and what is refused before anything is."""

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import deploy
import pytest

IDENTITY = (
    "<GetCallerIdentityResponse><GetCallerIdentityResult><Account>123456789012</Account>"
    "</GetCallerIdentityResult></GetCallerIdentityResponse>"
)
EXPIRED = "<ErrorResponse><Error><Code>ExpiredToken</Code><Message>it expired</Message></Error></ErrorResponse>"
ACCOUNT = deploy.Account("123456789012", "eu-west-1")


@pytest.fixture
def sts(monkeypatch):
    """An endpoint that answers GetCallerIdentity by the status it is given."""

    class Handler(BaseHTTPRequestHandler):
        status = 200

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            body = (IDENTITY if self.status == 200 else EXPIRED).encode()
            self.send_response(self.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    yield Handler
    server.shutdown()
    thread.join()
    server.server_close()


def status_of(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        deploy.main(arguments)
    return ended.value.code, capsys.readouterr()


@pytest.mark.parametrize("environment", deploy.ENVIRONMENTS)
def test_both_are_built_before_anything_is_created_and_the_platform_comes_first(environment):
    steps = deploy.commands(environment, *deploy.read_stacks(environment))
    assert [Path(step[0]).name + " " + step[1] for step in steps[1:]] == ["sam build", "sam deploy", "sam deploy"]
    assert steps[0][1:] == ("scripts/build.py", "arm64", "--no-report")
    assert [step[step.index("--config-file") + 1] for step in steps[1:]] == [
        "provisioning/samconfig.toml",
        "provisioning/samconfig.toml",
        "samconfig.toml",
    ]
    assert all(step[-2:] == ("--config-env", environment) for step in steps[1:])


def test_the_plan_names_place_stacks_parameters_and_commands():
    stacks = deploy.read_stacks("prod")
    text = "\n".join(deploy.plan_lines(stacks, ACCOUNT, [("sam", "a b")]))
    assert text.startswith("account 123456789012, region eu-west-1")
    assert text.index("1. platform stack headrace-platform-prod (asks first)") < text.index("2. application stack")
    assert "BrokerType=kafka.m7g.large" in text
    assert text.endswith("sam 'a b'")


@pytest.mark.parametrize("environment", ["", "staging", "default", "../prod", "dev "])
def test_an_environment_that_is_none_is_refused(environment, capsys):
    status, output = status_of(capsys, "--dry-run", "--", environment)
    assert status == deploy.EXIT_USAGE
    assert output.err == f"deploy: ENV must be one of dev, prod, not {environment!r}\n"


def test_an_environment_must_be_in_both_configurations(tmp_path):
    (tmp_path / "samconfig.toml").write_text("[dev.deploy.parameters]\nstack_name = 'x'\n")
    with pytest.raises(deploy.DeployError, match=r"samconfig\.toml has no deployment 'prod'"):
        deploy.read_stack("application", deploy.APPLICATION_CONFIG, "prod", tmp_path)


def test_a_configuration_under_a_wrong_name_is_refused(tmp_path):
    text = (deploy.ROOT / "samconfig.toml").read_text()
    (tmp_path / "samconfig.toml").write_text(text.replace('"Environment=prod"', '"Environment=dev"'))
    with pytest.raises(deploy.DeployError, match="does not say Environment=prod"):
        deploy.read_stack("application", deploy.APPLICATION_CONFIG, "prod", tmp_path)


def test_without_credentials_one_line_and_nothing_is_run(capsys):
    status, output = status_of(capsys, "dev")
    assert status == deploy.EXIT_NO_CREDENTIALS
    assert output.out == ""
    assert output.err == "deploy: no AWS credentials: set AWS_PROFILE, or log in with aws sso login\n"


def test_without_a_region_likewise(capsys, monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.delenv("AWS_REGION")
    status, output = status_of(capsys, "dev")
    assert status == deploy.EXIT_NO_CREDENTIALS
    assert output.err.count("\n") == 1
    assert "no AWS region" in output.err


def test_a_dry_run_needs_no_credentials_and_runs_nothing(capsys):
    deploy.main(["dev", "--dry-run"])
    output = capsys.readouterr()
    assert output.out.startswith("account unknown\n1. platform stack headrace-platform-dev\n")
    assert "[1/" not in output.out


@pytest.mark.usefixtures("sts")
def test_the_plan_says_whose_credentials_these_are_and_not_what_they_are(capsys):
    deploy.main(["dev", "--dry-run"])
    output = capsys.readouterr()
    assert output.out.startswith("account 123456789012, region us-east-1\n")
    assert "AKIDEXAMPLE" not in output.out + output.err
    assert "very-secret" not in output.out + output.err


def test_credentials_that_are_refused_end_it(sts, capsys):
    sts.status = 403
    status, output = status_of(capsys, "dev")
    assert status == deploy.EXIT_NO_CREDENTIALS
    assert "ExpiredToken" in output.err
    assert output.err.count("\n") == 1


def test_the_first_step_that_fails_is_the_last(tmp_path):
    python = sys.executable
    steps = [
        (python, "-c", "open('one', 'w')"),
        (python, "-c", "raise SystemExit(7)"),
        (python, "-c", "open('three', 'w')"),
    ]
    with pytest.raises(deploy.DeployError, match="step 2 of 3 failed with status 7") as failed:
        deploy.run(steps, tmp_path)
    assert failed.value.exit_status == deploy.EXIT_FAILED
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_a_program_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(deploy.DeployError, match="step 1 of 1 did not run"):
        deploy.run([("no-such-program",)], tmp_path)


def test_a_parent_make_leaves_no_trace_in_the_steps(tmp_path, monkeypatch):
    monkeypatch.setenv("MAKEFLAGS", "-j --jobserver-auth=3,4")
    code = "import os; assert not [n for n in os.environ if n.startswith('MAKE')]"
    deploy.run([(sys.executable, "-c", code)], tmp_path)


def test_make_passes_the_environment_and_the_dry_run_on():
    command = ["make", "--dry-run", "--always-make", "deploy", "ENV=dev", "DRY_RUN=1"]
    done = subprocess.run(command, cwd=deploy.ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert "scripts/deploy.py --dry-run -- 'dev'" in done.stdout
