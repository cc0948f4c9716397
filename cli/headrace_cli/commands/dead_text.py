"""What `headrace dead` prints: for a person, and as JSON."""

from base64 import b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headrace_cli.commands.rendering import cell, columns_text, iso, minute, plain
from headrace_cli.dead.letters import Letter
from headrace_cli.dead.redrive_log import Destination, Fate
from headrace_cli.dead.summary import Count, Kind

if TYPE_CHECKING:
    from headrace_cli.dead.redrive import Refused, Report, Settled

MAX_VALUE_CHARS = 400
"""Of a payload on the screen."""
MAX_FIELD_CHARS = 120
"""Of a key, and of each header."""
MAX_REFUSED = 20
"""Records named on the screen."""

_STATUS = {"sent": "sent", "not_sent": "was not sent", "claimed": "may have been sent", "unknown": "may have been sent"}


def counts_text(counts: Mapping[Kind, Count]) -> str:
    """The table of `headrace dead list`: no name is cut; times to the minute, and no column of nothing but zeros."""
    return columns_text(
        [
            count_json(kind, count) | {"first": minute(count.first_ms), "last": minute(count.last_ms)}
            for kind, count in counts.items()
        ]
    )


def count_json(kind: Kind, count: Count) -> dict[str, Any]:
    """A line of `headrace dead list`."""
    return {
        **kind._asdict(),
        "letters": count.letters,
        "records": len(count.records),
        "first": iso(count.first_ms),
        "last": iso(count.last_ms),
        "redriven": len(count.redriven),
        "unknown": len(count.unknown),
        "came_back": len(count.came_back),
        "most_times": count.most_times,
    }


def letter_json(letter: Letter, fates: Mapping[Destination, Fate]) -> dict[str, Any]:
    """Everything that is known of a letter; bytes in base64, null where there were none."""
    record = letter.record
    return {
        "position": record.position,
        "pipeline": letter.pipeline,
        "generation": letter.generation,
        "table": letter.table,
        **record._asdict(),
        "reason": letter.reason,
        "detail": letter.detail,
        "key": _base64(letter.key),
        "value": _base64(letter.value),
        "headers": [[name, _base64(value)] for name, value in letter.headers],
        "times_redriven": letter.times_redriven,
        "redriven": [_fate_json(to, fate) for to, fate in fates.items()],
    }


def letter_text(letter: Letter, fates: Mapping[Destination, Fate]) -> str:
    """A letter in some lines, each short enough to look at."""
    headers = [f"{plain(name)}={_bytes(value, MAX_FIELD_CHARS)}" for name, value in letter.headers]
    record = letter.record
    lines = [
        f"{record.position}  {iso(record.timestamp_ms)}  {letter.pipeline}, generation {letter.generation}",
        f"  reason   {plain(letter.reason)}: {plain(letter.detail)[:MAX_VALUE_CHARS]}",
        f"  key      {_bytes(letter.key, MAX_FIELD_CHARS)}",
        *(f"  header   {header}" for header in headers),
        f"  value    {_bytes(letter.value, MAX_VALUE_CHARS)}",
    ]
    if letter.times_redriven:
        lines.append(f"  back     after it had been redriven {_times(letter.times_redriven)}")
    return "\n".join((*lines, *(f"  redrive  {_fate_text(to, fate)}" for to, fate in fates.items())))


def settled_text(settled: "Settled") -> str:
    """What a search found."""
    if not sum(settled):
        return "no letter's sending was cut short more than 5 minutes ago"
    text = f"of letters whose sending was cut short, {settled.sent:,} are in their topic, {settled.not_sent:,} are not"
    if settled.unknown:
        text += (
            f"; {settled.unknown:,} were not found, but records are missing from the topic: they may have been there"
        )
    return text


def report_json(report: "Report", *, send: bool) -> dict[str, Any]:
    """What was sent, or would be."""
    return {
        "send": send,
        "letters": report.letters,
        "records": report.records,
        "would_send": {} if send else dict(report.free),
        "sent": dict(report.sent),
        "already_sent": report.already_sent,
        "under_way": report.under_way,
        "unknown": report.unknown,
        "not_sent": [each._asdict() for each in report.not_sent],
        "lost": [each._asdict() for each in report.lost],
        "stopped": report.stopped,
    }


def report_text(report: "Report", *, send: bool) -> str:
    """The same for a person."""
    lines = [f"{report.letters:,} letters of {report.records:,} records"]
    if report.letters > report.records:
        lines[0] += " (several pipelines, generations or operators have a letter of the same record: it is sent once)"
    counts, verb = (report.sent, "sent") if send else (report.free, "would be sent")
    lines += [f"{count:,} {verb} to {topic}" for topic, count in sorted(counts.items())] or [f"nothing {verb}"]
    if report.already_sent:
        lines.append(f"{report.already_sent:,} were sent before")
    if report.under_way:
        lines.append(
            f"{report.under_way:,} may still be on their way (a redrive is running, was killed or got no answer a"
            " moment ago): try again in 5 minutes"
        )
    if report.unknown:
        lines.append(
            f"{report.unknown:,} may have been sent: --settle looks for their header headrace-redrive in the topic,"
            " --resend-unknown sends them again"
        )
    lines += _refused("not sent", report.not_sent) + _refused("may have been sent (see --settle)", report.lost)
    if report.stopped:
        lines.append("stopped before all were tried")
    return "\n".join(lines if send else [*lines, "this was a dry run: add --send"])


def _refused(what: str, refused: "list[Refused]") -> list[str]:
    lines = [f"{what}: {each.record}: {plain(each.reason)}" for each in refused[:MAX_REFUSED]]
    more = len(refused) - MAX_REFUSED
    return [*lines, f"{what}: {more:,} more"] if more > 0 else lines


def _fate_json(to: Destination, fate: Fate) -> dict[str, Any]:
    return {
        **to._asdict(),
        "status": fate.status,
        "at": iso(fate.at_ms),
        "partition": fate.partition,
        "offset": fate.offset,
        "reason": fate.reason,
    }


def _fate_text(to: Destination, fate: Fate) -> str:
    where = f"{to.topic}-{fate.partition}@{fate.offset}" if fate.status == "sent" else to.topic
    because = f": {plain(fate.reason)}" if fate.reason else ""
    return f"{_STATUS[fate.status]} to {where} at {iso(fate.at_ms)} (cluster {plain(to.cluster)}){because}"


def _bytes(value: bytes | None, most: int) -> str:
    if value is None:
        return "null"
    text = cell(value)
    return text if len(text) <= most else f"{text[:most]}… ({len(value):,} bytes)"


def _base64(value: bytes | None) -> str | None:
    return None if value is None else b64encode(value).decode()


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
