"""The health of connectors: what waits, what was given up, what is late, and what makes no sense."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import flowstone as fs
from flowstone.connectors.events import QUEUE, Event, bury
from flowstone.connectors.vitals import LATE, Vital, vitals


@pytest.fixture
def client(store_url: str, make_store_url: Any) -> Iterator[fs.Client]:
    with fs.Client(store=make_store_url("sqlite") if store_url == "memory://" else store_url) as client:
        yield client


def read(client: fs.Client, *, now: datetime | None = None, handles: bool = True) -> dict[str, Vital]:
    database, now = client._services.database, now or datetime.now(UTC)
    found = database.read(lambda connection: vitals(connection, now=now, handles=handles, fires=True))
    return {vital.name: vital for vital in found}


def test_nothing_is_told_where_there_are_no_connectors(client: fs.Client) -> None:
    assert read(client) == {}


def test_events_that_wait_too_long_are_told_of_where_somebody_handles_events(client: fs.Client) -> None:
    client.connectors.emit("a", 1)
    assert read(client)[QUEUE].well
    client._services.database.transact(
        lambda connection: connection.execute(
            "update queue_message set enqueued_at = :old, vt = :old", old=datetime.now(UTC) - timedelta(minutes=5)
        )
    )
    found = read(client)[QUEUE]
    assert not found.well and found.reason is not None and "1 events" in found.reason
    assert read(client, handles=False)[QUEUE].well


def test_dead_letters_are_told_of_with_the_last_error(client: fs.Client) -> None:
    letter = Event("evt_1", "unknown", {})
    client._services.database.transact(
        lambda connection: bury(connection, letter, "no handler for 'unknown'", now=datetime.now(UTC))
    )
    found = read(client)["dead letters"]
    assert not found.well and found.reason is not None and "'unknown'" in found.reason


def test_a_task_that_is_late_invalid_or_disabled_is_told_of(client: fs.Client) -> None:
    client.connectors.create_scheduled_task("beat", "* * * * *", event_type="e")
    client.connectors.create_scheduled_task("off", "* * * * *", event_type="e", enabled=False)
    client._services.database.transact(
        lambda connection: connection.execute(
            "insert into scheduled_tasks (name, cron_expression, event_type) values ('bad', 'never', 'e')"
        )
    )
    assert read(client)["beat"].well
    late = read(client, now=datetime.now(UTC) + timedelta(minutes=2) + LATE)
    assert not late["beat"].well and "overdue" in str(late["beat"].reason)
    assert late["off"].well and late["off"].reason == "disabled"
    assert not late["bad"].well and "never" in str(late["bad"].reason)
