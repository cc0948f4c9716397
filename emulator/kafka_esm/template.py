"""Reads functions and their Kafka event source mappings from a SAM template.

What leaves this module are `Function`, `LayerRef` and `Mapping`, every value resolved and checked.
"""

from collections.abc import Collection, Iterator
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kafka_esm.errors import TemplateError
from kafka_esm.event_source import EVENT_SOURCES, EventReader, whole_number
from kafka_esm.intrinsics import DEFAULT_REGION, Resolver, Unresolved, read_template, required
from kafka_esm.mapping import Function, LayerRef, Mapping

LONGEST_TIMEOUT_SECONDS = 840
"""A Kafka event source mapping accepts functions with a Timeout of up to 14 minutes."""


@dataclass(frozen=True, slots=True)
class SamTemplate:
    """A SAM template on this machine."""

    path: Path
    """The file; its folder is the base of relative paths."""
    resolver: Resolver
    """The document with its parameters."""

    @classmethod
    def load(
        cls, path: Path | str, overrides: MappingOf[str, str] | None = None, region: str = DEFAULT_REGION
    ) -> "SamTemplate":
        """Read a template file."""
        path = Path(path)
        return cls(path, Resolver(read_template(path), overrides or {}, region))

    def function(self, logical_id: str) -> Function:
        """Return one function."""
        resource = self._resources().get(logical_id)
        if resource is None or resource.get("Type") != "AWS::Serverless::Function":
            raise TemplateError(f"{logical_id}: the template has no such AWS::Serverless::Function")
        return _FunctionReader(self, logical_id).read()

    def mappings(self, functions: Collection[str] = ()) -> tuple[Mapping, ...]:
        """Return the Kafka mappings of these functions, or of all; disabled ones too.

        Raises:
            TemplateError: a value is wrong or unknown, or a property would not be honoured.
        """
        for logical_id in functions:
            self.function(logical_id)
        found = tuple(self._mappings(functions))
        groups = [mapping.consumer_group for mapping in found]
        for mapping in found:
            if groups.count(mapping.consumer_group) > 1:
                raise TemplateError(
                    f"{mapping.name}: ConsumerGroupId {mapping.consumer_group} is used by another mapping too"
                )
        return found

    def _mappings(self, functions: Collection[str]) -> Iterator[Mapping]:
        for logical_id, resource in self._resources().items():
            if resource.get("Type") == "AWS::Lambda::EventSourceMapping":
                _refuse_standalone(logical_id, resource)
            if resource.get("Type") != "AWS::Serverless::Function" or not self._exists(logical_id, resource):
                continue
            if not functions or logical_id in functions:
                yield from _FunctionReader(self, logical_id).mappings()

    def _resources(self) -> dict[str, Any]:
        resources: dict[str, Any] = self.resolver.template["Resources"]
        return resources

    def _exists(self, logical_id: str, resource: MappingOf[str, Any]) -> bool:
        condition = resource.get("Condition")
        return condition is None or bool(required(self.resolver.condition(condition), f"{logical_id}.Condition"))


def _refuse_standalone(logical_id: str, resource: MappingOf[str, Any]) -> None:
    if (resource.get("Properties") or {}).get("Topics"):
        raise TemplateError(
            f"{logical_id}: a standalone AWS::Lambda::EventSourceMapping is not supported: "
            "declare the topic as an event of its function"
        )


@dataclass(frozen=True, slots=True)
class _FunctionReader:
    """Reads one function and its events."""

    template: SamTemplate
    logical_id: str

    def read(self) -> Function:
        properties = self._properties()
        self._must_be_python(properties)
        return Function(
            logical_id=self.logical_id,
            handler=str(self._needed(properties, "Handler")),
            code_uri=self._code_uri(properties),
            layers=tuple(self._layer(layer) for layer in properties.get("Layers") or ()),
            environment=self._environment(properties),
            timeout_seconds=whole_number(self._where("Timeout"), properties.get("Timeout", 3), 1, 900),
            memory_mb=whole_number(self._where("MemorySize"), properties.get("MemorySize", 128), 128, 32768),
        )

    def mappings(self) -> Iterator[Mapping]:
        events = self._properties().get("Events") or {}
        kafka = {name: event for name, event in events.items() if event.get("Type") in EVENT_SOURCES}
        if not kafka:
            return
        function = self.read()
        if function.timeout_seconds > LONGEST_TIMEOUT_SECONDS:
            raise TemplateError(
                f"{self._where('Timeout')} {function.timeout_seconds}: a Kafka event source mapping "
                f"accepts at most {LONGEST_TIMEOUT_SECONDS} seconds"
            )
        for name, event in kafka.items():
            source = EVENT_SOURCES[event["Type"]]
            properties = event.get("Properties") or {}
            yield EventReader(function, name, source, properties, self.template.resolver.region).read()

    def _where(self, name: str) -> str:
        return f"{self.logical_id}.{name}"

    def _properties(self) -> dict[str, Any]:
        template = self.template.resolver.template
        globals_ = ((template.get("Globals") or {}).get("Function")) or {}
        own = template["Resources"][self.logical_id].get("Properties") or {}
        properties: dict[str, Any] = self.template.resolver.resolve(_merged(globals_, own))
        return properties

    def _needed(self, properties: dict[str, Any], name: str) -> Any:
        if properties.get("PackageType", "Zip") != "Zip" or "InlineCode" in properties:
            raise TemplateError(f"{self.logical_id}: only functions with a CodeUri folder are supported")
        if name not in properties:
            raise TemplateError(f"{self._where(name)} is missing")
        return required(properties[name], self._where(name))

    def _must_be_python(self, properties: dict[str, Any]) -> None:
        runtime = properties.get("Runtime")
        if isinstance(runtime, str) and not runtime.startswith("python"):
            raise TemplateError(f"{self._where('Runtime')} {runtime}: only Python functions are supported")

    def _code_uri(self, properties: dict[str, Any]) -> Path:
        where = self._where("CodeUri")
        return self._folder(where, required(properties.get("CodeUri", "."), where))

    def _folder(self, where: str, uri: Any) -> Path:
        if not isinstance(uri, str) or uri.startswith(("s3://", "https://")):
            raise TemplateError(f"{where} {uri}: not a local folder")
        folder = (self.template.path.parent / uri).resolve()
        if not folder.is_dir():
            raise TemplateError(f"{where} {uri}: no folder {folder}")
        return folder

    def _layer(self, layer: Any) -> LayerRef:
        if not isinstance(layer, Unresolved):
            return LayerRef(str(layer), None)
        resource = self.template.resolver.template["Resources"].get(layer.logical_id, {})
        uri = (resource.get("Properties") or {}).get("ContentUri")
        if resource.get("Type") != "AWS::Serverless::LayerVersion" or uri is None:
            return LayerRef(layer.placeholder, None)
        where = f"{layer.logical_id}.ContentUri"
        return LayerRef(layer.placeholder, self._folder(where, required(self.template.resolver.resolve(uri), where)))

    def _environment(self, properties: dict[str, Any]) -> dict[str, str]:
        variables = (properties.get("Environment") or {}).get("Variables") or {}
        return {name: self._variable(name, value) for name, value in variables.items()}

    def _variable(self, name: str, value: Any) -> str:
        if isinstance(value, (dict, list)):
            raise TemplateError(f"{self._where('Environment')} {name}: not a text: {value}")
        return str(value).lower() if isinstance(value, bool) else str(value)


def _merged(base: Any, own: Any) -> Any:
    """Merge as SAM merges Globals: mappings deep, lists one after the other, anything else replaced."""
    if isinstance(base, list) and isinstance(own, list):
        return base + own
    if not _is_plain(base) or not _is_plain(own):
        return own
    both = {key: _merged(base[key], own[key]) for key in base.keys() & own.keys()}
    return {**base, **own, **both}


def _is_plain(node: Any) -> bool:
    """Whether it is a mapping of names to values, not an intrinsic function."""
    return isinstance(node, dict) and not (len(node) == 1 and next(iter(node)).startswith(("Ref", "Fn::")))
