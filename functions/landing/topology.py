"""How the records of each topic become rows: typed by a schema, parsed as log lines, or raw bytes."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from headrace import schema
from headrace.avro import AvroCodec
from headrace.codec import Codec, JsonCodec, LogCodec, RawCodec
from headrace.errors import ConfigurationError
from headrace.land_logs import LandLogs
from headrace.logs import AUTO
from headrace.operators import Land
from headrace.settings import Bucket, Settings
from headrace.topology import Topology

NAME = "landing"
SCHEMAS = Path(__file__).parents[1] / "schemas"
KAFKA_TIME = "_timestamp_ms"
"""The column of Kafka's own timestamp."""
LOG_SCHEMA = SCHEMAS / "log_event.avsc"


def topologies(settings: Settings) -> Callable[[str], Topology]:
    """The topology of each topic.

    Raises:
        ConfigurationError: a topic's codec is unknown, its schema cannot be used, or has no such event time.
    """
    named = {*settings.landing_codecs, *settings.landing_event_times}
    declared = {topic: _topology(topic, settings) for topic in sorted(named)}

    @cache
    def of(topic: str) -> Topology:
        return declared.get(topic) or _topology(topic, settings)

    return of


def _topology(topic: str, settings: Settings) -> Topology:
    codec = _codec(topic, settings)
    bucket = _bucket(topic, settings)
    return Topology(
        codec=codec,
        operators=(LandLogs(bucket) if isinstance(codec, LogCodec) else Land(bucket),),
        event_time=_event_time(codec, settings.landing_event_times.get(topic)),
        max_skew_ms=settings.max_skew_ms,
    )


def _bucket(topic: str, settings: Settings) -> Bucket:
    buckets = settings.landing_buckets
    return buckets if isinstance(buckets, str) else buckets.get(topic, "hour")


def _event_time(codec: Codec, chosen: str | None) -> str | None:
    """The field that says when an event happened; None: Kafka's timestamp does."""
    timestamps = [field.name for field in codec.schema.fields if field.ticks_per_ms is not None]
    if chosen is None:
        return timestamps[0] if timestamps else None
    if chosen not in {*timestamps, KAFKA_TIME}:
        raise ConfigurationError(
            f"event time {chosen!r} is no timestamp of {codec.schema.name}: {', '.join([*timestamps, KAFKA_TIME])}"
        )
    return None if chosen == KAFKA_TIME else chosen


def _codec(topic: str, settings: Settings) -> Codec:
    name = settings.landing_codecs.get(topic, "raw")
    kind, *files = name.split(":")
    if files and all(file and Path(file).name == file for file in files):
        schemas = [schema.load(SCHEMAS / file) for file in files]
        schemas[0].landed_fields()  # refused now, not with the first record
        if kind == "json" and len(schemas) == 1:
            return JsonCodec(schemas[0], keep_duplicates=settings.landing_duplicate_keys == "rescue")
        if kind == "avro" and len(schemas) <= 2:  # noqa: PLR2004 - the wanted one and the writer's
            return AvroCodec(schemas[0], schemas[-1])
    if name == "log":
        return LogCodec(schema.load(LOG_SCHEMA), settings.log_formats.get(topic, AUTO))
    if name == "raw":
        return RawCodec()
    raise ConfigurationError(
        f"codec {name!r} is none of json:FILE.avsc, avro:FILE.avsc[:WRITER.avsc], log, raw (files in schemas/)"
    )
