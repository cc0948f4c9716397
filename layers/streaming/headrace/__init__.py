"""Exact event-time stream processing for Kafka events in AWS Lambda."""
