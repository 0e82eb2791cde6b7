"""The instants ahead of each task, computed for a database that fires by itself.

pg_cron knows minutes and one time zone for all its jobs. So its one job looks each minute which instants have come in a
table, which any process of ours fills: a year ahead, or `MOST` instants where they are denser, and again once less than
half is left. A task whose instants ran dry is `waiting for instants`, and so says the runtime's health.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice

from flowstone.connectors import tasks
from flowstone.cron import Timing
from flowstone.errors import CronError, ValidationError
from flowstone.state.connection import Connection
from flowstone.state.fields import instant, instant_text

__all__ = ["AHEAD", "GRACE", "MOST", "fill", "keep", "kept", "last_run", "wanting"]

AHEAD = timedelta(days=366)
MOST = 50_000
GRACE = timedelta(seconds=90)
"""How long an instant is left to the database before a process of ours fires it all the same."""

_WANTING = """
    select name from scheduled_tasks as task
    where enabled and (timing is null or accounted_until is null or (
        select count(*) from (
            select 1 from scheduled_task_instant where task = task.name and at > :now limit :enough
        ) as near
    ) < :enough and coalesce(
        (select max(at) from scheduled_task_instant where task = task.name), accounted_until
    ) < :far)
    order by name
"""
_INSERT = """
    insert into scheduled_task_instant (task, at)
    select :task, at from unnest(cast(:instants as timestamptz[])) as at on conflict do nothing
"""
_LAST = "select max(at) as at, count(*) as count from scheduled_task_instant where task = :task and at > :now"


def keep(connection: Connection) -> bool:
    """Let the database fire tasks by itself, where it can; whether it does."""
    if connection.dialect != "postgresql":
        return False
    return bool(connection.execute("select keep_tasks() as kept")[0].kept)


def kept(connection: Connection) -> bool:
    """Whether the database fires tasks by itself."""
    if connection.dialect != "postgresql":
        return False
    return bool(connection.execute("select tasks_kept() as kept")[0].kept)


def last_run(connection: Connection) -> datetime | None:
    """When the database's own job last ran; None before its first run."""
    found: str | datetime | None = connection.execute("select max(at) as at from task_keeper")[0].at
    return instant(found)


def wanting(connection: Connection, now: datetime) -> list[str]:
    """The tasks that need instants, by name: less than half of what there should be is left."""
    rows = connection.execute(_WANTING, now=now, enough=MOST // 2, far=now + AHEAD / 2)
    return [row.name for row in rows]


def fill(connection: Connection, name: str, *, now: datetime) -> int:
    """Compute the instants ahead of a task, as its row is now; how many."""
    try:
        task = tasks.find(connection, name)
    except ValidationError:
        return 0
    if task.error is not None or not task.enabled:
        return 0
    if task.edited or task.accounted_until is None:
        tasks.begin(connection, task, now=now)
        task = tasks.find(connection, name)
    row = connection.execute(_LAST, task=name, now=now)[0]
    since = instant(row.at) or task.accounted_until or now
    ahead = list(islice(_after(task.timing, since, now + AHEAD), MOST - row.count))
    texts = "{" + ",".join(map(instant_text, ahead)) + "}"
    return connection.change(_INSERT, task=name, instants=texts)


def _after(timing: Timing, since: datetime, until: datetime) -> Iterator[datetime]:
    try:
        moment = timing.next_after(since)
        while moment <= until:
            yield moment
            moment = timing.next_after(moment)
    except CronError:  # nothing matches any more
        return
