"""The readers: connections that never write, each lent to one caller at a time.

A query sees one snapshot, however many statements it has, and never waits for the writer.
"""

import logging
import os
from _queue import SimpleQueue
from _thread import LockType
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from actors.backends.work import Token, WorkCount
from actors.raw import Lock, get_ident, start_thread
from flowstone.errors import ForkedRuntime, RuntimeStopped, StoreUnavailable
from flowstone.outcome import Outcome
from flowstone.state.connection import Connection

__all__ = ["THREADS", "Readers"]

log = logging.getLogger(__name__)

T = TypeVar("T")

THREADS = 2
"""Threads that serve `read_later`."""

IDLE_CONNECTIONS = 16
"""Connections that are kept for the next caller, at most."""


@dataclass(frozen=True, slots=True)
class _Job:
    query: Callable[[Connection], Any]
    then: Callable[[Outcome[Any]], None]
    token: Token


class Readers:
    """Queries for callers that wait, and for those that want to be told."""

    def __init__(self, connect: Callable[[], Connection], *, name: str, work: WorkCount) -> None:
        self._connect = connect
        self._name = name
        self._work = work
        self._pid = os.getpid()
        self._gate = Lock()
        self._settled = False
        self._closed = False
        self._idle: list[Connection] = []
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread_ids: set[int] = set()
        self._going_on = [Lock() for _number in range(THREADS)]
        for number, going_on in enumerate(self._going_on):
            going_on.acquire()
            start_thread(f"{name}-reader-{number}", partial(self._serve, going_on))

    def read(self, query: Callable[[Connection], T]) -> T:
        """What a query gives, on the calling thread.

        Raises:
            RuntimeStopped: the store is closed.
            StoreUnavailable: the store can't be read.
            ForkedRuntime: the store was opened by the process that forked this one.
        """
        self._check_process()
        with self._gate:
            self._check_open()
        return self._read(query)

    def read_later(self, query: Callable[[Connection], T], then: Callable[[Outcome[T]], None]) -> None:
        """Queue a query; `then` is called once, on a reader's thread.

        Raises:
            RuntimeStopped: the store is closed.
            ForkedRuntime: the store was opened by the process that forked this one.
        """
        self._check_process()
        with self._gate:
            self._check_open()
            if self._settled:
                raise RuntimeStopped(f"store {self._name} is about to be closed")
            self._queue.put(_Job(query, then, self._work.begin("store read")))

    def settle(self) -> None:
        """Do what is queued, and queue no more; callers that wait may go on reading. Harmless when repeated."""
        with self._gate:
            if not self._settled:
                self._settled = True
                for _thread in self._going_on:
                    self._queue.put(None)
        if get_ident() not in self._thread_ids:
            for going_on in self._going_on:
                with going_on:
                    pass

    def close(self) -> None:
        """Do what is queued, end the threads and close the connections; harmless when repeated."""
        self.settle()
        with self._gate:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _serve(self, going_on: LockType) -> None:
        self._thread_ids.add(get_ident())
        while (job := self._queue.get()) is not None:
            try:
                job.then(self._attempt(job))
            except BaseException:  # noqa: B036
                log.exception("an answer of the store failed")
            finally:
                job.token.end()
        going_on.release()

    def _attempt(self, job: _Job) -> Outcome[Any]:
        try:
            return Outcome(value=self._read(job.query))
        except BaseException as error:  # noqa: B036
            return Outcome(error=error)

    def _read(self, query: Callable[[Connection], T]) -> T:
        connection = self._borrow()
        try:
            try:
                return _ask(connection, query)
            except StoreUnavailable:
                if not connection.lost:
                    raise
                # It may have been lost long ago, while nobody asked anything of it.
                return _ask(connection, query)
        finally:
            self._give_back(connection)

    def _borrow(self) -> Connection:
        with self._gate:
            if self._idle:
                return self._idle.pop()
        return self._connect()

    def _give_back(self, connection: Connection) -> None:
        with self._gate:
            if not self._closed and len(self._idle) < IDLE_CONNECTIONS:
                self._idle.append(connection)
                return
        connection.close()

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeStopped(f"store {self._name} is closed")

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise ForkedRuntime(f"store {self._name} was opened by process {self._pid}: open it after the fork")


def _ask(connection: Connection, query: Callable[[Connection], T]) -> T:
    try:
        connection.begin(write=False)
        return query(connection)
    finally:
        connection.rollback()
