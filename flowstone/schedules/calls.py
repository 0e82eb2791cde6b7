"""The calls about schedules: each is one transaction, then a word to the scheduler where one runs.

They work from any thread and need no actor, so an external cron can call `trigger(name, at=instant)` in a runtime
without a scheduler, as often as it likes.
"""

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from types import EllipsisType
from typing import Any, TypeVar

from flowstone.audit.who import who
from flowstone.core.keywords import check_keywords
from flowstone.core.partitions import Partition
from flowstone.errors import RuntimeStopped, ValidationError, shown
from flowstone.outcome import Outcome
from flowstone.runs.calls import stored_partition
from flowstone.runs.services import Services
from flowstone.schedules import store
from flowstone.schedules.due import Account
from flowstone.schedules.events import Settled
from flowstone.schedules.policies import Reason, TickStatus, choice
from flowstone.schedules.preparation import RULE_TIMEOUT, Prepared, evaluate, is_inline, prepare, request_of
from flowstone.schedules.rows import ScheduleRow, Tick
from flowstone.schedules.rules import Rules
from flowstone.schedules.schedule import OPTIONS, Schedule
from flowstone.schedules.scheduler import changed
from flowstone.schedules.ticks import Writing, find_tick
from flowstone.state.connection import Connection
from flowstone.state.page import Page, page

__all__ = ["Schedules"]

T = TypeVar("T")


class Schedules:
    """What `runtime.schedules` is. `by` names who acts, for the audit; the user of the operating system by default."""

    def __init__(self, services: Services, rules: Rules) -> None:
        self._services = services
        self._rules = rules

    def create(self, schedule: str | Schedule, /, *, by: str | None = None, **options: Any) -> ScheduleRow:
        """Create a schedule, from a value or from a name and the options of `Schedule`; its row.

        Raises:
            CronError: a bad cron expression, interval or zone.
            AssetNotFound: the target names an unknown asset.
            ValidationError: the name is taken, or another option is wrong.
        """
        value = schedule if isinstance(schedule, Schedule) else Schedule(schedule, **options)
        if isinstance(schedule, Schedule):
            check_keywords("create with a Schedule", options, ())
        self._services.catalog.select(value.target)
        actor, now = who(by), self._now()
        row = self._transact(lambda connection: store.create(connection, value, now, actor=actor))
        self._rules.learn(value.name, value.partition)
        changed(self._services, row.name)
        return row

    def get(self, name: str) -> ScheduleRow:
        """The schedule of this name.

        Raises:
            ScheduleNotFound: there is none.
        """
        return self._services.database.read(lambda connection: store.get(connection, name))

    def list(self) -> tuple[ScheduleRow, ...]:
        """All schedules by name, paused and orphaned ones included."""
        return self._services.database.read(store.every)

    def update(self, name: str, *, by: str | None = None, **changes: Any) -> ScheduleRow:
        """Change options of a schedule; its row, whose version is the next one when anything differs.

        With a new timing nothing fires for the past: what was due becomes `missed`, reason `edited`.

        Raises:
            ScheduleNotFound: there is none of this name.
            CronError, AssetNotFound, ValidationError: as `create` does.
        """
        check_keywords("update", changes, OPTIONS)
        actor, now = who(by), self._now()

        def transaction(connection: Connection) -> tuple[ScheduleRow, Schedule, Settled]:
            row = store.locked(connection, name)
            settled = Settled(row)
            edited = row.edited(changes)
            self._services.catalog.select(edited.target)
            definition = edited.definition()
            if "partition" not in changes:
                definition["partition_rule"] = row.partition_rule
            row = store.change(connection, row, definition, now, actor=actor, settled=settled.ticks.append)
            return row, edited, settled

        row, edited, settled = self._transact(transaction)
        settled.tell(self._services)
        self._rules.learn(name, edited.partition)
        changed(self._services, name)
        return row

    def delete(self, name: str, *, by: str | None = None) -> None:
        """Delete a schedule, at once; its history stays.

        Raises:
            ScheduleNotFound: there is none of this name.
        """
        actor, now = who(by), self._now()
        self._transact(lambda connection: store.delete(connection, name, now, actor=actor))
        changed(self._services, name)

    def pause(self, name: str, *, by: str | None = None) -> ScheduleRow:
        """Let the ticks of a schedule pass as `skipped`; its row.

        Raises:
            ScheduleNotFound: there is none of this name.
        """
        return self._enable(name, by, enabled=False, event="paused")

    def resume(self, name: str, *, by: str | None = None) -> ScheduleRow:
        """Let a schedule go on from now; its row. What passed while it was paused is not replayed.

        An account that is ahead of the clock, as after a clock that jumped forward and back, is brought to now.

        Raises:
            ScheduleNotFound: there is none of this name.
        """
        return self._enable(name, by, enabled=True, event="resumed")

    def trigger(
        self,
        name: str,
        *,
        partition: Partition | EllipsisType = ...,
        at: datetime | None = None,
        by: str | None = None,
    ) -> Tick:
        """Make a tick and its run now; the tick. Without `partition` the schedule's rule gives it.

        A tick made by hand is always a new one, is allowed while paused, and ignores the overlap policy. With `at`
        it is the tick of that instant (whole seconds) under its ordinary key, as the timer would make it: a second
        call gives the tick that is there.

        Raises:
            ScheduleNotFound: there is none of this name.
            PartitionError: `partition` is not legal, or not held by the target.
            ValidationError: `at` is no aware datetime, or the schedule is orphaned.
        """
        moment, actor = None if at is None else _second(at), who(by)
        while True:
            row = self.get(name)
            if row.orphaned:
                message = f"expected a schedule that the code defines, got: {name!r}, which left it and never fires"
                raise ValidationError(message, name=name)
            done = self._trigger(row, moment, partition, actor)
            if done is not None:
                return done

    def preview(self, name: str, *, count: int = 10) -> tuple[datetime, ...]:
        """The next instants of a schedule after now, in UTC.

        Raises:
            ScheduleNotFound: there is none of this name.
            ValidationError: count is no int of at least 1.
        """
        if type(count) is not int or count < 1:
            raise ValidationError(f"expected count to be an int of at least 1, got: {shown(count)}", option="count")
        timing, instants = self.get(name).timing, [self._now()]
        for _ in range(count):
            instants.append(timing.next_after(instants[-1]))
        return tuple(instants[1:])

    def history(
        self,
        name: str,
        *,
        limit: int = 100,
        cursor: str | None = None,
        status: str | None = None,
        partition: Partition = None,
    ) -> Page[Tick]:
        """The ticks of a schedule, newest first; `cursor` is the `next_cursor` of the page before.

        `partition=None` is any.

        Raises:
            ScheduleNotFound: there is no schedule of this name, and there was none that left a tick.
            ValidationError: a limit, a cursor or a status that makes no sense.
        """
        filters = {"schedule": name, "status": None if status is None else choice(TickStatus, status, "status")}

        def query(connection: Connection) -> Page[Tick]:
            known = store.find(connection, name)
            target = None if known is None else known.target
            filters["partition"] = stored_partition(self._services.catalog, target, partition)
            found = page(connection, "tick", Tick.read, filters, limit=limit, cursor=cursor)
            if not found and not connection.execute("select 1 from tick where schedule = :name limit 1", name=name):
                store.get(connection, name)
            return found

        return self._services.database.read(query)

    def _enable(self, name: str, by: str | None, *, enabled: bool, event: str) -> ScheduleRow:
        actor, now = who(by), self._now()

        def transaction(connection: Connection) -> tuple[ScheduleRow, Settled]:
            row = store.locked(connection, name)
            settled = Settled(row)
            ahead = enabled and row.accounted_until > now
            told: dict[str, Any] = {"actor": actor, "event": event, "settled": settled.ticks.append}
            return store.change(connection, row, {"enabled": enabled}, now, to_now=ahead, **told), settled

        row, settled = self._transact(transaction)
        settled.tell(self._services)
        changed(self._services, name)
        return row

    def _trigger(
        self, row: ScheduleRow, moment: datetime | None, partition: Partition | EllipsisType, actor: str
    ) -> Tick | None:
        """The tick, for a schedule as it was read; None when to read again, since another writer came first."""
        if moment is not None:
            there = self._services.database.read(lambda connection: find_tick(connection, row.name, moment))
            if there is not None:
                return there
        prepared = self._prepare(row, moment, partition)

        def transaction(connection: Connection) -> tuple[Writing, Tick | None]:
            writing = Writing(connection, self._services, self._now())
            current = store.locked(connection, row.name)
            if (current.version, current.created_at) != (row.version, row.created_at):
                return writing, None
            tick = writing.manual(current, prepared) if moment is None else writing.at(current, prepared)
            if tick is not None:
                details = {"tick_id": tick.tick_id, "status": tick.status}
                store.note(connection, "triggered", row.name, actor, writing.now, details)
            return writing, tick

        writing, tick = self._transact(transaction)
        writing.done()
        return tick

    def _prepare(self, row: ScheduleRow, moment: datetime | None, partition: Partition | EllipsisType) -> Prepared:
        instant = self._now() if moment is None else moment
        account = Account(TickStatus.TRIGGERED, instant, instant)
        if moment is not None and not row.enabled:
            return Prepared(dataclasses.replace(account, status=TickStatus.SKIPPED, reason=Reason.PAUSED))
        catalog = self._services.catalog
        if not isinstance(partition, EllipsisType):
            return Prepared(account, request_of(catalog, row, instant, partition))
        rule: Callable[[], Partition] = partial(evaluate, catalog, row, self._rules, instant)
        return prepare(catalog, row, account, rule if is_inline(row, self._rules) else self._called(row.name, rule))

    def _called(self, name: str, rule: Callable[[], Partition]) -> Callable[[], Partition]:
        """What became of a user's rule, called under its timeout while the caller waits."""
        future = self._services.future()
        self._services.polls.submit(rule, timeout=RULE_TIMEOUT, name=f"partition rule of {name}", then=future.set)
        outcome: Outcome[Partition] = future.get()
        if isinstance(outcome.error, RuntimeStopped):
            raise outcome.error
        return outcome.unwrap

    def _transact(self, transaction: Callable[[Connection], T]) -> T:
        return self._services.database.transact(transaction)

    def _now(self) -> datetime:
        return self._services.clock.now()


def _second(at: object) -> datetime:
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise ValidationError(f"expected at to be an aware datetime, got: {shown(at)}", option="at")
    return at.astimezone(UTC).replace(microsecond=0)
