"""What a click's payload says, read with the standard library: the audit's own reading of `clicks.avsc`."""

import datetime as dt
import math
import re
from typing import Any

from headrace_cli.audit.records import WRONG_FIELD, YEARS_MS, Dead, Produced, canonical_json, json_object, payload
from headrace_cli.audit.twice import earlier_values, path_of

REQUIRED = ("user_id", "page", "event_type", "timestamp")
OPTIONAL = ("session_id", "value", "referrer", "platform")

_RFC_3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?(?:([Zz])|([+-])(\d\d):?(\d\d))?", re.ASCII)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def read_click(record: Produced) -> dict[str, Any]:
    """The click's columns; `timestamp` is epoch milliseconds, `_rescued` what has no column, as canonical JSON.

    Raises:
        Dead: no JSON object, or a required field is missing or of the wrong type.
    """
    text = payload(record)
    members = json_object(text, any_size=True)
    click = {name: _required(name, members) for name in REQUIRED}
    rescued = {path_of("", name): value for name, value in members.items() if name not in REQUIRED + OPTIONAL}
    for name in OPTIONAL:
        value = members.get(name)
        click[name] = _optional(name, value)
        if value is not None and click[name] is None:
            rescued[name] = value
    rescued |= earlier_values(text)
    click["_rescued"] = canonical_json(rescued) if rescued else None
    return click


def _required(name: str, members: dict[str, Any]) -> Any:
    value = members.get(name)
    if name == "timestamp":
        return _time_ms(value)
    if not isinstance(value, str):
        raise Dead(WRONG_FIELD)
    return value


def _optional(name: str, value: Any) -> Any:
    if name != "value":
        return value if isinstance(value, str) else None
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.inf
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _time_ms(value: Any) -> int:
    """Epoch milliseconds of an integer or of an RFC 3339 text."""
    if isinstance(value, str):
        value = _text_ms(value)
    if not isinstance(value, int) or isinstance(value, bool) or value not in YEARS_MS:
        raise Dead(WRONG_FIELD)
    return value


def _text_ms(text: str) -> int:
    """Epoch milliseconds; their parts are cut off, and without a zone it is UTC."""
    match = _RFC_3339.fullmatch(text)
    if match is None:
        raise Dead(WRONG_FIELD)
    day, time, fraction, _, sign, hours, minutes = match.groups()
    try:
        moment = dt.datetime.fromisoformat(f"{day}T{time}+00:00")
    except ValueError:
        raise Dead(WRONG_FIELD) from None
    time_ms = (moment - _EPOCH) // dt.timedelta(milliseconds=1)
    # Digits past the microsecond are rounded to it, as by everybody whose clock has microseconds.
    time_ms += round(int((fraction or "0").ljust(7, "0")[:7]) / 10) // 1000
    if sign is None:
        return time_ms
    if int(hours) >= 24 or int(minutes) >= 60:  # noqa: PLR2004 - hours of a day, minutes of an hour
        raise Dead(WRONG_FIELD)
    offset_ms = (int(hours) * 60 + int(minutes)) * 60_000
    return time_ms + offset_ms if sign == "-" else time_ms - offset_ms
