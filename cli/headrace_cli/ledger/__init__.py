"""The ledger's audit: what the checkpoints count, compared with the files that are there, and with Kafka's own log."""
