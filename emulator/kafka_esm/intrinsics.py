"""CloudFormation's short-form tags and intrinsic functions, as far as a machine without AWS can go.

What only AWS knows (the name of a table, an attribute, an SSM value) resolves to an `Unresolved` that says
why. It is harmless until a value is needed: then `TemplateError` repeats the reason.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from kafka_esm.errors import TemplateError

ACCOUNT_ID = "123456789012"
DEFAULT_REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A value only the cloud knows."""

    placeholder: str
    """What stands for it where any text will do, such as an environment variable."""
    reason: str
    """Why it has no value here, with the way out."""
    logical_id: str | None = None
    """The resource it names, if it is a plain reference to one."""

    def __str__(self) -> str:
        return self.placeholder


class _NoValue:
    """`AWS::NoValue`: the property that has it is left out."""


NO_VALUE = _NoValue()


class _Loader(yaml.SafeLoader):  # type: ignore[misc] # PyYAML has no types
    """YAML with CloudFormation's tags, and with dates left as text."""


def _construct(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value = _construct_plain(loader, node)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}": value}


def _construct_plain(loader: _Loader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_mapping(node, deep=True)


_Loader.add_multi_constructor("!", _construct)
_TIMESTAMP = "tag:yaml.org,2002:timestamp"  # `2010-09-09` is a version, not a date
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_template(path: Path) -> dict[str, Any]:
    """Parse a template file; intrinsics become their long form."""
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise TemplateError(f"{path}: {error.strerror}: give the path of a SAM template") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TemplateError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict) or not isinstance(document.get("Resources"), dict):
        raise TemplateError(f"{path}: no Resources: not a SAM template")
    return document


def required(value: Any, where: str) -> Any:
    """Return a value that must be known here."""
    if isinstance(value, Unresolved):
        raise TemplateError(f"{where}: {value.reason}")
    return value


@dataclass(frozen=True, slots=True)
class Resolver:
    """Resolves the intrinsics of one template."""

    template: Mapping[str, Any]
    """The document, in long form."""
    overrides: Mapping[str, str] = field(default_factory=dict)
    """Values of parameters, before their defaults."""
    region: str = DEFAULT_REGION
    """Value of `AWS::Region`."""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.overrides) - set(self._section("Parameters")))
        if unknown:
            raise TemplateError(f"parameter override {unknown[0]}: the template has no such parameter")

    def resolve(self, node: Any) -> Any:
        """Return the value of a node, resolved as deep as it goes."""
        if isinstance(node, dict):
            return self._resolve_mapping(node)
        if isinstance(node, list):
            values = (self.resolve(item) for item in node)
            return [value for value in values if value is not NO_VALUE]
        return node

    def condition(self, name: str) -> Any:
        """Return whether a named condition holds: a bool, or an `Unresolved`."""
        conditions = self._section("Conditions")
        if name not in conditions:
            raise TemplateError(f"condition {name}: the template has no such condition")
        return self.resolve(conditions[name])

    def _section(self, name: str) -> Mapping[str, Any]:
        return self.template.get(name) or {}

    def _resolve_mapping(self, node: dict[str, Any]) -> Any:
        if len(node) == 1:
            ((name, argument),) = node.items()
            if name in _FUNCTIONS:
                return _FUNCTIONS[name](self, argument)
            if isinstance(name, str) and name.startswith("Fn::"):
                return Unresolved(name, f"{name} has no local value: put a parameter in its place")
        resolved = {key: self.resolve(value) for key, value in node.items()}
        return {key: value for key, value in resolved.items() if value is not NO_VALUE}

    def _pseudo(self, name: str) -> Any:
        values = {
            "AWS::AccountId": ACCOUNT_ID,
            "AWS::NoValue": NO_VALUE,
            "AWS::NotificationARNs": [],
            "AWS::Partition": "aws",
            "AWS::Region": self.region,
            "AWS::StackId": f"arn:aws:cloudformation:{self.region}:{ACCOUNT_ID}:stack/local/local",
            "AWS::StackName": "local",
            "AWS::URLSuffix": "amazonaws.com",
        }
        return values.get(name, Unresolved(name, f"{name} is not a known pseudo parameter"))

    def _parameter(self, name: str) -> Any:
        declaration = self._section("Parameters")[name]
        kind = str(declaration.get("Type", "String"))
        override = self.overrides.get(name)
        if override is None and kind.startswith("AWS::SSM::Parameter::Value"):
            # Its Default is a path in the Parameter Store, not a value.
            return Unresolved(name, f"parameter {name} is read from SSM: pass --parameter-overrides {name}=...")
        value = declaration.get("Default") if override is None else override
        if value is None:
            return Unresolved(name, f"parameter {name} has no default: pass --parameter-overrides {name}=...")
        return [item.strip() for item in str(value).split(",")] if "List" in kind else value

    def ref(self, name: Any) -> Any:
        """Resolve `Ref`."""
        name = str(name)
        if name.startswith("AWS::"):
            return self._pseudo(name)
        if name in self._section("Parameters"):
            return self._parameter(name)
        if name not in self._section("Resources"):
            raise TemplateError(f"Ref {name}: the template has no such parameter or resource")
        return Unresolved(name, f"{name} is known only after a deployment: put a parameter in its place", name)

    def get_att(self, argument: Any) -> Unresolved:
        """Resolve `Fn::GetAtt`: an attribute never has a local value."""
        parts = argument.split(".") if isinstance(argument, str) else argument
        name = ".".join(str(self.resolve(part)) for part in parts)
        if name.split(".")[0] not in self._section("Resources"):
            raise TemplateError(f"Fn::GetAtt {name}: the template has no such resource")
        return Unresolved(name, f"{name} is known only after a deployment: put a parameter in its place")

    def sub(self, argument: Any) -> Any:
        """Resolve `Fn::Sub`, with or without its own variables."""
        text, variables = argument if isinstance(argument, list) else (argument, {})
        parts = re.split(r"\$\{([^}]*)\}", str(text))
        values = [self._variable(part, variables) if index % 2 else part for index, part in enumerate(parts)]
        return _joined("", values)

    def _variable(self, name: str, variables: Mapping[str, Any]) -> Any:
        if name.startswith("!"):  # ${!Literal}
            return f"${{{name[1:]}}}"
        name = name.strip()
        if name in variables:
            return self.resolve(variables[name])
        return self.get_att(name) if "." in name else self.ref(name)

    def if_(self, argument: Any) -> Any:
        """Resolve `Fn::If`; only the chosen branch is looked at."""
        name, yes, no = _arguments("Fn::If", argument, 3)
        chosen = self.condition(name)
        return chosen if isinstance(chosen, Unresolved) else self.resolve(yes if chosen else no)

    def equals(self, argument: Any) -> Any:
        """Resolve `Fn::Equals`; CloudFormation compares text."""
        left, right = (self.resolve(side) for side in _arguments("Fn::Equals", argument, 2))
        unknown = _first_unresolved([left, right])
        return unknown or _text(left) == _text(right)

    def not_(self, argument: Any) -> Any:
        """Resolve `Fn::Not`."""
        (value,) = (self.resolve(item) for item in _arguments("Fn::Not", argument, 1))
        return value if isinstance(value, Unresolved) else not value

    def and_(self, argument: Any) -> Any:
        """Resolve `Fn::And`: one false side decides it, whatever the others are."""
        values = [self.resolve(item) for item in argument]
        return False if False in values else _first_unresolved(values) or True

    def or_(self, argument: Any) -> Any:
        """Resolve `Fn::Or`: one true side decides it, whatever the others are."""
        values = [self.resolve(item) for item in argument]
        return True if True in values else _first_unresolved(values) or False

    def join(self, argument: Any) -> Any:
        """Resolve `Fn::Join`."""
        delimiter, items = _arguments("Fn::Join", argument, 2)
        values = self.resolve(items)
        return values if isinstance(values, Unresolved) else _joined(str(delimiter), values)

    def split(self, argument: Any) -> Any:
        """Resolve `Fn::Split`."""
        delimiter, source = _arguments("Fn::Split", argument, 2)
        text = self.resolve(source)
        return text if isinstance(text, Unresolved) else str(text).split(str(delimiter))

    def select(self, argument: Any) -> Any:
        """Resolve `Fn::Select`."""
        index, items = (self.resolve(item) for item in _arguments("Fn::Select", argument, 2))
        unknown = _first_unresolved([index, items])
        if unknown:
            return unknown
        try:
            return items[int(index)]
        except (IndexError, ValueError, TypeError) as error:
            raise TemplateError(f"Fn::Select {index}: no such item in {_text(items)}") from error

    def find_in_map(self, argument: Any) -> Any:
        """Resolve `Fn::FindInMap`."""
        keys = [self.resolve(key) for key in _arguments("Fn::FindInMap", argument, 3)]
        unknown = _first_unresolved(keys)
        if unknown:
            return unknown
        node: Any = self._section("Mappings")
        for key in map(str, keys):
            if not isinstance(node, dict) or key not in node:
                raise TemplateError(f"Fn::FindInMap {'.'.join(map(str, keys))}: no {key} in Mappings")
            node = node[key]
        return node


_FUNCTIONS: dict[str, Callable[[Resolver, Any], Any]] = {
    "Condition": Resolver.condition,
    "Fn::And": Resolver.and_,
    "Fn::Equals": Resolver.equals,
    "Fn::FindInMap": Resolver.find_in_map,
    "Fn::GetAtt": Resolver.get_att,
    "Fn::If": Resolver.if_,
    "Fn::Join": Resolver.join,
    "Fn::Not": Resolver.not_,
    "Fn::Or": Resolver.or_,
    "Fn::Select": Resolver.select,
    "Fn::Split": Resolver.split,
    "Fn::Sub": Resolver.sub,
    "Ref": Resolver.ref,
}


def _arguments(name: str, argument: Any, count: int) -> list[Any]:
    if not isinstance(argument, list) or len(argument) != count:
        raise TemplateError(f"{name} takes a list of {count}, not {_text(argument)}")
    return argument


def _first_unresolved(values: list[Any]) -> Unresolved | None:
    return next((value for value in values if isinstance(value, Unresolved)), None)


def _joined(delimiter: str, values: list[Any]) -> Any:
    """Join texts; one unresolved part makes the whole unresolved, with the best placeholder there is."""
    text = delimiter.join(_text(value) for value in values)
    unknown = _first_unresolved(values)
    return Unresolved(text, unknown.reason) if unknown else text


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return (
        value
        if isinstance(value, str)
        else str(value)
        if not isinstance(value, (dict, list))
        else json.dumps(value, default=str)
    )
