"""Values on their way into the store and out of it.

Instants are fixed-width text in UTC, so that people can read and compare them in SQL; structures are JSON.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, overload

from flowstone.errors import ValidationError, shown

__all__ = ["Json", "bind", "bind_listed", "bind_named", "instant", "instant_text", "json_text", "json_value"]

_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_PLAIN = frozenset({type(None), str, int, float, bool, bytes})


@dataclass(frozen=True, slots=True)
class Json:
    """A value to be stored as JSON even where its own type has a form of its own: a text, a number, None."""

    value: Any


@lru_cache(maxsize=1024)
def instant_text(value: datetime) -> str:
    """The stored form of an aware instant.

    >>> instant_text(datetime(2025, 1, 15, 2, tzinfo=UTC))
    '2025-01-15T02:00:00.000000Z'

    Raises:
        ValidationError: the instant is naive.
    """
    if value.tzinfo is None:
        raise ValidationError(f"expected an aware instant, got: {value!r}; give it a time zone", value=value)
    return f"{value.astimezone(UTC).isoformat(timespec='microseconds')[:-6]}Z"


@overload
def instant(value: str | datetime) -> datetime:
    """A text is an instant."""


@overload
def instant(value: str | datetime | None) -> datetime | None:
    """None stays None."""


def instant(value: str | datetime | None) -> datetime | None:
    """The aware instant that a stored text stands for, where a database has no instants; None stays None.

    >>> instant("2025-01-15T02:00:00.000000Z")
    datetime.datetime(2025, 1, 15, 2, 0, tzinfo=datetime.timezone.utc)
    """
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def json_text(value: object) -> str:
    """A value as compact JSON.

    >>> json_text({"day": "2025-01-15", "rows": [1, 2]})
    '{"day":"2025-01-15","rows":[1,2]}'

    Raises:
        ValidationError: JSON has no form for it.
    """
    try:
        text = _COMPACT.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValidationError(f"expected a value that JSON can hold, got: {error}") from error
    # A lone surrogate is legal in JSON and in no database, unless it is escaped, which is how Python spells it too.
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def json_value(value: str | None) -> Any:
    """The value that a stored JSON text stands for; None, an absent one, stays None.

    >>> json_value('{"rows":[1,2]}')
    {'rows': [1, 2]}
    """
    return None if value is None else json.loads(value)


def bind(value: object) -> object:
    """A Python value as the database takes it: instants, structures and `Json` become text, others stay.

    Raises:
        ValidationError: no database holds values of this type.
    """
    if type(value) in _PLAIN:
        return value
    if isinstance(value, datetime):
        return instant_text(value)
    if isinstance(value, Json):
        return json_text(value.value)
    if isinstance(value, (dict, list, tuple)):
        return json_text(value)
    if isinstance(value, (str, int, float)):
        return value
    raise ValidationError(f"expected a value that the store can hold, got: {shown(value)}")


def bind_named(values: Mapping[str, object]) -> dict[str, object]:
    """The parameters of a statement, by name."""
    return {name: value if type(value) in _PLAIN else bind(value) for name, value in values.items()}


def bind_listed(values: Iterable[object]) -> list[object]:
    """The parameters of a statement, by position."""
    return [bind(value) for value in values]
