"""Checks the application's template as CloudFormation will see it, and the schemas.

`sam validate --lint` hardly looks inside `AWS::Serverless::*`: a misspelt event property or an unknown starting
position passes. So the template is translated first, in every variant that changes what is deployed, and cfn-lint
reads the plain CloudFormation. No AWS account or network is needed.
"""

import copy
import itertools
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# The translator asks boto3 for a region, which a build machine need not have; nothing is ever sent there.
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

import fastavro
from cfnlint.api import ManualArgs, lint
from fastavro.schema import SchemaParseException, UnknownType
from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

# It complains at exit that its usage figures went nowhere, which is where they shall go.
logging.getLogger("samtranslator.metrics.metrics").setLevel(logging.ERROR)

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "template.yaml"
SCHEMAS = ROOT / "functions" / "schemas"

VARIANTS: dict[str, tuple[str, ...]] = {
    "Architecture": ("arm64", "x86_64"),
    "DryRun": ("false", "true"),
    "PollerMode": ("on-demand", "provisioned"),
}
"""Parameters whose every combination is translated and linted."""

SSM_ANSWERS = {
    "ClusterArn": "arn:aws:kafka:us-east-1:123456789012:cluster/headrace/00000000-0000-0000-0000-000000000000-1",
    "BootstrapServers": "b-1.headrace.example.com:9098,b-2.headrace.example.com:9098",
    "SweeperSubnetIds": "subnet-0a11111111111111a,subnet-0b22222222222222b",
    "SweeperSecurityGroupIds": "sg-0b22222222222222b",
}
"""What CloudFormation would read from SSM before it translates."""

# Local folders become objects in a bucket when the template is packaged.
PLACEHOLDER_URI = "s3://packaged-artifacts/placeholder"


class _NoManagedPolicies:
    """Offline stand-in for the translator's list of AWS-managed policies: our roles name none by its short name."""

    def load(self) -> dict[str, str]:
        return {}


def load_template(path: Path = TEMPLATE) -> dict[str, Any]:
    """The SAM template with its intrinsic functions in long form."""
    template: dict[str, Any] = yaml_parse(path.read_text())
    return template


def variants() -> Iterator[dict[str, str]]:
    """Every combination of the parameters that change what is deployed."""
    for values in itertools.product(*VARIANTS.values()):
        yield dict(zip(VARIANTS, values, strict=True))


def translate(template: Mapping[str, Any], parameters: Mapping[str, str]) -> dict[str, Any]:
    """The CloudFormation that SAM makes of the template with these parameters.

    Raises:
        InvalidDocumentException: SAM refuses the template.
    """
    packaged = _packaged(copy.deepcopy(dict(template)))
    for name, value in parameters.items():
        packaged["Parameters"][name]["Default"] = value
    translated: dict[str, Any] = transform(packaged, SSM_ANSWERS | dict(parameters), _NoManagedPolicies())
    return translated


def template_findings(template: Mapping[str, Any], parameters: Mapping[str, str]) -> list[str]:
    """What the translator or cfn-lint have against one variant of the template, one line each."""
    try:
        translated = translate(template, parameters)
    except InvalidDocumentException as refused:
        return [f"SAM: {cause.message}" for cause in refused.causes] or [f"SAM: {refused.message}"]
    arguments = ManualArgs(regions=["us-east-1"])
    matches = lint(json.dumps(translated, indent=1), config=arguments)
    return sorted({f"{match.rule.id}: {match.message}{_where(match)}" for match in matches})


def schema_findings(folder: Path = SCHEMAS) -> list[str]:
    """What is wrong with the Avro schemas in a folder, one line each."""
    findings = []
    for path in sorted(folder.glob("*.avsc")):
        try:
            fastavro.parse_schema(json.loads(path.read_text()))
        except (ValueError, SchemaParseException, UnknownType) as error:
            findings.append(f"{path.name}: {type(error).__name__}: {error}")
    return findings or ([] if any(folder.glob("*.avsc")) else [f"no schema (*.avsc) in {folder}"])


def _packaged(template: dict[str, Any]) -> dict[str, Any]:
    own = template.get("Globals", {}).get("Function", {})
    sections = [own, *(resource.get("Properties", {}) for resource in template["Resources"].values())]
    for section in sections:
        for name in ("CodeUri", "ContentUri"):
            if name in section:
                section[name] = PLACEHOLDER_URI
    return template


def _where(match: Any) -> str:
    path = "/".join(str(part) for part in getattr(match, "path", None) or ())
    return f" ({path})" if path else ""


def check() -> int:
    """Check the application's template and the schemas, print one line per variant and per finding; their number."""
    template = load_template()
    found: dict[str, list[str]] = {}
    for parameters in variants():
        start = time.monotonic()
        findings = template_findings(template, parameters)
        name = " ".join(f"{key}={value}" for key, value in parameters.items())
        print(f"template {name}: {len(findings)} findings, {time.monotonic() - start:.1f} s")
        for finding in findings:
            found.setdefault(finding, []).append(name)
    schemas = schema_findings()
    print(f"schemas {len(list(SCHEMAS.glob('*.avsc')))} files: {len(schemas)} findings")
    for finding, names in found.items():
        print(f"  template.yaml, in {len(names)} of {len(list(variants()))} variants: {finding}")
    for finding in schemas:
        print(f"  {finding}")
    return len(found) + len(schemas)
