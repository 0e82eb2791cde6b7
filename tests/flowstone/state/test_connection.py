"""Statements, rows and queries of peewee's, through one connection."""

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from flowstone.errors import StoreUnavailable
from flowstone.state import sqlite
from flowstone.state.connection import Connection
from flowstone.state.database import Database
from flowstone.state.fields import instant
from flowstone.state.models import Audit
from flowstone.state.sqlite import SQLiteSession

AT = datetime(2025, 1, 15, tzinfo=UTC)


def test_a_row_gives_its_columns_by_attribute_and_by_name(database: Database) -> None:
    (row,) = database.read(lambda connection: connection.execute("select 1 as one, 'b' as two"))
    assert (row.one, row["one"], row.two, row["two"]) == (1, 1, "b", "b")
    assert repr(row) == "Row(one=1, two='b')"


def test_an_unknown_column_is_an_error_that_lists_the_known(database: Database) -> None:
    (row,) = database.read(lambda connection: connection.execute("select 1 as one, 'b' as two"))
    with pytest.raises(AttributeError, match="'three'; the row has one, two"):
        row.three  # noqa: B018 - the access is the test


def test_parameters_come_as_a_mapping_as_keywords_or_both(database: Database) -> None:
    def query(connection: Connection) -> list[int]:
        rows = connection.execute("select :a as a, :b as b", {"a": 1}, b=2)
        rows += connection.execute("select :a as a, :b as b", {"a": 3, "b": 4})
        return [number for row in rows for number in (row.a, row.b)]

    assert database.read(query) == [1, 2, 3, 4]


def test_executemany_runs_a_statement_for_each_row(database: Database, numbers: Callable[[], list[int]]) -> None:
    rows = [{"n": n} for n in range(5)]
    database.transact(lambda connection: connection.executemany("insert into number values (:n)", rows))
    assert numbers() == [0, 1, 2, 3, 4]


def test_change_tells_how_many_rows_a_statement_changed(
    database: Database, numbers: Callable[[], list[int]]
) -> None:
    def transaction(connection: Connection) -> list[int]:
        return [
            connection.change("insert into number values (:n)", n=1),
            connection.change("insert into number select 2 where :yes", {"yes": False}),
            connection.change("update number set n = :n", {"n": 3}),
            connection.change("delete from number where n = :n", n=7),
        ]

    assert database.transact(transaction) == [1, 0, 1, 0]
    assert numbers() == [3]


def test_a_query_of_peewee_runs_with_its_values_stored_as_ours(database: Database) -> None:
    row = {"event_type": "sensor.paused", "actor": "ada", "resource": "s", "details": {"why": 1}, "at": AT}
    database.transact(lambda connection: connection.run(Audit.insert(**row)))
    query = Audit.select(Audit.details, Audit.at).where(Audit.actor == "ada", Audit.at >= AT)
    (found,) = database.read(lambda connection: connection.run(query))
    assert (found.details, instant(found.at)) == ('{"why":1}', AT)


def test_a_wrong_statement_is_no_fault_of_the_store(database: Database) -> None:
    with pytest.raises((sqlite3.OperationalError, psycopg.ProgrammingError), match="lost_table"):
        database.transact(lambda connection: connection.execute("select * from lost_table"))


def end_transaction(connection: Connection, url: str) -> None:
    """Let a statement fail in the way that ends the transaction."""
    conflict = "insert or rollback" if url.startswith("sqlite") else "insert"
    with pytest.raises((sqlite3.IntegrityError, psycopg.IntegrityError)):
        connection.change(f"{conflict} into number values (1)")


def test_after_the_database_ended_the_transaction_nothing_commits_by_itself(
    url: str, database: Database, numbers: Callable[[], list[int]]
) -> None:
    def transaction(connection: Connection) -> None:
        connection.execute("insert into number values (1)")
        end_transaction(connection, url)
        connection.execute("insert into number values (2)")

    with pytest.raises(StoreUnavailable, match="ended the transaction"):
        database.transact(transaction)
    assert numbers() == []


def test_a_swallowed_end_of_the_transaction_is_no_success(
    url: str, database: Database, numbers: Callable[[], list[int]]
) -> None:
    def transaction(connection: Connection) -> None:
        connection.execute("insert into number values (1)")
        end_transaction(connection, url)

    with pytest.raises(StoreUnavailable):
        database.transact(transaction)
    assert numbers() == []


def test_a_reader_never_writes(database: Database, numbers: Callable[[], list[int]]) -> None:
    with pytest.raises(StoreUnavailable, match="can't be written"):
        database.read(lambda connection: connection.execute("insert into number values (1)"))
    assert numbers() == []


class StuckOnce:
    """A connection of the driver's whose first rollback fails."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        self._failed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def rollback(self) -> None:
        if not self._failed:
            self._failed = True
            raise sqlite3.OperationalError("disk I/O error")
        self._raw.rollback()


def test_a_rollback_that_fails_is_made_up_for_by_the_next_transaction(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = sqlite.connect(str(tmp_path / "x.db"), synchronous="FULL", busy_timeout=1, read_only=False)
    session = SQLiteSession(raw, "x.db")
    monkeypatch.setattr(session, "_raw", StuckOnce(raw))
    connection = Connection(session)
    connection.begin(write=True)
    connection.execute("create table t (n integer)")
    connection.rollback()
    assert "disk I/O error" in caplog.text
    connection.begin(write=True)
    assert connection.execute("select 1 from sqlite_master") == []
    connection.close()
