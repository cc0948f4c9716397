"""`make validate` finds the faults that `sam validate --lint` lets pass."""

import pytest
import validate_application
from samtranslator.yaml_helper import yaml_parse

TEXT = validate_application.TEMPLATE.read_text()

SEEDED_FAULTS = {
    "misspelt event property": (
        "            Topics: [!Ref ClicksTopic]",
        "            Topicz: [!Ref ClicksTopic]",
        "Topicz",
    ),
    "unknown starting position": ("StartingPosition: TRIM_HORIZON", "StartingPosition: EARLIEST", "EARLIEST"),
    "unknown runtime": ("Runtime: python3.13", "Runtime: python3.99", "python3.99"),
    "attribute of nothing": ("Stream: !Ref ClusterArn", "Stream: !GetAtt Cluster.Arn", "Cluster"),
    "batch beyond the limit": ("BatchSize: !Ref BatchSize", "BatchSize: 100000", "100000"),
}


def test_the_template_as_it_is_has_no_finding(template):
    assert validate_application.template_findings(template, {}) == []


@pytest.mark.parametrize("fault", SEEDED_FAULTS)
def test_a_seeded_fault_is_found_by_name(fault):
    good, bad, named = SEEDED_FAULTS[fault]
    assert good in TEXT
    findings = validate_application.template_findings(yaml_parse(TEXT.replace(good, bad, 1)), {})
    assert any(named in finding for finding in findings), findings


def test_every_combination_of_the_deployed_variants_is_checked():
    names = [tuple(variant.values()) for variant in validate_application.variants()]
    assert len(set(names)) == 8
    assert ("x86_64", "true", "provisioned") in names


@pytest.mark.parametrize(
    ("text", "named"),
    [("{", "JSONDecodeError"), ('{"type": "record", "name": "r", "fields": [{"name": "f", "type": "nope"}]}', "nope")],
)
def test_a_schema_that_cannot_be_read_is_a_finding(tmp_path, text, named):
    (tmp_path / "broken.avsc").write_text(text)
    (finding,) = validate_application.schema_findings(tmp_path)
    assert finding.startswith("broken.avsc: ")
    assert named in finding


def test_a_folder_without_schemas_is_a_finding(tmp_path):
    assert validate_application.schema_findings(tmp_path) == [f"no schema (*.avsc) in {tmp_path}"]
