"""Values of columns as JSON and back, the mark less a lookback, and what a row is known by; pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

__all__ = ["before", "identity", "later", "readable", "restored", "storable"]

_READERS: Mapping[str, Any] = {
    "decimal": Decimal,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "bytes": bytes.fromhex,
    "uuid": UUID,
}


def storable(value: Any) -> Any:
    """A value as JSON from which `restored` makes it again; what has no such form is text.

    >>> storable(Decimal("1.50")), storable(7), restored(storable(date(2025, 1, 15)))
    ({'decimal': '1.5'}, 7, datetime.date(2025, 1, 15))
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if value - value == 0 else str(value)
        case Decimal():
            return {"decimal": format(value.normalize(), "f") if value.is_finite() else str(value)}
        case datetime():
            return {"datetime": value.isoformat()}
        case date():
            return {"date": value.isoformat()}
        case bytes() | bytearray() | memoryview():
            return {"bytes": bytes(value).hex()}
        case UUID():
            return {"uuid": str(value)}
    return str(value)


def restored(value: Any) -> Any:
    """The value that `storable` stored."""
    if isinstance(value, dict):
        ((kind, text),) = value.items()
        return _READERS[kind](text)
    return value


def readable(value: Any) -> Any:
    """A value as people read it in JSON."""
    stored = storable(value)
    return next(iter(stored.values())) if isinstance(stored, dict) else stored


def before(mark: Any, lookback: float) -> Any:
    """The mark less a lookback, in the mark's own units, seconds for instants; texts that hold an instant too.

    Raises:
        ValueError: nothing can be taken from such a mark.
    """
    if not lookback:
        return mark
    if isinstance(mark, datetime):
        return mark - timedelta(seconds=lookback)
    if isinstance(mark, date):
        # Whole days, and none too few.
        return mark - timedelta(days=-int(-lookback // 86_400))
    if isinstance(mark, Decimal):
        return mark - Decimal(str(lookback))
    if isinstance(mark, int) and lookback == int(lookback):
        return mark - int(lookback)
    if isinstance(mark, float | int):
        return mark - lookback
    if isinstance(mark, str) and mark[:1].isdigit():
        separator = "T" if "T" in mark else " "
        return (datetime.fromisoformat(mark) - timedelta(seconds=lookback)).isoformat(sep=separator)
    raise ValueError(f"a lookback needs a column of numbers or instants, and the newest value is {mark!r}")


def later(mark: Any, other: Any) -> Any:
    """The later of two marks; the other one where they can't be compared."""
    try:
        return mark if mark is not None and mark > other else other
    except TypeError:
        return other


def identity(table: str, mark: Any, key: Sequence[Any], occurrence: int) -> str:
    """What a row is known by: its mark, its key, and, where rows are equal, which of them it is."""
    told = json.dumps([storable(mark), [storable(value) for value in key], occurrence], sort_keys=True)
    return f"{table}:{hashlib.sha256(told.encode('utf-8', 'backslashreplace')).hexdigest()[:40]}"
