"""Schedules at rest: each due instant has one account, and each triggered tick one run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

from flowstone.core.run_key import schedule_key, tick_id
from flowstone.schedules.due import wake_at
from flowstone.schedules.policies import TickStatus
from flowstone.schedules.rows import ScheduleRow
from flowstone.schedules.store import every
from flowstone.state.connection import Connection, Row
from flowstone.state.fields import instant
from flowstone.testing.simulate.violations import Violation

__all__ = ["check_ticks"]

_TICKS = "select * from tick where schedule = :schedule and not manual order by id"
_RUN = "select * from run where run_id = :run_id"
_UNASKED = """
    select run_id, evaluation_id from run r where source_kind = 'schedule'
    and retry_of is null and not exists (select 1 from tick t where t.run_id = r.run_id) order by id
"""
_MOMENT = timedelta(microseconds=1)


def check_ticks(disk: Connection, now: datetime) -> Iterator[Violation]:
    """What is wrong with schedules and their ticks."""
    for schedule in every(disk):
        ticks = disk.execute(_TICKS, schedule=schedule.name)
        yield from _check_accounts(schedule, ticks)
        if not schedule.orphaned and wake_at(schedule) <= now:
            text = f"the tick of {wake_at(schedule)} has no account at {now}"
            yield Violation("each due instant is accounted for", schedule.name, text)
        for tick in ticks:
            yield from _check_run(disk, tick)
    for run in disk.execute(_UNASKED):
        text = f"{run.evaluation_id}, which asked for it, does not know of it"
        yield Violation("each run of a schedule has its tick", run.run_id, text)


def _check_accounts(schedule: ScheduleRow, ticks: list[Row]) -> Iterator[Violation]:
    timing, rule = schedule.timing, "each due instant is accounted for exactly once"
    accounts: Counter[datetime] = Counter()
    for tick in ticks:
        first: datetime = instant(tick.scheduled_for)
        last: datetime | None = instant(tick.until)
        held = [first] if last is None else timing.between(first - _MOMENT, last)
        accounts.update(held)
        if tick["count"] != len(held):
            yield Violation(rule, tick.tick_id, f"it counts {tick['count']} instants, its range holds {len(held)}")
    expected = timing.between(schedule.created_at, schedule.accounted_until)
    for moment in expected:
        if accounts[moment] != 1:
            yield Violation(rule, schedule.name, f"{moment} has {accounts[moment]} accounts")
    # Whoever resumes after the clock was set back brings the account back, and ticks past it stay.
    for moment in sorted(accounts.keys() - set(expected)):
        if accounts[moment] != 1 or timing.next_after(moment - _MOMENT) != moment:
            yield Violation(rule, schedule.name, f"{moment} has {accounts[moment]} accounts, and is not due")


def _check_run(disk: Connection, tick: Row) -> Iterator[Violation]:
    if tick.status == TickStatus.TRIGGERED:
        epoch = int(instant(tick.scheduled_for).timestamp())
        key, identifier = schedule_key(tick.schedule, epoch), tick_id(tick.schedule, epoch)
        runs = disk.execute(_RUN, run_id=tick.run_id)
        if [(run.run_key, run.evaluation_id) for run in runs] != [(key, identifier)]:
            yield Violation("each triggered tick has its run", tick.tick_id, f"expected one run of key {key}")
    elif tick.run_id is not None:
        yield Violation("only triggered ticks have runs", tick.tick_id, f"it is {tick.status} and has {tick.run_id}")
    if tick.status == TickStatus.SUPPRESSED and not disk.execute(_RUN, run_id=tick.blocked_by):
        yield Violation("a suppressed tick names the run in its way", tick.tick_id, f"there is no {tick.blocked_by}")
    if tick.status == TickStatus.FAILED and not tick.error:
        yield Violation("a failed tick says why", tick.tick_id, "it has no error")
