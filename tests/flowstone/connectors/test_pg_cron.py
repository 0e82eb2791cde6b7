"""Tasks that the database fires by itself: the SQL functions on any PostgreSQL, and the real pg_cron."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

import flowstone as fs
from actors.testing import ManualClock
from flowstone.connectors import instants, tasks
from flowstone.connectors.events import QUEUE, Result
from flowstone.connectors.tasks import TaskStatus
from flowstone.state.database import Database

WAIT = 90.0


def until(check: Callable[[], Any]) -> Any:
    """What `check` gives as soon as that is true; other processes get there."""
    turn = threading.Event()
    for _look in range(int(WAIT * 10)):
        found = check()
        if found:
            return found
        turn.wait(0.1)
    raise AssertionError("it never came to that")


@pytest.fixture
def sql(postgres_url: str) -> Iterator[Callable[..., list[Any]]]:
    """Runs statements on the store as somebody else does."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:

        def run(statement: str, *values: object) -> list[Any]:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

        yield run


@pytest.fixture
def client(postgres_url: str) -> Iterator[fs.Client]:
    with fs.Client(store=postgres_url) as client:
        yield client


def create(runtime: fs.Client | fs.Runtime, cron: str = "0 * * * *", **options: Any) -> Any:
    return runtime.connectors.create_scheduled_task("beat", cron, **{"event_type": "beat", **options})


def test_the_newest_instant_that_has_come_fires_and_the_others_are_logged_as_missed(
    client: fs.Client, sql: Callable[..., list[Any]]
) -> None:
    create(client, payload={"a": 1})
    sql(
        "insert into scheduled_task_instant select 'beat', date_trunc('hour', now()) - make_interval(hours => n) "
        "from generate_series(-2, 3) n"
    )
    assert sql("select run_due_tasks()") == [(1,)]
    assert sql("select run_due_tasks()") == [(0,)]
    rows = client.connectors.events(task="beat")
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    assert sorted((row.scheduled_for, row.result) for row in rows) == [
        (hour - timedelta(hours=1), Result.MISSED),
        (hour, Result.PENDING),
    ]
    (message,) = client.queue.read(QUEUE)
    assert message.message["payload"] == {"a": 1} and message.message["id"] == f"task:beat:{int(hour.timestamp())}"
    (task,) = client.connectors.list_scheduled_tasks()
    assert task.accounted_until == hour and task.updated_at is not None
    assert sql("select count(*) from scheduled_task_instant where at <= now()") == [(0,)]


def test_an_instant_older_than_a_day_is_missed(client: fs.Client, sql: Callable[..., list[Any]]) -> None:
    create(client)
    sql("insert into scheduled_task_instant values ('beat', now() - interval '25 hours')")
    assert sql("select run_due_tasks()") == [(0,)]
    assert [row.result for row in client.connectors.events(task="beat")] == [Result.MISSED]


def test_a_task_can_be_run_by_hand_in_sql_in_one_transaction(client: fs.Client, sql: Callable[..., list[Any]]) -> None:
    create(client)
    ((id,),) = sql("select run_scheduled_task('beat', '2025-01-15 12:00:00.5+00')")
    assert id == "task:beat:1736942400"
    assert sql("select run_scheduled_task('beat', '2025-01-15 12:00+00')") == [(id,)]
    assert len(client.connectors.events(task="beat")) == 1 and client.queue.metrics(QUEUE).queue_length == 1
    with pytest.raises(psycopg.Error, match="'nobody'|\"nobody\""):
        sql("select run_scheduled_task('nobody')")


def test_a_transaction_that_is_rolled_back_leaves_neither_event_nor_row(
    client: fs.Client, postgres_url: str
) -> None:
    create(client)
    with psycopg.connect(postgres_url) as connection:
        connection.execute("select run_scheduled_task('beat')")
        connection.rollback()
    assert client.connectors.events(task="beat") == ()
    assert [row.name for row in client.queue.list_queues()] == []


@pytest.mark.parametrize(
    "change",
    [
        "update scheduled_tasks set cron_expression = '30 * * * *'",
        "update scheduled_tasks set timezone = 'Europe/Berlin'",
        "delete from scheduled_tasks",
    ],
)
def test_a_change_by_sql_drops_the_instants_of_another_timing_with_it(
    client: fs.Client, sql: Callable[..., list[Any]], change: str
) -> None:
    create(client)
    sql("insert into scheduled_task_instant values ('beat', now() + interval '1 hour')")
    sql(change)
    assert sql("select count(*) from scheduled_task_instant") == [(0,)]


def test_disabling_by_sql_acts_at_once(client: fs.Client, sql: Callable[..., list[Any]]) -> None:
    create(client)
    sql("insert into scheduled_task_instant values ('beat', now())")
    sql("update scheduled_tasks set enabled = false")
    assert sql("select run_due_tasks()") == [(0,)]
    assert client.connectors.events() == ()


def test_instants_are_filled_a_year_ahead_as_the_cron_has_them(postgres_url: str, client: fs.Client) -> None:
    create(client, cron="30 2 * * *", timezone="America/New_York")
    with Database.open(postgres_url, exclusive=False) as database:
        now = datetime.now(UTC)
        count = database.transact(lambda connection: instants.fill(connection, "beat", now=now))
        rows = database.read(lambda c: c.execute("select at from scheduled_task_instant order by at"))
        expected = fs.Cron("30 2 * * *", "America/New_York").between(now, now + instants.AHEAD)
        assert count == len(expected) and [row.at for row in rows] == expected
        assert database.read(lambda connection: instants.wanting(connection, now)) == []
        later = now + instants.AHEAD * 0.6
        assert database.read(lambda connection: instants.wanting(connection, later)) == ["beat"]


def test_instants_of_a_dense_task_are_bounded(postgres_url: str, client: fs.Client) -> None:
    create(client, cron="* * * * *")
    with Database.open(postgres_url, exclusive=False) as database:
        now = datetime.now(UTC)
        assert database.transact(lambda connection: instants.fill(connection, "beat", now=now)) == instants.MOST
        assert database.read(lambda connection: instants.wanting(connection, now)) == []


def test_a_process_of_ours_fires_what_the_database_left_for_too_long(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instants, "kept", lambda connection: True)
    start = datetime(2025, 1, 15, 12, tzinfo=UTC)
    clock = ManualClock(start)
    with fs.Runtime(store=postgres_url, clock=clock, io_manager="memory") as runtime:
        create(runtime, cron="5 12 * * *")
        clock.advance("5m")
        clock.advance("85s")
        assert runtime.connectors.events() == ()
        clock.advance("10s")
        (row,) = runtime.connectors.events()
        assert row.scheduled_for == start + timedelta(minutes=5)


@pytest.mark.timeout(170)
@pytest.mark.concurrent
def test_tasks_fire_with_no_process_of_ours_and_each_event_is_handled_once_later(pg_cron_url: str) -> None:
    with fs.Runtime(store=pg_cron_url, io_manager="memory") as runtime:
        create(runtime, cron="* * * * *", payload={"n": 1})
        (task,) = until(
            lambda: [t for t in runtime.connectors.list_scheduled_tasks() if t.status is TaskStatus.ACTIVE]
        )
    with psycopg.connect(pg_cron_url, autocommit=True) as connection:

        def logged() -> list[Any]:
            return connection.execute("select event_id from flowstone.event_log").fetchall()

        assert connection.execute("select count(*) from cron.job where active").fetchone() == (1,)
        connection.execute(
            "insert into flowstone.scheduled_tasks (name, cron_expression, event_type) values ('sql', '0 0 * * *', 'x')"
        )
        until(logged)
        seen: list[Any] = []
        runtime = fs.Runtime(store=pg_cron_url, io_manager="memory")
        runtime.connectors.on_event("beat", seen.append)
        with runtime:
            until(lambda: len(seen) == len(logged()))
            assert sorted(event.id for event in seen) == sorted(id for (id,) in logged())
            assert all(event.payload == {"n": 1} and event.task == "beat" for event in seen)
            waiting = until(lambda: {t.name: t.status for t in runtime.connectors.list_scheduled_tasks()})
            assert waiting["beat"] is TaskStatus.ACTIVE
            until(lambda: {t.name: t.status for t in runtime.connectors.list_scheduled_tasks()}["sql"] == "active")


def test_a_task_that_sql_wrote_waits_for_instants_until_a_process_of_ours_fills_them(pg_cron_url: str) -> None:
    with fs.Runtime(store=pg_cron_url, io_manager="memory"):
        pass
    with psycopg.connect(pg_cron_url, autocommit=True) as connection, fs.Client(store=pg_cron_url) as client:
        connection.execute(
            "insert into flowstone.scheduled_tasks (name, cron_expression, event_type) values ('sql', '0 0 * * *', 'x')"
        )
        (task,) = client.connectors.list_scheduled_tasks()
        assert task.status is TaskStatus.WAITING
        with fs.Runtime(store=pg_cron_url, io_manager="memory") as runtime:
            until(lambda: runtime.connectors.list_scheduled_tasks()[0].status is TaskStatus.ACTIVE)


def test_switching_between_the_database_and_a_process_of_ours_loses_and_doubles_nothing(
    postgres_url: str, client: fs.Client, sql: Callable[..., list[Any]]
) -> None:
    create(client, cron="* * * * *")
    minute = datetime.now(UTC).replace(second=0, microsecond=0)
    with Database.open(postgres_url, exclusive=False) as database:
        for back in range(6, 0, -1):
            moment = minute - timedelta(minutes=back)
            sql("update scheduled_tasks set accounted_until = %s", moment - timedelta(minutes=1))
            sql("delete from scheduled_task_instant")
            sql("insert into scheduled_task_instant values ('beat', %s)", moment)
            # Whoever comes first, the other one finds it done; sometimes one of them alone is there.
            if back % 3:
                sql("select run_due_tasks()")
            if back % 2 or not back % 3:
                database.transact(lambda connection, now=moment: tasks.fire(connection, "beat", now=now))
            if back % 3:
                sql("select run_due_tasks()")
    rows = client.connectors.events(task="beat")
    assert sorted(row.scheduled_for for row in rows) == [minute - timedelta(minutes=n) for n in range(6, 0, -1)]
    assert client.queue.metrics(QUEUE).queue_length == 6
