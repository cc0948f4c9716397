"""Custom resources of the platform stack: Kafka topics, brokers' addresses, and a look at an existing network.

`answer` speaks CloudFormation's protocol, `topics` decides what to do, `kafka_topics` does it; `lookup` asks AWS.
`topics_app` and `lookup_app` are the two handlers.
"""
