"""The functions of this checkout: their modules, and the environment that the template gives them."""

import importlib
import os
import sys
from collections.abc import Mapping
from types import ModuleType

from headrace.settings import PREFIX, Settings
from headrace_cli.errors import CommandError
from headrace_cli.local.deployment import ROOT
from kafka_esm import SamTemplate

_TEMPLATE = ROOT / "template.yaml"


def function_module(name: str) -> ModuleType:
    """Import a module of the functions' folder, which is no package that could be installed.

    Args:
        name: as functions import it, e.g. `logs.topology`.
    """
    folder = str(ROOT / "functions")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(name)


def function_settings(function: str, fixed: Mapping[str, str]) -> Settings:
    """What a function is configured with here: the template's values, this environment's HEADRACE_ variables, `fixed`.

    Args:
        function: its logical id in the template.
        fixed: variables that nobody else may choose.

    Raises:
        CommandError: there is no template.
        ConfigurationError: names each variable that is wrong.
    """
    if not _TEMPLATE.is_file():
        raise CommandError(f"no {_TEMPLATE}: this command runs the functions of a checkout of the project")
    template = SamTemplate.load(_TEMPLATE, {}).function(function).environment
    own = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
    return Settings.from_environment({**template, **own, **fixed})
