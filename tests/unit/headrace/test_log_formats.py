"""Every format's table of examples, and what the formats share."""

import json
from pathlib import Path

import fastavro
import msgspec
import pytest
from log_events import told

from headrace.log_event import LogEvent
from headrace.log_formats import access, error_log, java_text, json_lines, lambda_text, logfmt, syslog, vpc_flow
from headrace.log_formats.format import EXAMPLES_KAFKA_MS, UNKNOWN_FORMAT, Unparsable
from headrace.logs import Lines, declared_format

AVSC = Path(__file__).parents[3] / "functions" / "schemas" / "log_event.avsc"
FORMATS = {
    "json": (json_lines.JsonLines(), json_lines.EXAMPLES),
    "logfmt": (logfmt.Logfmt(), logfmt.EXAMPLES),
    "access": (access.AccessLog(), access.EXAMPLES),
    "error_log": (error_log.ErrorLog(), error_log.EXAMPLES),
    "syslog": (syslog.Syslog(), syslog.EXAMPLES),
    "vpc_flow": (vpc_flow.VpcFlow(), vpc_flow.EXAMPLES),
    "java_text": (java_text.JavaText(), java_text.EXAMPLES),
    "lambda_text": (lambda_text.LambdaText(), lambda_text.EXAMPLES),
}
EXAMPLES = [(name, *example) for name, (_, examples) in FORMATS.items() for example in examples]
IDS = [f"{name}-{line[:30]!a}" for name, line, _ in EXAMPLES]


def test_every_format_is_in_the_table():
    modules = {path.stem for path in Path(json_lines.__file__).parent.glob("*.py")}
    assert modules - {"__init__", "format", "access_format", "cloudwatch", "cri"} == {"json_lines"} | FORMATS.keys() - {
        "json"
    }
    for name, (format_, _) in FORMATS.items():
        assert type(declared_format(name)) is type(format_)
        assert format_.name == name


@pytest.mark.parametrize(("name", "line", "expected"), EXAMPLES, ids=IDS)
def test_an_example_is_read_as_its_format_says(name, line, expected):
    assert told(FORMATS[name][0].parse(line.encode(), EXAMPLES_KAFKA_MS)) == expected


@pytest.mark.parametrize(("line", "expected"), [example for _, *example in EXAMPLES], ids=IDS)
def test_an_example_is_detected(line, expected):
    assert told(Lines().read(line.encode(), EXAMPLES_KAFKA_MS)) == expected


@pytest.mark.parametrize(("name", "line"), [example[:2] for example in EXAMPLES], ids=IDS)
def test_an_examples_event_is_a_record_of_the_schema(name, line):
    schema = fastavro.parse_schema(json.loads(AVSC.read_text()))
    event = FORMATS[name][0].parse(line.encode(), EXAMPLES_KAFKA_MS)
    assert fastavro.validate(msgspec.structs.asdict(event), schema, strict=True)


@pytest.mark.parametrize("format_", [format_ for format_, _ in FORMATS.values()], ids=FORMATS)
def test_text_of_no_format_is_told_so(format_):
    with pytest.raises(Unparsable) as caught:
        format_.parse(b"hello", 0)
    assert caught.value.reason == (UNKNOWN_FORMAT if format_.name != "json" else "invalid_json")


def test_the_avro_record_and_the_struct_have_the_same_fields():
    record = json.loads(AVSC.read_text())
    avro_types = {"string": str, "int": int, "long": int, "double": float}

    def python_type(avro):
        if isinstance(avro, list):
            assert avro[0] == "null"
            return python_type(avro[1]) | None
        return avro_types[avro["type"] if isinstance(avro, dict) else avro]

    assert (record["namespace"], record["name"]) == ("headrace", "LogEvent")
    declared = [(f["name"], python_type(f["type"]), f.get("default", "none")) for f in record["fields"]]
    assert declared == [
        (f.name, f.type, "none" if f.default is msgspec.NODEFAULT else f.default)
        for f in msgspec.structs.fields(LogEvent)
    ]
