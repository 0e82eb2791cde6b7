"""One connection to the store, as transactions and queries see it."""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from flowstone.errors import StoreUnavailable, ValidationError
from flowstone.state.dialect import Query, Row, Session

__all__ = ["Connection", "Query", "Row"]

log = logging.getLogger(__name__)

T = TypeVar("T")

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class Connection:
    """A connection to the store; used by one thread at a time, and always within a transaction.

    Statements are SQL text with `:name` parameters. Instants, dicts, lists and `fields.Json` may be given as they
    are. What a statement returns is read at once. Statements are written so that both databases take them.
    """

    __slots__ = ("_ended", "_session", "_writing")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._writing = False
        self._ended = False

    def execute(self, sql: str, parameters: Mapping[str, object] | None = None, /, **named: object) -> list[Row]:
        """The rows that a statement gives; parameters as a mapping, as keywords, or both.

        Raises:
            StoreUnavailable: the store failed, not the statement.
            ValidationError: a parameter is text or a number that the store can't hold.
        """
        return self._call(self._session.execute, sql, {**parameters, **named} if parameters else named)

    def change(self, sql: str, parameters: Mapping[str, object] | None = None, /, **named: object) -> int:
        """How many rows a statement inserted, updated or deleted; parameters as of `execute`.

        Cheaper than to ask for them with RETURNING, for which SQLite makes a table each time: 10 µs against 40.

        Raises:
            StoreUnavailable: the store failed, not the statement.
        """
        return self._call(self._session.change, sql, {**parameters, **named} if parameters else named)

    def executemany(self, sql: str, rows: Iterable[Mapping[str, object]]) -> None:
        """Run a statement once for each row of parameters.

        Raises:
            StoreUnavailable: the store failed, not the statement.
        """
        self._call(self._session.executemany, sql, rows)

    def run(self, query: Query) -> list[Row]:
        """The rows that a query of peewee's gives.

        Raises:
            StoreUnavailable: the store failed, not the query.
        """
        return self._call(self._session.run, query)

    def script(self, text: str) -> None:
        """Run the statements of a script, whose placeholders stand for what the database calls its types.

        Raises:
            StoreUnavailable: the store failed, not a statement.
        """
        types = self._session.column_types
        for statement in self._session.statements(_PLACEHOLDER.sub(lambda match: types[match[1]], text)):
            self._call(self._session.command, statement)

    def has_table(self, name: str) -> bool:
        """Whether the store has a table of this name."""
        return self._call(self._session.has_table, name)

    def exclude(self) -> None:
        """Let no other process change the tables until the transaction ends."""
        self._call(self._session.exclude)

    def now(self) -> datetime:
        """The instant by the clock of the database; of a store in a file, by that of this machine."""
        return self._call(self._session.now)

    def turn(self, name: str) -> bool:
        """Whether no other transaction has the turn of this name; it is ours then until the transaction ends."""
        return self._call(self._session.turn, name)

    def alone(self) -> bool:
        """Whether no runtime holds the store, and none will begin to write before the transaction ends."""
        return self._call(self._session.alone)

    @property
    def session_name(self) -> str | None:
        """What `is_gone` knows this connection's runtime by; None for a store that one runtime at a time has."""
        return self._session.name

    def is_gone(self, session: str | None) -> bool:
        """Whether the connection of a runtime that this names has ended."""
        return self._call(self._session.is_gone, session)

    def outlaw(self, boot: str) -> bool:
        """Let no transaction of a node begin until this one ends; False when one is in progress."""
        return self._call(self._session.outlaw, boot)

    def _call(self, method: Callable[..., T], *arguments: object) -> T:
        if self._ended:
            raise StoreUnavailable(f"store {self._session.place} ended the transaction", path=self._session.place)
        try:
            return method(*arguments)
        except self._session.faults as error:
            # A full disk or a lost connection may end the transaction: what follows would commit by itself.
            self._ended = self._writing and not self._session.in_transaction
            unavailable = self._session.translated(error)
            if unavailable is None:
                raise
            raise unavailable from error
        except (UnicodeEncodeError, OverflowError) as error:
            raise ValidationError(f"expected text and numbers that the store can hold, got: {error}") from error

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`: for the few statements that can't be written for both."""
        return self._session.dialect

    @property
    def driver(self) -> Any:
        """The driver's own connection (`sqlite3.Connection`, `psycopg.Connection`), within the transaction."""
        return self._session.driver

    def lock(self, table: str) -> str:
        """What makes a select lock its rows of `table`, so that they stay as they are until the transaction ends."""
        return self._session.locking.format(table)

    def lock_free(self, table: str) -> str:
        """As `lock`, for those rows that no other transaction has locked; leaves out the others."""
        return self._session.locking_free.format(table)

    @property
    def in_transaction(self) -> bool:
        """Whether the transaction that was begun is still open, and whole."""
        return self._session.in_transaction and not self._ended

    @property
    def lost(self) -> bool:
        """Whether the connection is gone, so that nobody knows what became of a commit that was not answered."""
        return self._session.lost

    def begin(self, *, write: bool) -> None:
        """Begin a transaction, on a new connection where the old one is lost.

        One that may write waits for locks, another keeps to one snapshot.
        """
        self.rollback()
        self._call(self._session.begin, write)
        self._writing = write

    def commit(self) -> None:
        """Make what the transaction wrote durable."""
        self._call(self._session.commit)
        self._writing = False

    def rollback(self) -> None:
        """End the transaction without a trace; harmless when it has ended by itself.

        A fault of the store is logged: there is nothing left to be saved, and the next `begin` tries again.
        """
        self._writing = self._ended = False
        try:
            self._session.rollback()
        except self._session.faults as error:
            log.warning("a transaction on store %s could not be rolled back: %s", self._session.place, error)

    def savepoint(self) -> None:
        """Mark the place to which `undo` goes back."""
        self._call(self._session.command, "savepoint one")

    def undo(self) -> None:
        """Take back what was written since the savepoint, and forget the savepoint."""
        self._ended = False
        self._call(self._session.command, "rollback to one")
        self.release()

    def release(self) -> None:
        """Keep what was written since the savepoint, and forget the savepoint."""
        self._call(self._session.command, "release one")

    def data_version(self) -> int:
        """A number that changes when another connection has committed; asked outside of transactions."""
        return self._call(self._session.data_version)

    def close(self) -> None:
        """Close the connection; what is not committed is lost."""
        self._session.close()
