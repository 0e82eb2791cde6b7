"""A database that is only read, within a time: opened from a URL of peewee's, or the user's own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from flowstone.errors import ValidationError
from flowstone.sensors.configuration import presentable
from flowstone.sensors.sensor import PollError

__all__ = ["POSTGRESQL", "Reader", "check_url", "select"]

POSTGRESQL = ("postgres", "postgresql", "psycopg3")
MYSQL = ("mysql", "mysqlconnector", "mariadbconnector")
LATE = ("statement timeout", "interrupted", "maximum statement execution time")
CONNECT = 10
"""Seconds that a connection may take to be made."""


def check_url(url: object) -> str:
    """The URL, when it may be one of peewee's.

    Raises:
        ValidationError: it is none, or names a database that lives no longer than its connection.
    """
    scheme = url.partition("://")[0] if isinstance(url, str) and "://" in url else None
    if not isinstance(url, str) or scheme is None:
        raise ValidationError("expected url to be one of peewee's, like sqlite:///shop.db or postgresql://host/shop")
    if scheme == "sqlite" and (":memory:" in url or not url.partition(":///")[2]):
        raise ValidationError("expected url to name a file; give a database in memory as database=")
    return url


class Reader:
    """Runs queries; each in a connection that is made for it, unless the user's own is open already."""

    def __init__(self, url: str | None, database: Any, timeout: float) -> None:
        self._url = url
        self._given = database
        self._timeout = timeout

    @contextmanager
    def connected(self) -> Iterator[Any]:
        """The database, connected.

        Raises:
            PollError: it can't be reached or refuses the query (`database_error`), or takes too long (`timeout`).
        """
        import peewee

        database = self._given if self._url is None else _opened(self._url, self._timeout)
        try:
            opened = database.connect(reuse_if_open=True)
            try:
                if self._url is not None:
                    self._limit(database)
                yield database
            finally:
                if opened:
                    database.close()
        except (peewee.PeeweeException, OSError) as error:
            text = str(presentable(str(error).strip().partition("\n")[0]))
            late = any(sign in text for sign in LATE)
            raise PollError(text, code="timeout" if late else "database_error") from None

    def _limit(self, database: Any) -> None:
        """Let no statement write, or take longer than the time."""
        scheme = str(self._url).partition("://")[0].partition("+")[0]
        if scheme == "sqlite":
            until = time.monotonic() + self._timeout
            database.connection().set_progress_handler(lambda: time.monotonic() > until, 10_000)
        elif scheme in MYSQL:
            database.execute_sql("set session transaction read only")
            database.execute_sql(f"set session max_execution_time = {int(self._timeout * 1000)}")


def select(database: Any, sql: str, parameters: tuple[Any, ...] = ()) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The names and the rows that a query gives, and nothing left in a transaction."""
    cursor = database.execute_sql(sql, parameters)
    rows = [tuple(row) for row in cursor.fetchall()]
    return [column[0] for column in cursor.description or ()], rows


def _opened(url: str, timeout: float) -> Any:
    import peewee
    import playhouse.db_url

    scheme, _, rest = url.partition("://")
    connect: Any = playhouse.db_url.connect
    parse: Any = playhouse.db_url.parse
    if scheme == "sqlite":
        path = parse(url)["database"]
        return peewee.SqliteDatabase(f"file:{quote(path)}?mode=ro", uri=True, timeout=min(timeout, 5.0))
    options: dict[str, Any] = {}
    if scheme in POSTGRESQL:
        # The plain scheme takes psycopg2 where it can be imported.
        url = f"psycopg3://{rest}"
        given = parse(url, unquote_password=True, unquote_user=True).get("options", "")
        limits = f"-c default_transaction_read_only=on -c statement_timeout={int(timeout * 1000)}"
        options = {"options": f"{given} {limits}".strip(), "connect_timeout": CONNECT}
    try:
        return connect(url, unquote_password=True, unquote_user=True, **options)
    except (peewee.PeeweeException, RuntimeError, ValueError) as error:
        # What peewee says of a URL holds the URL.
        text = f"a {scheme} URL that peewee can't open: {type(error).__name__}"
        raise PollError(text, code="database_error") from None
