"""Writes topics.yaml from topics.toml, and schemas.yaml from the application's Avro schemas: `generate.py [--check]`.

CloudFormation has no loop and reads no file, and the list of topics and the schemas must stand in one place only.
What is generated is committed, because `sam deploy` and a reviewer want templates; a test compares the two.
"""

import argparse
import json
import re
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TOPICS = HERE / "topics.toml"
SCHEMAS = HERE.parent / "functions" / "schemas"

SIZES = ("small", "large")
TOPIC_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
MOST_PARTITIONS = 1000
"""Of one topic; Serverless creates 250 in five minutes, and a broker holds a few thousand replicas in all."""
LONGEST_RETENTION_MS = 10 * 365 * 86_400_000
UNKEPT = -1
"""Kafka's word for keeping records without a limit of time."""


class ListError(ValueError):
    """The list of topics or a schema cannot be used; the message says which and why."""


@dataclass(frozen=True)
class Topic:
    """One topic of the list."""

    name: str
    """As Kafka knows it."""
    partitions: Mapping[str, int]
    """By TopicSize."""
    retention_ms: int
    """How long records are kept; -1 is without limit."""

    @property
    def logical_id(self) -> str:
        """What CloudFormation calls it: the name's letters and digits."""
        return f"{_camel(self.name)}Topic"


def read_topics(text: str) -> list[Topic]:
    """The topics of a list, in its order.

    Raises:
        ListError: a name, number or key is not one that Kafka and the templates can take.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ListError(f"topics.toml: {error}") from error
    topics = [_topic(name, entry) for name, entry in table.items()]
    identifiers = [topic.logical_id for topic in topics]
    if not topics or len(set(identifiers)) < len(topics):
        raise ListError("topics.toml: no topic, or two names that differ in punctuation only")
    return topics


def topics_template(topics: list[Topic]) -> str:
    """The text of topics.yaml."""
    text = (HERE / "topics.template.yaml").read_text()
    blocks = {
        "partitions": "".join(_partitions(topic) for topic in topics),
        "topics": "\n".join(_msk_topic(topic) for topic in topics),
        "list": "".join(_listed(topic) for topic in topics),
        "policy arns": "".join(_arn(topic, " " * 18) for topic in topics),
        "arns": "".join(_arn(topic, " " * 8) for topic in topics),
    }
    return _filled(text, "topics.toml", blocks)


def schemas_template(folder: Path = SCHEMAS) -> str:
    """The text of schemas.yaml.

    Raises:
        ListError: there is no schema, or one is not JSON.
    """
    text = (HERE / "schemas.template.yaml").read_text()
    paths = sorted(folder.glob("*.avsc"))
    if not paths:
        raise ListError(f"no schema (*.avsc) in {folder}")
    return _filled(text, "functions/schemas/*.avsc", {"schemas": "\n".join(_schema(path) for path in paths)})


def compact_definition(path: Path) -> str:
    """A schema as one line of ASCII: CloudFormation turns other characters into question marks.

    Raises:
        ListError: the file is not JSON.
    """
    try:
        return json.dumps(json.loads(path.read_text()), separators=(",", ":"))
    except ValueError as error:
        raise ListError(f"{path.name}: {error}") from error


def _topic(name: str, entry: Any) -> Topic:
    if not TOPIC_NAME.fullmatch(name) or name in {".", ".."}:
        raise ListError(f"topics.toml: {name!r} is no topic name (1 to 249 letters, digits, dots, dashes, underscores)")
    if not isinstance(entry, dict) or set(entry) != {"partitions", "retention_ms"}:
        raise ListError(f"topics.toml: {name} needs exactly partitions and retention_ms")
    partitions, retention_ms = entry["partitions"], entry["retention_ms"]
    if not isinstance(partitions, dict) or set(partitions) != set(SIZES):
        raise ListError(f"topics.toml: {name}.partitions needs exactly {' and '.join(SIZES)}")
    for size, count in partitions.items():
        _check_number(f"{name}.partitions.{size}", count, 1, MOST_PARTITIONS)
    if retention_ms != UNKEPT:
        _check_number(f"{name}.retention_ms", retention_ms, 1, LONGEST_RETENTION_MS)
    return Topic(name, partitions, retention_ms)


def _check_number(what: str, value: Any, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise ListError(f"topics.toml: {what} must be {least} to {most}, not {value!r}")


def _camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", name))


def _filled(text: str, source: str, blocks: Mapping[str, str]) -> str:
    for name, block in blocks.items():
        text = text.replace(f"#<{name}>\n", block)
    return f"# Written by provisioning/generate.py from {source}: edit that instead.\n{text}"


def _partitions(topic: Topic) -> str:
    sizes = "".join(f"      {size}: {topic.partitions[size]}\n" for size in SIZES)
    return f"    {topic.logical_id}:\n{sizes}"


def _settings(topic: Topic) -> dict[str, str]:
    return {"retention.ms": str(topic.retention_ms), "message.timestamp.type": "${TimestampType}"}


def _msk_topic(topic: Topic) -> str:
    settings = _settings(topic)
    tiered = {"remote.storage.enable": "true", "local.retention.ms": "${LocalRetentionMs}"}
    properties = "\\n".join(f"{key}={value}" for key, value in settings.items())
    tiered_properties = "".join(f"\\n{key}={value}" for key, value in tiered.items())
    object_ = json.dumps(settings)
    tiered_object = json.dumps(settings | tiered)
    return f"""\
  {topic.logical_id}:
    Type: AWS::MSK::Topic
    Condition: Provisioned
    DeletionPolicy: RetainExceptOnCreate
    UpdateReplacePolicy: Retain
    Properties:
      ClusterArn: !Ref ClusterArn
      TopicName: {topic.name}
      PartitionCount: !FindInMap [Partitions, {topic.logical_id}, !Ref TopicSize]
      ReplicationFactor: !Ref ReplicationFactor
      Configs: !If
        - Configured
        - Fn::Base64: !If
            - Json
            - !If
              - Tiered
              - !Sub '{tiered_object}'
              - !Sub '{object_}'
            - !If
              - Tiered
              - !Sub "{properties}{tiered_properties}"
              - !Sub "{properties}"
        - !Ref AWS::NoValue
"""


def _listed(topic: Topic) -> str:
    configs = "".join(
        f"            {key}: {f'!Sub {value!r}' if '$' in value else repr(value)}\n"
        for key, value in _settings(topic).items()
    )
    return f"""\
        - Name: {topic.name}
          Partitions: !FindInMap [Partitions, {topic.logical_id}, !Ref TopicSize]
          Configs:
{configs}"""


def _arn(topic: Topic, indent: str) -> str:
    return f"""\
{indent}- !Sub
{indent}  - '${{Topics}}/{topic.name}'
{indent}  - Topics: !Join [':topic/', !Split [':cluster/', !Ref ClusterArn]]
"""


def _schema(path: Path) -> str:
    name = _camel(path.stem)
    return f"""\
  {name}Schema:
    Type: AWS::Glue::Schema
    Properties:
      Name: {path.stem}
      Description: functions/schemas/{path.name}
      DataFormat: AVRO
      Compatibility: BACKWARD
      Registry:
        Arn: !GetAtt Registry.Arn
  {name}SchemaVersion:
    Type: AWS::Glue::SchemaVersion
    DeletionPolicy: Retain
    UpdateReplacePolicy: Retain
    Properties:
      Schema:
        SchemaArn: !GetAtt {name}Schema.Arn
      SchemaDefinition: '{compact_definition(path).replace("'", "''")}'
"""


def main() -> None:
    """Write both templates; with --check only say which one is stale."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if a template is stale")
    check = parser.parse_args().check
    try:
        texts = {
            "topics.yaml": topics_template(read_topics(TOPICS.read_text())),
            "schemas.yaml": schemas_template(),
        }
    except ListError as error:
        sys.exit(str(error))
    stale = [name for name, text in texts.items() if not (HERE / name).exists() or (HERE / name).read_text() != text]
    for name in stale:
        if not check:
            (HERE / name).write_text(texts[name])
        print(f"{name}: {'stale' if check else 'written'}")
    sys.exit(1 if check and stale else 0)


if __name__ == "__main__":
    main()
