"""Reads one Kafka event of a function: the settings of an event source mapping.

A setting this package would not honour is refused by name: a run that ignores it would not show what AWS
does.
"""

from dataclasses import dataclass
from typing import Any

from kafka_esm.errors import TemplateError
from kafka_esm.event import MSK, SELF_MANAGED
from kafka_esm.intrinsics import ACCOUNT_ID, Unresolved, required
from kafka_esm.mapping import Function, Mapping

EVENT_SOURCES = {"MSK": MSK, "SelfManagedKafka": SELF_MANAGED}
"""The types of SAM events read here, and what their Lambda events call them."""
_POSITIONS = ("TRIM_HORIZON", "LATEST", "AT_TIMESTAMP")

_READ = {
    "BatchSize",
    "ConsumerGroupId",
    "Enabled",
    "MaximumBatchingWindowInSeconds",
    "StartingPosition",
    "StartingPositionTimestamp",
    "Topics",
}
_WITHOUT_EFFECT_HERE = {
    "KafkaBootstrapServers",
    "KmsKeyArn",
    "LoggingConfig",
    "MetricsConfig",
    "ProvisionedPollerConfig",
    "SourceAccessConfigurations",
    "Stream",
    "Tags",
}
_REFUSED: dict[str, Any] = {
    # The value is AWS's default: spelling it out changes nothing.
    "BisectBatchOnFunctionError": False,
    "DestinationConfig": None,
    "FilterCriteria": None,
    "FunctionResponseTypes": [],
    "MaximumRecordAgeInSeconds": -1,
    "MaximumRetryAttempts": -1,
    "SchemaRegistryConfig": None,
}


@dataclass(frozen=True, slots=True)
class EventReader:
    """Reads one `Type: MSK` or `Type: SelfManagedKafka` event."""

    function: Function
    event: str
    source: str
    properties: dict[str, Any]
    region: str

    def read(self) -> Mapping:
        """Return the mapping, every value checked."""
        self._check_names()
        position = self._position()
        return Mapping(
            name=f"{self.function.logical_id}{self.event}",
            function=self.function,
            topic=self._topic(),
            consumer_group=self._consumer_group(),
            starting_position=position,
            starting_timestamp_ms=self._timestamp_ms(position),
            batch_size=self._integer("BatchSize", 100, 1, 10_000),
            batching_window_ms=self._window_ms(),
            enabled=self._boolean("Enabled", default=True),
            event_source=self.source,
            event_source_arn=self._arn(),
        )

    def _where(self, name: str) -> str:
        return f"{self.function.logical_id}.Events.{self.event}.{name}"

    def _value(self, name: str, default: Any = None) -> Any:
        return required(self.properties.get(name, default), self._where(name))

    def _check_names(self) -> None:
        for name, value in self.properties.items():
            if name in _REFUSED and value != _REFUSED[name]:
                raise TemplateError(
                    f"{self._where(name)} is not implemented by this emulator: remove it to run locally"
                )
            if name not in _READ | _WITHOUT_EFFECT_HERE | set(_REFUSED):
                raise TemplateError(f"{self._where(name)}: a Kafka event has no such property")

    def _topic(self) -> str:
        topics = self._value("Topics")
        if not isinstance(topics, list) or len(topics) != 1:
            raise TemplateError(f"{self._where('Topics')} {topics}: exactly one topic is needed")
        return str(required(topics[0], self._where("Topics")))

    def _position(self) -> str:
        position = self._value("StartingPosition")
        if position not in _POSITIONS:
            shown = "is missing" if position is None else position
            raise TemplateError(f"{self._where('StartingPosition')} {shown}: one of {', '.join(_POSITIONS)}")
        return str(position)

    def _timestamp_ms(self, position: str) -> int | None:
        value = self._value("StartingPositionTimestamp")
        if (position == "AT_TIMESTAMP") != (value is not None):
            raise TemplateError(f"{self._where('StartingPositionTimestamp')}: goes with AT_TIMESTAMP, and only so")
        try:
            return None if value is None else int(float(value) * 1000)
        except (ValueError, TypeError) as error:
            raise TemplateError(
                f"{self._where('StartingPositionTimestamp')} {value}: seconds since 1970 are needed"
            ) from error

    def _consumer_group(self) -> str:
        # AWS makes one up. A fixed one lets the next local run resume.
        group = str(self._value("ConsumerGroupId", f"kafka-esm-{self.function.logical_id}{self.event}"))
        if not 1 <= len(group) <= 200:  # noqa: PLR2004 - AWS's bounds
            raise TemplateError(f"{self._where('ConsumerGroupId')} {group}: 1 to 200 characters are needed")
        return group

    def _window_ms(self) -> int:
        # 500 ms is the default and cannot be spelled out: the property is in whole seconds.
        if "MaximumBatchingWindowInSeconds" not in self.properties:
            return 500
        return 1000 * self._integer("MaximumBatchingWindowInSeconds", 0, 0, 300)

    def _arn(self) -> str | None:
        if self.source == SELF_MANAGED:
            return None
        if "Stream" not in self.properties:
            raise TemplateError(f"{self._where('Stream')} is missing")
        stream = self.properties["Stream"]
        local = f"arn:aws:kafka:{self.region}:{ACCOUNT_ID}:cluster/local/00000000-0000-0000-0000-000000000000-1"
        return local if isinstance(stream, Unresolved) else str(stream)

    def _integer(self, name: str, default: int, low: int, high: int) -> int:
        return whole_number(self._where(name), self._value(name, default), low, high)

    def _boolean(self, name: str, *, default: bool) -> bool:
        text = str(self._value(name, default)).lower()
        if text not in {"true", "false"}:
            raise TemplateError(f"{self._where(name)} {text}: true or false is needed")
        return text == "true"


def whole_number(where: str, value: Any, low: int, high: int) -> int:
    """Return an integer within bounds, both included."""
    value = required(value, where)
    try:
        number = int(str(value))
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        raise TemplateError(f"{where} {value}: a whole number from {low} to {high} is needed")
    return number
