"""samconfig.toml fits the template: parameters exist and their values are within bounds."""

import re
import tomllib

import pytest
import validate_application

CONFIG = tomllib.loads((validate_application.ROOT / "samconfig.toml").read_text())
PARAMETERS = validate_application.load_template()["Parameters"]
DEPLOYMENTS = [name for name, section in CONFIG.items() if isinstance(section, dict) and "deploy" in section]


def overrides(environment):
    return dict(pair.split("=", 1) for pair in CONFIG[environment]["deploy"]["parameters"]["parameter_overrides"])


@pytest.mark.parametrize("environment", DEPLOYMENTS)
def test_a_deployments_values_are_ones_that_the_template_accepts(environment):
    for name, value in overrides(environment).items():
        parameter = PARAMETERS[name]
        if "AllowedValues" in parameter:
            assert value in [str(v) for v in parameter["AllowedValues"]], name
        else:
            assert re.fullmatch(parameter["AllowedPattern"], value), name


def test_dev_and_prod_share_nothing_that_names_a_place():
    dev, prod = (CONFIG[name]["deploy"]["parameters"] for name in ("dev", "prod"))
    for key in ("stack_name", "s3_prefix"):
        assert dev[key] != prod[key]
    assert overrides("prod")["ClusterArn"] != PARAMETERS["ClusterArn"]["Default"]
    assert overrides("prod")["BootstrapServers"] != PARAMETERS["BootstrapServers"]["Default"]


def test_prod_asks_before_it_changes_anything():
    assert CONFIG["prod"]["deploy"]["parameters"]["confirm_changeset"] is True


def test_no_configuration_name_deploys_to_dev():
    assert CONFIG["default"]["deploy"] == CONFIG["dev"]["deploy"]


@pytest.mark.parametrize("environment", DEPLOYMENTS)
def test_no_deployment_is_a_dry_run(environment):
    assert overrides(environment).get("DryRun", PARAMETERS["DryRun"]["Default"]) == "false"
