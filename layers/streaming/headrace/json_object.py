"""One JSON object of unknown fields, its nesting bounded."""

from decimal import Decimal
from typing import Any

import msgspec

from headrace.errors import PoisonError

# Ours, because the interpreter's own limit depends on the caller's stack, and a record's fate must not.
MAX_NESTING = 64

_EXACT = msgspec.json.Decoder(float_hook=Decimal)
_EXACT_TEXT = msgspec.json.Encoder(decimal_format="number")


def text(members: Any) -> str:
    """JSON of what `parse` found; numbers with a point as they were."""
    return _EXACT_TEXT.encode(members).decode()


def parse(payload: bytes, *, exact: bool = False) -> dict[str, Any]:
    """The object's members.

    Args:
        payload: the JSON text.
        exact: whether numbers with a point or an exponent become decimals, of any size, instead of floats.

    Raises:
        PoisonError: `not_utf8`, `invalid_json` (also when nested deeper than `MAX_NESTING`), `not_an_object`.
    """
    try:
        members = _EXACT.decode(payload) if exact else msgspec.json.decode(payload)
    except UnicodeDecodeError as error:
        raise PoisonError("not_utf8", str(error)) from None
    except msgspec.MsgspecError as error:
        raise PoisonError("invalid_json", str(error)) from None
    except RecursionError:
        raise _too_nested() from None
    if not isinstance(members, dict):
        raise PoisonError("not_an_object", f"a JSON {type(members).__name__}")
    if payload.count(b"{") + payload.count(b"[") > MAX_NESTING and _nesting(members) > MAX_NESTING:
        raise _too_nested()
    return members


def _nesting(value: Any) -> int:
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [item for box in level for item in (box.values() if isinstance(box, dict) else box)]
    return depth


def _too_nested() -> PoisonError:
    return PoisonError("invalid_json", f"nested deeper than {MAX_NESTING} levels")
