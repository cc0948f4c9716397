"""The environment becomes settings once; what is wrong is said completely, with variable, value and way out."""

import pytest

from headrace.errors import ConfigurationError
from headrace.settings import MAX_DURATION_MS, Settings


def of(**variables):
    return Settings.from_environment({f"HEADRACE_{name}": value for name, value in variables.items()})


def test_an_empty_environment_is_a_dry_run_with_the_documented_defaults():
    settings = of()
    assert settings == Settings()
    assert settings == Settings(
        application="headrace",
        generation="1",
        checkpoints="memory:",
        lake="memory:",
        out_of_orderness_ms=60_000,
        allowed_lateness_ms=0,
        max_skew_ms=300_000,
        session_gap_ms=1_800_000,
        gaps="allow",
        raw_events="false",
        landing_codecs={},
        landing_buckets="hour",
        landing_event_times={},
        landing_duplicate_keys="rescue",
        log_formats={},
        log_tables="minutes,patterns,alerts",
        idle_timeout_ms=300_000,
        bootstrap_servers="",
        kafka_auth="iam",
    )
    assert settings.dry_run


def test_every_variable_is_read():
    settings = of(
        APPLICATION="Shop-2",
        GENERATION="blue_2",
        CHECKPOINTS="dynamodb:check.points-1",
        LAKE="s3://my-lake.example/some/prefix",
        OUT_OF_ORDERNESS_MS="1",
        ALLOWED_LATENESS_MS="2",
        MAX_SKEW_MS="3",
        SESSION_GAP_MS="4",
        GAPS="forbid",
        LANDING_CODECS="clicks=json:clicks.avsc, web.logs_v-1=log,bin=raw,a=avro:a.avsc,b=avro:b.avsc:old.b.avsc",
        RAW_EVENTS="true",
        LANDING_BUCKETS="clicks=day,web.logs_v-1=hour",
        LANDING_EVENT_TIMES="clicks=at, web.logs_v-1=_timestamp_ms",
        LANDING_DUPLICATE_KEYS="drop",
        LOG_TABLES="minutes,alerts",
        LOG_FORMATS='web=access:%h; "%r" %>s, %b;app=auto; flow.logs=vpc_flow:version srcaddr',
        IDLE_TIMEOUT_MS="5",
        BOOTSTRAP_SERVERS="b-1.x.kafka.eu-west-1.amazonaws.com:9098,10.0.0.1:9092,[::1]:9092",
        KAFKA_AUTH="plaintext",
        ALERT_TOPIC="arn:aws:sns:eu-west-1:123456789012:alerts.fifo",
        ALERT_MAX_AGE_HOURS="6",
    )
    assert settings == Settings(
        application="Shop-2",
        generation="blue_2",
        checkpoints="dynamodb:check.points-1",
        lake="s3://my-lake.example/some/prefix",
        out_of_orderness_ms=1,
        allowed_lateness_ms=2,
        max_skew_ms=3,
        session_gap_ms=4,
        gaps="forbid",
        landing_codecs={
            "clicks": "json:clicks.avsc",
            "web.logs_v-1": "log",
            "bin": "raw",
            "a": "avro:a.avsc",
            "b": "avro:b.avsc:old.b.avsc",
        },
        raw_events="true",
        landing_buckets={"clicks": "day", "web.logs_v-1": "hour"},
        landing_event_times={"clicks": "at", "web.logs_v-1": "_timestamp_ms"},
        landing_duplicate_keys="drop",
        log_tables="minutes,alerts",
        log_formats={"web": 'access:%h; "%r" %>s, %b', "app": "auto", "flow.logs": "vpc_flow:version srcaddr"},
        idle_timeout_ms=5,
        bootstrap_servers="b-1.x.kafka.eu-west-1.amazonaws.com:9098,10.0.0.1:9092,[::1]:9092",
        kafka_auth="plaintext",
        alert_topic="arn:aws:sns:eu-west-1:123456789012:alerts.fifo",
        alert_max_age_hours=6,
    )
    assert not settings.dry_run


def test_gaps_are_decided_for_all_topics_or_by_topic():
    assert of(GAPS="forbid").gaps == "forbid"
    assert of(GAPS="clicks=forbid, web.logs_v-1=allow").gaps == {"clicks": "forbid", "web.logs_v-1": "allow"}


def test_an_empty_variable_counts_as_unset():
    assert of(GENERATION="", SESSION_GAP_MS="", LANDING_CODECS="", LAKE="") == Settings()


def test_other_variables_are_not_looked_at():
    assert Settings.from_environment({"PATH": "x", "generation": "2", "HEADRACE_TEST_DATA": "y"}) == Settings()


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("APPLICATION", "a#b", "letters, digits"),
        ("APPLICATION", "a/b", "letters, digits"),
        ("APPLICATION", "a" * 65, "1 to 64"),
        ("GENERATION", "Blue", "small letters"),
        ("GENERATION", "1-2", "small letters"),
        ("GENERATION", "1\n", "small letters"),
        ("GENERATION", "g" * 33, "1 to 32"),
        ("CHECKPOINTS", "memory", "memory:, file:DIR or dynamodb:TABLE"),
        ("CHECKPOINTS", "file:", "memory:, file:DIR or dynamodb:TABLE"),
        ("CHECKPOINTS", "dynamodb:", "memory:, file:DIR or dynamodb:TABLE"),
        ("CHECKPOINTS", "s3://bucket", "memory:, file:DIR or dynamodb:TABLE"),
        ("LAKE", "s3:bucket", r"s3://BUCKET\[/PREFIX\]"),
        ("LAKE", "s3://Bucket", r"s3://BUCKET\[/PREFIX\]"),
        ("LAKE", "s3://", r"s3://BUCKET\[/PREFIX\]"),
        ("LAKE", "dynamodb:table", r"s3://BUCKET\[/PREFIX\]"),
        ("OUT_OF_ORDERNESS_MS", "-1", "from 0 to"),
        ("ALLOWED_LATENESS_MS", "1.5", "whole number of milliseconds"),
        ("MAX_SKEW_MS", "5m", "whole number of milliseconds"),
        ("MAX_SKEW_MS", "٣", "whole number of milliseconds"),
        ("MAX_SKEW_MS", "1_000", "whole number of milliseconds"),
        ("MAX_SKEW_MS", str(MAX_DURATION_MS + 1), str(MAX_DURATION_MS)),
        ("SESSION_GAP_MS", "0", "from 1 to"),
        ("IDLE_TIMEOUT_MS", "0", "from 1 to"),
        ("RAW_EVENTS", "yes", "true or false"),
        ("LANDING_BUCKETS", "week", "hour, day or TOPIC=day"),
        ("LANDING_BUCKETS", "clicks=day,clicks=hour", "each topic once"),
        ("LANDING_EVENT_TIMES", "at", "TOPIC=FIELD"),
        ("LANDING_EVENT_TIMES", "clicks=1", "TOPIC=FIELD"),
        ("LANDING_DUPLICATE_KEYS", "last", "rescue or drop"),
        ("GAPS", "Allow", "allow, forbid or TOPIC=forbid"),
        ("GAPS", "clicks", "allow, forbid or TOPIC=forbid"),
        ("GAPS", "clicks=forbid,", "allow, forbid or TOPIC=forbid"),
        ("GAPS", "clicks=never", "allow, forbid or TOPIC=forbid"),
        ("GAPS", "clicks=forbid,clicks=allow", "each topic once"),
        ("GAPS", "a/b=forbid", "allow, forbid or TOPIC=forbid"),
        ("LANDING_CODECS", "clicks", "TOPIC=CODEC"),
        ("LANDING_CODECS", "clicks=", "TOPIC=CODEC"),
        ("LANDING_CODECS", "clicks=json", "json:FILE.avsc"),
        ("LANDING_CODECS", "clicks=json:../x.avsc", "json:FILE.avsc"),
        ("LANDING_CODECS", "clicks=avro", "avro:FILE.avsc"),
        ("LANDING_CODECS", "clicks=avro:a.avsc:", "avro:FILE.avsc"),
        ("LANDING_CODECS", "clicks=json:a.avsc:b.avsc", "json:FILE.avsc"),
        ("LANDING_CODECS", "clicks=log,clicks=raw", "each topic once"),
        ("LANDING_CODECS", "clicks=log,", "TOPIC=CODEC"),
        ("LANDING_CODECS", "cli cks=log", "TOPIC=CODEC"),
        ("LOG_FORMATS", "web", "TOPIC=FORMAT"),
        ("LOG_FORMATS", "web=", "TOPIC=FORMAT"),
        ("LOG_FORMATS", "web=JSON", "TOPIC=FORMAT"),
        ("LOG_FORMATS", "web=json;", "TOPIC=FORMAT"),
        ("LOG_FORMATS", "web=json,app=json", "TOPIC=FORMAT"),
        ("LOG_FORMATS", "web=access:", "TOPIC=FORMAT"),
        ("LOG_FORMATS", "web=json;web=auto", "each topic once"),
        ("BOOTSTRAP_SERVERS", "broker", "HOST:PORT"),
        ("BOOTSTRAP_SERVERS", "broker:9092,", "HOST:PORT"),
        ("BOOTSTRAP_SERVERS", "PLAINTEXT://broker:9092", "HOST:PORT"),
        ("KAFKA_AUTH", "scram", "plaintext or iam"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(variable, value, allowed):
    with pytest.raises(ConfigurationError, match=allowed) as wrong:
        of(**{variable: value})
    assert str(wrong.value).startswith(f"HEADRACE_{variable}={value!r} is not ")
    assert "\n" not in str(wrong.value)


def test_all_problems_are_told_at_once():
    with pytest.raises(ConfigurationError) as wrong:
        of(GENERATION="A", SESSION_GAP_MS="x", KAFKA_AUTH="none")
    assert [problem.split("=")[0] for problem in str(wrong.value).split("; ")] == [
        "HEADRACE_GENERATION",
        "HEADRACE_SESSION_GAP_MS",
        "HEADRACE_KAFKA_AUTH",
    ]


@pytest.mark.parametrize(
    "stores",
    [
        {"CHECKPOINTS": "dynamodb:table"},
        {"LAKE": "s3://bucket"},
        {"CHECKPOINTS": "file:/tmp/x"},
        {"CHECKPOINTS": "memory:", "LAKE": "file:/tmp/x"},
    ],
    ids=str,
)
def test_one_store_in_memory_and_one_that_lasts_is_refused(stores):
    """Files that outlive their checkpoints would be written again, with other contents, by the next process."""
    with pytest.raises(ConfigurationError, match=r"HEADRACE_CHECKPOINTS='.*' and HEADRACE_LAKE='.*': both must"):
        of(**stores)


@pytest.mark.parametrize("lake", ["file:lake", "s3://bucket"])
@pytest.mark.parametrize("checkpoints", ["file:checkpoints", "dynamodb:table"])
def test_stores_that_last_go_together(checkpoints, lake):
    assert not of(CHECKPOINTS=checkpoints, LAKE=lake).dry_run


def test_settings_do_not_change():
    with pytest.raises(AttributeError):
        Settings().generation = "2"
