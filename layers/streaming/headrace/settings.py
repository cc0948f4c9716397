"""What a deployment says through the environment, read once and checked as a whole.

An empty variable counts as unset, because templates pass empty parameters on. This module reads no file and
opens no connection; whether a table or a bucket exists is found out by its first use.
"""

import re
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from headrace.errors import ConfigurationError

PREFIX = "HEADRACE_"
MEMORY = "memory:"
MAX_DURATION_MS = 366 * 24 * 3_600_000
"""The longest duration that is believed; more is a mistake in the unit."""

MAX_ROW_DIGITS = 12
MAX_HOURS = 366 * 24

_AVSC = r"\w[\w.-]*\.avsc"
CODEC_OF_TOPIC = re.compile(rf"([A-Za-z0-9._-]{{1,249}})=(raw|log|json:{_AVSC}|avro:{_AVSC}(?::{_AVSC})?)", re.ASCII)
GAPS_OF_TOPIC = re.compile(r"([A-Za-z0-9._-]{1,249})=(allow|forbid)")
BUCKET_OF_TOPIC = re.compile(r"([A-Za-z0-9._-]{1,249})=(hour|day)")
EVENT_TIME_OF_TOPIC = re.compile(r"([A-Za-z0-9._-]{1,249})=([A-Za-z_][A-Za-z0-9_]{0,254})")
LOG_FORMAT_OF_TOPIC = re.compile(r"([A-Za-z0-9._-]{1,249})=([a-z_]{1,32}(?::.+)?)")
_BETWEEN_LOG_FORMATS = re.compile(r";(?=\s*[A-Za-z0-9._-]{1,249}=[a-z_]{1,32}(?:[:;]|\s*$))")
HOST_AND_PORT = r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}"

GapPolicy = Literal["allow", "forbid"]
Bucket = Literal["hour", "day"]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment's choices; the defaults make a dry run."""

    application: str = "headrace"
    """HEADRACE_APPLICATION: whose checkpoints these are; several deployments may share a table."""
    generation: str = "1"
    """HEADRACE_GENERATION: a new one starts again at the mapping's starting position, with empty state."""
    checkpoints: str = MEMORY
    """HEADRACE_CHECKPOINTS: `memory:`, `file:DIR` or `dynamodb:TABLE`."""
    lake: str = MEMORY
    """HEADRACE_LAKE: `memory:`, `file:DIR` or `s3://BUCKET[/PREFIX]`."""
    out_of_orderness_ms: int = 60_000
    """HEADRACE_OUT_OF_ORDERNESS_MS: how far the watermark stays behind the newest event time."""
    allowed_lateness_ms: int = 0
    """HEADRACE_ALLOWED_LATENESS_MS: how long a window stays open after the watermark passed its end."""
    max_skew_ms: int = 300_000
    """HEADRACE_MAX_SKEW_MS: an event time further past its Kafka timestamp is a dead letter."""
    session_gap_ms: int = 1_800_000
    """HEADRACE_SESSION_GAP_MS: the silence after which a session has ended."""
    gaps: GapPolicy | Mapping[str, GapPolicy] = "allow"
    """HEADRACE_GAPS: whether offsets may be missing (compaction, transactions, filters), for all topics or by topic;
    topics that are not named may have gaps."""
    warm_rows: int | None = None
    """HEADRACE_WARM_ROWS: how many rows of open windows, of all partitions together, a function may keep in memory
    from batch to batch (0: none); None: what fits into half of its memory."""
    raw_events: Literal["true", "false"] = "false"
    """HEADRACE_RAW_EVENTS: `true` has the Lambda runtime pass events on as bytes, without parsing them first."""
    catalog: str = ""
    """HEADRACE_CATALOG: the database of the Glue catalog in which the lake's tables are registered."""
    landing_codecs: Mapping[str, str] = msgspec.field(default_factory=dict)
    """HEADRACE_LANDING_CODECS: topic to `json:FILE.avsc`, `avro:FILE.avsc` (bare records; `avro:FILE.avsc:WRITER.avsc`
    if the producers' schema is another one), `log` or `raw`; others land as raw bytes."""
    landing_buckets: Bucket | Mapping[str, Bucket] = "hour"
    """HEADRACE_LANDING_BUCKETS: how much event time a landed file's rows are of, for all topics or by topic; topics
    that are not named have files by the hour."""
    landing_event_times: Mapping[str, str] = msgspec.field(default_factory=dict)
    """HEADRACE_LANDING_EVENT_TIMES: topic to the timestamp field that says when its events happened, or to
    `_timestamp_ms` for Kafka's; of other topics it is the first timestamp field. Kafka's stands in for null."""
    landing_duplicate_keys: Literal["rescue", "drop"] = "rescue"
    """HEADRACE_LANDING_DUPLICATE_KEYS: what becomes of a JSON key's values before its last one: `rescue` keeps them in
    `_rescued`; `drop` does not look for them, which takes an eighth to a fifth less time."""
    log_formats: Mapping[str, str] = msgspec.field(default_factory=dict)
    """HEADRACE_LOG_FORMATS: topic to the format of its log lines, `NAME` or `NAME:PARAMETERS` (`access:%h %l …`), as
    `headrace.logs.declared_format` takes them; those of other topics are detected line by line."""
    log_tables: str = "minutes,patterns,alerts"
    """HEADRACE_LOG_TABLES: what is computed of log lines: always `minutes`, and with commas `patterns`, `alerts`."""
    idle_timeout_ms: int = 300_000
    """HEADRACE_IDLE_TIMEOUT_MS: the silence after which the sweeper closes a partition's windows."""
    drain: Literal["true", "false"] = "false"
    """HEADRACE_DRAIN: `true` when nobody consumes any more: the sweeper then closes what is open for good."""
    bootstrap_servers: str = ""
    """HEADRACE_BOOTSTRAP_SERVERS: where the sweeper finds Kafka, `HOST:PORT[,HOST:PORT…]`."""
    kafka_auth: Literal["plaintext", "iam"] = "iam"
    """HEADRACE_KAFKA_AUTH: how the sweeper logs in."""
    alert_topic: str = ""
    """HEADRACE_ALERT_TOPIC: ARN of the SNS topic, standard or FIFO, to which alerts are sent."""
    alert_max_age_hours: int = 24
    """HEADRACE_ALERT_MAX_AGE_HOURS: alerts about windows that ended longer ago are in their table only."""
    iceberg_catalog: str = ""
    """HEADRACE_ICEBERG_CATALOG: `glue:DATABASE` that has the Iceberg tables; empty: there are none."""
    iceberg_snapshot_hours: int = 24
    """HEADRACE_ICEBERG_SNAPSHOT_HOURS: how far back a query of an Iceberg table can travel."""

    @property
    def dry_run(self) -> bool:
        """Whether nothing outlives the process: the handlers then print what they would have written."""
        return self.checkpoints == self.lake == MEMORY

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Settings":
        """The settings that the environment's variables make.

        Raises:
            ConfigurationError: every wrong variable with its value and what is allowed, in one line.
        """
        values: dict[str, object] = {}
        problems: list[str] = []
        for field, (parse, allowed) in _FIELDS.items():
            variable = PREFIX + field.upper()
            text = environ.get(variable, "")
            if not text:
                continue
            try:
                values[field] = parse(text)
            except ValueError:
                problems.append(f"{variable}={text!r} is not {allowed}")
        settings = msgspec.convert(values, cls)
        if not problems and (settings.checkpoints == MEMORY) != (settings.lake == MEMORY):
            problems.append(
                f"{PREFIX}CHECKPOINTS={settings.checkpoints!r} and {PREFIX}LAKE={settings.lake!r}:"
                " both must be memory: (a dry run) or neither"
            )
        if problems:
            raise ConfigurationError("; ".join(problems))
        return settings


def _matching(pattern: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)

    def parse(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError(text)
        return text

    return parse


def _duration_ms(least: int) -> tuple[Callable[[str], int], str]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit()):
            raise ValueError(text)
        value = int(text)
        if not least <= value <= MAX_DURATION_MS:
            raise ValueError(text)
        return value

    return parse, f"a whole number of milliseconds from {least} to {MAX_DURATION_MS}"


def _hours(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_ROW_DIGITS and 1 <= int(text) <= MAX_HOURS):
        raise ValueError(text)
    return int(text)


def _rows(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_ROW_DIGITS):
        raise ValueError(text)
    return int(text)


def _by_topic(pattern: re.Pattern[str]) -> Callable[[str], Mapping[str, str]]:
    def parse(text: str) -> Mapping[str, str]:
        matches = [pattern.fullmatch(part.strip()) for part in text.split(",")]
        values = {match[1]: match[2] for match in matches if match}
        if len(values) != len(matches):
            raise ValueError(text)
        return values

    return parse


def _log_formats(text: str) -> Mapping[str, str]:
    """Between semicolons; one that no topic and format name follow is part of a format string."""
    matches = [LOG_FORMAT_OF_TOPIC.fullmatch(part.strip()) for part in _BETWEEN_LOG_FORMATS.split(text)]
    formats = {match[1]: match[2] for match in matches if match}
    if len(formats) != len(matches):
        raise ValueError(text)
    return formats


def _for_all_or_by_topic(for_all: set[str], pattern: re.Pattern[str]) -> Callable[[str], str | Mapping[str, str]]:
    by_topic = _by_topic(pattern)
    return lambda text: text if text in for_all else by_topic(text)


_FIELDS: Mapping[str, tuple[Callable[[str], object], str]] = {
    "application": (_matching(r"[A-Za-z0-9_-]{1,64}"), "1 to 64 letters, digits, '_' or '-'"),
    "generation": (_matching(r"[a-z0-9_]{1,32}"), "1 to 32 small letters, digits or '_'"),
    "checkpoints": (
        _matching(r"memory:|file:.+|dynamodb:[A-Za-z0-9_.-]{3,255}"),
        "memory:, file:DIR or dynamodb:TABLE",
    ),
    "lake": (
        _matching(r"memory:|file:.+|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?"),
        "memory:, file:DIR or s3://BUCKET[/PREFIX]",
    ),
    "out_of_orderness_ms": _duration_ms(0),
    "allowed_lateness_ms": _duration_ms(0),
    "max_skew_ms": _duration_ms(0),
    "session_gap_ms": _duration_ms(1),
    "gaps": (
        _for_all_or_by_topic({"allow", "forbid"}, GAPS_OF_TOPIC),
        "allow, forbid or TOPIC=forbid,TOPIC=allow,… with each topic once",
    ),
    "warm_rows": (_rows, "a whole number of rows"),
    "raw_events": (_matching("true|false"), "true or false"),
    "catalog": (_matching(r"[a-z0-9_]{1,255}"), "1 to 255 small letters, digits or '_'"),
    "landing_codecs": (
        _by_topic(CODEC_OF_TOPIC),
        "TOPIC=CODEC,… with each topic once and the codecs json:FILE.avsc, avro:FILE.avsc[:WRITER.avsc], log, raw",
    ),
    "landing_buckets": (
        _for_all_or_by_topic({"hour", "day"}, BUCKET_OF_TOPIC),
        "hour, day or TOPIC=day,TOPIC=hour,… with each topic once",
    ),
    "landing_event_times": (_by_topic(EVENT_TIME_OF_TOPIC), "TOPIC=FIELD,… with each topic once"),
    "landing_duplicate_keys": (_matching("rescue|drop"), "rescue or drop"),
    "log_formats": (
        _log_formats,
        "TOPIC=FORMAT;TOPIC=FORMAT… with each topic once and formats like json or access:%h %l %u %t",
    ),
    "log_tables": (_matching("minutes(,patterns)?(,alerts)?"), "minutes[,patterns][,alerts]"),
    "idle_timeout_ms": _duration_ms(1),
    "drain": (_matching("true|false"), "true or false"),
    "bootstrap_servers": (_matching(rf"{HOST_AND_PORT}(,{HOST_AND_PORT})*"), "HOST:PORT[,HOST:PORT…]"),
    "kafka_auth": (_matching("plaintext|iam"), "plaintext or iam"),
    "alert_topic": (
        _matching(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?"),
        "the ARN of an SNS topic",
    ),
    "alert_max_age_hours": (_hours, f"a whole number of hours from 1 to {MAX_HOURS}"),
    "iceberg_catalog": (_matching("glue:[A-Za-z0-9_-]{1,255}"), "glue:DATABASE"),
    "iceberg_snapshot_hours": (_hours, f"a whole number of hours from 1 to {MAX_HOURS}"),
}
"""How each field's variable is read, and what it may be in words."""
