"""A store in a file of SQLite, or in a private one that lives no longer than the process."""

import atexit
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from typing import Any

from actors.clock import RealClock
from flowstone.errors import StoreUnavailable
from flowstone.state.dialect import Parameters, Query
from flowstone.state.dialect import Row as AnyRow
from flowstone.state.fields import bind_listed, bind_named
from flowstone.state.lock import StoreLock

__all__ = ["COLUMN_TYPES", "Row", "SQLiteServer", "SQLiteSession", "connect", "statements"]

COLUMN_TYPES = {
    "id": "integer not null primary key autoincrement",
    "int": "integer",
    "float": "real",
    "instant": "text",
    "json": "text",
    "bool": "integer",
    "strict": "strict",
}
"""What the placeholders of a migration stand for."""

STATEMENT_CACHE = 512
WAL_ATTEMPTS = 100
WAL_PAUSE = 0.02

_RETRYABLE = {
    sqlite3.SQLITE_BUSY: "another process is writing to it",
    sqlite3.SQLITE_LOCKED: "another connection is using it",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk gave an error",
    sqlite3.SQLITE_CANTOPEN: "the file can't be opened",
    sqlite3.SQLITE_PROTOCOL: "the file's locks gave an error",
    sqlite3.SQLITE_NOMEM: "memory ran out",
}
_LASTING = {
    sqlite3.SQLITE_READONLY: "the file can't be written",
    sqlite3.SQLITE_PERM: "access was denied",
    sqlite3.SQLITE_AUTH: "access was denied",
    sqlite3.SQLITE_NOTADB: "the file is not a database",
    sqlite3.SQLITE_CORRUPT: "the file is damaged",
}


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


class SQLiteSession:
    """One connection to a file."""

    dialect = "sqlite"
    faults: type[Exception] = sqlite3.Error
    column_types: Mapping[str, str] = COLUMN_TYPES
    locking = locking_free = ""
    name: str | None = None

    def __init__(self, raw: sqlite3.Connection, path: str) -> None:
        raw.row_factory = Row
        self.place = path
        self._raw = raw

    @property
    def in_transaction(self) -> bool:
        """Whether the transaction that was begun is still open."""
        return self._raw.in_transaction

    @property
    def lost(self) -> bool:
        """A file is never lost: what was not answered was not committed."""
        return False

    @property
    def driver(self) -> sqlite3.Connection:
        """The driver's own connection."""
        return self._raw

    def execute(self, sql: str, parameters: Parameters) -> list[AnyRow]:
        """The rows that a statement gives."""
        return self._raw.execute(sql, bind_named(parameters)).fetchall()

    def change(self, sql: str, parameters: Parameters) -> int:
        """How many rows a statement changed."""
        return self._raw.execute(sql, bind_named(parameters)).rowcount

    def executemany(self, sql: str, rows: Iterable[Parameters]) -> None:
        """Run a statement once for each row of parameters."""
        self._raw.executemany(sql, [bind_named(row) for row in rows])

    def run(self, query: Query) -> list[AnyRow]:
        """The rows that a query of peewee's gives."""
        sql, parameters = query.sql()
        return self._raw.execute(sql, bind_listed(parameters)).fetchall()

    def command(self, sql: str) -> None:
        """Run a statement that has no parameters and gives no rows."""
        self._raw.execute(sql)

    def begin(self, write: bool) -> None:
        """Begin a transaction: one that may write waits for the write lock, another keeps to one snapshot."""
        self._raw.execute("begin immediate" if write else "begin")

    def commit(self) -> None:
        """Make what the transaction wrote durable."""
        self._raw.execute("commit")

    def rollback(self) -> None:
        """End the transaction without a trace; harmless when it has ended by itself."""
        if self._raw.in_transaction:
            self._raw.rollback()

    def exclude(self) -> None:
        """The write lock, which the transaction has, does."""

    def now(self) -> datetime:
        """The instant by the clock of this machine."""
        return RealClock().now()

    def turn(self, _name: str) -> bool:
        """One transaction writes at a time."""
        return True

    def alone(self) -> bool:
        """Whether no runtime holds the file: one that takes it now waits for the write lock, which is ours."""
        return not StoreLock.is_held(self.place)

    def is_gone(self, _session: str | None) -> bool:
        """Whoever asks has the lock of the runtime, and so no other one has."""
        return True

    def outlaw(self, _boot: str) -> bool:
        """One transaction writes at a time."""
        return True

    def has_table(self, name: str) -> bool:
        """Whether the file has a table of this name."""
        sql = "select 1 from sqlite_master where type = 'table' and name = ?"
        return bool(self._raw.execute(sql, (name,)).fetchall())

    def statements(self, script: str) -> Iterable[str]:
        """The single statements of a script."""
        return statements(script)

    def data_version(self) -> int:
        """A number that changes when another connection has committed; asked outside of transactions."""
        return int(self._raw.execute("pragma data_version").fetchone()[0])

    def translated(self, error: Exception) -> StoreUnavailable | None:
        """The error for a fault of the store; None when the fault is the statement's."""
        return translated(error, self.place)

    def close(self) -> None:
        """Close the connection; what is not committed is lost."""
        self._raw.close()


class SQLiteServer:
    """A file that is ready to be opened, ours until `close`."""

    shared = False

    def __init__(self, path: str, resources: ExitStack, *, url: str, private: bool, **options: Any) -> None:
        self.name = os.path.basename(path)
        self.url = url
        self.private = private
        self.boot: str | None = None
        self._path = path
        self._resources = resources
        self._options = options

    @classmethod
    def take(
        cls, url: str, path: str | None, now: datetime, *, exclusive: bool, synchronous: str, busy_timeout: float
    ) -> "SQLiteServer":
        """The file at a path, locked when `exclusive`; for None a private one, which is removed at the end.

        Raises:
            StoreLocked: another runtime holds the file.
            StoreUnavailable: the lock's file can't be written.
        """
        with ExitStack() as resources:
            if path is None:
                file, synchronous = _private_file(resources), "OFF"
            else:
                file = path
                if exclusive:
                    resources.callback(StoreLock.take(path, now).release)
            options: dict[str, Any] = {"synchronous": synchronous, "busy_timeout": busy_timeout}
            return cls(file, resources.pop_all(), url=url, private=path is None, **options)

    def writer(self) -> SQLiteSession:
        """A new session that may write."""
        return SQLiteSession(connect(self._path, read_only=False, **self._options), self._path)

    def reader(self) -> SQLiteSession:
        """A new session that never writes."""
        return SQLiteSession(connect(self._path, read_only=True, **self._options), self._path)

    def apart(self) -> SQLiteSession:
        """A new session for transactions of its own beside the writer's."""
        return self.writer()

    def close(self) -> None:
        """Let go of the lock, and remove a private file."""
        self._resources.close()


def connect(path: str, *, synchronous: str, busy_timeout: float, read_only: bool) -> sqlite3.Connection:
    """An open connection in write-ahead mode; `busy_timeout` is in seconds.

    The module's own transactions are off: whoever uses the connection begins and ends them.

    Raises:
        StoreUnavailable: the file can't be opened, read or written.
    """
    try:
        with ExitStack() as failed:
            raw = sqlite3.connect(
                path,
                timeout=busy_timeout,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=STATEMENT_CACHE,
            )
            failed.callback(raw.close)
            if not read_only:
                _use_write_ahead_log(raw, path)
            # Savepoints keep the pages that they change; past 64 kB those would go to a file for each transaction.
            raw.execute("pragma temp_store = memory")
            raw.execute(f"pragma synchronous = {synchronous}")
            raw.execute(f"pragma query_only = {'on' if read_only else 'off'}")
            failed.pop_all()
            return raw
    except sqlite3.Error as error:
        raise translated(error, path) or error from error


def _use_write_ahead_log(raw: sqlite3.Connection, path: str) -> None:
    """Switch the file to write-ahead mode, which lasts.

    Two that switch a new file at the same time may deadlock, and SQLite then fails one of them at once, without its
    busy timeout: try again.
    """
    for attempt in range(1, WAL_ATTEMPTS + 1):
        try:
            mode = raw.execute("pragma journal_mode = wal").fetchone()[0]
            break
        except sqlite3.OperationalError as error:
            if attempt == WAL_ATTEMPTS or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            time.sleep(WAL_PAUSE)
    if mode != "wal":
        message = f"store {path} can't be opened: its file system has no shared memory, which write-ahead mode needs"
        raise StoreUnavailable(message, retryable=False, path=path)


def translated(error: Exception, path: str) -> StoreUnavailable | None:
    """The error for a fault of the store; None when the fault is the statement's."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    reason = _RETRYABLE.get(code) or _LASTING.get(code)
    if reason is None:
        return None
    return StoreUnavailable(f"store {path} is unavailable: {reason} ({error})", retryable=code in _RETRYABLE, path=path)


def statements(script: str) -> Iterator[str]:
    """The single statements of a script."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending.strip()
            pending = ""
    if pending.strip():
        yield pending.strip()


def _private_file(resources: ExitStack) -> str:
    """A database file in a directory of its own, removed with it, at the end of the process at the latest."""
    directory = tempfile.mkdtemp(prefix="flowstone-")
    remove = partial(_remove, directory, os.getpid())
    atexit.register(remove)
    resources.callback(atexit.unregister, remove)
    resources.callback(remove)
    return os.path.join(directory, "memory.db")


def _remove(directory: str, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(directory, ignore_errors=True)
