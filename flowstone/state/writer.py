"""The writer: one thread, through which every transaction goes.

Transactions that wait together share one commit, and each is acknowledged after it. A group in which one raises is run
again with a savepoint for each, so that the one that fails fails alone: savepoints cost a sixth of all statements, and
failures are rare. When the store itself fails within a group (a full disk, an I/O error: SQLite then may have ended
the whole transaction, savepoints too) nothing of the group is acknowledged, and each is run again alone, some times
when it came in the way of another process. So a transaction may be called often, and must have no effect but through
its connection.
"""

import logging
import os
from _queue import SimpleQueue
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from actors.backends.work import Token, WorkCount
from actors.raw import Lock, get_ident, start_thread
from flowstone.errors import ForkedRuntime, RuntimeStopped, StoreUnavailable
from flowstone.failpoints import failpoint
from flowstone.outcome import Outcome
from flowstone.state.connection import Connection

__all__ = ["ATTEMPTS", "GROUP_LIMIT", "Writer"]

log = logging.getLogger(__name__)

T = TypeVar("T")

ATTEMPTS = 10
"""Times that a transaction is run at most, while its connection is cut or it comes in the way of another process's."""

GROUP_LIMIT = 500
"""Transactions that share one commit, at most."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A transaction or, outside of transactions, a look at the connection; and whom to tell."""

    call: Callable[[Connection], Any]
    then: Callable[[Outcome[Any]], None]
    token: Token | None = None
    """None marks a look: nobody waits for it."""


class Writer:
    """The thread that writes; from its start to its end nobody else uses the connection that it is given."""

    def __init__(self, connection: Connection, *, name: str, work: WorkCount) -> None:
        self._connection = connection
        self._name = name
        self._work = work
        self._pid = os.getpid()
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._gate = Lock()
        self._closed = False
        self.fault: StoreUnavailable | None = None
        self._thread_id: int | None = None
        self._going_on = Lock()
        self._going_on.acquire()
        start_thread(f"{name}-writer", self._serve)

    @property
    def on_thread(self) -> bool:
        """Whether the caller runs on the writer's own thread, which must not wait for itself."""
        return self._thread_id == get_ident()

    def write(self, transaction: Callable[[Connection], T], then: Callable[[Outcome[T]], None]) -> None:
        """Queue a transaction; `then` is called once, on the writer's thread, after the commit or with the error.

        Raises:
            RuntimeStopped: the store is closed.
            ForkedRuntime: the store was opened by the process that forked this one.
        """
        self._put(lambda: _Job(transaction, then, self._work.begin("store write")))

    def look(self, call: Callable[[Connection], T], then: Callable[[Outcome[T]], None]) -> None:
        """Queue a call on the writer's connection, outside of transactions and no work in flight; else as `write`."""
        self._put(lambda: _Job(call, then))

    def _put(self, make: Callable[[], _Job]) -> None:
        if os.getpid() != self._pid:
            raise ForkedRuntime(f"store {self._name} was opened by process {self._pid}: open it after the fork")
        with self._gate:
            if self._closed:
                raise RuntimeStopped(f"store {self._name} is closed")
            self._queue.put(make())

    def close(self) -> None:
        """Do what is queued and end the thread; harmless when repeated."""
        with self._gate:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        if not self.on_thread:
            with self._going_on:
                pass

    def _serve(self) -> None:
        self._thread_id = get_ident()
        going_on = True
        while going_on:
            jobs, going_on = self._gather()
            for job in jobs:
                if job.token is None:
                    _acknowledge(job, _attempt(job, self._connection))
            group = [job for job in jobs if job.token is not None]
            if group:
                self._settle(group)
        self._going_on.release()

    def _gather(self) -> tuple[list[_Job], bool]:
        """What waits, and whether more may come."""
        jobs: list[_Job] = []
        job = self._queue.get()
        while job is not None:
            jobs.append(job)
            if len(jobs) >= GROUP_LIMIT or self._queue.empty():
                return jobs, True
            job = self._queue.get()
        return jobs, False

    def _settle(self, group: list[_Job]) -> None:
        """Run a group and acknowledge each of it, after the commit."""
        outcomes = None
        if len(group) > 1:
            outcomes = self._together(group, _attempt_whole) or self._together(group, _attempt_within)
        if outcomes is None:
            for job in group:
                self._report(job, self._alone(job))
            return
        for job, outcome in zip(group, outcomes, strict=True):
            self._report(job, outcome)

    def _report(self, job: _Job, outcome: Outcome[Any]) -> None:
        """Acknowledge, and remember whether the store is at fault now."""
        self.fault = outcome.error if isinstance(outcome.error, StoreUnavailable) else None
        _acknowledge(job, outcome)
        failpoint("writer.after_acknowledgement")

    def _together(
        self, group: list[_Job], attempt: Callable[[_Job, Connection], Outcome[Any]]
    ) -> list[Outcome[Any]] | None:
        """The outcomes of a group that has been committed; None when nothing of it was, and it is to be run again."""
        connection = self._connection
        try:
            connection.begin(write=True)
        except Exception as error:
            return [Outcome(error=error) for _job in group]
        committing = False
        try:
            outcomes = [attempt(job, connection) for job in group]
            committing = True
            _commit(connection)
            return outcomes
        except Exception as error:
            # A commit whose answer was lost may have happened: only those who asked know how to ask again.
            unknown = committing and connection.lost
            log.debug("a group of %d transactions is %s: %s", len(group), "left" if unknown else "run again", error)
            connection.rollback()
            return [Outcome(error=error) for _job in group] if unknown else None

    def _alone(self, job: _Job) -> Outcome[Any]:
        """The outcome of one transaction that has a commit of its own."""
        for _number in range(ATTEMPTS):
            outcome, again = self._once(job)
            if not again:
                break
        return outcome

    def _once(self, job: _Job) -> tuple[Outcome[Any], bool]:
        """An outcome, and whether to try again: for certain nothing was committed, and the next time may go well."""
        connection = self._connection
        begun = committing = False
        try:
            connection.begin(write=True)
            begun = True
            outcome = _attempt(job, connection)
            if outcome.error is None:
                committing = True
                _commit(connection)
        except Exception as error:
            outcome = Outcome(error=error)
        cut = begun and connection.lost and not committing
        connection.rollback()
        fault = outcome.error
        return outcome, isinstance(fault, StoreUnavailable) and (cut or bool(fault.context.get("again")))


def _commit(connection: Connection) -> None:
    failpoint("writer.before_commit")
    connection.commit()
    failpoint("writer.after_commit")


class _OneFailed(Exception):
    """One of a group has raised, and may have left half of what it writes."""


def _attempt_whole(job: _Job, connection: Connection) -> Outcome[Any]:
    """The outcome of one transaction of a group that succeeds as a whole.

    Raises:
        _OneFailed: it does not.
    """
    outcome = _attempt(job, connection)
    if outcome.error is not None:
        raise _OneFailed(repr(outcome.error))
    return outcome


def _attempt_within(job: _Job, connection: Connection) -> Outcome[Any]:
    """The outcome of one transaction of a group, which it leaves whole.

    Raises:
        Exception: the store failed, or the connection has left the transaction of the group.
    """
    connection.savepoint()
    outcome = _attempt(job, connection)
    if isinstance(outcome.error, StoreUnavailable):
        raise outcome.error
    if outcome.error is not None:
        connection.undo()
    else:
        connection.release()
    return outcome


def _attempt(job: _Job, connection: Connection) -> Outcome[Any]:
    """The one place that calls transactions: whatever one raises is its outcome."""
    try:
        return Outcome(value=job.call(connection))
    except BaseException as error:  # noqa: B036
        return Outcome(error=error)


def _acknowledge(job: _Job, outcome: Outcome[Any]) -> None:
    """Tell who waits; what that raises stays here."""
    try:
        job.then(outcome)
    except BaseException:  # noqa: B036
        log.exception("an acknowledgement of the store failed")
    finally:
        if job.token is not None:
            job.token.end()
