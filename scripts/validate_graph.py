"""Walks what a set of stacks would create: everything that is named exists, and nothing waits for itself.

A stack is a template worked out by `validate_resolve`. Each check returns its findings as sentences that begin with
the check's name.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from validate_resolve import SUBSTITUTION

Stack = Mapping[str, Any]
Stacks = Mapping[str, Stack]
"""By name; the root's is ROOT."""

ROOT = "root"
NESTED = "AWS::CloudFormation::Stack"
BROKER_PORTS = {"iam": 9098, "scram": 9096, "tls": 9094, "plaintext": 9092}
ZOOKEEPER = 2181
EXPORTERS = range(11001, 11003)
OTHER_VPCS = range(14001, 14101)
CLUSTER_GROUP = "ClusterSecurityGroup"


def references(node: Any) -> Iterator[tuple[str, str]]:
    """Every (name, attribute) that a part of a template refers to; the attribute of a `Ref` is empty."""
    if isinstance(node, list):
        for part in node:
            yield from references(part)
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key == "Ref":
            yield value, ""
        elif key == "Fn::GetAtt":
            name, _, attribute = (value if isinstance(value, str) else ".".join(value)).partition(".")
            yield name, attribute
        elif key == "Fn::Sub":
            yield from _substitutions(value)
        else:
            yield from references(value)


def _substitutions(value: Any) -> Iterator[tuple[str, str]]:
    text, own = (value, {}) if isinstance(value, str) else value
    yield from references(own)
    for match in SUBSTITUTION.finditer(text):
        name, _, attribute = match[1].partition(".")
        if name not in own:
            yield name, attribute


def edges(resource: Mapping[str, Any]) -> set[str]:
    """What one resource waits for: `Name`, or `Name.Attribute` where an attribute is used."""
    properties = resource.get("Properties", {})
    named = {f"{name}.{attribute}" if attribute else name for name, attribute in references(properties)}
    return {name for name in named if not name.startswith("AWS::")} | set(_awaited(resource))


def _awaited(resource: Mapping[str, Any]) -> list[str]:
    awaited = resource.get("DependsOn", [])
    return [awaited] if isinstance(awaited, str) else list(awaited)


def closure(stack: Stack, names: Iterable[str]) -> set[str]:
    """The named resources and all that they wait for, as far as it is there; with the outputs', if there are any."""
    reached: set[str] = set()
    outputs = references([output["Value"] for output in stack.get("Outputs", {}).values()])
    waiting = [*names, *(name for name, _ in outputs)]
    while waiting:
        name = waiting.pop()
        if name in stack["Resources"] and name not in reached:
            reached.add(name)
            waiting += [edge.partition(".")[0] for edge in edges(stack["Resources"][name])]
    return reached


def dangling(stacks: Stacks) -> list[str]:
    """References to what is not there, in this combination of conditions."""
    found = []
    for stack, template in stacks.items():
        named = [(owner, name) for owner, entry in _entries(template) for name, _ in references(entry)]
        named += [(owner, name) for owner, entry in template["Resources"].items() for name in _awaited(entry)]
        found += [
            f"dangling: {stack}.{owner} refers to {name}, which is not there"
            for owner, name in named
            if not name.startswith("AWS::") and name not in template["Resources"]
        ]
    return found


def wiring(stacks: Stacks, declared: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Nested stacks that get other parameters than their templates declare, and outputs that nobody gives."""
    found = []
    for name, resource in _nested(stacks):
        given, parameters = set(resource["Properties"]["Parameters"]), declared[name.lower()]
        required = {key for key, entry in parameters.items() if "Default" not in entry}
        found += [
            f"wiring: {name} gets {key}, which its template does not know" for key in sorted(given - set(parameters))
        ]
        found += [f"wiring: {name} does not get {key}" for key in sorted(required - given)]
    root = stacks[ROOT]
    for owner, entry in _entries(root):
        for name, attribute in references(entry):
            outputs = stacks.get(name.lower(), {}).get("Outputs", {})
            if attribute.startswith("Outputs.") and attribute.removeprefix("Outputs.") not in outputs:
                found.append(f"wiring: {owner} wants {name}.{attribute}, which {name} does not give")
    return found


def cycles(stacks: Stacks) -> list[str]:
    """Resources, in any one stack or between the stacks, that wait for themselves."""
    graph = {}
    for stack, template in stacks.items():
        for name, resource in template["Resources"].items():
            graph[f"{stack}.{name}"] = {f"{stack}.{edge.partition('.')[0]}" for edge in edges(resource)}
    return [f"cycle: {' -> '.join(path)}" for path in _loops(graph)]


def _loops(graph: Mapping[str, set[str]]) -> Iterator[list[str]]:
    done: set[str] = set()

    def visit(node: str, path: list[str]) -> Iterator[list[str]]:
        if node in path:
            yield [*path[path.index(node) :], node]
        elif node not in done:
            for following in sorted(graph.get(node, ())):
                yield from visit(following, [*path, node])
            done.add(node)

    for node in sorted(graph):
        yield from visit(node, [])


def ssm_names(written: set[str], read: set[str]) -> list[str]:
    """SSM parameters that the application reads and the platform does not write."""
    return [f"ssm: the application reads {name}, which the platform does not write" for name in sorted(read - written)]


def written_ssm_names(stacks: Stacks) -> set[str]:
    """Names of the SSM parameters that the platform writes."""
    return {
        resource["Properties"]["Name"]
        for template in stacks.values()
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::SSM::Parameter"
    }


def read_ssm_names(application: Mapping[str, Any]) -> set[str]:
    """Names of the SSM parameters that the application's template reads by default."""
    declared = application["Parameters"].values()
    return {entry["Default"] for entry in declared if entry["Type"].startswith("AWS::SSM::Parameter::Value")}


def policies(stacks: Stacks) -> list[str]:
    """Managed policies that are attached and made nowhere; AWS's own are refused as too wide."""
    made = {
        f"{name}Arn"
        for template in stacks.values()
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::IAM::ManagedPolicy"
    }
    return [
        f"policy: {stack}.{name} has {arn}, which is none of ours"
        for stack, template in stacks.items()
        for name, resource in template["Resources"].items()
        for arn in resource.get("Properties", {}).get("ManagedPolicyArns", [])
        if not _is_made(arn, template, made)
    ]


def _is_made(arn: Any, template: Stack, made: set[str]) -> bool:
    if isinstance(arn, dict):
        return bool(template["Resources"].get(arn.get("Ref"), {}).get("Type") == "AWS::IAM::ManagedPolicy")
    # A nested stack's sample of another's output ends with that output's name.
    return str(arn).rpartition("/")[2] in made


def ports(network: Stack, logins: Iterable[str], *, zookeeper: bool, exporters: bool, other_vpcs: bool) -> list[str]:
    """What the brokers' group lets in, against what the chosen logins need: exactly that."""
    wanted = {(BROKER_PORTS[login],) * 2 for login in logins}
    by_source = {
        "ClientSecurityGroup": wanted
        | ({(ZOOKEEPER, ZOOKEEPER)} if zookeeper else set())
        | _span(EXPORTERS, exporters),
        "FunctionSecurityGroup": {(BROKER_PORTS["iam"],) * 2},
        CLUSTER_GROUP: wanted,
        "elsewhere": _span(OTHER_VPCS, other_vpcs),
    }
    found: dict[str, set[tuple[int, int]]] = {source: set() for source in by_source}
    for rule in _rules(network, "AWS::EC2::SecurityGroupIngress"):
        source = rule.get("SourceSecurityGroupId", {}).get("Ref", "elsewhere")
        found.setdefault(source, set()).add((rule["FromPort"], rule["ToPort"]))
    return [
        f"ports: the brokers let in {sorted(found[source])} from {source}, not {sorted(by_source.get(source, set()))}"
        for source in found
        if found[source] != by_source.get(source)
    ]


def self_reference(network: Stack, logins: Iterable[str]) -> list[str]:
    """The rules by which the pollers, which carry the brokers' own group, reach the brokers."""
    found = []
    for kind, peer, verb in (
        ("AWS::EC2::SecurityGroupIngress", "SourceSecurityGroupId", "in"),
        ("AWS::EC2::SecurityGroupEgress", "DestinationSecurityGroupId", "out"),
    ):
        own = {rule["FromPort"] for rule in _rules(network, kind) if rule.get(peer) == {"Ref": CLUSTER_GROUP}}
        missing = sorted({BROKER_PORTS[login] for login in logins} - own)
        found += [f"self-reference: {CLUSTER_GROUP} does not let itself {verb} on {port}" for port in missing]
    return found


def _rules(network: Stack, kind: str) -> Iterator[Mapping[str, Any]]:
    for resource in network["Resources"].values():
        if resource["Type"] == kind and resource["Properties"]["GroupId"] == {"Ref": CLUSTER_GROUP}:
            yield resource["Properties"]


def _span(ports: range, wanted: bool) -> set[tuple[int, int]]:
    return {(ports[0], ports[-1])} if wanted else set()


def _nested(stacks: Stacks) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, resource in stacks[ROOT]["Resources"].items():
        if resource["Type"] == NESTED:
            yield name, resource


def _entries(template: Stack) -> Iterator[tuple[str, Any]]:
    for name, resource in template["Resources"].items():
        yield name, resource.get("Properties", {})
    for name, output in template.get("Outputs", {}).items():
        yield f"Outputs.{name}", output["Value"]
