"""Events of large records: orders of 1.2 KB, nested, as many as fit into Lambda's 6 MB."""

import io
import json
import random
from pathlib import Path
from typing import Any

import inputs

AVSC = Path(__file__).with_name("orders.avsc")
RECORDS = 3_000
"""Of a batch: with envelope, headers and base64 some 5.8 MB."""
ORDER_BYTES = 1_200
CITIES = ["Berlin", "Lisbon", "Osaka", "Toronto", "Lagos", "Lima", "Oslo", "Perth"]


def orders(number: int, partitions: int) -> str:
    """The JSON text of a batch of orders."""
    return inputs.event("orders", number, partitions, _payload, records=RECORDS)


def avro_orders(number: int, partitions: int) -> str:
    """The same orders, their values in Avro: bare."""
    import fastavro  # noqa: PLC0415 - only this input needs it

    schema = fastavro.schema.load_schema(AVSC)

    def payload(chance: random.Random, index: int, time_ms: int) -> inputs.Payload:
        key, order = _payload(chance, index, time_ms)
        value = io.BytesIO()
        fastavro.schemaless_writer(value, schema, json.loads(order))
        return key, value.getvalue()

    return inputs.event("orders", number, partitions, payload, records=RECORDS)


def _payload(chance: random.Random, index: int, time_ms: int) -> inputs.Payload:
    customer = chance.randrange(20_000)
    order = {
        "order_id": f"order-{chance.getrandbits(64):016x}",
        "created_at": time_ms,
        "status": chance.choice(["placed", "paid", "packed", "sent"]),
        "currency": chance.choice(["EUR", "USD", "JPY"]),
        "amount": chance.randrange(100, 90_000) / 100,
        "tax": chance.randrange(9_000) / 100 if index % 3 else None,
        "express": index % 7 == 0,
        "customer": {
            "id": customer,
            "name": f"Customer {customer}",
            "email": f"customer{customer}@example.com",
            "tier": customer % 4,
        },
        "address": {
            "street": f"{chance.randrange(300)} Main Street",
            "city": chance.choice(CITIES),
            "zip": f"{chance.randrange(100_000):05}",
            "country": "XX",
        },
        "lines": [_line(chance) for _ in range(1 + index % 5)],
        "tags": ["web", "spring"][: index % 3],
        "channel": chance.choice(["web", "app", "shop"]),
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/122.0.0.0",
        "referrer": "https://www.example.com/search?q=shoes",
        "session_id": f"{chance.getrandbits(64):016x}",
        "note": "",
    }
    missing = ORDER_BYTES - len(inputs.compact(order))
    order["note"] = f"{chance.getrandbits(4 * missing):0{missing}x}"
    return str(customer).encode(), inputs.compact(order)


def _line(chance: random.Random) -> dict[str, Any]:
    return {
        "sku": f"sku-{chance.randrange(5_000):04}",
        "quantity": 1 + chance.randrange(4),
        "price": chance.randrange(100, 9_000) / 100,
    }
