"""The scheduler: one actor with one heap of next instants for all schedules.

It wakes when the next instant is ready, decides (`due`), and commits ticks and their runs, all that are due at one
wake-up in batches; a user's partition rule runs on the executor first, and its tick is committed when it answers.
Between a decision and its commit a schedule is *busy*: nothing else is decided about it. What is written compares the
state that was decided about, so that an edit, a pause or another process that came in between wins, and the scheduler
reads again.

The heap holds wall-clock instants and each wake-up asks the wall clock; no timer is longer than a minute, so a wall
clock that jumps is noticed within one.

Instants that are due together are accounted for before their runs begin, a *burst* of transactions at a time: runs that
began in between would take half of the processor from the ticks that are still late.

Options: `batch` (schedules a transaction, 100), `burst` (transactions, 10), `store_retry` (seconds, 0.1 to 10, doubled
at each try), and of the services `longest_timer` (seconds, 60). It registers as `scheduler` in the directory and
listens on topic `store`.
"""

import heapq
import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

from actors import Actor, ActorDeadError
from flowstone.errors import FlowstoneError, RuntimeStopped
from flowstone.failpoints import failpoint
from flowstone.outcome import Outcome
from flowstone.runs.services import Services
from flowstone.schedules import store
from flowstone.schedules.due import Decision, decide, wake_at
from flowstone.schedules.foresight import Foresight
from flowstone.schedules.messages import Answered, Burst, Changed, Foresee, Look, Read, Write, Written
from flowstone.schedules.preparation import RULE_TIMEOUT, Prepared, evaluate, is_inline, prepare
from flowstone.schedules.rows import ScheduleRow
from flowstone.schedules.rules import Rules
from flowstone.schedules.ticks import Commit, Moved, Writing
from flowstone.state.assignment import SCHEDULER
from flowstone.state.connection import Connection
from flowstone.state.store_actor import NODES, TOPIC, DutiesChanged, StoreChanged

__all__ = ["Scheduler", "changed"]

BATCH = 100
BURST = 10
RETRY_FIRST, RETRY_LONGEST = 0.1, 10.0

log = logging.getLogger(__name__)


def changed(services: Services, *names: str) -> None:
    """Tell the scheduler, if one runs, that these schedules were created, changed or deleted."""
    ref = services.directory.get("scheduler")
    if ref is not None:
        try:
            ref.tell(Changed(frozenset(names)))
        except ActorDeadError:
            log.debug("the scheduler is being restarted, and reads %s anyway", names)


class Scheduler(Actor):
    """One for each runtime; of several nodes, one has the duty, and the others wait for it with empty hands."""

    def init(self, services: Services, rules: Rules) -> None:
        """Read all schedules."""
        self.services = services
        self.rules = rules
        self.foresight = Foresight(services.catalog, rules, services.identity)
        self.rows: dict[str, ScheduleRow] = {}
        self.busy: set[str] = set()
        self.heap: list[tuple[datetime, str]] = []
        self.ready_at: dict[str, datetime] = {}
        self.mark: tuple[Any, ...] = ()
        self.failures = 0
        self.timer: Any = None
        services.pubsub.subscribe(TOPIC, self.ref)
        services.pubsub.subscribe(NODES, self.ref)
        services.directory["scheduler"] = self.ref
        self._wake_after_all()
        self._read(None)

    def describe(self) -> dict[str, Any]:
        """How many schedules there are and are busy, and when the next one is ready."""
        next_at = self.heap[0][0] if self.heap else None
        return {"schedules": len(self.rows), "busy": len(self.busy), "next_at": next_at}

    def receive(self, message: Any) -> None:
        """Serve one message of `schedules.messages`, or the word of another process's commit."""
        if isinstance(message, Look):
            self._look()
        elif isinstance(message, Changed):
            self._read(message.names)
        elif isinstance(message, StoreChanged | DutiesChanged):
            self._read(None)
        elif isinstance(message, Read):
            self._take(message)
        elif isinstance(message, Answered):
            self._answered(message)
        elif isinstance(message, Write):
            self._write(message)
        elif isinstance(message, Foresee):
            self._foresee(message)
        else:
            self._written(message)

    def _wake_after_all(self) -> None:
        """Let runs begin that a predecessor asked for and could not tell of: what it had queued is committed before."""
        with suppress(FlowstoneError):
            self.services.database.write(lambda connection: None, lambda outcome: self.services.wake())

    def _read(self, names: frozenset[str] | None) -> None:
        if not self.services.membership.has(SCHEDULER):
            return
        known = self.mark

        def query(connection: Connection) -> tuple[tuple[Any, ...], tuple[ScheduleRow, ...] | None]:
            if names is not None:
                found = (store.find(connection, name) for name in names)
                return known, tuple(row for row in found if row is not None)
            mark = store.mark(connection)
            return mark, None if mark == known else store.every(connection)

        try:
            self.services.database.read_later(query, lambda outcome: self._post(Read(names, outcome)))
        except FlowstoneError as error:
            self._post(Read(names, Outcome(error=error)))

    def _take(self, read: Read) -> None:
        """Replace what is known by what was read, except where a commit of our own is newer than the reading."""
        if read.outcome.error is not None:
            self.failures += 1
            log.warning("schedules can't be read: %s", read.outcome.error)
            self.send_after(_backoff(self.failures), Changed(read.names))
            return
        self.failures = 0
        mark, rows = read.outcome.unwrap()
        if read.names is None:
            self.mark = mark
        if rows is None:
            return
        found = {row.name: row for row in rows}
        for name in read.names or self.rows.keys() - found.keys():
            if name not in found:
                self.rows.pop(name, None)
                self.ready_at.pop(name, None)
                self.foresight.forget(name)
        for name, row in found.items():
            self.rows[name] = _newer(self.rows.get(name), row)
            self._arm(name)
        self._wind()

    def _arm(self, name: str) -> None:
        """Put a schedule's next instant on the heap; what was there for it counts no more."""
        row, before = self.rows[name], self.ready_at.pop(name, None)
        if name in self.busy or row.orphaned:
            return
        try:
            at = wake_at(row)
        except FlowstoneError as error:
            # As when an edit by SQL, or newer zone data, took the zone away: the other schedules go on.
            log.error("schedule %s has no next instant: %s", name, error)
            return
        self.ready_at[name] = at
        if at != before:
            heapq.heappush(self.heap, (at, name))

    def _wind(self) -> None:
        """Arm the one timer for the earliest instant on the heap, or look at once when that has passed."""
        while self.heap and self.ready_at.get(self.heap[0][1]) != self.heap[0][0]:
            heapq.heappop(self.heap)
        if self.timer is not None:
            self.cancel(self.timer)
            self.timer = None
        if not self.heap:
            return
        delay = (self.heap[0][0] - self.services.clock.now()).total_seconds()
        if delay > 0:
            self.timer = self.send_after(min(delay, self.services.longest_timer), Look())
        else:
            self._post(Look())

    def _look(self) -> None:
        """Decide about every schedule that is ready, and start on what was decided."""
        now = self.services.clock.now()
        commits: list[Commit] = []
        burst = Burst()
        while self.heap and self.heap[0][0] <= now:
            at, name = heapq.heappop(self.heap)
            if self.ready_at.get(name) == at:
                commits += self._decide(self.rows[name], now)
            if len(commits) == BATCH:
                self._commit(commits, burst)
                commits = []
                burst = Burst() if burst.left >= BURST else burst
        self._commit(commits, burst)
        self._wind()

    def _decide(self, row: ScheduleRow, now: datetime) -> list[Commit]:
        """The commit of a schedule that is ready; none yet when a user's rule is to be called first."""
        del self.ready_at[row.name]
        self.busy.add(row.name)
        commit = self.foresight.take(row, now)
        if commit is not None:
            return [commit]
        decision = decide(row, now)
        if not is_inline(row, self.rules):
            decision = decision.up_to_first_run()
            if decision.accounts[-1].fires:
                self._call_rule(row, decision)
                return []
        catalog, rules = self.services.catalog, self.rules
        prepared = tuple(
            prepare(catalog, row, each, partial(evaluate, catalog, row, rules, each.first))
            for each in decision.accounts
        )
        return [Commit(row, prepared, decision.accounted_until)]

    def _call_rule(self, row: ScheduleRow, decision: Decision) -> None:
        def post(outcome: Outcome[Any]) -> None:
            self._post(Answered(row, decision, outcome))

        moment = decision.accounts[-1].first
        try:
            self.services.polls.submit(
                evaluate,
                self.services.catalog,
                row,
                self.rules,
                moment,
                timeout=RULE_TIMEOUT,
                name=f"partition rule of {row.name}",
                then=post,
            )
        except FlowstoneError as error:
            post(Outcome(error=error))

    def _answered(self, answer: Answered) -> None:
        if isinstance(answer.outcome.error, RuntimeStopped):
            # The executor stops before its callers do: the instant stays due, for whoever comes next.
            return
        failpoint("tick.after_rule")
        *before, last = answer.decision.accounts
        prepared = prepare(self.services.catalog, answer.schedule, last, answer.outcome.unwrap)
        commit = Commit(answer.schedule, (*map(Prepared, before), prepared), answer.decision.accounted_until)
        self._commit([commit], Burst())

    def _commit(self, commits: Sequence[Commit], burst: Burst) -> None:
        if commits:
            burst.left += 1
            self._write(Write(tuple(commits), 1, burst))

    def _write(self, asked: Write) -> None:
        services = self.services
        failpoint("tick.after_decision")

        def transaction(connection: Connection) -> tuple[Writing, list[Moved | None]]:
            writing = Writing(connection, services, services.clock.now())
            moved = writing.commit_all(asked.commits)
            failpoint("tick.before_commit")
            return writing, moved

        try:
            services.database.write(transaction, lambda outcome: self._post(Written(asked, outcome)))
        except FlowstoneError as error:
            self._post(Written(asked, Outcome(error=error)))

    def _written(self, written: Written) -> None:
        """Wait for the last of a burst: what follows from a commit would take its time from the next one."""
        burst = written.asked.burst
        burst.left -= 1
        burst.written.append(written)
        if burst.left <= 0:
            self._settle(burst.written)

    def _settle(self, burst: Sequence[Written]) -> None:
        """Say what a burst wrote, let its runs begin, and arm the next instants."""
        wrote = [(written.asked, *written.outcome.unwrap()) for written in burst if written.outcome.error is None]
        for written in burst:
            if written.outcome.error is not None:
                self._retry(written.asked, written.outcome.error)
        failpoint("tick.after_commit")
        for _asked, writing, _moved in wrote:
            writing.tell()
        wakes = any(writing.requested for _asked, writing, _moved in wrote)
        if wakes:
            self.services.wake()
        failpoint("tick.after_wake")
        stale = {name for asked, _writing, moved in wrote for name in self._see(asked, moved)}
        if stale:
            # Maybe by a commit of our own, of which the answer was lost.
            self.services.wake()
            self._read(frozenset(stale))
        self._wind()
        for asked, _writing, _moved in wrote if wakes else ():
            self._post(Foresee(tuple(commit.schedule.name for commit in asked.commits)))

    def _see(self, asked: Write, moved: Sequence[Moved | None]) -> list[str]:
        """Take over how schedules stand after a commit; the names of those that had moved on before it."""
        stale = []
        for commit, each in zip(asked.commits, moved, strict=True):
            name = commit.schedule.name
            self.busy.discard(name)
            if each is None:
                stale.append(name)
            else:
                self.rows[name] = _newer(self.rows.get(name), each.row)
                self._arm(name)
        return stale

    def _foresee(self, message: Foresee) -> None:
        now = self.services.clock.now()
        for name in message.names:
            row = self.rows.get(name)
            if row is not None and name not in self.busy:
                self.foresight.look(row, now)

    def _retry(self, asked: Write, error: BaseException) -> None:
        """Keep the work: the same ticks under the same keys, each schedule alone, so that none waits for another's."""
        log.warning("ticks of %d schedules wait for the store: %s", len(asked.commits), error)
        for commit in asked.commits:
            self.send_after(_backoff(asked.attempt), Write((commit,), asked.attempt + 1, Burst(left=1)))

    def _post(self, message: object) -> None:
        """Tell this actor from another thread; what comes after its end is read again by its successor."""
        try:
            self.ref.tell(message)
        except ActorDeadError:
            log.debug("%s came after the scheduler's end", type(message).__name__)


def _newer(known: ScheduleRow | None, read: ScheduleRow) -> ScheduleRow:
    """The later state of a schedule: a reading may have begun before a commit that was heard of first."""
    if known is None or known.created_at != read.created_at:
        return read
    return max(known, read, key=lambda row: (row.version, row.accounted_until))


def _backoff(attempt: int) -> float:
    return min(RETRY_LONGEST, RETRY_FIRST * 2.0 ** min(attempt - 1, 10))
