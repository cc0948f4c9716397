"""Which Apache Kafka the launcher runs."""

from headrace_cli.maven import Distribution

KAFKA_VERSION = "4.1.2"
"""The last release of the newest line that Amazon MSK offers (4.1.x); its brokers run on Java 17 and later."""
LOG4J_VERSION = "2.25.3"
"""What this Kafka depends on itself; only the bridge from slf4j is missing among its dependencies."""


def apache_kafka(version: str) -> Distribution:
    """Its brokers and tools, and where their log goes."""
    artifacts = f"org.apache.kafka:kafka_2.13:{version}", f"org.apache.logging.log4j:log4j-slf4j-impl:{LOG4J_VERSION}"
    return Distribution("Apache Kafka", "kafka", version, artifacts)
