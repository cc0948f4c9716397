"""`sam local invoke -e events/… ClickstreamFunction` is a dry run without AWS, on its first try.

SAM's own code resolves the template here, as `sam local` does before it starts a container.
"""

import pytest
from samcli.cli.types import CfnParameterOverridesType
from samcli.lib.config.samconfig import SamConfig
from samcli.lib.providers.sam_function_provider import SamFunctionProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider
from samcli.local.lambdafn.env_vars import EnvironmentVariables
from validate_application import ROOT, TEMPLATE

from headrace.settings import PREFIX, Settings

# SAM's own code calls its own deprecated validator, and that one a deprecated part of jsonschema.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def overrides(command):
    configured = SamConfig(ROOT).get_all(command, "parameters", env="default")["parameter_overrides"]
    return CfnParameterOverridesType().convert(configured, None, None)


def environments(parameters):
    """Function name to the environment that its container would get."""
    stacks, _ = SamLocalStackProvider.get_stacks(str(TEMPLATE), parameter_overrides=parameters)
    return {
        function.name: EnvironmentVariables(
            function.name,
            function.memory,
            function.timeout,
            function.handler,
            variables=function.environment["Variables"],
            shell_env_values={},
            override_values={},
            aws_creds={},
        ).resolve()
        for function in SamFunctionProvider(stacks).get_all()
    }


@pytest.mark.parametrize("command", [["local", "invoke"], ["local", "start-lambda"]])
def test_local_commands_keep_every_store_in_memory(command):
    resolved = environments(overrides(command))
    assert set(resolved) == {
        "ClickstreamFunction",
        "LogsFunction",
        "LandingFunction",
        "SweeperFunction",
        "CatalogFunction",
        "IcebergFunction",
        "AlertsFunction",
    }
    for environment in resolved.values():
        assert environment["HEADRACE_CHECKPOINTS"] == "memory:"
        assert environment["HEADRACE_LAKE"] == "memory:"
        assert Settings.from_environment(environment).dry_run


def test_local_commands_name_brokers_not_the_parameter_that_holds_them():
    sweeper = environments(overrides(["local", "invoke"]))["SweeperFunction"]
    assert sweeper["HEADRACE_BOOTSTRAP_SERVERS"] == "localhost:9098"


def test_without_the_dry_run_the_stores_are_the_stacks_own():
    clickstream = environments({})["ClickstreamFunction"]
    assert clickstream["HEADRACE_CHECKPOINTS"].startswith("dynamodb:")
    assert clickstream["HEADRACE_LAKE"].startswith("s3://")


def test_the_templates_defaults_are_the_librarys():
    """A handler invoked by hand, without any variable, then does what a deployed one does."""
    sweeper = Settings.from_environment(environments(overrides(["local", "invoke"]))["SweeperFunction"])
    deployed = {"landing_codecs", "bootstrap_servers"}
    for field in set(Settings.__struct_fields__) - deployed:
        assert getattr(sweeper, field) == getattr(Settings(), field), field


def test_the_template_sets_no_variable_that_the_library_does_not_read():
    known = {PREFIX + field.upper() for field in Settings.__struct_fields__}
    for environment in environments({}).values():
        assert {name for name in environment if name.startswith(PREFIX)} <= known


def test_the_sweeper_has_every_setting_that_the_consumers_have():
    """It finishes their work: a pipeline configured otherwise has another fingerprint."""
    resolved = environments({})
    sweeper = resolved.pop("SweeperFunction")
    del resolved["CatalogFunction"]  # no pipeline is its business
    del resolved["IcebergFunction"]  # nor this one's
    del resolved["AlertsFunction"]  # nor this one's
    for environment in resolved.values():
        shared = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
        assert shared.items() <= sweeper.items()
