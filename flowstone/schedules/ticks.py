"""The rows of ticks, and the transactions that write them together with the runs that they ask for.

A tick's id is unique: whoever writes it second changes nothing. A commit of the timer's first compares and sets the
schedule's version and account, so that a decision made about an older state writes nothing at all.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from flowstone.core.run import SourceKind
from flowstone.core.run_key import manual_key, manual_tick_id, tick_id
from flowstone.runs.decisions import after_cancel, cancel
from flowstone.runs.requests import ResolvedRequest
from flowstone.runs.services import Services
from flowstone.runs.store import request as request_run
from flowstone.runs.store import unfinished_of_source
from flowstone.schedules.due import Account, Admission, admit
from flowstone.schedules.policies import Overlap, Reason, TickStatus
from flowstone.schedules.preparation import Prepared
from flowstone.schedules.rows import ScheduleRow, Tick
from flowstone.state.connection import Connection, Row
from flowstone.state.fields import instant

__all__ = ["Commit", "Writing", "find_tick", "write_accounts"]

_ALMOST = timedelta(microseconds=1)

_MOVE = """
    update schedule set accounted_until = :until
    where name = :name and version = :version and accounted_until = :since
    returning name
"""
_TAKE_MS = """
    update schedule set last_manual_ms =
        case when coalesce(last_manual_ms, 0) < :ms then :ms else last_manual_ms + 1 end
    where name = :name returning last_manual_ms
"""
_NEWEST = "update schedule set last_scheduled_for = :newest where name = :name"
_INSERT = """
    insert into tick (tick_id, schedule, scheduled_for, until, count, manual, status, reason, partition, error, at)
    values (:tick_id, :schedule, :scheduled_for, :until, :count, :manual, :status, :reason, :partition, :error, :at)
    on conflict (tick_id) do nothing returning *
"""
_ANSWER = """
    update tick set status = :status, reason = :reason, run_id = :run_id, blocked_by = :blocked_by, error = :error
    where tick_id = :tick_id returning *
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


def write_accounts(connection: Connection, schedule: ScheduleRow, accounts: Iterable[Account], now: datetime) -> None:
    """Write the rows of accounts that don't fire; an instant that has its tick already keeps that one."""
    for account in accounts:
        _insert(connection, schedule, Prepared(account), now)


def find_tick(connection: Connection, schedule: str, moment: datetime) -> Tick | None:
    """The row that accounts for an instant: its own, or that of the counted range which holds it."""
    key = tick_id(schedule, int(moment.timestamp()))
    rows = connection.execute("select * from tick where tick_id = :key", key=key)
    rows = rows or connection.execute(_RANGE, schedule=schedule, moment=moment)
    tick = Tick.read(rows[0]) if rows else None
    return tick if tick is not None and tick.scheduled_for <= moment else None


@dataclass(slots=True)
class Writing:
    """One transaction that writes ticks and asks for their runs; `now` is its instant.

    Whoever has committed it calls `done`, which lets the runs begin.
    """

    connection: Connection
    services: Services
    now: datetime
    asked: bool = False
    cancelled: list[str] = field(default_factory=list)

    def commit(self, work: Commit) -> ScheduleRow | None:
        """Write a decision and move the account past it: the schedule as it stands then.

        None, and nothing is written, when the schedule moved on since it was decided about.
        """
        schedule, until = work.schedule, work.accounted_until
        state = {"name": schedule.name, "version": schedule.version, "since": schedule.accounted_until, "until": until}
        if not self.connection.execute(_MOVE, state):
            return None
        ticks = [tick for each in work.prepared for tick in self._write(schedule, each)]
        newest = max((tick.scheduled_for for tick in ticks if tick.status is TickStatus.TRIGGERED), default=None)
        if newest is None:
            return dataclasses.replace(schedule, accounted_until=until)
        self.connection.execute(_NEWEST, name=schedule.name, newest=newest)
        return dataclasses.replace(schedule, accounted_until=until, last_scheduled_for=newest)

    def at(self, schedule: ScheduleRow, prepared: Prepared) -> Tick:
        """The tick of an instant that a call asks for; `schedule` is locked.

        An instant that has its row, alone or in a counted range, keeps that one.
        """
        existing = find_tick(self.connection, schedule.name, prepared.account.first)
        return existing or self._write(schedule, prepared, manual=True)[0]

    def manual(self, schedule: ScheduleRow, prepared: Prepared) -> Tick:
        """A tick made by hand: always a new one, whatever else of the schedule is unfinished."""
        asked = int(self.now.timestamp() * 1000)
        ms = self.connection.execute(_TAKE_MS, name=schedule.name, ms=asked)[0].last_manual_ms
        identifier = manual_tick_id(schedule.name, ms)
        row = _insert(self.connection, schedule, prepared, self.now, identifier=identifier, manual=True)[0]
        if prepared.request is None:
            return Tick.read(row)
        request = dataclasses.replace(prepared.request, run_key=manual_key(schedule.name, ms))
        return self._ask(identifier, request, Admission())

    def done(self) -> None:
        """Say, after the commit, that there are runs to begin, and which were cancelled."""
        for run_id in self.cancelled:
            after_cancel(self.services, run_id)
        if self.asked:
            self.services.wake()

    def _write(self, schedule: ScheduleRow, prepared: Prepared, *, manual: bool = False) -> list[Tick]:
        """The tick that was written, with its run when it is admitted; none when another writer came first."""
        rows = _insert(self.connection, schedule, prepared, self.now, manual=manual)
        if not rows or prepared.request is None:
            return [Tick.read(row) for row in rows]
        unfinished: list[str] = []
        if schedule.overlap is not Overlap.ALLOW:
            unfinished = unfinished_of_source(self.connection, SourceKind.SCHEDULE, schedule.name)
        admission = admit(schedule.overlap, unfinished)
        if admission.blocked_by is None:
            return [self._ask(rows[0].tick_id, prepared.request, admission)]
        return [self._answer(rows[0].tick_id, TickStatus.SUPPRESSED, Reason.OVERLAP, blocked_by=admission.blocked_by)]

    def _ask(self, identifier: str, request: ResolvedRequest, admission: Admission) -> Tick:
        """Ask for the run of a tick that was inserted and admitted, and write what came of it."""
        for run_id in admission.cancels:
            cancel(self.connection, self.services, run_id, reason=f"overlapped by {identifier}", now=self.now)
            self.cancelled.append(run_id)
        request = dataclasses.replace(request, behind=admission.behind)
        requested = request_run(self.connection, request, identity=self.services.identity, now=self.now)
        self.asked = True
        if not requested.conflict:
            return self._answer(identifier, TickStatus.TRIGGERED, None, run_id=requested.run_id)
        error = f"run_key_conflict: run key {request.run_key} is that of run {requested.run_id}, which means otherwise"
        return self._answer(identifier, TickStatus.FAILED, Reason.CONFLICT, error=error)

    def _answer(
        self,
        identifier: str,
        status: TickStatus,
        reason: Reason | None,
        *,
        run_id: str | None = None,
        blocked_by: str | None = None,
        error: str | None = None,
    ) -> Tick:
        answer = {"status": status, "reason": reason, "run_id": run_id, "blocked_by": blocked_by, "error": error}
        return Tick.read(self.connection.execute(_ANSWER, answer, tick_id=identifier)[0])


def _insert(
    connection: Connection,
    schedule: ScheduleRow,
    prepared: Prepared,
    now: datetime,
    *,
    identifier: str | None = None,
    manual: bool = False,
) -> list[Row]:
    """The row of an account as it is before its run was asked for; none when there is one already."""
    account, failed = prepared.account, prepared.error is not None
    key, ranged = tick_id(schedule.name, int(account.first.timestamp())), account.count > 1
    count = account.count - _taken(connection, schedule, account) if ranged else 1
    if count == 0:
        return []
    return connection.execute(
        _INSERT,
        tick_id=identifier or (f"{key}..{int(account.last.timestamp())}" if ranged else key),
        schedule=schedule.name,
        scheduled_for=account.first,
        until=account.last if ranged else None,
        count=count,
        manual=manual,
        status=TickStatus.FAILED if failed else account.status,
        reason=Reason.PARTITION if failed else account.reason,
        partition=None if prepared.request is None else prepared.request.partition,
        error=prepared.error,
        at=now,
    )


def _taken(connection: Connection, schedule: ScheduleRow, account: Account) -> int:
    """How many instants of a range have a tick already, made by a call that came before their time."""
    rows = connection.execute(_AHEAD, schedule=schedule.name, first=account.first, last=account.last)
    return sum(_is_due(schedule, instant(row.scheduled_for), row.tick_id) for row in rows)


def _is_due(schedule: ScheduleRow, moment: datetime, identifier: str) -> bool:
    """Whether a tick is that of one of the schedule's instants; those made by hand and at other times are not."""
    own = identifier == tick_id(schedule.name, int(moment.timestamp()))
    return own and schedule.timing.next_after(moment - _ALMOST) == moment
