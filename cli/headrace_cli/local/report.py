"""What a run has to show: highlights of the tables, throughput and the verdict, on a screen or as one JSON object."""

import datetime as dt
import heapq
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from headrace_cli.audit.audit import Audit, Roles
from headrace_cli.audit.expectation import Row
from headrace_cli.local.run import RunResult

BUSY_MINUTES = 3
PAGES_PER_MINUTE = 3
WORST_MINUTES = 5
FEWEST_EVENTS = 5
"""Below it a ratio says little."""
ALERTS_SHOWN = 5
DIFFERENCES_SHOWN = 20
ALERT_COLUMNS = ("alert_id", "rule", "key", "summary", "window_start", "window_end", "value", "threshold", "samples")
"""What a program is told of an alert."""


class Highlights:
    """What is worth showing of the windowed tables; sees every row once and keeps sums."""

    def __init__(self, gap_ms: int) -> None:
        self._gap_ms = gap_ms
        self._pages: dict[int, Counter[str]] = {}
        self._services: dict[tuple[int, str], Counter[str]] = {}
        self.alerts: list[Row] = []
        """All of them: there are few."""
        self.sessions = 0
        self._longest: Row | None = None

    def see(self, table: str, rows: list[Row]) -> None:
        """Take rows of a table in; partial rows of several partitions are added up."""
        if table == "clickstream/page_minutes":
            for row in rows:
                self._pages.setdefault(row["window_start"], Counter())[row["page"]] += row["events"]
        elif table == "logs/service_minutes":
            for row in rows:
                counts = self._services.setdefault((row["window_start"], row["service"]), Counter())
                counts.update(events=row["events"], errors=row["errors"])
        elif table == "logs/alerts":
            self.alerts += rows
        elif table == "clickstream/sessions":
            self.sessions += len(rows)
            candidates = rows if self._longest is None else [self._longest, *rows]
            self._longest = max(candidates, key=self._duration_ms, default=None)

    def tables(self) -> list[Table]:
        """The highlights, ready to be printed."""
        return [self._busiest_minutes(), self._longest_session(), self._worst_minutes(), self._alerts()]

    def _busiest_minutes(self) -> Table:
        table = _table("Top pages of the busiest minutes", "minute (UTC)", "events", "pages")
        busiest = heapq.nlargest(BUSY_MINUTES, self._pages.items(), key=lambda item: item[1].total())
        for minute_ms, pages in busiest:
            top = ", ".join(f"{page} {count}" for page, count in pages.most_common(PAGES_PER_MINUTE))
            _add(table, _minute(minute_ms), pages.total(), top)
        return table

    def _longest_session(self) -> Table:
        table = _table(
            f"{self.sessions:,} sessions, the longest of them", "user", "started", "lasted", "events", "pages"
        )
        if (row := self._longest) is not None:
            lasted = dt.timedelta(seconds=self._duration_ms(row) // 1000)
            pages = f"{row['first_page']} … {row['last_page']}"
            _add(table, row["user_id"], _minute(row["session_start"]), lasted, row["events"], pages)
        return table

    def _duration_ms(self, row: Row) -> int:
        duration_ms: int = row["session_end"] - self._gap_ms - row["session_start"]
        return duration_ms

    def _worst_minutes(self) -> Table:
        table = _table("Service minutes with the most errors", "minute (UTC)", "service", "events", "errors", "ratio")
        enough = [(at, counts) for at, counts in self._services.items() if counts["events"] >= FEWEST_EVENTS]
        worst = heapq.nlargest(WORST_MINUTES, enough, key=lambda item: (_ratio(item[1]), item[1]["errors"]))
        for (minute_ms, service), counts in worst:
            _add(table, _minute(minute_ms), service, counts["events"], counts["errors"], f"{_ratio(counts):.1%}")
        return table

    def _alerts(self) -> Table:
        table = _table(f"Alerts: {len(self.alerts):,}", "until (UTC)", "rule", "about", "value", "lines")
        # Those with lines to show come first.
        often = Counter(alert["rule"] for alert in self.alerts)
        rarest = sorted(self.alerts, key=lambda row: (not row["samples"], often[row["rule"]], row["window_end"]))
        for alert in rarest[:ALERTS_SHOWN]:
            about = ", ".join(map(str, json.loads(alert["key"]).values()))
            lines = "\n".join(alert["samples"])
            _add(table, _minute(alert["window_end"]), alert["rule"], about, f"{alert['value']:.4g}", lines)
        return table


def show(highlights: Highlights, files: dict[str, int], result: RunResult, verdict: Audit, roles: Roles) -> None:
    """Print everything for a person."""
    console = Console()
    for table in highlights.tables():
        console.print(table)
    lake = _table("The lake", "table", "rows", "files")
    for name, count in files.items():
        _add(lake, name, verdict.tables[name], count)
    console.print(lake)
    console.print(_functions(result))
    if result.chaos is not None:
        console.print(chaos_table(result.chaos))
    console.print(_audit_table(result, verdict, roles))
    total = _produced(verdict)
    console.print(f"{total:,} records in {result.seconds:.1f} s: {_rate(total, result):,.0f} records/s end to end")
    if verdict.as_landed:
        lines = f"{verdict.as_landed:,} log lines are in formats that the audit does not read:"
        console.print(f"{lines} it took their columns as landed, and worked out what became of them.")
    if verdict.exact:
        console.print("EXACT: every row of every table is what the produced records say.", style="bold green")
        return
    console.print(f"NOT EXACT: {verdict.difference_count:,} differences, the first:", style="bold red")
    for difference in verdict.differences[:DIFFERENCES_SHOWN]:
        console.print(Text(f"  {difference}"))


def as_json(highlights: Highlights, result: RunResult, verdict: Audit, roles: Roles) -> dict[str, Any]:
    """The same facts for a program; times in epoch milliseconds."""
    return {
        "exact": verdict.exact,
        "topics": {
            role: {**verdict.topics[topic]._asdict(), "skipped": result.tally.skipped[topic]}
            for role, topic in roles._asdict().items()
        },
        "tables": dict(sorted(verdict.tables.items())),
        "alerts": [{name: alert[name] for name in ALERT_COLUMNS} for alert in highlights.alerts],
        "as_landed": verdict.as_landed,
        "chaos": result.chaos,
        "seconds": round(result.seconds, 3),
        "records_per_second": round(_rate(_produced(verdict), result), 1),
        "differences": verdict.differences[:DIFFERENCES_SHOWN],
    }


def _functions(result: RunResult) -> Table:
    table = _table("Deliveries", "function", "batches", "records")
    for function, batches in sorted(result.tally.invocations.items()):
        _add(table, function, batches, result.tally.delivered[function])
    return table


def chaos_table(chaos: Mapping[str, int]) -> Table:
    """What was injected: the seed, and how often by kind."""
    faults = {name: times for name, times in chaos.items() if name != "seed"}
    table = _table(f"Chaos, seed {chaos['seed']}", "injected fault", "times")
    for name, times in faults.items():
        _add(table, name.replace("_", " "), times)
    return table


def _audit_table(result: RunResult, verdict: Audit, roles: Roles) -> Table:
    table = _table("Audit", "topic", "produced", "landed", "joined", "dead", "late rows", "skipped")
    for topic in roles:
        _add(table, topic, *verdict.topics[topic], result.tally.skipped[topic])
    return table


def _produced(verdict: Audit) -> int:
    return sum(counts.produced for counts in verdict.topics.values())


def _rate(records: int, result: RunResult) -> float:
    return records / result.seconds


def _ratio(counts: Counter[str]) -> float:
    return counts["errors"] / counts["events"]


def _minute(time_ms: int) -> str:
    return (dt.datetime(1970, 1, 1) + dt.timedelta(milliseconds=time_ms)).strftime("%Y-%m-%d %H:%M")  # noqa: DTZ001 - UTC, and only printed


def _table(title: str, *columns: str) -> Table:
    return Table(*columns, title=title, title_justify="left", title_style="bold")


def _add(table: Table, *cells: object) -> None:
    # As text: a page's brackets are no markup.
    table.add_row(*(Text(f"{cell:,}" if isinstance(cell, int) else str(cell)) for cell in cells))
