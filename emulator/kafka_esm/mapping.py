"""What a template declares, once read: functions, their layers, and the mappings that feed them."""

from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from pathlib import Path

from kafka_esm.event import MSK, PAYLOAD_LIMIT_BYTES, Envelope


@dataclass(frozen=True, slots=True)
class LayerRef:
    """A layer of a function."""

    name: str
    """Logical id, or the ARN of a published layer."""
    content_uri: Path | None
    """Its local folder; None for a published layer."""

    @property
    def python_dir(self) -> Path | None:
        """The folder that ends up on `sys.path`, if it is there (a layer may have to be built first)."""
        folder = self.content_uri / "python" if self.content_uri else None
        return folder if folder and folder.is_dir() else None


@dataclass(frozen=True, slots=True)
class Function:
    """A Lambda function."""

    logical_id: str
    """Its name in the template."""
    handler: str
    """`module.attribute`."""
    code_uri: Path
    """Folder of the code."""
    layers: tuple[LayerRef, ...] = ()
    """In the order of the template."""
    environment: MappingOf[str, str] = field(default_factory=dict)
    """Environment variables; references to resources hold the logical id."""
    timeout_seconds: int = 3
    """Longest duration of one invocation."""
    memory_mb: int = 128
    """Memory size; reported to the function, not enforced."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """A Kafka event source mapping: this topic feeds that function."""

    name: str
    """Function and event: the logical id SAM gives the mapping."""
    function: Function
    """Whom it invokes."""
    topic: str
    """The one topic it reads."""
    consumer_group: str
    """Holds the committed offsets."""
    starting_position: str = "TRIM_HORIZON"
    """Where a group without committed offsets starts: TRIM_HORIZON, LATEST or AT_TIMESTAMP."""
    starting_timestamp_ms: int | None = None
    """The start, for AT_TIMESTAMP."""
    batch_size: int = 100
    """Most records in one invocation."""
    batching_window_ms: int = 500
    """How long a batch waits to fill."""
    enabled: bool = True
    """Whether it runs at all."""
    event_source: str = MSK
    """`aws:kafka` or `SelfManagedKafka`."""
    event_source_arn: str | None = None
    """ARN of the cluster; a self-managed one has none."""
    payload_limit_bytes: int = PAYLOAD_LIMIT_BYTES
    """Most bytes of one event."""

    def envelope(self, bootstrap_servers: str) -> Envelope:
        """Return what surrounds the records in this mapping's events."""
        return Envelope(self.event_source, self.event_source_arn, bootstrap_servers)
