"""Scheduled tasks: created once by name, fired by the rules of schedules, open to plain SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

import flowstone as fs
from actors.testing import ManualClock
from flowstone.connectors import tasks
from flowstone.connectors.events import Result
from flowstone.connectors.task_clock import tasks_changed
from flowstone.connectors.tasks import TaskStatus
from flowstone.state.database import Database

NOON = datetime(2025, 1, 15, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture(params=["sqlite", "postgresql"])
def lasting_url(request: pytest.FixtureRequest, make_store_url: Callable[[str], str]) -> str:
    """The URL of a store that outlives its runtime."""
    return make_store_url(request.param)


@pytest.fixture
def runtime(store_url: str, clock: ManualClock) -> Iterator[fs.Runtime]:
    with fs.Runtime(store=store_url, clock=clock, io_manager="memory") as runtime:
        yield runtime


def create(runtime: fs.Runtime, name: str = "beat", cron: str = "*/5 * * * *", **options: Any) -> Any:
    given = {"event_type": "connector.trigger.beat", "payload": {"a": 1}, **options}
    return runtime.connectors.create_scheduled_task(name, cron, **given)


def fired(runtime: fs.Runtime, task: str = "beat") -> list[datetime]:
    rows = runtime.connectors.events(task=task, limit=500)
    return [row.scheduled_for for row in reversed(rows) if row.result is not Result.MISSED and row.scheduled_for]


def by_sql(runtime: fs.Runtime, sql: str, **values: object) -> None:
    """What somebody writes beside the service, who is then told of it as of any commit of another process."""
    runtime._services.database.transact(lambda connection: connection.execute(sql, **values))
    tasks_changed(runtime._services)


def test_a_task_emits_its_event_at_each_instant_in_one_transaction_with_its_row(
    runtime: fs.Runtime, clock: ManualClock
) -> None:
    create(runtime)
    clock.advance("11m")
    assert fired(runtime) == [NOON + timedelta(minutes=5), NOON + timedelta(minutes=10)]
    row = runtime.connectors.events(task="beat")[0]
    assert (row.id, row.event_type, row.payload) == (
        f"task:beat:{int((NOON + timedelta(minutes=10)).timestamp())}",
        "connector.trigger.beat",
        {"a": 1},
    )
    (task,) = runtime.connectors.list_scheduled_tasks()
    assert task.updated_at == NOON + timedelta(minutes=10) and task.status is TaskStatus.ACTIVE


def test_the_event_reaches_its_handler(runtime: fs.Runtime, clock: ManualClock) -> None:
    seen: list[Any] = []
    runtime.connectors.on_event("connector.trigger.beat", seen.append)
    create(runtime)
    clock.advance("5m")
    runtime.drain(timeout=20)
    assert [(event.payload, event.task, event.scheduled_for) for event in seen] == [
        ({"a": 1}, "beat", NOON + timedelta(minutes=5))
    ]


def test_creating_a_task_again_changes_nothing_and_otherwise_is_refused(
    runtime: fs.Runtime, clock: ManualClock
) -> None:
    first = create(runtime)
    assert create(runtime) == first
    with pytest.raises(fs.ValidationError, match="'beat' exists with other options"):
        create(runtime, cron="0 * * * *")
    assert runtime.connectors.list_scheduled_tasks() == (first,)


def test_a_disabled_task_emits_nothing_and_goes_on_from_where_it_is_enabled(
    runtime: fs.Runtime, clock: ManualClock
) -> None:
    create(runtime)
    assert runtime.connectors.disable_scheduled_task("beat").status is TaskStatus.DISABLED
    clock.advance("1h")
    assert fired(runtime) == []
    runtime.connectors.update_scheduled_task("beat", enabled=True)
    clock.advance("5m")
    assert fired(runtime) == [NOON + timedelta(minutes=65)]


def test_an_edited_timing_fires_nothing_for_the_past(runtime: fs.Runtime, clock: ManualClock) -> None:
    create(runtime, cron="0 0 1 1 *")
    clock.advance("30m")
    runtime.connectors.update_scheduled_task("beat", cron_expression="*/10 * * * *", timezone="Asia/Kathmandu")
    clock.advance("15m")
    # 12:45 UTC is 18:30 in Kathmandu.
    assert fired(runtime) == [NOON + timedelta(minutes=35), NOON + timedelta(minutes=45)]


def test_a_deleted_task_emits_nothing_and_its_history_stays(runtime: fs.Runtime, clock: ManualClock) -> None:
    create(runtime)
    clock.advance("5m")
    runtime.connectors.delete_scheduled_task("beat")
    clock.advance("1h")
    assert len(fired(runtime)) == 1 and runtime.connectors.list_scheduled_tasks() == ()


def test_instants_that_are_found_late_count_as_misfires_of_which_the_newest_fires(
    lasting_url: str, clock: ManualClock
) -> None:
    with fs.Runtime(store=lasting_url, clock=clock, io_manager="memory") as runtime:
        create(runtime, cron="0 * * * *")
    later = ManualClock(NOON + timedelta(hours=5, minutes=30))
    with fs.Runtime(store=lasting_url, clock=later, io_manager="memory") as runtime:
        later.advance("1s")
        assert fired(runtime) == [NOON + timedelta(hours=5)]
        missed = [row for row in runtime.connectors.events(task="beat") if row.result is Result.MISSED]
        assert [row.scheduled_for for row in reversed(missed)] == [NOON + timedelta(hours=n) for n in range(1, 5)]


def test_a_task_that_sql_writes_begins_when_it_is_noticed(runtime: fs.Runtime, clock: ManualClock) -> None:
    by_sql(
        runtime,
        "insert into scheduled_tasks (name, cron_expression, event_type) values ('mine', '*/5 * * * *', 'sql.tick')",
    )
    clock.advance("6m")
    assert fired(runtime, "mine") == [NOON + timedelta(minutes=5)]
    by_sql(runtime, "update scheduled_tasks set cron_expression = '*/2 * * * *' where name = 'mine'")
    clock.advance("3m")
    assert fired(runtime, "mine")[1:] == [NOON + timedelta(minutes=8)]
    by_sql(runtime, "delete from scheduled_tasks where name = 'mine'")
    clock.advance("1h")
    assert len(fired(runtime, "mine")) == 2


def test_a_task_that_sql_wrote_wrongly_is_shown_as_invalid_and_the_others_go_on(
    runtime: fs.Runtime, clock: ManualClock
) -> None:
    by_sql(
        runtime,
        "insert into scheduled_tasks (name, cron_expression, event_type, timezone) "
        "values ('bad', '61 * * * *', 'sql.tick', 'Mars/Olympus')",
    )
    create(runtime)
    clock.advance("5m")
    assert len(fired(runtime)) == 1
    bad = runtime.connectors.list_scheduled_tasks()[0]
    assert bad.status is TaskStatus.INVALID and bad.error is not None and "61" in bad.error


@pytest.mark.parametrize(
    "zone", ["UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Sao_Paulo"]
)
def test_a_year_of_a_task_in_its_zone_equals_its_cron(zone: str, make_store_url: Callable[[str], str]) -> None:
    start = datetime(2025, 1, 1, tzinfo=UTC)
    with Database.open(make_store_url("memory")) as database:
        given = {"cron_expression": "30 2 * * *", "event_type": "e", "payload": {}, "timezone": zone, "enabled": True}
        database.transact(lambda connection: tasks.insert(connection, tasks.checked("beat", given), now=start))
        seen: list[datetime] = []
        while (moment := database.transact(lambda connection: tasks.find(connection, "beat")).wake_at()) is not None:
            if moment > start + timedelta(days=365):
                break
            fired = database.transact(partial(tasks.fire, name="beat", now=moment))
            seen += [one.scheduled_for for one in fired if one.fired]
    assert seen == fs.Cron("30 2 * * *", zone).between(start, start + timedelta(days=365))


@pytest.mark.parametrize(
    "options",
    [
        {"name": "a b"},
        {"cron": "61 * * * *"},
        {"timezone": "Mars/Olympus"},
        {"payload": object()},
        {"event_type": ""},
        {"enabled": "yes"},
        {"payload": "x" * 1_100_000},
    ],
    ids=lambda options: next(iter(options)),
)
def test_a_bad_task_is_refused_and_nothing_is_written(options: dict[str, Any], make_store_url: Any) -> None:
    with fs.Runtime(store=make_store_url("memory")) as runtime:
        with pytest.raises(fs.ValidationError):
            create(runtime, **options)
        assert runtime.connectors.list_scheduled_tasks() == ()


def test_unknown_tasks_and_options_get_a_suggestion(make_store_url: Any) -> None:
    with fs.Runtime(store=make_store_url("memory")) as runtime:
        create(runtime)
        with pytest.raises(fs.ValidationError, match="did you mean 'beat'"):
            runtime.connectors.disable_scheduled_task("baet")
        with pytest.raises(fs.ValidationError, match="did you mean 'timezone'"):
            runtime.connectors.update_scheduled_task("beat", time_zone="UTC")


def test_what_people_do_to_tasks_is_audited(make_store_url: Any) -> None:
    with fs.Runtime(store=make_store_url("memory")) as runtime:
        create(runtime, by="ada")
        runtime.connectors.disable_scheduled_task("beat", by="bob")
        runtime.connectors.delete_scheduled_task("beat", by="eve")
        rows = [(row.event_type, row.actor, row.resource) for row in reversed(runtime.audit.list())]
        assert [row for row in rows if row[2] == "scheduled_task:beat"] == [
            ("scheduled_task.created", "ada", "scheduled_task:beat"),
            ("scheduled_task.updated", "bob", "scheduled_task:beat"),
            ("scheduled_task.deleted", "eve", "scheduled_task:beat"),
        ]
