"""How the records of each topic become rows: typed by a schema, parsed as log lines, or raw bytes."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from headrace import schema
from headrace.avro import AvroCodec
from headrace.codec import Codec, JsonCodec, LogCodec, RawCodec
from headrace.errors import ConfigurationError
from headrace.operators import Land
from headrace.settings import Settings
from headrace.topology import Topology

NAME = "landing"
SCHEMAS = Path(__file__).parents[1] / "schemas"
LOG_SCHEMA = SCHEMAS / "log_event.avsc"


def topologies(settings: Settings) -> Callable[[str], Topology]:
    """The topology of each topic.

    Raises:
        ConfigurationError: a topic's codec is unknown, or its schema cannot be used.
    """
    declared = {topic: _topology(codec, settings) for topic, codec in settings.landing_codecs.items()}

    @cache
    def of(topic: str) -> Topology:
        return declared.get(topic) or _topology("raw", settings)

    return of


def _topology(codec_name: str, settings: Settings) -> Topology:
    codec = _codec(codec_name)
    timestamps = [field.name for field in codec.schema.fields if field.ticks_per_ms is not None]
    return Topology(
        codec=codec,
        operators=(Land(),),
        event_time=timestamps[0] if timestamps else None,
        max_skew_ms=settings.max_skew_ms,
    )


def _codec(name: str) -> Codec:
    kind, *files = name.split(":")
    if files and all(file and Path(file).name == file for file in files):
        schemas = [schema.load(SCHEMAS / file) for file in files]
        if kind == "json" and len(schemas) == 1:
            return JsonCodec(schemas[0])
        if kind == "avro" and len(schemas) <= 2:  # noqa: PLR2004 - the wanted one and the writer's
            return AvroCodec(schemas[0], schemas[-1])
    if name == "log":
        return LogCodec(schema.load(LOG_SCHEMA))
    if name == "raw":
        return RawCodec()
    raise ConfigurationError(
        f"codec {name!r} is none of json:FILE.avsc, avro:FILE.avsc[:WRITER.avsc], log, raw (files in schemas/)"
    )
