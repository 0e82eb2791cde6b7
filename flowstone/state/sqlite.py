"""What is SQLite's own: how to open a file, the types of columns, and which errors are faults of the store."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack

from flowstone.errors import StoreUnavailable

__all__ = ["COLUMN_TYPES", "connect", "statements", "translated"]

COLUMN_TYPES = {
    "id": "integer not null primary key autoincrement",
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


def translated(error: sqlite3.Error, path: str) -> StoreUnavailable | None:
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
