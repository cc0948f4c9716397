"""One contestant in a process of its own, which does as it is told on its standard input.

    batch N  handle batch N                         answers {"cpu_s": …, "records": …, "event_bytes": …}
    run N    handle batches 0 to N - 1 and the end  answers the same
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
from typing import Any, Protocol

import inputs


class Contestant(Protocol):
    """What is measured."""

    def handle(self, event: dict[str, Any]) -> None:
        """Process one event until everything is written."""
        ...

    def files(self) -> Any:
        """Table and content of every file."""
        ...

    # Those in a RunContest also have `run(events)`: process all of them and close what is open.


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


def _json_landing() -> Contestant:
    import pyarrow_landing

    return pyarrow_landing.Landing(json.loads)


def _orjson_landing() -> Contestant:
    import orjson
    import pyarrow_landing

    return pyarrow_landing.Landing(orjson.loads)


def _plain_logs() -> Contestant:
    import plain_logs

    return plain_logs.Logs()


CONTESTANTS: dict[str, Callable[[], Contestant]] = {
    "clickstream": _ours("clickstream"),
    "clickstream (Avro)": _ours_avro,
    "landing": _ours("landing"),
    "logs": _ours("logs"),
    "powertools": _powertools,
    "orjson+dicts": _orjson_dicts,
    "fastavro+dicts": _fastavro_dicts,
    "bytewax": _bytewax,
    "json+pyarrow": _json_landing,
    "orjson+pyarrow": _orjson_landing,
    "json+re": _plain_logs,
}


def measure(work: Callable[[Any], None], texts: list[str]) -> dict[str, float]:
    """CPU time of the events, from the parsed dicts that the runtime passes until everything is published."""
    events = [json.loads(text) for text in texts]
    start = time.process_time()
    work(events)
    cpu_s = time.process_time() - start
    return {"cpu_s": cpu_s, "records": inputs.RECORDS * len(texts), "event_bytes": len(texts[-1])}


def digests(contestant: Contestant) -> dict[str, tuple[int, str]]:
    """Number of rows and a digest of columns and rows, in any order, of every table."""
    import pyarrow.parquet as pq

    tables: dict[str, list[str]] = {}
    columns: dict[str, str] = {}
    for name, content in contestant.files():
        table = pq.read_table(io.BytesIO(content))
        columns[name] = repr([(field.name, str(field.type)) for field in table.schema])
        rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
        tables.setdefault(name, []).extend(map(repr, rows))
    return {name: (len(rows), _digest([columns[name], *sorted(rows)])) for name, rows in tables.items()}


def _digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def main() -> None:
    """Serve commands until the input ends."""
    contestant_name, make_event_name, partitions = sys.argv[1:]
    # The handlers log to standard output; that is part of their work, but not of our answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    make_event = {"clicks": inputs.clicks, "avro": inputs.avro_clicks, "logs": inputs.log_lines}[make_event_name]
    contestant = CONTESTANTS[contestant_name]()
    for line in sys.stdin:
        command, *arguments = line.split()
        numbers = list(map(int, arguments))
        if command == "batch":
            answer: Any = measure(lambda events: contestant.handle(*events), [make_event(*numbers, int(partitions))])
        elif command == "run":
            answer = measure(contestant.run, [make_event(n, int(partitions)) for n in range(*numbers)])
        else:
            answer = digests(contestant)
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
