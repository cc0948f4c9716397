"""A commit runs `make validate` when it changes anything that validation reads."""

import re
from pathlib import Path

import pytest
from samcli.yamlhelper import yaml_parse

ROOT = Path(__file__).resolve().parents[3]
HOOKS = {hook["id"]: hook for hook in yaml_parse((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]}


@pytest.mark.parametrize(
    "pattern",
    ["template.yaml", "samconfig.toml", "provisioning/**/*", "scripts/validate*.py", "functions/schemas/*.avsc"],
)
def test_a_change_of_what_is_validated_runs_the_hook(pattern):
    paths = [path for path in ROOT.glob(pattern) if path.is_file() and "__pycache__" not in path.parts]
    assert paths
    for path in paths:
        assert re.search(HOOKS["validate"]["files"], str(path.relative_to(ROOT))), path


@pytest.mark.parametrize(
    "name", ["docs/deploy.md", "functions/sweeper/app.py", "scripts/deploy.py", "tests/template.yaml"]
)
def test_a_change_of_anything_else_does_not(name):
    assert not re.search(HOOKS["validate"]["files"], name)


def test_every_hook_is_a_make_target():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for name, hook in HOOKS.items():
        assert hook["entry"] == f"make {name}"
        assert name in targets
