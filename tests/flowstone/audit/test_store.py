"""The audit is written with what it records, and read newest first."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flowstone.audit.store import AuditRow, page, record
from flowstone.state.connection import Connection
from flowstone.state.database import Database

AT = datetime(2025, 1, 15, 2, tzinfo=UTC)


@pytest.fixture
def database(store_url: str) -> Iterator[Database]:
    with Database.open(store_url) as database:
        yield database


def fill(connection: Connection) -> None:
    done = [("paused", "ada", "sensor:s3"), ("resumed", "bob", "sensor:s3"), ("paused", "bob", "sensor:db")]
    for hour, (event, actor, resource) in enumerate(done):
        at = AT + timedelta(hours=hour)
        record(connection, f"sensor.{event}", actor=actor, resource=resource, details={"hour": hour}, at=at)


def test_a_row_says_who_did_what_to_what(database: Database) -> None:
    database.transact(fill)
    rows = database.read(lambda connection: page(connection))
    assert rows[-1] == AuditRow(1, "sensor.paused", "ada", "sensor:s3", {"hour": 0}, AT)
    assert [row.id for row in rows] == [3, 2, 1]


def test_details_may_be_left_out(database: Database) -> None:
    database.transact(lambda connection: record(connection, "run.cancelled", actor="ada", resource="run:1", at=AT))
    assert database.read(lambda connection: page(connection))[0].details == {}


def test_rows_are_found_by_what_they_say(database: Database) -> None:
    database.transact(fill)

    def found(**filters: Any) -> list[int]:
        return [row.id for row in database.read(lambda connection: page(connection, **filters))]

    assert found(event_type="sensor.paused") == [3, 1]
    assert found(actor="bob") == [3, 2]
    assert found(resource="sensor:s3") == [2, 1]
    assert found(actor="bob", event_type="sensor.paused") == [3]
    assert found(since=AT + timedelta(hours=1)) == [3, 2]
    assert found(limit=1) == [3]
    assert found(limit=1, cursor="3") == [2]


def test_what_failed_left_no_row(database: Database) -> None:
    def transaction(connection: Connection) -> None:
        fill(connection)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        database.transact(transaction)
    assert database.read(lambda connection: page(connection)) == ()
