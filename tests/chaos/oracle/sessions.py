"""Sessions: each is a list of events."""

from chaos.oracle.events import Event, key_of
from chaos.oracle.output import Bounds, Output
from chaos.oracle.rules import Declared, Row, Sessions


class Session:
    """A burst of activity of a key."""

    def __init__(self, key: Row, events: list[Event], gap_ms: int) -> None:
        self.key = key
        self.events = events
        self.start_ms = min(event.time_ms for event in events)
        self.last_ms = max(event.time_ms for event in events)
        self.bounds = Bounds(self.start_ms, self.last_ms + gap_ms)
        self.changed = True
        """Since it was given out."""


class SessionOperator:
    """An operator at work."""

    def __init__(self, declared: Declared, output: Output) -> None:
        assert isinstance(declared.window, Sessions)
        self.output = output
        self._declared = declared
        self._gap_ms = declared.window.gap_ms
        self._open: list[Session] = []
        self._revisions: dict[tuple[Row, int], int] = {}
        """Key and start to how often that was given out."""

    def take(self, event: Event, watermark_ms: int) -> None:
        """Apply one; the watermark is the one before it."""
        key = key_of(event, self._declared.key)
        reached = [session for session in self._open if session.key == key and self._reaches(session, event)]
        alone = Bounds(event.time_ms, event.time_ms + self._gap_ms)
        if not reached and self.output.is_closed(alone.end_ms, watermark_ms):
            self.output.too_late(event, [alone], watermark_ms)
            return
        made = Session(key, [e for session in reached for e in session.events] + [event], self._gap_ms)
        for session in reached:
            self._open.remove(session)
            if session.start_ms != made.start_ms:
                self._take_back(session)
        self._open.append(made)
        self.output.accepted.append(event)

    def advance(self, watermark_ms: int) -> None:
        """The watermark is here now."""
        for session in list(self._open):
            if self.output.is_closed(session.bounds.end_ms, watermark_ms):
                self._open.remove(session)
                self._revisions.pop((session.key, session.start_ms), None)
                self.output.final(session.bounds, session.key, session.events)
            elif self._declared.early and session.changed and watermark_ms >= session.bounds.end_ms:
                self._give_out(session)

    def open_ends_ms(self) -> list[int]:
        """Of the sessions that are not closed."""
        return [session.bounds.end_ms for session in self._open]

    def _reaches(self, session: Session, event: Event) -> bool:
        return session.start_ms - self._gap_ms <= event.time_ms <= session.last_ms + self._gap_ms

    def _give_out(self, session: Session) -> None:
        revision = self._revisions.get((session.key, session.start_ms), 0)
        self.output.revised(session.bounds, session.key, session.events, revision)
        self._revisions[session.key, session.start_ms] = revision + 1
        session.changed = False

    def _take_back(self, session: Session) -> None:
        revision = self._revisions.pop((session.key, session.start_ms), 0)
        if revision:
            self.output.retracted(session.bounds, session.key, session.events, revision)
