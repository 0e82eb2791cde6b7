"""The rows of ticks, and the transactions that write them together with the runs that they ask for.

A tick's id is unique: whoever writes it second changes nothing. A commit of the timer's first compares and sets the
schedule's version and account, so that a decision made about an older state writes nothing at all.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from flowstone.core.partitions import decode_partition
from flowstone.core.run import SourceKind
from flowstone.core.run_key import manual_key, manual_tick_id, tick_id
from flowstone.core.run_key import run_id as run_id_of
from flowstone.runs.decisions import after_cancel, cancel
from flowstone.runs.events import requested
from flowstone.runs.requests import ResolvedRequest
from flowstone.runs.services import Services
from flowstone.runs.store import NewRuns, Requested, unfinished_of_source
from flowstone.runs.store import request as request_run
from flowstone.schedules.due import Account, Admission, admit
from flowstone.schedules.events import ticked
from flowstone.schedules.policies import Overlap, Reason, TickStatus
from flowstone.schedules.preparation import Prepared
from flowstone.schedules.rows import ScheduleRow, Tick
from flowstone.state.connection import Connection
from flowstone.state.fields import instant

__all__ = ["Commit", "Moved", "Writing", "find_tick", "newest_tick", "tick_of", "write_accounts"]

_ALMOST = timedelta(microseconds=1)

_MOVE = """
    update schedule set accounted_until = :until, last_scheduled_for = coalesce(:newest, last_scheduled_for)
    where name = :name and version = :version and accounted_until = :since
"""
_TAKE_MS = """
    update schedule set last_manual_ms =
        case when coalesce(last_manual_ms, 0) < :ms then :ms else last_manual_ms + 1 end
    where name = :name returning last_manual_ms
"""
_NEWEST = "update schedule set last_scheduled_for = :newest where name = :name"
_INSERT = """
    insert into tick (
        tick_id, schedule, scheduled_for, until, count, manual, status, reason, run_id, partition, error, at
    ) values (
        :tick_id, :schedule, :scheduled_for, :until, :count, :manual, :status, :reason, :run_id, :partition, :error, :at
    )
    on conflict (tick_id) do nothing
"""
_ANSWER = """
    update tick set status = :status, reason = :reason, run_id = :run_id, blocked_by = :blocked_by, error = :error
    where tick_id = :tick_id
"""
_AHEAD = """
    select tick_id, scheduled_for from tick
    where schedule = :schedule and manual and scheduled_for >= :first and scheduled_for <= :last
"""
_RANGE = """
    select * from tick where schedule = :schedule and until is not null and until >= :moment
    order by until limit 1
"""


@dataclass(frozen=True, slots=True)
class Commit:
    """What one schedule's decision writes; `schedule` is the state that was decided about."""

    schedule: ScheduleRow
    prepared: tuple[Prepared, ...]
    accounted_until: datetime


class Moved(NamedTuple):
    """A schedule that a commit has moved on, and to where."""

    schedule: ScheduleRow
    accounted_until: datetime
    last_scheduled_for: datetime | None

    @property
    def row(self) -> ScheduleRow:
        """The schedule as it stands then."""
        return dataclasses.replace(
            self.schedule, accounted_until=self.accounted_until, last_scheduled_for=self.last_scheduled_for
        )


def write_accounts(
    connection: Connection, schedule: ScheduleRow, accounts: Iterable[Account], now: datetime
) -> tuple[Tick, ...]:
    """Write the rows of accounts that don't fire, and return them; an instant that has its tick already keeps that."""
    ticks = (_tick(connection, schedule, Prepared(account), now) for account in accounts)
    return tuple(tick for tick in ticks if _insert(connection, tick, None))


def find_tick(connection: Connection, schedule: str, moment: datetime) -> Tick | None:
    """The row that accounts for an instant: its own, or that of the counted range which holds it."""
    own = tick_of(connection, _key(schedule, moment))
    if own is not None:
        return own
    ranges = connection.execute(_RANGE, schedule=schedule, moment=moment)
    tick = Tick.read(ranges[0]) if ranges else None
    return tick if tick is not None and tick.scheduled_for <= moment else None


def tick_of(connection: Connection, identifier: str) -> Tick | None:
    """The tick of this id, or None."""
    rows = connection.execute("select * from tick where tick_id = :key", key=identifier)
    return Tick.read(rows[0]) if rows else None


def newest_tick(connection: Connection, schedule: str) -> Tick | None:
    """The tick of a schedule that was written last, or None."""
    rows = connection.execute("select * from tick where schedule = :name order by id desc limit 1", name=schedule)
    return Tick.read(rows[0]) if rows else None


@dataclass(slots=True)
class Writing:
    """One transaction that writes ticks and asks for their runs; `now` is its instant.

    Whoever has committed it calls `done`, which lets the runs begin.
    """

    connection: Connection
    services: Services
    now: datetime
    requested: list[Requested] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    ticks: list[tuple[ScheduleRow, Tick]] = field(default_factory=list)

    def commit_all(self, works: Iterable[Commit]) -> list[Moved | None]:
        """As `commit` of each, of different schedules; the rows of their runs are written together."""
        together = NewRuns()
        moved = [self.commit(work, together) for work in works]
        together.write(self.connection)
        return moved

    def commit(self, work: Commit, together: NewRuns | None = None) -> Moved | None:
        """Write a decision and move the account past it.

        None, and nothing is written, when the schedule moved on since it was decided about.
        """
        schedule, until = work.schedule, work.accounted_until
        state = {"name": schedule.name, "version": schedule.version, "since": schedule.accounted_until, "until": until}
        expected = max((each.account.first for each in work.prepared if each.request is not None), default=None)
        if not self.connection.change(_MOVE, state, newest=expected):
            return None
        # Overlap of a later account looks at the run of an earlier one, which has to be written then.
        later = together if len(work.prepared) == 1 else None
        written = (self._write(schedule, each, together=later) for each in work.prepared)
        ticks = [tick for tick in written if tick is not None]
        self.ticks += [(schedule, tick) for tick in ticks]
        newest = max((tick.scheduled_for for tick in ticks if tick.status is TickStatus.TRIGGERED), default=None)
        if newest is None:
            newest = schedule.last_scheduled_for
        if newest != expected and expected is not None:
            # Mostly all that was to be triggered is, and one statement has written it.
            self.connection.change(_NEWEST, name=schedule.name, newest=newest)
        return Moved(schedule, until, newest)

    def at(self, schedule: ScheduleRow, prepared: Prepared) -> Tick | None:
        """The tick of an instant that a call asks for; `schedule` is locked.

        None when the instant has its row already, alone or in a counted range.
        """
        if find_tick(self.connection, schedule.name, prepared.account.first) is not None:
            return None
        tick = self._write(schedule, prepared, manual=True)
        self.ticks += [] if tick is None else [(schedule, tick)]
        return tick

    def manual(self, schedule: ScheduleRow, prepared: Prepared) -> Tick:
        """A tick made by hand: always a new one, whatever else of the schedule is unfinished."""
        asked = int(self.now.timestamp() * 1000)
        ms = self.connection.execute(_TAKE_MS, name=schedule.name, ms=asked)[0].last_manual_ms
        tick = _tick(self.connection, schedule, prepared, self.now, manual=True)
        tick = dataclasses.replace(tick, tick_id=manual_tick_id(schedule.name, ms))
        _insert(self.connection, tick, prepared.partition)
        if prepared.request is not None:
            request = dataclasses.replace(prepared.request, run_key=manual_key(schedule.name, ms))
            tick = self._ask(tick, request, Admission())
        self.ticks.append((schedule, tick))
        return tick

    def done(self) -> None:
        """Say, after the commit, what was written, and that there are runs to begin."""
        self.tell()
        if self.requested:
            self.services.wake()

    def tell(self) -> None:
        """Say, after the commit, what was written, and which runs were cancelled; those to begin wait for `wake`."""
        for schedule, tick in self.ticks:
            ticked(self.services, schedule, tick)
        requested(self.services, *self.requested)
        for run_id in self.cancelled:
            after_cancel(self.services, run_id)

    def _write(
        self, schedule: ScheduleRow, prepared: Prepared, *, manual: bool = False, together: NewRuns | None = None
    ) -> Tick | None:
        """The tick that was written, with its run when it is admitted; None when another writer came first."""
        # The run's id follows from its key: mostly the row is complete at once, and not written twice.
        run_id = None if prepared.request is None else self._expected(prepared.request)
        tick = _tick(self.connection, schedule, prepared, self.now, manual=manual, run_id=run_id)
        if not _insert(self.connection, tick, prepared.partition):
            return None
        if prepared.request is None:
            return tick
        unfinished: list[str] = []
        if schedule.overlap is not Overlap.ALLOW:
            unfinished = unfinished_of_source(self.connection, SourceKind.SCHEDULE, schedule.name)
        admission = admit(schedule.overlap, unfinished)
        if admission.blocked_by is None:
            return self._ask(tick, prepared.request, admission, together)
        blocked = {"reason": Reason.OVERLAP, "blocked_by": admission.blocked_by}
        return self._answer(tick, run_id=None, status=TickStatus.SUPPRESSED, **blocked)

    def _ask(
        self, tick: Tick, request: ResolvedRequest, admission: Admission, together: NewRuns | None = None
    ) -> Tick:
        """Ask for the run of a tick that was inserted and admitted, and write what came of it."""
        for run_id in admission.cancels:
            told = {"reason": f"overlapped by {tick.tick_id}", "actor": f"schedule:{tick.schedule}"}
            cancel(self.connection, self.services, run_id, now=self.now, **told)
            self.cancelled.append(run_id)
        if admission.behind:
            request = dataclasses.replace(request, behind=True)
        identity = self.services.identity
        made = request_run(self.connection, request, identity=identity, now=self.now, together=together)
        self.requested.append(made)
        if not made.conflict:
            return tick if tick.run_id == made.run_id else self._answer(tick, run_id=made.run_id)
        error = f"run_key_conflict: run key {request.run_key} is that of run {made.run_id}, which means otherwise"
        return self._answer(tick, run_id=None, status=TickStatus.FAILED, reason=Reason.CONFLICT, error=error)

    def _expected(self, request: ResolvedRequest) -> str:
        identity = self.services.identity
        return run_id_of(request.run_key, namespace=identity.namespace, secret=identity.secret)

    def _answer(self, tick: Tick, **answer: Any) -> Tick:
        tick = dataclasses.replace(tick, **answer)
        self.connection.change(
            _ANSWER,
            tick_id=tick.tick_id,
            status=tick.status,
            reason=tick.reason,
            run_id=tick.run_id,
            blocked_by=tick.blocked_by,
            error=tick.error,
        )
        return tick


def _tick(
    connection: Connection,
    schedule: ScheduleRow,
    prepared: Prepared,
    now: datetime,
    *,
    manual: bool = False,
    run_id: str | None = None,
) -> Tick:
    """The tick of an account as it is before its run was asked for."""
    account, failed = prepared.account, prepared.error is not None
    key, ranged = _key(schedule.name, account.first), account.count > 1
    return Tick(
        tick_id=f"{key}..{int(account.last.timestamp())}" if ranged else key,
        schedule=schedule.name,
        scheduled_for=account.first,
        until=account.last if ranged else None,
        count=account.count - _taken(connection, schedule, account) if ranged else 1,
        manual=manual,
        status=TickStatus.FAILED if failed else account.status,
        reason=Reason.PARTITION if failed else account.reason,
        run_id=run_id,
        partition=None if prepared.partition is None else decode_partition(prepared.partition),
        error=prepared.error,
        blocked_by=None,
        at=now,
    )


def _insert(connection: Connection, tick: Tick, partition: str | None) -> bool:
    """Whether the row was written: not when its id is taken, nor for a range in which nothing is left."""
    row = {
        "tick_id": tick.tick_id,
        "schedule": tick.schedule,
        "scheduled_for": tick.scheduled_for,
        "until": tick.until,
        "count": tick.count,
        "manual": tick.manual,
        "status": tick.status,
        "reason": tick.reason,
        "run_id": tick.run_id,
        "partition": partition,
        "error": tick.error,
        "at": tick.at,
    }
    return tick.count > 0 and connection.change(_INSERT, row) > 0


def _taken(connection: Connection, schedule: ScheduleRow, account: Account) -> int:
    """How many instants of a range have a tick already, made by a call that came before their time."""
    rows = connection.execute(_AHEAD, schedule=schedule.name, first=account.first, last=account.last)
    return sum(_is_due(schedule, instant(row.scheduled_for), row.tick_id) for row in rows)


def _is_due(schedule: ScheduleRow, moment: datetime, identifier: str) -> bool:
    """Whether a tick is that of one of the schedule's instants; those made by hand and at other times are not."""
    return identifier == _key(schedule.name, moment) and schedule.timing.next_after(moment - _ALMOST) == moment


def _key(schedule: str, moment: datetime) -> str:
    return tick_id(schedule, int(moment.timestamp()))
