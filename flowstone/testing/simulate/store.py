"""The store of a simulated world: the real tables and transactions, on one connection, in the world's one order.

Nothing waits in threads: transactions stand in a queue until the world lets the next one run, and so do queries. The
database outlives the process that is simulated; what a dead process had not committed is gone.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from actors import Clock, Future, WorkCount
from actors.backends.work import Token
from flowstone.errors import RuntimeStopped, StoreUnavailable
from flowstone.outcome import Outcome
from flowstone.state.connection import Connection
from flowstone.state.database import Database
from flowstone.testing.simulate.faults import Dice
from flowstone.testing.simulate.journal import Journal

__all__ = ["SimulatedStore"]

T = TypeVar("T")

LEASED = frozenset({"Materializer._write", "Materializer._look"})
"""Transactions that name the lease which they are under."""

READERS = 2
"""Queries of which any may be the next, as many as there are reading threads."""


SLOWEST = 5.0
"""Seconds that a commit takes at most."""


class Answer(enum.Enum):
    """What becomes of a transaction."""

    GIVEN = "committed"
    FAILED = "failed"
    REFUSED = "refused"
    LOST = "committed, answer lost"


@dataclass(frozen=True, slots=True)
class _Job:
    call: Callable[[Connection], Any]
    then: Callable[[Outcome[Any]], None]
    token: Token


class SimulatedStore(Database):
    """The store as one life of the process sees it."""

    def __init__(self, disk: Connection, *, clock: Clock, dice: Dice, journal: Journal, work: WorkCount) -> None:
        # Not the parent's constructor, which takes what has threads.
        self.url = "memory://"
        self.private = True
        self.alive = True
        self.writes: deque[_Job] = deque()
        self.reads: list[_Job] = []
        self._disk = disk
        self._clock = clock
        self._dice = dice
        self._journal = journal
        self._work = work
        self._fault: StoreUnavailable | None = None
        self._held = False
        self._let_go = False

    @property
    def fault(self) -> StoreUnavailable | None:
        """Why the last transaction could not be committed; None when it was."""
        return self._fault

    def write(self, transaction: Callable[[Connection], T], then: Callable[[Outcome[T]], None]) -> None:
        """Queue a transaction.

        Raises:
            RuntimeStopped: the store is closed.
        """
        self._check()
        self.writes.append(_Job(transaction, then, self._work.begin("store write")))

    def transact(
        self, transaction: Callable[[Connection], T], told: Callable[[T], object] | None = None
    ) -> T:
        """Queue a transaction and wait for it, in a greenlet; `told` hears of it first.

        Raises:
            RuntimeStopped: the store is closed.
            StoreUnavailable: the store failed.
            BaseException: whatever the transaction raised.
        """
        answered: Future[Outcome[T]] = Future()

        def then(outcome: Outcome[T]) -> None:
            if told is not None and outcome.error is None:
                told(outcome.unwrap())
            answered.set(outcome)

        self.write(transaction, then)
        outcome: Outcome[T] = answered.get()
        return outcome.unwrap()

    def read(self, query: Callable[[Connection], T]) -> T:
        """What a query gives, at once.

        Raises:
            RuntimeStopped: the store is closed.
            StoreUnavailable: the store failed.
        """
        self._check()
        return self._answer(query).unwrap()

    def read_later(self, query: Callable[[Connection], T], then: Callable[[Outcome[T]], None]) -> None:
        """Queue a query.

        Raises:
            RuntimeStopped: the store is closed.
        """
        self._check()
        self.reads.append(_Job(query, then, self._work.begin("store read")))

    def settle_reads(self) -> None:
        """Answer what was queued to be read."""
        while self.reads:
            self.read_next(0)

    def on_outside_commit(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Nobody else commits to this store."""
        return lambda: None

    def poll_outside_commits(self) -> None:
        """Nobody else commits to this store."""

    def close(self) -> None:
        """Do what is queued, and take no more."""
        self._let_go = True
        while self.writes:
            self.write_next()
            self._let_go = True
        self.settle_reads()
        self.alive = False

    def late_writes(self) -> list[Callable[[], None]]:
        """What is queued under the lease of a run, to be written after all once this process is dead.

        So it goes where a network lies before the store. Only such writes are fenced off; whatever else a process
        writes, it writes under the store's lock, which ends with it.
        """
        return [partial(self._write_late, job.call) for job in self.writes if _named(job.call) in LEASED]

    def _write_late(self, call: Callable[[Connection], Any]) -> None:
        outcome, answer = self._run(call)
        told = type(outcome.error).__name__ if outcome.error is not None else answer.value
        self._journal.note("late", f"{_named(call)} {told}")

    def die(self) -> None:
        """Take no more, and forget what is queued."""
        self.alive = False
        self.writes.clear()
        self.reads.clear()

    @property
    def writable(self) -> bool:
        """Whether there is a transaction that may run now."""
        return bool(self.writes) and not self._held

    def write_next(self) -> None:
        """Run the oldest transaction, and tell who waits for it; or let it take its time."""
        if not self._let_go and self._dice.happens("slow"):
            self._held = True
            self._clock.call_after(self._dice.of("how slow").random() * SLOWEST, self._go_on)
            return
        self._let_go = False
        job = self.writes.popleft()
        outcome, answer = self._run(job.call)
        self._fault = outcome.error if isinstance(outcome.error, StoreUnavailable) else None
        self._journal.note("commit" if answer is Answer.GIVEN else "store", f"{_named(job.call)} {answer.value}")
        self._tell(job, outcome)

    def read_next(self, index: int) -> None:
        """Run one of the oldest queries, and tell who waits for it."""
        job = self.reads.pop(index)
        self._tell(job, self._answer(job.call))

    def _go_on(self) -> None:
        self._held, self._let_go = False, True

    def _run(self, call: Callable[[Connection], T]) -> tuple[Outcome[T], Answer]:
        disk = self._disk
        disk.begin(write=True)
        try:
            outcome = _attempt(call, disk)
            if outcome.error is not None:
                return outcome, Answer.FAILED
            if self._dice.happens("refused"):
                return Outcome(error=StoreUnavailable("the simulated store refused the commit")), Answer.REFUSED
            disk.commit()
        finally:
            disk.rollback()
        if self._dice.happens("lost"):
            return Outcome(error=StoreUnavailable("the simulated store lost the answer")), Answer.LOST
        return outcome, Answer.GIVEN

    def _answer(self, query: Callable[[Connection], T]) -> Outcome[T]:
        if self._dice.happens("refused"):
            self._journal.note("store", f"{_named(query)} refused")
            return Outcome(error=StoreUnavailable("the simulated store refused the query"))
        self._disk.begin(write=False)
        try:
            return _attempt(query, self._disk)
        finally:
            self._disk.rollback()

    def _tell(self, job: _Job, outcome: Outcome[Any]) -> None:
        try:
            job.then(outcome)
        except Exception as error:
            self._journal.note("store", f"an answer was not taken: {type(error).__name__}")
        finally:
            job.token.end()

    def _check(self) -> None:
        if not self.alive:
            raise RuntimeStopped("the simulated store is closed")


def _attempt(call: Callable[[Connection], T], disk: Connection) -> Outcome[T]:
    try:
        return Outcome(value=call(disk))
    except BaseException as error:  # noqa: B036 - whatever a transaction raises is its outcome
        return Outcome(error=error)


def _named(call: Callable[..., Any]) -> str:
    name: str = getattr(call, "__qualname__", None) or type(call).__name__
    return name.replace(".<locals>", "").replace(".<lambda>", "")
