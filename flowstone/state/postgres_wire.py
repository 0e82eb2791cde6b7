"""Statements, values and rows as PostgreSQL's protocol has them.

Values travel as text. Numbers, truth values and instants name their type; the server infers the others from where they
stand, so a text may also be JSON. JSON comes back as text, for `fields.json_value` to read.
"""

import itertools
import re
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from flowstone.errors import ValidationError, shown
from flowstone.state.fields import bind, instant_text

__all__ = ["Reader", "Statement", "Value", "positional", "statement_of", "value_of"]

Value = tuple[int, bytes | None]
"""The type's number, 0 where the server is to infer it, and the text."""

BOOL, BYTEA, INT8, FLOAT8, TIMESTAMPTZ = 16, 17, 20, 701, 1184

_UNKNOWN = 0
_TOKEN = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|::|:([a-zA-Z_]\w*)|%s")

Statement = tuple[bytes, tuple[str, ...]]
"""A statement with `$1` for its first parameter, and the names of the parameters in that order."""


@lru_cache(maxsize=1024)
def statement_of(sql: str) -> Statement:
    """A statement with `:name` parameters, as the server takes it.

    >>> statement_of("select :a, ':b', :a::text from t where n = :n")
    (b"select $1, ':b', $1::text from t where n = $2", ('a', 'n'))
    """
    names: dict[str, int] = {}

    def number(match: re.Match[str]) -> str:
        name = match[1]
        return match[0] if name is None else f"${names.setdefault(name, len(names) + 1)}"

    return _TOKEN.sub(number, sql).encode(), tuple(names)


def positional(sql: str) -> str:
    """A statement with a `%s` for each parameter, as one with the parameters `:p0`, `:p1`, …

    >>> positional("select '%s' where a = %s and b = %s")
    "select '%s' where a = :p0 and b = :p1"
    """
    numbers = itertools.count()
    return _TOKEN.sub(lambda match: f":p{next(numbers)}" if match[0] == "%s" else match[0], sql)


def value_of(value: object) -> Value:
    """A Python value as the server takes it.

    Raises:
        ValidationError: a text with a NUL, which PostgreSQL can't hold, or a value that has no stored form.
    """
    write = _WRITERS.get(type(value))
    if write is not None:
        return write(value)
    bound = bind(value)
    if not isinstance(bound, str):
        raise ValidationError(f"expected a value that the store can hold, got: {shown(value)}")
    return _text(str(bound))


def _int(value: int) -> Value:
    if not -(2**63) <= value < 2**63:
        raise OverflowError(f"{value} has more than 64 bits")
    return INT8, b"%d" % value


def _text(value: str) -> Value:
    encoded = value.encode()
    if b"\0" in encoded:
        raise ValidationError(f"expected text without NUL, which PostgreSQL can't hold, got: {shown(value)}")
    return _UNKNOWN, encoded


_WRITERS: dict[type, Callable[[Any], Value]] = {
    type(None): lambda value: (_UNKNOWN, None),
    str: _text,
    int: _int,
    bool: lambda value: (BOOL, b"t" if value else b"f"),
    float: lambda value: (FLOAT8, repr(value).encode()),
    bytes: lambda value: (BYTEA, b"\\x" + value.hex().encode()),
    datetime: lambda value: (TIMESTAMPTZ, instant_text(value).encode()),
}


def _instant(text: bytes) -> datetime:
    return datetime.fromisoformat(text.decode()).replace(tzinfo=UTC)


def _number(text: bytes) -> int | Decimal:
    """A sum of integers is an integer in Python."""
    return int(text) if text.lstrip(b"-").isdigit() else Decimal(text.decode())


_READERS: dict[int, Callable[[bytes], Any]] = {
    BOOL: b"t".__eq__,
    BYTEA: lambda text: bytes.fromhex(text[2:].decode()),
    INT8: int,
    21: int,  # int2
    23: int,  # int4
    26: int,  # oid
    700: float,  # float4
    FLOAT8: float,
    1700: _number,  # numeric
    TIMESTAMPTZ: _instant,
}


class _Named:
    """A row's columns by name."""

    __slots__ = ()
    _places: dict[str, int]

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            try:
                key = self._places[key]
            except KeyError:
                raise IndexError(f"no column {key!r}; the row has {', '.join(self._places)}") from None
        return tuple.__getitem__(self, key)  # type: ignore[call-overload]  # the other base is a tuple

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"no column {name!r}; the row has {', '.join(self._places)}")

    def keys(self) -> Iterable[str]:
        """The names of the columns."""
        return self._places.keys()


@lru_cache(maxsize=512)
def _row_class(names: tuple[str, ...]) -> Any:
    # `namedtuple` reads attributes in C, and lets a column be named `count` or `index` like a tuple's methods.
    fields = namedtuple("Row", names, rename=True)  # type: ignore[misc]  # the columns are those of a statement
    places = {name: place for place, name in enumerate(names)}
    return type("Row", (_Named, fields), {"__slots__": (), "_places": places})


class Reader:
    """Reads the rows of one statement's answers."""

    __slots__ = ("_columns", "_make")

    def __init__(self, names: tuple[str, ...], types: tuple[int, ...]) -> None:
        self._make = _row_class(names)._make
        self._columns = [(place, _READERS.get(number, bytes.decode)) for place, number in enumerate(types)]

    def rows(self, count: int, get: Callable[[int, int], bytes | None]) -> list[Any]:
        """The rows of an answer of `count`, whose texts `get(row, column)` gives."""
        return [self._make(self._values(row, get)) for row in range(count)]

    def _values(self, row: int, get: Callable[[int, int], bytes | None]) -> Iterator[Any]:
        for place, read in self._columns:
            text = get(row, place)
            yield None if text is None else read(text)
