"""`headrace produce`: the records of a file to a Kafka topic."""

import itertools
import json

import click

from headrace.kafka import KafkaAuth
from headrace_cli.commands.examples import examples
from headrace_cli.commands.options import BootstrapServers, TopicName, auth_option, field_options
from headrace_cli.commands.progress import tracked
from headrace_cli.kafka.producer import Produced
from headrace_cli.kafka.producer import produce as produce_records
from headrace_cli.sources.fields import FieldOptions
from headrace_cli.sources.source import Source


@click.command(
    epilog=examples(
        r"""
        headrace produce clicks.ndjson --topic clicks --kafka localhost:9092 --key user_id
        headrace produce shop.csv.gz --topic clicks --kafka localhost:9092 --key user \
            --field user_id=user --field page=url --time-field timestamp --number value
        tail -f access.log | headrace produce - --format lines --topic logs --kafka localhost:9092
        headrace produce clicks.ndjson --topic clicks --auth iam \
            --kafka boot-abc.c1.kafka-serverless.eu-west-1.amazonaws.com:9098
        """
    )
)
@click.argument("file")
@click.option("--topic", type=TopicName(), required=True, help="The topic to produce to.")
@click.option("--kafka", "bootstrap_servers", type=BootstrapServers(), required=True, help="Brokers to start from.")
@auth_option("--auth")
@field_options
@click.option("--limit", type=click.IntRange(min=0), help="Stop after so many records.")
@click.option("--skip-too-large", is_flag=True, help="Leave out records that are too large for the topic.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a sentence.")
def produce(
    *,
    file: str,
    topic: str,
    bootstrap_servers: str,
    auth: KafkaAuth,
    source_format: str,
    fields: FieldOptions,
    limit: int | None,
    skip_too_large: bool,
    as_json: bool,
) -> None:
    """Send the records of FILE to a Kafka topic, one per line or CSV row.

    FILE is NDJSON, CSV with a header, or plain lines; gzip or not; `-` is standard input. What cannot be read
    is sent as it is and counted: the consumers keep it as a dead letter. With --format and without field options
    nothing is read ahead, so that `tail -f … | headrace produce -` sends each line as it comes.
    """
    with Source(file, fields, source_format=source_format) as source:
        produced = produce_records(
            tracked(itertools.islice(source, limit), f"Producing to {topic}", source.fraction),
            bootstrap_servers,
            topic,
            auth=auth,
            skip_too_large=skip_too_large,
        )
        click.echo(_summary(topic, produced, source.passed_through, as_json=as_json))


def _summary(topic: str, produced: Produced, passed_through: int, *, as_json: bool) -> str:
    if as_json:
        facts = {"topic": topic, **produced._asdict(), "passed_through": passed_through}
        return json.dumps(facts | {"seconds": round(produced.seconds, 3)})
    text = f"{produced.records:,} records ({produced.bytes:,} bytes) to {topic} in {produced.seconds:.1f} s"
    if passed_through:
        text += f"; {passed_through:,} could not be read as asked and went out as they are"
    if produced.too_large:
        text += f"; {produced.too_large:,} were too large and left out"
    return text
