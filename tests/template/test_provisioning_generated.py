"""What is generated is up to date, and the list of topics is judged before it becomes a template."""

import json
import sys

import fastavro
import pytest
import validate_application
import validate_provisioning as provisioning

sys.path.insert(0, str(provisioning.PROVISIONING))

import generate
import package_functions

COMMAND = "run python provisioning/generate.py"
GOOD = "partitions = { small = 1, large = 2 }\nretention_ms = 1000\n"


def test_the_topics_template_is_what_the_list_says():
    written = (provisioning.PROVISIONING / "topics.yaml").read_text()
    assert written == generate.topics_template(generate.read_topics(generate.TOPICS.read_text())), COMMAND


def test_the_schemas_template_is_what_the_functions_read_by():
    assert (provisioning.PROVISIONING / "schemas.yaml").read_text() == generate.schemas_template(), COMMAND


def test_every_schema_is_registered_as_it_is_and_in_ascii():
    versions = {
        name: resource["Properties"]["SchemaDefinition"]
        for name, resource in provisioning.source("schemas")["Resources"].items()
        if resource["Type"] == "AWS::Glue::SchemaVersion"
    }
    files = sorted(validate_application.SCHEMAS.glob("*.avsc"))
    assert len(files) == len(versions) == 2
    for path, definition in zip(files, versions.values(), strict=True):
        assert json.loads(definition) == json.loads(path.read_text())
        assert definition.isascii()
        fastavro.parse_schema(json.loads(definition))


def test_a_version_of_a_schema_is_never_taken_away():
    for resource in provisioning.source("schemas")["Resources"].values():
        if resource["Type"] == "AWS::Glue::SchemaVersion":
            assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Retain"
        if resource["Type"] == "AWS::Glue::Schema":
            assert "SchemaDefinition" not in resource["Properties"]


def test_the_applications_topics_are_on_the_list():
    names = {topic.name for topic in generate.read_topics(generate.TOPICS.read_text())}
    parameters = validate_application.load_template()["Parameters"]
    assert {parameters["ClicksTopic"]["Default"], parameters["LogsTopic"]["Default"]} <= names


def test_a_topic_is_tiered_for_less_than_it_is_kept():
    local = provisioning.source("topics")["Parameters"]["LocalRetentionMs"]
    shortest = min(topic.retention_ms for topic in generate.read_topics(generate.TOPICS.read_text()))
    assert local["Default"] <= local["MaxValue"] < shortest


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no topic"),
        ("[clicks", "topics.toml"),
        (f"['a b']\n{GOOD}", "'a b' is no topic name"),
        (f"['..']\n{GOOD}", "'..' is no topic name"),
        (f"['a.b']\n{GOOD}['a-b']\n{GOOD}", "punctuation only"),
        ("[clicks]\npartitions = { small = 1, large = 2 }\n", "exactly partitions and retention_ms"),
        (f"[clicks]\n{GOOD}compacted = true\n", "exactly partitions and retention_ms"),
        ("[clicks]\npartitions = { small = 1 }\nretention_ms = 1\n", "exactly small and large"),
        ("[clicks]\npartitions = { small = 0, large = 2 }\nretention_ms = 1\n", "clicks.partitions.small must be 1"),
        ("[clicks]\npartitions = { small = true, large = 2 }\nretention_ms = 1\n", "clicks.partitions.small must be 1"),
        ("[clicks]\npartitions = { small = 1, large = 2000 }\nretention_ms = 1\n", "clicks.partitions.large must be 1"),
        ("[clicks]\npartitions = { small = 1, large = 2 }\nretention_ms = 0\n", "clicks.retention_ms must be 1"),
    ],
)
def test_a_list_that_will_not_do_is_refused_with_a_sentence(text, said):
    with pytest.raises(generate.ListError, match=said):
        generate.read_topics(text)


def test_a_topic_may_be_kept_for_ever():
    (topic,) = generate.read_topics("[clicks]\npartitions = { small = 1, large = 2 }\nretention_ms = -1\n")
    assert topic.retention_ms == -1


def test_a_schema_that_is_not_json_is_refused(tmp_path):
    (tmp_path / "broken.avsc").write_text("{")
    with pytest.raises(generate.ListError, match=r"broken\.avsc"):
        generate.schemas_template(tmp_path)
    with pytest.raises(generate.ListError, match="no schema"):
        generate.schemas_template(tmp_path / "nothing")


def test_the_topic_admin_brings_the_kafka_client_and_the_signer_and_nothing_else():
    names = {line.split("==")[0] for line in package_functions.kafka_requirements() if "==" in line}
    assert names == {"aws-msk-iam-sasl-signer-python", "confluent-kafka"}
