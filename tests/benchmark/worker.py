"""One contestant in a process of its own, which does as it is told on its standard input.

    batch N  handle batch N                         answers {"cpu_s": …, "records": …, "event_bytes": …}
    run N    handle batches 0 to N - 1 and the end  answers the same
    consume SERVERS TOPIC END TURN
             read a topic up to an offset           answers {"cpu_s": …, "records": …}
    rows     tell what came out so far              answers {table: [number of rows, digest of columns and rows]}

Started by `contest.py`: `worker.py CONTESTANT INPUT PARTITIONS`.
"""

import hashlib
import io
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import inputs
import nexmark_bids
import orders


class Contestant(Protocol):
    """What is measured."""

    def handle(self, event: dict[str, Any]) -> None:
        """Process one event until everything is written."""
        ...

    def files(self) -> Any:
        """Table and content of every file."""
        ...

    # Those in a RunContest have `run(events)`: process all of them and close what is open. Those in a BrokerContest
    # have `consume(servers, topic, end_offset, group)` instead: process a topic until the offsets are committed.


# Imported only by the worker that needs them: modules that are merely loaded cost the others memory and time.
# ruff: noqa: PLC0415


def _ours(function: str) -> Callable[[], Contestant]:
    def load() -> Contestant:
        import ours

        return ours.Handler(function)

    return load


def _ours_avro() -> Contestant:
    import ours

    return ours.Handler("clickstream", ours.reading_avro)


def _powertools() -> Contestant:
    import powertools_windows

    return powertools_windows.Windows()


def _orjson_dicts() -> Contestant:
    import orjson
    import plain_clicks

    return plain_clicks.Clicks(orjson.loads)


def _fastavro_dicts() -> Contestant:
    import plain_clicks

    return plain_clicks.Clicks(plain_clicks.avro_parser())


def _bytewax() -> Contestant:
    import bytewax_windows

    return bytewax_windows.Windows()


def _mapping() -> Contestant:
    import ours_mapping

    return ours_mapping.Consumer()


def _quix() -> Contestant:
    import quix_windows

    return quix_windows.Consumer()


def _nexmark(query: str) -> Callable[[], Contestant]:
    def load() -> Contestant:
        import nexmark_queries
        import ours

        return ours.Handler("clickstream", nexmark_queries.instead_of(getattr(nexmark_queries, query)))

    return load


def _plain_nexmark(query: str) -> Callable[[], Contestant]:
    def load() -> Contestant:
        import plain_nexmark

        contestant: Contestant = getattr(plain_nexmark, query)()
        return contestant

    return load


def _json_landing() -> Contestant:
    import pyarrow_landing

    return pyarrow_landing.Landing(json.loads)


def _orjson_landing() -> Contestant:
    import orjson
    import pyarrow_landing

    return pyarrow_landing.Landing(orjson.loads)


def _ours_landing_avro() -> Contestant:
    import ours

    codecs = "clicks=avro:clicks.avsc,orders=avro:orders.avsc"
    return ours.Handler("landing", environment={"HEADRACE_LANDING_CODECS": codecs})


def _ours_log_minutes() -> Contestant:
    import ours

    return ours.Handler("logs", environment={"HEADRACE_LOG_TABLES": "minutes"})


def _fastavro_landing(avsc: Path) -> Callable[[], Contestant]:
    def load() -> Contestant:
        import pyarrow_landing

        return pyarrow_landing.Landing(pyarrow_landing.avro_parser(avsc))

    return load


def _plain_logs() -> Contestant:
    import plain_logs

    return plain_logs.Logs()


CONTESTANTS: dict[str, Callable[[], Contestant]] = {
    "clickstream": _ours("clickstream"),
    "clickstream (Avro)": _ours_avro,
    "page_minutes from Kafka": _mapping,
    "landing": _ours("landing"),
    "landing of orders": _ours("landing"),
    "landing of orders (Avro)": _ours_landing_avro,
    "landing (Avro)": _ours_landing_avro,
    "logs": _ours("logs"),
    "logs in JSON": _ours("logs"),
    "access logs": _ours("logs"),
    "syslog": _ours("logs"),
    "log4j text": _ours("logs"),
    "minutes of JSON": _ours_log_minutes,
    "minutes of access logs": _ours_log_minutes,
    "powertools": _powertools,
    "orjson+dicts": _orjson_dicts,
    "fastavro+dicts": _fastavro_dicts,
    "bytewax": _bytewax,
    "quix": _quix,
    "nexmark q5": _nexmark("HOT_ITEMS"),
    "nexmark q7": _nexmark("HIGHEST_BID"),
    "nexmark q11": _nexmark("USER_SESSIONS"),
    "q5 by orjson+dicts": _plain_nexmark("HotItems"),
    "q7 by orjson+dicts": _plain_nexmark("HighestBid"),
    "q11 by orjson+dicts": _plain_nexmark("UserSessions"),
    "json+pyarrow": _json_landing,
    "orjson+pyarrow": _orjson_landing,
    "fastavro+pyarrow": _fastavro_landing(inputs.AVSC),
    "fastavro+pyarrow of orders": _fastavro_landing(orders.AVSC),
    "json+re": _plain_logs,
}


Text = Callable[[int, int], str]
"""The JSON text of a batch, by its number and the partitions."""
INPUTS: dict[str, Text] = {
    "clicks": inputs.clicks,
    "avro": inputs.avro_clicks,
    "logs": inputs.log_lines,
    "json lines": inputs.json_lines,
    "combined lines": inputs.combined_lines,
    "syslog lines": inputs.syslog_lines,
    "java lines": inputs.java_lines,
    "bids": nexmark_bids.bids,
    "orders": orders.orders,
    "avro orders": orders.avro_orders,
}


def measure(work: Callable[[Any], None], texts: list[str]) -> dict[str, float]:
    """CPU time of the events, from the parsed dicts that the runtime passes until everything is published."""
    events = [json.loads(text) for text in texts]
    records = sum(map(records_of, events))
    start = time.process_time()
    work(events)
    cpu_s = time.process_time() - start
    return {"cpu_s": cpu_s, "records": records, "event_bytes": len(texts[-1])}


def records_of(event: dict[str, Any]) -> int:
    """How many records an event has."""
    return sum(map(len, event["records"].values()))


def measure_topic(contestant: Any, servers: str, topic: str, end_offset: int, turn: str) -> dict[str, float]:
    """CPU time of this process from before it connects until everything is written and committed."""
    start = time.process_time()
    contestant.consume(servers, topic, end_offset, f"turn-{turn}-{os.getpid()}")
    return {"cpu_s": time.process_time() - start, "records": end_offset}


def digests(contestant: Contestant) -> dict[str, tuple[int, str]]:
    """Number of rows and a digest of columns and rows, in any order, of every table."""
    import pyarrow.parquet as pq

    tables: dict[str, list[str]] = {}
    columns: dict[str, str] = {}
    for name, content in contestant.files():
        table = pq.read_table(io.BytesIO(content))
        # What only this library merges partial rows from.
        table = table.drop_columns([column for column in table.column_names if column.endswith("__sketch")])
        columns[name] = repr([(field.name, str(field.type)) for field in table.schema])
        rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
        tables.setdefault(name, []).extend(map(repr, rows))
    return {name: (len(rows), _digest([columns[name], *sorted(rows)])) for name, rows in tables.items()}


def _digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def main() -> None:
    """Serve commands until the input ends."""
    contestant_name, input_name, partitions = sys.argv[1:]
    # The handlers log to standard output; that is part of their work, but not of our answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    contestant = CONTESTANTS[contestant_name]()
    for line in sys.stdin:
        answer = _answer(contestant, INPUTS[input_name], int(partitions), *line.split())
        print(json.dumps(answer), file=answers)


def _answer(contestant: Any, text_of: Text, partitions: int, command: str, *arguments: str) -> Any:
    match command:
        case "batch":
            return measure(lambda events: contestant.handle(*events), [text_of(int(arguments[0]), partitions)])
        case "run":
            return measure(contestant.run, [text_of(number, partitions) for number in range(int(arguments[0]))])
        case "consume":
            servers, topic, end_offset, turn = arguments
            return measure_topic(contestant, servers, topic, int(end_offset), turn)
        case _:
            return digests(contestant)


if __name__ == "__main__":
    main()
