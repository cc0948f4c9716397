"""What has to come out, computed from the records and the committed ticks by plain, obvious, single-threaded code.

The modules of this folder import nothing of the code that they judge (a test holds that) and know nothing of batches,
retries or commits: one record after the other, every window and every session keeps its list of events. What happens
in which order at one record, and what early results are, is said in `output`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from chaos.oracle.events import Dead, landed, place, read
from chaos.oracle.first_seen import FirstSeenOperator
from chaos.oracle.fixed import FixedOperator
from chaos.oracle.lines import Landing, Said, said
from chaos.oracle.output import Output
from chaos.oracle.rules import Declared, FirstTimes, Logged, Rules, Sessions, Sliding, Tables
from chaos.oracle.sessions import SessionOperator
from chaos.oracle.sliding import SlidingOperator

LANDED, LATE, DEAD_LETTERS = "hits", "late", "dead_letters"


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


def expected(records: Sequence[Logged], ticks_before: Iterable[int], rules: Rules) -> Expected:
    """Compute every output of one partition.

    Args:
        records: those that were applied, in offset order.
        ticks_before: for each committed tick, the offset of the first record that was not applied before it.
        rules: of the pipeline.
    """
    state = _Partition(rules)
    waiting = sorted(ticks_before)
    for record in records:
        while waiting and waiting[0] <= record.offset:
            state.tick(waiting.pop(0))
        state.take(record)
    for next_offset in waiting:
        state.tick(next_offset)
    outputs = {operator.output.declared.table: operator.output for operator in state.operators}
    return Expected(state.tables(), state.ticks, outputs, state.applied)


class _Partition:
    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.watermark_ms = -(2**63)
        self.operators = [_operator(declared) for declared in rules.operators]
        self.ticks: list[Tick] = []
        self.applied = 0
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

    def tick(self, next_offset: int) -> None:
        for_each = [
            end_ms + operator.output.declared.lateness_ms
            for operator in self.operators
            for end_ms in operator.open_ends_ms()
        ]
        held = self._lines.open_ends_ms() if self._lines else []
        self._advance(max([*for_each, *held], default=self.watermark_ms))
        self.ticks.append(Tick(next_offset, self.watermark_ms))

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
            **{output.declared.table: output.rows for output in outputs},
            **{f"{output.declared.table}_early": output.early for output in outputs if output.declared.early},
        }


def _operator(declared: Declared) -> FixedOperator | SlidingOperator | SessionOperator | FirstSeenOperator:
    match declared.window:
        case Sliding():
            return SlidingOperator(declared)
        case Sessions():
            return SessionOperator(declared)
        case FirstTimes():
            return FirstSeenOperator(declared)
    return FixedOperator(declared)
