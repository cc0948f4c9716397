"""How values are written: what a spelling has to answer, and how msgspec gets to ask it."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from headrace.avro_types import Branch, Decimal, Enum, Fixed, Scalar, Union


class Spelling(Protocol):
    """How values are written."""

    guesses: bool
    """Whether a union's value need not say of which type it is."""

    def scalar(self, of: Scalar | Decimal | Fixed | Enum, raw: Any) -> Any:
        """The value, or ValueError."""
        ...

    def branches(self, of: Union, raw: Any) -> Iterator[tuple[Branch, Any]]:
        """The branches that a union's value may be, likeliest first, and the value in each."""
        ...

    def tagged(self, tag: str, raw: Any) -> Any:
        """What is in a value that says its own type, if it says this one; else UNSET."""
        ...


class _AnythingFits(type):
    """Makes msgspec take what the hook returns, instead of an object of a class that only tells it to ask."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return True


def spelled(asked: Any, raw: Any) -> Any:
    """What msgspec calls for the types that it does not know.

    Raises:
        ValueError: the value is none of the type.
    """
    return asked.value_of(raw)


def custom_type(name: str, value_of: Callable[[Any], Any]) -> Any:
    """A type that msgspec does not know: `spelled` then asks `value_of`, which raises ValueError for what is none."""
    return _AnythingFits(name, (), {"value_of": staticmethod(value_of)})
