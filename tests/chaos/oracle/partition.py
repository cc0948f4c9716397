"""What has to come out, computed from the records and the committed ticks by plain, obvious, single-threaded code.

The modules of this folder import nothing of the code that they judge (a test holds that) and know nothing of batches,
retries or commits: one record after the other, every window and every session keeps its list of events. What happens
in which order at one record, and what early results are, is said in `output`.
"""

from collections import Counter
from collections.abc import Container, Iterable, Sequence
from typing import NamedTuple

from chaos.oracle.alerts import WatchedOperator, WatchedOutput
from chaos.oracle.events import Dead, landed, place, read
from chaos.oracle.first_seen import FirstSeenOperator
from chaos.oracle.fixed import FixedOperator
from chaos.oracle.lines import Landing, Said, said
from chaos.oracle.output import Output
from chaos.oracle.rules import Declared, FirstTimes, Logged, Rules, Sessions, Sliding, Tables
from chaos.oracle.sessions import SessionOperator
from chaos.oracle.sliding import SlidingOperator

LANDED, LATE, DEAD_LETTERS, ALERTS = "hits", "late", "dead_letters", "alerts"


class Tick(NamedTuple):
    """A committed tick: it came before the record at this offset, and set the watermark."""

    next_offset: int
    watermark_ms: int


class Expected(NamedTuple):
    """Everything that has to come out of one partition."""

    tables: Tables
    ticks: list[Tick]
    """Where ticks were, with the watermark that each had to set."""
    operators: dict[str, Output]
    """What each operator gave out, by its table."""
    applied: int
    """Records that are no dead letters."""


def expected(
    records: Sequence[Logged], ticks_before: Iterable[int], rules: Rules, final: Container[int] = ()
) -> Expected:
    """Compute every output of one partition.

    Args:
        records: those that were applied, in offset order.
        ticks_before: for each committed tick, the offset of the first record that was not applied before it.
        rules: of the pipeline.
        final: which of the ticks came when nobody read any more, by their number from 0.
    """
    state = _Partition(rules)
    waiting = [(next_offset, number in final) for number, next_offset in enumerate(sorted(ticks_before))]
    for record in records:
        while waiting and waiting[0][0] <= record.offset:
            state.tick(*waiting.pop(0))
        state.take(record)
    for tick in waiting:
        state.tick(*tick)
    outputs = {operator.output.declared.table: operator.output for operator in state.operators}
    return Expected(state.tables(), state.ticks, outputs, state.applied)


class _Partition:
    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.watermark_ms = -(2**63)
        self.operators = [_operator(declared) for declared in rules.operators]
        self.ticks: list[Tick] = []
        self.applied = 0
        self._watches = any(declared.alerts for declared in rules.operators)
        self._lines = None if rules.lines is None else Landing(rules.lines)
        self._landed: Counter = Counter() if self._lines is None else self._lines.rows
        self._dead: Counter = Counter()

    def take(self, record: Logged) -> None:
        try:
            continues, events = said(record, self.rules) if self._lines else Said(None, [read(record, self.rules)])
        except Dead as dead:
            self._dead[(dead.reason, record.value, *place(record))] += 1
            return
        self.applied += 1
        if self._lines and continues is not None:
            self._lines.goes_on(record, continues)
        for event in events:
            if self._lines:
                self._lines.take(event, self.watermark_ms)
            else:
                self._landed[landed(event)] += 1
            for operator in self.operators:
                operator.take(event, self.watermark_ms)
            self._advance(event.time_ms - self.rules.out_of_orderness_ms)

    def tick(self, next_offset: int, final: bool) -> None:
        """Tables are closed first, what is watched by the next tick; by the same one, untold, if it is a final one."""
        tables_ms = [*self._open_until_ms(watched=False), *(self._lines.open_ends_ms() if self._lines else [])]
        if tables_ms:
            self._advance(max(tables_ms))
        if final or not tables_ms:
            told = [operator.output.alerts.copy() for operator in self.operators]
            self._advance(max(self._open_until_ms(watched=True), default=self.watermark_ms))
            for operator, alerts in zip(self.operators, told, strict=True):
                operator.output.alerts = alerts if final else operator.output.alerts
        self.ticks.append(Tick(next_offset, self.watermark_ms))

    def _open_until_ms(self, *, watched: bool) -> list[int]:
        declared = [(operator, operator.output.declared) for operator in self.operators]
        of_kind = [(operator, each.lateness_ms) for operator, each in declared if bool(each.alerts) is watched]
        return [end_ms + lateness_ms for operator, lateness_ms in of_kind for end_ms in operator.open_ends_ms()]

    def _advance(self, watermark_ms: int) -> None:
        self.watermark_ms = max(self.watermark_ms, watermark_ms)
        for operator in [*self.operators, *([self._lines] if self._lines else [])]:
            operator.advance(self.watermark_ms)

    def tables(self) -> Tables:
        outputs = [operator.output for operator in self.operators]
        return {
            DEAD_LETTERS: self._dead,
            LATE: sum((output.late for output in outputs), Counter()),
            **({LANDED: self._landed} if self.rules.landing else {}),
            **{output.declared.table: output.rows for output in outputs if output.declared.has_table},
            **{f"{output.declared.table}_early": output.early for output in outputs if output.declared.early},
            **({ALERTS: sum((output.alerts for output in outputs), Counter())} if self._watches else {}),
        }


_Operator = FixedOperator | SlidingOperator | SessionOperator | FirstSeenOperator | WatchedOperator


def _operator(declared: Declared) -> _Operator:
    output = WatchedOutput(declared) if declared.alerts else Output(declared)
    match declared.window:
        case Sliding():
            return SlidingOperator(declared)
        case Sessions():
            return SessionOperator(declared, output)
        case FirstTimes():
            return FirstSeenOperator(declared, output)
    return WatchedOperator(declared) if declared.alerts else FixedOperator(declared)
