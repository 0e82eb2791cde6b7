"""The runtime's lock on a store: one holder, named to whoever comes second, free the moment that it dies.

An fcntl lock on a file beside the database, never on the database itself: closing any descriptor of a file drops all
fcntl locks that the process has on it. For the same reason a process opens the lock's file once at most, which the
table of this module sees to.

Two bytes are locked. The holder keeps `HELD` for as long as it lives. `ENTRY` is held while somebody tries, so that
whoever finds `HELD` taken reads the finished name of its holder.
"""

import fcntl
import json
import os
import socket
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from actors.raw import Lock
from flowstone.errors import StoreLocked, StoreUnavailable
from flowstone.state.fields import instant_text

__all__ = ["StoreLock"]

HELD: Final = 0
ENTRY: Final = 1

_table_lock = Lock()
_table: dict[tuple[int, int], "StoreLock"] = {}


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock, as written into its file."""

    pid: int
    host: str
    since: str

    @classmethod
    def read(cls, file: int) -> "Holder | None":
        """The holder that a lock's file names; None when it names none."""
        try:
            return cls(**json.loads(os.pread(file, 4096, 0)))
        except (ValueError, TypeError):
            return None

    def write(self, file: int) -> None:
        """Name this holder in a lock's file."""
        text = json.dumps({"pid": self.pid, "host": self.host, "since": self.since})
        os.ftruncate(file, 0)
        os.pwrite(file, text.encode() + b"\n", 0)


class StoreLock:
    """A lock that this process holds until `release`, or until it ends."""

    __slots__ = ("_file", "_identity", "holder", "path")

    def __init__(self, path: str, file: int, identity: tuple[int, int], holder: Holder) -> None:
        self.path = path
        self.holder = holder
        self._file = file
        self._identity = identity

    @classmethod
    def take(cls, database: str, now: datetime) -> "StoreLock":
        """The lock of a database's file.

        Raises:
            StoreLocked: a runtime of this or of another process holds it; names the process.
            StoreUnavailable: the lock's file can't be written.
        """
        path = f"{database}.lock"
        with _table_lock:
            _refuse_own(database, path)
            try:
                file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except OSError as error:
                raise _unavailable(database, error) from error
            try:
                holder = Holder(os.getpid(), socket.gethostname(), instant_text(now))
                _lock_file(database, file, holder)
                lock = cls(path, file, _identity(file), holder)
            except BaseException:
                os.close(file)
                raise
            _table[lock._identity] = lock
            return lock

    @classmethod
    def is_held(cls, database: str) -> bool:
        """Whether a runtime has the lock of a database's file; asking is in nobody's way.

        Raises:
            StoreUnavailable: the lock's file can't be read.
        """
        path = f"{database}.lock"
        with _table_lock:
            if _own(path) is not None:
                return True
            try:
                file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                return False
            except OSError as error:
                raise _unavailable(database, error) from error
            try:
                # Who takes the lock comes here first, and so is never refused for a lock that is only tried.
                fcntl.lockf(file, fcntl.LOCK_EX, 1, ENTRY)
                fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, HELD)
            except (BlockingIOError, PermissionError):
                return True
            except OSError as error:
                raise _unavailable(database, error) from error
            finally:
                os.close(file)
            return False

    def release(self) -> None:
        """Let the lock go; harmless when repeated, and in a child of fork, which never had it."""
        with _table_lock:
            if self.holder.pid == os.getpid() and _table.get(self._identity) is self:
                del _table[self._identity]
                os.close(self._file)


def _identity(file: int | str) -> tuple[int, int]:
    status = os.stat(file)
    return status.st_dev, status.st_ino


def _refuse_own(database: str, path: str) -> None:
    """Refuse what another runtime of this process holds."""
    lock = _own(path)
    if lock is not None:
        raise _locked(database, lock.holder)


def _own(path: str) -> StoreLock | None:
    """The lock that this process holds; an entry of the process that forked this one is not ours."""
    try:
        lock = _table.get(_identity(path))
    except OSError:
        return None
    return lock if lock is not None and lock.holder.pid == os.getpid() else None


def _lock_file(database: str, file: int, holder: Holder) -> None:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX, 1, ENTRY)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, HELD)
        except (BlockingIOError, PermissionError):
            raise _locked(database, Holder.read(file)) from None
        holder.write(file)
        fcntl.lockf(file, fcntl.LOCK_UN, 1, ENTRY)
    except OSError as error:
        raise _unavailable(database, error) from error


def _locked(database: str, holder: Holder | None) -> StoreLocked:
    if holder is None:
        return StoreLocked(f"store {database} is held by another runtime, which left no name", path=database)
    return StoreLocked(
        f"store {database} is held by the runtime of process {holder.pid} on {holder.host}, since {holder.since}: "
        "stop that one first, or open the store as a client",
        path=database,
        pid=holder.pid,
        host=holder.host,
        since=holder.since,
    )


def _unavailable(database: str, error: OSError) -> StoreUnavailable:
    message = f"store {database} can't be opened: its lock {database}.lock: {error.strerror}"
    return StoreUnavailable(message, retryable=False, path=database)
