"""Pages come newest first, and what is written meanwhile shifts none."""

from collections.abc import Callable
from typing import Any

import pytest

from flowstone.errors import ValidationError
from flowstone.state.connection import Connection
from flowstone.state.database import Database
from flowstone.state.page import Page, page

AT = "2025-01-{:02}T00:00:00.000000Z"


@pytest.fixture
def days(database: Database) -> Callable[..., Page[int]]:
    """Ten rows with the ids 1 to 10, every second one red, and a reader of their pages."""

    def fill(connection: Connection) -> None:
        connection.execute("create table day (id integer primary key, colour text, at text)")
        for number in range(1, 11):
            row = {"n": number, "colour": "red" if number % 2 else "blue", "at": AT.format(number)}
            connection.execute("insert into day values (:n, :colour, :at)", row)

    database.transact(fill)

    def read(filters: dict[str, object] | None = None, **options: Any) -> Page[int]:
        return database.read(lambda connection: page(connection, "day", lambda row: row.id, filters or {}, **options))

    return read


def test_rows_come_newest_first(days: Callable[..., Page[int]]) -> None:
    found = days()
    assert found == tuple(range(10, 0, -1))
    assert found.next_cursor is None


def test_pages_continue_without_gap_or_repeat(days: Callable[..., Page[int]]) -> None:
    seen: list[int] = []
    cursor: str | None = None
    sizes = []
    while True:
        found = days(limit=4, cursor=cursor)
        seen += found
        sizes.append(len(found))
        cursor = found.next_cursor
        if cursor is None:
            break
    assert seen == list(range(10, 0, -1))
    assert sizes == [4, 4, 2]


def test_a_page_that_ends_with_the_last_row_is_the_last(days: Callable[..., Page[int]]) -> None:
    assert days(limit=10).next_cursor is None
    assert days(limit=9).next_cursor == "2"


def test_what_is_written_meanwhile_shifts_no_page(database: Database, days: Callable[..., Page[int]]) -> None:
    first = days(limit=5)
    database.transact(lambda connection: connection.execute("insert into day values (11, 'red', '2025-02-01')"))
    assert days(limit=5, cursor=first.next_cursor) == (5, 4, 3, 2, 1)


def test_filters_that_are_none_hold_for_all(days: Callable[..., Page[int]]) -> None:
    assert days({"colour": "red", "at": None}) == (9, 7, 5, 3, 1)


def test_since_is_inclusive(days: Callable[..., Page[int]]) -> None:
    assert days(since=AT.format(9)) == (10, 9)


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "3", None, 2**63])
def test_a_limit_is_at_least_one_and_at_most_a_billion(days: Callable[..., Page[int]], limit: object) -> None:
    with pytest.raises(ValidationError, match="limit"):
        days(limit=limit)


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", "9" * 30, 7, "٣"])
def test_a_cursor_that_no_page_gave_is_refused(days: Callable[..., Page[int]], cursor: object) -> None:
    with pytest.raises(ValidationError, match="cursor"):
        days(cursor=cursor)
