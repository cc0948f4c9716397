"""The click-stream's windows with AWS Lambda Powertools' Kafka consumer and plain dictionaries (`click_windows`)."""

from typing import Any

from aws_lambda_powertools.utilities.kafka import ConsumerRecords, SchemaConfig, kafka_consumer
from click_windows import ClickWindows


class Windows:
    """The contestant."""

    def __init__(self) -> None:
        windows = ClickWindows()
        self.files = windows.files

        @kafka_consumer(schema_config=SchemaConfig(value_schema_type="JSON"))
        def lambda_handler(event: ConsumerRecords, _context: object) -> None:
            changed = {}
            for record in event.records:
                partition = windows.of(record.topic, record.partition)
                partition.add(record.value)
                changed[record.partition] = partition
            windows.write_closed(changed.values())

        self._lambda_handler = lambda_handler

    def handle(self, event: dict[str, Any]) -> None:
        """Process one event until everything is written."""
        self._lambda_handler(event, None)
