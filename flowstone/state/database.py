"""The store: opened once by a runtime, or by any number of clients beside it.

Every operation is one transaction through the one writer; whoever is told of success is told after the commit. Reads
have connections of their own and never wait.
"""

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, Self, TypeVar

from actors.backends.work import WorkCount
from actors.clock import RealClock
from actors.raw import Lock
from flowstone.errors import ConfigError, RuntimeStopped, StoreUnavailable
from flowstone.outcome import Outcome
from flowstone.state.connection import Connection
from flowstone.state.dialect import Server
from flowstone.state.migrate import migrate
from flowstone.state.readers import Readers
from flowstone.state.sqlite import SQLiteServer
from flowstone.state.url import Kind, Place, place_of
from flowstone.state.watch import Watch
from flowstone.state.writer import Writer

__all__ = ["BUSY_TIMEOUT", "Database", "Synchronous", "claim"]

T = TypeVar("T")

Synchronous = Literal["FULL", "NORMAL"]

SPARE = 16
"""Connections beside the writer's and the readers' that are kept for the next transaction apart."""

BUSY_TIMEOUT = 5.0
"""Seconds to wait for another process that writes."""


class Database:
    """An open store; all calls from any thread. `url` shows no password.

    `private`: no other process can see it. `shared`: several runtimes may have it at a time.
    """

    private: bool
    shared: bool = False

    def __init__(
        self, server: Server, *, writer: Writer, readers: Readers, watch: Watch, resources: ExitStack
    ) -> None:
        self.url = server.url
        self.private = server.private
        self.shared = server.shared
        self._server = server
        self._spare: list[Connection] = []
        resources.callback(self._close_spare)
        self._writer = writer
        self._readers = readers
        self._watch = watch
        self._resources = resources
        self._pid = os.getpid()

    @classmethod
    def open(
        cls,
        url: str,
        *,
        work: WorkCount | None = None,
        exclusive: bool = True,
        synchronous: Synchronous = "FULL",
        busy_timeout: float = BUSY_TIMEOUT,
    ) -> Self:
        """The store at a URL, its tables brought up to date; `busy_timeout`, for locks of others, is in seconds.

        A runtime opens it with `exclusive`, of which there is one at a time where the store is not `shared`; a client
        without. What is in flight is counted in `work`.

        Raises:
            StoreLocked: another process holds the store; names it.
            StoreUnavailable: the store can't be opened, or is newer than this release.
            ConfigError: the URL or an option is wrong.
        """
        if synchronous not in ("FULL", "NORMAL"):
            raise ConfigError(f"expected synchronous to be FULL or NORMAL, got: {synchronous!r}")
        with ExitStack() as resources:
            server = claim(
                place_of(url), exclusive=exclusive, synchronous=synchronous, busy_timeout=busy_timeout
            )
            resources.callback(server.close)
            connection = Connection(server.writer())
            resources.callback(connection.close)
            migrate(connection, RealClock().now())
            version = connection.data_version()
            counted = WorkCount() if work is None else work
            readers = Readers(lambda: Connection(server.reader()), name=server.name, work=counted)
            resources.callback(readers.close)
            writer = Writer(connection, name=server.name, work=counted)
            resources.callback(writer.close)
            watch = Watch(writer, version, name=server.name)
            resources.callback(watch.close)
            return cls(server, writer=writer, readers=readers, watch=watch, resources=resources.pop_all())

    def write(self, transaction: Callable[[Connection], T], then: Callable[[Outcome[T]], None]) -> None:
        """Queue a transaction; never blocks.

        `then` is called once, on the writer's thread, after the commit or with the error: StoreUnavailable where the
        store failed, else whatever the transaction raised, which leaves no trace. It must not block.
        A transaction may be called twice, see `writer`.

        Raises:
            RuntimeStopped: the store is closed.
            ForkedRuntime: the store was opened by the process that forked this one.
        """
        self._writer.write(transaction, then)

    @property
    def fault(self) -> StoreUnavailable | None:
        """Why the last transaction could not be committed; None when it was, or was refused for a reason of its own."""
        return self._writer.fault

    def enlist(self, boot: str | None) -> None:
        """From now on, write as this node: once it has ended, transactions are refused, where several nodes may be.

        The error's context has its boot as `nodes.LOST`. None refuses none.
        """
        self._server.boot = boot

    def transact(
        self, transaction: Callable[[Connection], T], told: Callable[[T], object] | None = None
    ) -> T:
        """Run a transaction and wait for its commit; blocks the calling thread, so not for actors.

        `told` is called with what it gave, after the commit and before anybody hears of a later one; it must not block.

        Raises:
            RuntimeStopped: the store is closed, or the caller is an acknowledgement of the store, which must not wait.
            StoreUnavailable: the store failed.
            BaseException: whatever the transaction raised.
        """
        if self._writer.on_thread:
            raise RuntimeStopped("an acknowledgement of the store can't wait for the store: use write()")
        done = Lock()
        done.acquire()
        outcomes: list[Outcome[T]] = []

        def settle(outcome: Outcome[T]) -> None:
            outcomes.append(outcome)
            try:
                if told is not None and outcome.error is None:
                    told(outcome.unwrap())
            finally:
                done.release()

        self._writer.write(transaction, settle)
        done.acquire()
        return outcomes[0].unwrap()

    def read(self, query: Callable[[Connection], T]) -> T:
        """What a query gives, from one snapshot; blocks the calling thread, so not for actors.

        Raises:
            RuntimeStopped: the store is closed.
            StoreUnavailable: the store can't be read.
        """
        return self._readers.read(query)

    def read_later(self, query: Callable[[Connection], T], then: Callable[[Outcome[T]], None]) -> None:
        """Queue a query; `then` is called once, on a reader's thread, and must not block.

        Raises:
            RuntimeStopped: the store is closed.
            ForkedRuntime: the store was opened by the process that forked this one.
        """
        self._readers.read_later(query, then)

    def settle_reads(self) -> None:
        """Answer what was queued by `read_later`, and queue no more; `read` goes on. Harmless when repeated."""
        self._readers.settle()

    @contextmanager
    def apart(self) -> Iterator[Connection]:
        """A connection of the caller's own, for a transaction in which users' code takes part.

        What it has not committed at the end is lost. Its commits are those of another connection: whoever listens to
        outside commits hears of them.

        Raises:
            StoreUnavailable: no connection can be made.
        """
        try:
            connection = self._spare.pop()
        except IndexError:
            connection = Connection(self._server.apart())
        try:
            yield connection
        finally:
            connection.rollback()
            if connection.lost or len(self._spare) >= SPARE:
                connection.close()
            else:
                self._spare.append(connection)

    def _close_spare(self) -> None:
        while self._spare:
            self._spare.pop().close()

    def on_outside_commit(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call back when another process has committed, within a second; returns what takes the listener back.

        The callback runs on the writer's thread and must not block. A private store is never written to by others.
        """
        return self._watch.listen(callback)

    def poll_outside_commits(self) -> None:
        """Look at once whether another process committed since the last look; never blocks.

        Raises:
            RuntimeStopped: the store is closed.
        """
        self._watch.look()

    def close(self) -> None:
        """Do what is queued, end the threads, close the files and let the lock go.

        Harmless when repeated, and in a child of fork, to which none of these belongs.
        """
        if os.getpid() == self._pid:
            self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def claim(place: Place, *, exclusive: bool, synchronous: Synchronous, busy_timeout: float) -> Server:
    """What a place names, which is ours from here on until it is closed.

    Raises:
        StoreLocked: another runtime holds the store, and it is to be ours alone.
        StoreUnavailable: it can't be opened.
        ConfigError: its driver is not installed.
    """
    options: dict[str, Any] = {"exclusive": exclusive, "synchronous": synchronous, "busy_timeout": busy_timeout}
    if place.kind is not Kind.POSTGRESQL:
        file: Server = SQLiteServer.take(place.shown, place.path, RealClock().now(), **options)
        return file
    try:
        postgres = importlib.import_module("flowstone.state.postgres")
    except ImportError as error:
        raise ConfigError("expected psycopg for a store on PostgreSQL: pip install 'flowstone[postgres]'") from error
    server: Server = postgres.PostgresServer(place.url, shown=place.shown, **options)
    return server
