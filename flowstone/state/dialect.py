"""What a database has to offer to keep a store: everything that differs between SQLite and PostgreSQL.

`sqlite` and `postgres` fulfil it; whatever is built on top knows no more than this.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Protocol

from flowstone.errors import StoreUnavailable

__all__ = ["Parameters", "Query", "Row", "Server", "Session"]

Parameters = Mapping[str, object]


class Row(Protocol):
    """One row of an answer: `row.column` and `row["column"]` are the same, and iterating gives the values."""

    def __getattr__(self, name: str) -> Any: ...

    def __getitem__(self, key: str | int) -> Any: ...

    def __iter__(self) -> Iterator[Any]: ...

    def __len__(self) -> int: ...

    def keys(self) -> Collection[str]:
        """The names of the columns."""


class Query(Protocol):
    """What a query of peewee's looks like."""

    def sql(self) -> tuple[str, list[Any]]:
        """The statement and its parameters by position."""


class Session(Protocol):
    """One connection to a database, used by one thread at a time.

    Statements are SQL text with `:name` parameters. What goes wrong is raised as the driver has it; `translated` tells
    faults of the store from those of a statement.
    """

    dialect: str
    """`sqlite` or `postgresql`: for the few statements that can't be written for both."""

    place: str
    """Where the store is, as errors show it."""

    name: str | None
    """What `is_gone` knows the connections of this runtime by; None where one runtime at a time has the store."""

    faults: type[Exception]
    """The driver's errors."""

    column_types: Mapping[str, str]
    """What the placeholders of a migration stand for."""

    locking: str
    """The end of a select that locks its rows of table `{}`; empty where one transaction writes at a time."""

    locking_free: str
    """The same, leaving out the rows that others have locked."""

    @property
    def in_transaction(self) -> bool:
        """Whether the transaction that was begun is still open, and takes statements."""

    @property
    def lost(self) -> bool:
        """Whether the connection is gone, so that nobody knows what became of a commit that was not answered."""

    @property
    def driver(self) -> Any:
        """The driver's own connection, on which users' statements join the transaction."""

    def execute(self, sql: str, parameters: Parameters) -> list[Row]:
        """The rows that a statement gives."""

    def change(self, sql: str, parameters: Parameters) -> int:
        """How many rows a statement changed."""

    def executemany(self, sql: str, rows: Iterable[Parameters]) -> None:
        """Run a statement once for each row of parameters."""

    def run(self, query: Query) -> list[Row]:
        """The rows that a query of peewee's gives."""

    def command(self, sql: str) -> None:
        """Run a statement that has no parameters and gives no rows."""

    def begin(self, write: bool) -> None:
        """Begin a transaction that may write, or one that keeps to one snapshot; connect again where need be."""

    def commit(self) -> None:
        """Make what the transaction wrote durable."""

    def rollback(self) -> None:
        """End the transaction without a trace."""

    def exclude(self) -> None:
        """Let no other process change the tables until the transaction ends."""

    def now(self) -> datetime:
        """The instant by the clock of the database; of one in a file, by that of this machine."""

    def turn(self, name: str) -> bool:
        """Whether no other transaction has the turn of this name; it is ours then until the transaction ends."""

    def alone(self) -> bool:
        """Whether no runtime holds the store, and none will begin to write before the transaction ends."""

    def is_gone(self, session: str | None) -> bool:
        """Whether the connection of a runtime that this names has ended."""

    def outlaw(self, boot: str) -> bool:
        """Let no transaction of a node begin until this one ends; False when one is in progress."""

    def has_table(self, name: str) -> bool:
        """Whether the store has a table of this name."""

    def statements(self, script: str) -> Iterable[str]:
        """A script in parts that `command` takes."""

    def data_version(self) -> int:
        """A number that changes when another connection has committed; asked outside of transactions."""

    def translated(self, error: Exception) -> StoreUnavailable | None:
        """The error for a fault of the store; None when the fault is the statement's."""

    def close(self) -> None:
        """Close the connection; what is not committed is lost."""


class Server(Protocol):
    """A store's place, ready to be connected to; ours, where it was opened exclusively, until it is closed."""

    name: str
    """A short name, for threads."""

    url: str
    """The URL without its password."""

    private: bool
    """Whether only this process can see the store."""

    shared: bool
    """Whether several runtimes may have the store at a time."""

    boot: str | None
    """The node whose transactions these are: with its end they are refused. None refuses none."""

    def writer(self) -> Session:
        """A new session that may write."""

    def reader(self) -> Session:
        """A new session that never writes."""

    def apart(self) -> Session:
        """A new session for transactions of its own beside the writer's."""

    def close(self) -> None:
        """Let go what was taken."""
