"""Kafka from this machine: a producer, its partitioner, and a local Apache Kafka."""
