"""Pages of history: rows of a table newest first, continued by a cursor that later rows never shift."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Generic, TypeVar

from flowstone.errors import ValidationError, shown
from flowstone.state.connection import Connection, Row

__all__ = ["Page", "page"]

T = TypeVar("T")

LARGEST = 1_000_000_000
"""Rows of a page."""


class Page(tuple[T, ...], Generic[T]):
    """A tuple of rows; `next_cursor` continues after the last one, and is None on the last page."""

    next_cursor: str | None = None


def page(
    connection: Connection,
    table: str,
    make: Callable[[Row], T],
    filters: Mapping[str, object],
    *,
    since: datetime | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[T]:
    """Rows of `table` whose columns equal the filters that are not None, and `at` not before `since`, by falling `id`.

    Raises:
        ValidationError: a cursor that no page gave, or a limit below 1 or above LARGEST.
    """
    size = _size(limit)
    given = {column: value for column, value in filters.items() if value is not None}
    conditions = [f"{column} = :{column}" for column in given]
    if cursor is not None:
        conditions.append("id < :cursor")
    if since is not None:
        conditions.append("at >= :since")
    where = " and ".join(conditions) or "true"
    sql = f"select * from {table} where {where} order by id desc limit :limit"
    # One row more than asked for tells whether another page follows.
    rows = connection.execute(sql, given, limit=size + 1, cursor=_position(cursor), since=since)
    found = Page(make(row) for row in rows[:size])
    if len(rows) > size:
        found.next_cursor = str(rows[size - 1].id)
    return found


def _size(limit: object) -> int:
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= LARGEST:
        raise ValidationError(f"expected limit to be an int of at least 1 and at most {LARGEST:,}, got: {shown(limit)}")
    return limit


def _position(cursor: object) -> int:
    if cursor is None:
        return 0
    if not isinstance(cursor, str) or not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise ValidationError(f"expected cursor to be the next_cursor of an earlier page, got: {shown(cursor)}")
    return int(cursor)
