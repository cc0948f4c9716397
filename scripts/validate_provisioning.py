"""Checks the platform's stacks in every combination of cluster, login, network and poller mode.

Each combination is worked out by `validate_resolve` into what CloudFormation would create, and walked by
`validate_graph`. cfn-lint reads every resource in every form that it takes: a form that is the same in two
combinations is read once. `validate_snapshots.py` rewrites the committed
picture of all graphs.
"""

import functools
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import validate_application
import validate_graph as graph
from cfnlint.config import ConfigMixIn
from cfnlint.decode import decode_str
from cfnlint.runner import Runner
from validate_combinations import DIMENSIONS, Combination, combinations_of
from validate_resolve import Template, resolve

PROVISIONING = validate_application.ROOT / "provisioning"
STACKS = ("lookup", "network", "cluster", "topics", "roles", "schemas", "client")

SAMPLES = {
    "SubnetIds": "subnet-0a11111111111111a,subnet-0b22222222222222b,subnet-0c33333333333333c",
    "FirstSubnetId": "subnet-0a11111111111111a",
    "ClusterSecurityGroupId": "sg-0a11111111111111a",
    "FunctionSecurityGroupId": "sg-0b22222222222222b",
    "ClientSecurityGroupId": "sg-0c33333333333333c",
    "LookupFunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:lookup",
    "ClusterArn": "arn:aws:kafka:us-east-1:123456789012:cluster/headrace-dev/00000000-0000-0000-0000-000000000000-1",
    "IamBrokers": "b-1.headrace.example.com:9098,b-2.headrace.example.com:9098",
    "TopicArns": "arn:aws:kafka:us-east-1:123456789012:topic/headrace-dev/00000000-0000-0000-0000-000000000000-1/logs",
}
"""What a nested stack would answer, by the output's name."""

IMAGE = "ami-0123456789abcdef0"
PACKAGED_TEMPLATE = "https://s3.amazonaws.com/packaged/one"
SUPPRESSED = [
    # A zone that the operator names.
    "W3010",
]


@dataclass
class Report:
    """What was found in one combination."""

    combination: Combination
    resources: int = 0
    findings: list[str] = field(default_factory=list)


@functools.cache
def source(name: str) -> dict[str, Any]:
    """A template of the platform as written; `root` is template.yaml."""
    return validate_application.load_template(
        PROVISIONING / ("template.yaml" if name == graph.ROOT else f"{name}.yaml")
    )


@functools.cache
def plain(name: str) -> dict[str, Any]:
    """The same in plain CloudFormation: functions translated."""
    template = source(name)
    return validate_application.translate(template, {}) if "Transform" in template else template


def combinations() -> Iterator[Combination]:
    """Every combination that the root stack does not refuse."""
    return combinations_of(plain(graph.ROOT))


def stacks_of(combination: Combination, templates: Mapping[str, Template] | None = None) -> dict[str, dict[str, Any]]:
    """What CloudFormation would create, by stack.

    Raises:
        Unresolvable: a template says what cannot be worked out.
    """
    get = templates or {name: plain(name) for name in (graph.ROOT, *STACKS)}
    root = resolve(get[graph.ROOT], {"Environment": "dev"} | dict(combination.parameters))
    stacks = {graph.ROOT: root}
    for name, resource in root["Resources"].items():
        if resource["Type"] == graph.NESTED:
            given = {key: _sample(value) for key, value in resource["Properties"]["Parameters"].items()}
            declared = get[name.lower()].get("Parameters", {})
            images = {name: IMAGE for name, entry in declared.items() if entry["Type"].endswith("Image::Id>")}
            stacks[name.lower()] = resolve(get[name.lower()], given | images)
    return stacks


def _sample(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    ((name, attribute),) = graph.references(value)
    output = attribute.removeprefix("Outputs.") or name
    if output == "BootstrapBrokersParameter":
        return "/headrace/dev/bootstrap-brokers"
    return SAMPLES.get(output, f"arn:aws:iam::123456789012:policy/{output}")


def walk(combination: Combination, stacks: graph.Stacks, templates: Mapping[str, Template] | None = None) -> list[str]:
    """All findings of the graph's checks in one combination."""
    get = templates or {name: plain(name) for name in (graph.ROOT, *STACKS)}
    declared = {name: get[name].get("Parameters", {}) for name in STACKS}
    told = {name: str(entry["Default"]) for name, entry in get[graph.ROOT]["Parameters"].items() if "Default" in entry}
    told |= combination.parameters
    logins = ["iam", *(login for login, on in _extra_logins(told).items() if on)]
    findings = graph.ports(
        stacks["network"],
        logins,
        zookeeper=told["ClusterKind"] == "Standard" and not told["KafkaVersion"].endswith(".kraft"),
        exporters=told["OpenMonitoring"] == "true",
        other_vpcs=told["MultiVpc"] == "true",
    )
    findings += graph.self_reference(stacks["network"], logins)
    findings += graph.dangling(stacks) + graph.wiring(stacks, declared) + graph.cycles(stacks) + graph.policies(stacks)
    return findings + graph.ssm_names(
        graph.written_ssm_names(stacks), graph.read_ssm_names(validate_application.load_template())
    )


def _extra_logins(told: Mapping[str, str]) -> dict[str, bool]:
    return {
        "scram": told["ScramAuthentication"] == "true",
        "tls": told["CertificateAuthorityArns"] != "",
        "plaintext": told["PlaintextAccess"] == "true",
    }


class Linter:
    """cfn-lint over worked-out stacks; a resource that it has read in the same form is not read again."""

    def __init__(self) -> None:
        # Rules are loaded once: that takes longer than reading a stack.
        self._runner = Runner(ConfigMixIn(regions=["us-east-1"], ignore_checks=SUPPRESSED))
        self._known: dict[tuple[str, str, str], list[str]] = {}
        self.runs = 0

    def findings(self, name: str, stack: graph.Stack) -> list[str]:
        """What cfn-lint has against the resources and outputs of a stack, one line each."""
        forms = {logical: (name, logical, _form(resource)) for logical, resource in stack["Resources"].items()}
        forms[""] = (name, "", json.dumps(stack.get("Outputs"), sort_keys=True))
        unread = {logical for logical, form in forms.items() if form not in self._known}
        if unread:
            self._read(stack, unread, forms)
        return sorted({line for form in forms.values() for line in self._known[form]})

    def _read(self, stack: graph.Stack, unread: set[str], forms: Mapping[str, tuple[str, str, str]]) -> None:
        self.runs += 1
        self._known |= {forms[logical]: [] for logical in unread}
        wanted = graph.closure(stack, unread - {""})
        part = {**stack, "Resources": {name: _packaged(stack["Resources"][name]) for name in sorted(wanted)}}
        if "" not in unread:
            part.pop("Outputs", None)
        template, _ = decode_str(json.dumps(part, indent=1))
        for match in self._runner.validate_template(template):
            path = [str(step) for step in getattr(match, "path", None) or ()]
            owner = path[1] if len(path) > 1 and path[0] == "Resources" else ""
            self._known.setdefault(forms[owner], []).append(f"{match.rule.id}: {match.message} ({'/'.join(path)})")


def _form(resource: Mapping[str, Any]) -> str:
    # Of a nested stack's parameters cfn-lint knows the names only; their values are checked inside that stack.
    if resource["Type"] == graph.NESTED:
        return " ".join(sorted(resource["Properties"]["Parameters"]))
    return json.dumps(resource, sort_keys=True)


def _packaged(resource: Mapping[str, Any]) -> Mapping[str, Any]:
    if resource["Type"] != graph.NESTED:
        return resource
    return {
        **resource,
        "Properties": {**resource["Properties"], "TemplateURL": "https://s3.amazonaws.com/packaged/one"},
    }


def reports(linter: Linter) -> Iterator[Report]:
    """Check every combination."""
    for combination in combinations():
        stacks = stacks_of(combination)
        resources = sum(len(stack["Resources"]) for stack in stacks.values())
        findings = walk(combination, stacks)
        for name, stack in stacks.items():
            findings += [f"{name}: {line}" for line in linter.findings(name, stack)]
        yield Report(combination, resources, findings)


def source_findings() -> list[str]:
    """What cfn-lint has against the templates as written, conditions and all, one line each."""
    # Local paths of nested templates are put right by `sam build` and `sam deploy`.
    runner = Runner(ConfigMixIn(regions=["us-east-1"], ignore_checks=["W3002"]))
    found = set()
    for name in (graph.ROOT, *STACKS):
        template, _ = decode_str(json.dumps(plain(name), indent=1))
        found |= {f"{name}: {match.rule.id}: {match.message}" for match in runner.validate_template(template)}
    return sorted(found)


def print_matrix(done: list[Report]) -> None:
    """One line for each cluster, login and network with the poller modes side by side, then the extras."""
    modes = list(DIMENSIONS["pollers"])
    print(f"{'cluster':<11}{'login':<11}{'network':<20}" + "".join(f"{mode:<16}" for mode in modes))
    rows = [report for report in done if len(report.combination.name) > 1]
    for names, group in itertools.groupby(rows, key=lambda report: report.combination.name[:-1]):
        cells = "".join(f"{_cell(report):<16}" for report in group)
        print(f"{names[0]:<11}{names[1]:<11}{names[2]:<20}{cells}".rstrip())
    for report in done:
        if len(report.combination.name) == 1:
            print(f"{report.combination.name[0]:<42}{_cell(report)}")


def _cell(report: Report) -> str:
    return f"{report.resources} {'clean' if not report.findings else f'{len(report.findings)} FOUND'}"


def check() -> int:
    """Check everything and print the matrix; the number of findings."""
    linter = Linter()
    done = list(reports(linter))
    print_matrix(done)
    found: dict[str, int] = {}
    for line in itertools.chain.from_iterable(report.findings for report in done):
        found[line] = found.get(line, 0) + 1
    print(f"provisioning: {len(done)} combinations, read by cfn-lint in {linter.runs} parts: {len(found)} findings")
    for line, count in found.items():
        print(f"  in {count} of them: {line}")
    written = source_findings()
    print(f"provisioning as written: {len(written)} findings")
    for line in written:
        print(f"  {line}")
    return len(found) + len(written)
