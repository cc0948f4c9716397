"""Works a template out for given parameters: what CloudFormation would create, without asking it.

Conditions are decided, `Fn::If` and parameters are replaced by what they come to, and what refers to a resource
stays as it is. Rules and parameter constraints are judged too, with the sentence that the operator would see.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Template = Mapping[str, Any]
Parameters = Mapping[str, str]
"""Name to value, always text, as CloudFormation has it."""

FUNCTIONS = ("Ref", "Fn::")
NO_VALUE = {"Ref": "AWS::NoValue"}
SUBSTITUTION = re.compile(r"\$\{([^!}][^}]*)\}")

JUNCTIONS: Mapping[str, Callable[[Iterable[bool]], bool]] = {
    "Fn::And": all,
    "Fn::Or": any,
    "Fn::Not": lambda ones: not any(ones),
}


class Unresolvable(Exception):
    """The template says something that this module does not know, or names something that is not there."""


def refusals(template: Template, parameters: Parameters) -> list[str]:
    """Why CloudFormation would refuse these parameters before it creates anything; nothing means that it would not."""
    given = _defaults(template) | dict(parameters)
    unknown = [f"{name}: no such parameter" for name in parameters if name not in template["Parameters"]]
    missing = [f"{name}: no value" for name in template["Parameters"] if name not in given]
    outside = [
        sentence
        for name, declared in template["Parameters"].items()
        if name in given
        for sentence in _constraint(name, declared, given[name])
    ]
    return unknown + missing + outside + _broken_rules(template, given)


def resolve(template: Template, parameters: Parameters) -> dict[str, Any]:
    """What is left of a template for these parameters: resources and outputs that exist, parameters filled in.

    Raises:
        Unresolvable: a parameter has no value, or a condition or mapping is not there.
    """
    worker = _Resolver(template, _defaults(template) | dict(parameters))
    sections = {name: worker.present(template.get(name, {})) for name in ("Resources", "Outputs")}
    kept = {key: template[key] for key in ("AWSTemplateFormatVersion", "Description") if key in template}
    return kept | {name: section for name, section in sections.items() if section}


def _defaults(template: Template) -> dict[str, str]:
    declared = template.get("Parameters", {})
    return {name: str(entry["Default"]) for name, entry in declared.items() if "Default" in entry}


def _constraint(name: str, declared: Mapping[str, Any], value: str) -> list[str]:
    sentence = declared.get("ConstraintDescription", "is outside its constraints")
    allowed = [str(one) for one in declared.get("AllowedValues", [value])]
    pattern = declared.get("AllowedPattern", ".*")
    fits = value in allowed and re.fullmatch(pattern.removeprefix("^").removesuffix("$"), value, re.DOTALL)
    if fits and declared["Type"] == "Number":
        fits = declared.get("MinValue", float(value)) <= float(value) <= declared.get("MaxValue", float(value))
    return [] if fits else [f"{name} {sentence}: {value!r}"]


def _broken_rules(template: Template, given: Parameters) -> list[str]:
    broken = []
    for rule in template.get("Rules", {}).values():
        if "RuleCondition" in rule and not _holds(rule["RuleCondition"], given):
            continue
        broken += [
            " ".join(assertion["AssertDescription"].split())
            for assertion in rule["Assertions"]
            if not _holds(assertion["Assert"], given)
        ]
    return broken


def _holds(test: Any, given: Parameters) -> bool:
    ((function, arguments),) = test.items()
    if function in JUNCTIONS:
        return JUNCTIONS[function](_holds(one, given) for one in arguments)
    if function == "Fn::Equals":
        return _plain(arguments[0], given) == _plain(arguments[1], given)
    if function == "Fn::Contains":
        return _plain(arguments[1], given) in [str(one) for one in arguments[0]]
    raise Unresolvable(f"a rule may not use {function}")


def _plain(value: Any, given: Parameters) -> str:
    return given[value["Ref"]] if isinstance(value, dict) else str(value)


def _computed(key: str, worked: Any) -> Any:
    # As far as it is known: what a resource will be called is not.
    match key, worked:
        case "Fn::Split", [str() as mark, str() as text]:
            return text.split(mark)
        case "Fn::Join", [str() as mark, list() as parts] if all(isinstance(part, str) for part in parts):
            return mark.join(parts)
        case "Fn::Select", [index, list() as parts]:
            return parts[int(index)]
    return {key: worked}


class _Resolver:
    """One template with one set of parameters."""

    def __init__(self, template: Template, given: Parameters) -> None:
        self._template = template
        self._given = given

    def present(self, section: Mapping[str, Any]) -> dict[str, Any]:
        """The entries of a section whose conditions hold, worked out."""
        return {
            name: self.value({key: part for key, part in entry.items() if key != "Condition"})
            for name, entry in section.items()
            if "Condition" not in entry or self._condition(entry["Condition"])
        }

    def value(self, node: Any) -> Any:
        """A part of the template, worked out."""
        if isinstance(node, list):
            return [part for part in map(self.value, node) if part != NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1 and (key := next(iter(node))).startswith(FUNCTIONS):
            return self._function(key, node[key])
        return {key: part for key, part in ((k, self.value(v)) for k, v in node.items()) if part != NO_VALUE}

    def _function(self, key: str, argument: Any) -> Any:
        if key == "Ref":
            return self._parameter(argument) if argument in self._template.get("Parameters", {}) else {key: argument}
        if key == "Fn::If":
            return self.value(argument[1 if self._condition(argument[0]) else 2])
        if key == "Fn::Sub":
            return self._substituted(argument)
        worked = self.value(argument)
        return self._found(*worked) if key == "Fn::FindInMap" else _computed(key, worked)

    def _parameter(self, name: str) -> Any:
        if name not in self._given:
            raise Unresolvable(f"parameter {name} has no value")
        kind, value = self._template["Parameters"][name]["Type"], self._given[name]
        if "List" in kind:
            return value.split(",")
        return int(value) if kind == "Number" else value

    def _found(self, name: str, first: str, second: str) -> Any:
        try:
            return self._template["Mappings"][name][first][second]
        except KeyError as error:
            raise Unresolvable(f"mapping {name} has nothing for {first}, {second}") from error

    def _substituted(self, argument: Any) -> Any:
        text, own = (argument, {}) if isinstance(argument, str) else (argument[0], self.value(argument[1]))
        known = {name: value for name, value in own.items() if isinstance(value, str)}
        known |= {
            name: str(self._parameter(name)) for name in self._template.get("Parameters", {}) if name in self._given
        }

        def replaced(match: re.Match[str]) -> str:
            return known.get(match[1], match[0])

        text = SUBSTITUTION.sub(replaced, text)
        left = {name: value for name, value in own.items() if not isinstance(value, str)}
        if left:
            return {"Fn::Sub": [text, left]}
        return {"Fn::Sub": text} if SUBSTITUTION.search(text) else text

    def _condition(self, name: str) -> bool:
        try:
            return self._test(self._template["Conditions"][name])
        except KeyError as error:
            raise Unresolvable(f"condition {error} is not there") from error

    def _test(self, node: Mapping[str, Any]) -> bool:
        ((function, arguments),) = node.items()
        if function in JUNCTIONS:
            return JUNCTIONS[function](self._test(one) for one in arguments)
        if function == "Condition":
            return self._condition(arguments)
        if function == "Fn::Equals":
            first, second = (str(self.value(one)) for one in arguments)
            return first == second
        raise Unresolvable(f"a condition may not use {function}")
