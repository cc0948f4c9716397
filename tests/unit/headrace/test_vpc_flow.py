"""Flow logs of the default format and of declared ones, as AWS and others document them."""

import json
import re

import pytest
from log_events import told

from headrace.errors import ConfigurationError
from headrace.log_formats.format import Unparsable
from headrace.log_formats.vpc_flow import DEFAULT_FIELDS, VpcFlow, header_fields

PROTOCOLS = {6: "TCP"}


def documented(path):
    """Title to (line, fields that were declared, documented values)."""
    for example in json.loads(path.read_text())["examples"]:
        line, *declared = re.findall(r'"([^"]*)"', example["source"])
        yield example["title"], line, declared[0] if declared else "", example["return"]


def test_documented_examples_have_their_documented_values(shared_data):
    examples = list(documented(shared_data / "logs" / "vrl" / "parse_aws_vpc_flow_log.json"))
    assert len(examples) == 4
    for _, line, fields, values in examples:
        event = VpcFlow(fields).parse(line.encode(), 0)
        attributes = json.loads(event.attributes)
        assert (event.timestamp or 0) == values.pop("start", 0) * 1000
        assert (event.host, event.bytes) == (values.pop("srcaddr", None), values.pop("bytes", None))
        assert event.protocol == PROTOCOLS.get(values.pop("protocol", None))
        for name, value in values.items():
            assert attributes.pop(name, None) == value
        assert attributes == {}


@pytest.mark.parametrize(
    ("action", "log_status", "severity"),
    [
        ("ACCEPT", "OK", "UNSPECIFIED"),
        ("REJECT", "OK", "WARN"),
        ("-", "NODATA", "UNSPECIFIED"),
        ("-", "SKIPDATA", "WARN"),
    ],
)
def test_rejected_flows_and_lost_records_are_warnings(action, log_status, severity):
    line = f"2 1 eni-1 192.0.2.1 - 1 2 17 3 4 1795773600 1795773660 {action} {log_status}"
    event = VpcFlow().parse(line.encode(), 0)
    assert (event.severity, event.is_error, event.protocol) == (severity, 0, "UDP")


def test_names_may_have_dashes_and_be_written_as_when_the_log_was_made():
    declared = "${pkt-srcaddr} ${end} ${tcp_flags}"
    assert told(VpcFlow(declared).parse(b"192.0.2.1 1795773660 19", 0)) == {
        "timestamp": 1_795_773_660_000,
        "format": "vpc_flow",
        "attributes": {"pkt_srcaddr": "192.0.2.1", "end": 1_795_773_660, "tcp_flags": 19},
    }


@pytest.mark.parametrize("fields", ["srcaddr srcaddr", "src-addr src_addr", "Src", "${srcaddr", " ", "a,b"])
def test_declared_fields_are_names_that_differ(fields):
    with pytest.raises(ConfigurationError):
        VpcFlow(fields)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("2 1 eni-1 - - - - - - - 1 2 - NODATA more", "unknown_format"),
        ("2 1 eni-1 a b 1 2 6 3 4 1795773600 1795773660 ALLOW OK", "unknown_format"),
        ("2 1 eni-1 a b 1 2 6 3 4 1795773600 1795773660 ACCEPT YES", "unknown_format"),
        ("2 1 eni-1 a b 1 2 6 3 x 1795773600 1795773660 ACCEPT OK", "invalid_field"),
        ("2 1 eni-1 a b 1 2 6 3 4 -1 1795773660 ACCEPT OK", "invalid_field"),
        ("2 1 eni-1 a b 1 2 6 3 99999999999999999999 1795773600 1795773660 ACCEPT OK", "invalid_field"),
        ("2 1 eni-1 a b 1 2 6 3 4 9999999999999999999 1795773660 ACCEPT OK", "invalid_field"),
    ],
)
def test_what_cannot_be_read_says_why(line, reason):
    with pytest.raises(Unparsable) as caught:
        VpcFlow().parse(line.encode(), 0)
    assert caught.value.reason == reason


def test_the_first_line_of_a_file_names_the_fields():
    assert header_fields(DEFAULT_FIELDS) == DEFAULT_FIELDS
    assert header_fields("instance-id interface-id srcaddr dstaddr") is not None
    assert header_fields("2 123456789010 eni-1235b8ca - - - - - - - 1 2 - NODATA") is None
    assert header_fields("the version of the protocol") is None
