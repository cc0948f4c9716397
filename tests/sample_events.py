"""The events in events/, and what each amounts to."""

import json
from pathlib import Path

EVENTS = Path(__file__).resolve().parent.parent / "events"

# File: applied, dead, late, and the rows of each table that has any.
EXPECTED = {
    "clickstream/basic": (22, 0, 0, {"clickstream/page_minutes": 17, "clickstream/sessions": 4}),
    "clickstream/out_of_order": (
        *(16, 0, 4),
        {"clickstream/late": 4, "clickstream/page_minutes": 11, "clickstream/sessions": 2},
    ),
    "clickstream/bad_records": (
        *(6, 16, 0),
        {"clickstream/dead_letters": 16, "clickstream/page_minutes": 4, "clickstream/sessions": 2},
    ),
    "logs/json_lines": (
        *(17, 0, 0),
        {
            "logs/service_minutes": 5,
            "logs/severity_minutes": 10,
            "logs/pattern_minutes": 11,
            "logs/new_patterns": 13,
            "logs/alerts": 3,
        },
    ),
    "logs/access_log": (
        *(16, 0, 0),
        {
            "logs/service_minutes": 4,
            "logs/severity_minutes": 9,
            "logs/pattern_minutes": 13,
            "logs/new_patterns": 15,
        },
    ),
    "logs/formats": (
        *(20, 2, 0),
        {
            "logs/dead_letters": 2,
            "logs/service_minutes": 8,
            "logs/severity_minutes": 12,
            "logs/pattern_minutes": 16,
            "logs/new_patterns": 18,
            "logs/alerts": 5,
        },
    ),
    "landing/clicks": (8, 2, 0, {"landing/clicks": 8, "landing/dead_letters": 2}),
    # The last line of each key waits for lines that continue it.
    "landing/logs": (10, 0, 0, {"landing/logs": 8}),
    "landing/raw": (8, 0, 0, {"landing/shop.inventory-v1_raw": 8}),
}


def sample(name):
    return json.loads((EVENTS / f"{name}.json").read_text())
