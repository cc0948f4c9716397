"""Inputs that are known by their header, so that they need no flags."""

from collections.abc import Sequence
from typing import NamedTuple

from headrace_cli.sources.fields import FieldOptions


class Dialect(NamedTuple):
    """A known kind of CSV file and what its columns mean here."""

    name: str
    header: tuple[str, ...]
    fields: FieldOptions


_DIALECTS = (
    Dialect(
        # The click-stream that ships with retentioneering: sorted by user, so it has to be put into the order
        # in which it happened.
        name="retentioneering clicks",
        header=(
            "user_id",
            "session_id",
            "event",
            "timestamp",
            "platform",
            "acquisition_channel",
            "user_cohort",
            "user_lifecycle",
        ),
        fields=FieldOptions(
            key="user_id",
            renames=(("page", "event"), ("event_type", "event")),
            time_field="timestamp",
            order_by="timestamp",
        ),
    ),
)


def recognise(header: Sequence[str]) -> Dialect | None:
    """The dialect with exactly this header, or None."""
    return next((dialect for dialect in _DIALECTS if dialect.header == tuple(header)), None)
