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
EXTRAS = {**dict.fromkeys(POSTGRESQL, "postgres"), "mysql": "mysql"}
"""What brings the driver."""

LATE = ("statement timeout", "interrupted", "maximum statement execution time", "timed out")
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
    def connected(self, *, utc: bool = False) -> Iterator[Any]:
        """The database, connected; `utc` where instants without a zone depend on that of the session.

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
                    if utc and self._kind in MYSQL:
                        database.execute_sql("set session time_zone = '+00:00'")
                yield database
            finally:
                if opened:
                    database.close()
        except (peewee.PeeweeException, OSError) as error:
            text = str(presentable(str(error).strip().partition("\n")[0]))
            if isinstance(error, peewee.ImproperlyConfigured) and self._kind in EXTRAS:
                text = f"{text} pip install 'flowstone[{EXTRAS[self._kind]}]'"
            late = any(sign in text for sign in LATE)
            raise PollError(text, code="timeout" if late else "database_error") from None

    @property
    def _kind(self) -> str:
        return str(self._url).partition("://")[0].partition("+")[0]

    def _limit(self, database: Any) -> None:
        """Let no statement write, or take longer than the time."""
        if self._kind == "sqlite":
            until = time.monotonic() + self._timeout
            database.connection().set_progress_handler(lambda: time.monotonic() > until, 10_000)
        elif self._kind in MYSQL:
            database.execute_sql("set session transaction read only")
            version = str(database.execute_sql("select version()").fetchone()[0])
            # The two have the same protocol, and no setting for this in common; one is in seconds.
            maria, milliseconds = "mariadb" in version.lower(), int(self._timeout * 1000)
            limit = f"max_statement_time = {milliseconds / 1000}" if maria else f"max_execution_time = {milliseconds}"
            database.execute_sql(f"set session {limit}")


def select(database: Any, sql: str, *parameters: Any) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The names and the rows that a query gives, and nothing left in a transaction.

    Without parameters per cent signs are what they are; with some they are doubled where drivers look for `%s`.
    """
    import peewee

    if parameters:
        cursor = database.execute_sql(sql, parameters)
    else:
        # peewee hands an empty tuple on, for which drivers look for placeholders all the same.
        with peewee.__exception_wrapper__:  # type: ignore[attr-defined]  # which the stubs leave out
            cursor = database.cursor()
            cursor.execute(sql)
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
        if scheme == "mysql":
            return _mysql(parse(url, unquote_password=True, unquote_user=True), timeout)
        return connect(url, unquote_password=True, unquote_user=True, **options)
    except (peewee.PeeweeException, RuntimeError, ValueError) as error:
        # What peewee says of a URL holds the URL.
        text = f"a {scheme} URL that peewee can't open: {type(error).__name__}"
        raise PollError(text, code="database_error") from None


def _mysql(given: dict[str, Any], timeout: float) -> Any:
    """A database of MySQL's kind, whose drivers deprecate the name that peewee has for the password."""
    import peewee

    if "passwd" in given:
        given["password"] = given.pop("passwd")
    # The server ends a statement that takes too long; this is for a server that is silent.
    limits = {"connect_timeout": CONNECT, "read_timeout": int(timeout) + CONNECT}
    return peewee.MySQLDatabase(**limits | given)
