"""One connection to the store, as transactions and queries see it."""

import logging
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from flowstone.errors import StoreUnavailable
from flowstone.state import sqlite
from flowstone.state.fields import bind_listed, bind_named

__all__ = ["Connection", "Query", "Row"]

log = logging.getLogger(__name__)


class Row(sqlite3.Row):
    """One row of an answer: `row.column` and `row["column"]` are the same."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except IndexError:
            raise AttributeError(f"no column {name!r}; the row has {', '.join(self.keys())}") from None

    def __repr__(self) -> str:
        return f"Row({', '.join(f'{name}={self[name]!r}' for name in self.keys())})"


class Query(Protocol):
    """What a query of peewee's looks like."""

    def sql(self) -> tuple[str, list[Any]]:
        """The statement and its parameters by position."""


class Connection:
    """A connection to the store; used by one thread at a time, and always within a transaction.

    Statements are SQL text with `:name` parameters. Instants, dicts, lists and `fields.Json` may be given as they
    are. What a statement returns is read at once.
    """

    __slots__ = ("_lost", "_path", "_raw", "_writing")

    def __init__(self, raw: sqlite3.Connection, path: str) -> None:
        raw.row_factory = Row
        self._raw = raw
        self._path = path
        self._writing = False
        self._lost = False

    def execute(self, sql: str, parameters: Mapping[str, object] | None = None, /, **named: object) -> list[Row]:
        """The rows that a statement gives; parameters as a mapping, as keywords, or both.

        Raises:
            StoreUnavailable: the store failed, not the statement.
        """
        rows: list[Row] = self._call(
            self._raw.execute, sql, bind_named({**parameters, **named} if parameters else named)
        )
        return rows

    def change(self, sql: str, parameters: Mapping[str, object] | None = None, /, **named: object) -> int:
        """How many rows a statement inserted, updated or deleted; parameters as of `execute`.

        Cheaper than to ask for them with RETURNING, for which SQLite makes a table each time: 10 µs against 40.

        Raises:
            StoreUnavailable: the store failed, not the statement.
        """
        bound = bind_named({**parameters, **named} if parameters else named)
        changed: int = self._call(self._raw.execute, sql, bound, take=_rowcount)
        return changed

    def executemany(self, sql: str, rows: Iterable[Mapping[str, object]]) -> None:
        """Run a statement once for each row of parameters.

        Raises:
            StoreUnavailable: the store failed, not the statement.
        """
        self._call(self._raw.executemany, sql, [bind_named(row) for row in rows])

    def run(self, query: Query) -> list[Row]:
        """The rows that a query of peewee's gives.

        Raises:
            StoreUnavailable: the store failed, not the query.
        """
        sql, parameters = query.sql()
        rows: list[Row] = self._call(self._raw.execute, sql, bind_listed(parameters))
        return rows

    def _call(self, method: Any, sql: str, parameters: Any, take: Any = sqlite3.Cursor.fetchall) -> Any:
        if self._lost:
            raise StoreUnavailable(f"store {self._path} ended the transaction", path=self._path)
        try:
            return take(method(sql, parameters))
        except sqlite3.Error as error:
            # A full disk or an I/O error may end the transaction: what follows would commit by itself.
            self._lost = self._writing and not self._raw.in_transaction
            unavailable = sqlite.translated(error, self._path)
            if unavailable is None:
                raise
            raise unavailable from error

    @property
    def in_transaction(self) -> bool:
        """Whether the transaction that was begun is still open, and whole."""
        return self._raw.in_transaction and not self._lost

    def begin(self, *, write: bool) -> None:
        """Begin a transaction: one that may write waits for the write lock, another keeps to one snapshot."""
        self.rollback()
        self._call(self._raw.execute, "begin immediate" if write else "begin", ())
        self._writing = write

    def commit(self) -> None:
        """Make what the transaction wrote durable."""
        self._call(self._raw.execute, "commit", ())
        self._writing = False

    def rollback(self) -> None:
        """End the transaction without a trace; harmless when it has ended by itself.

        A fault of the store is logged: there is nothing left to be saved, and the next `begin` tries again.
        """
        self._writing = self._lost = False
        if self._raw.in_transaction:
            try:
                self._raw.rollback()
            except sqlite3.Error as error:
                log.warning("a transaction on store %s could not be rolled back: %s", self._path, error)

    def savepoint(self) -> None:
        """Mark the place to which `undo` goes back."""
        self._call(self._raw.execute, "savepoint one", ())

    def undo(self) -> None:
        """Take back what was written since the savepoint, and forget the savepoint."""
        self._call(self._raw.execute, "rollback to one", ())
        self.release()

    def release(self) -> None:
        """Keep what was written since the savepoint, and forget the savepoint."""
        self._call(self._raw.execute, "release one", ())

    def data_version(self) -> int:
        """A number that changes when another connection has committed; asked outside of transactions."""
        return int(self._call(self._raw.execute, "pragma data_version", ())[0][0])

    def close(self) -> None:
        """Close the connection; what is not committed is lost."""
        self._raw.close()


def _rowcount(cursor: sqlite3.Cursor) -> int:
    return cursor.rowcount
