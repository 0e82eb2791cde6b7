"""The migrations lead to the tables of the models, once, whoever opens the store first."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from peewee import SqliteDatabase

from flowstone.errors import StoreUnavailable
from flowstone.state import sqlite
from flowstone.state.connection import Connection
from flowstone.state.database import Database
from flowstone.state.migrate import Migration, migrate, migrations
from flowstone.state.models import TABLES

NOW = datetime(2025, 1, 15, tzinfo=UTC)
ONE = Migration(1, "one", "create table one (id {id}, at {instant}) {strict};")
TWO = Migration(2, "two", "create table two (n integer);\ninsert into two\nvalues (1);")

OPEN = """
import sys
from flowstone.errors import StoreLocked
from flowstone.state.database import Database
sys.stdin.readline()
try:
    database = Database.open(sys.argv[1], exclusive=sys.argv[2] == "runtime")
    database.transact(lambda connection: connection.execute("select 1"))
    print("open", flush=True)
except StoreLocked as error:
    print("locked by", error.context["pid"], flush=True)
sys.stdin.readline()
"""

Script = Callable[..., Any]


@pytest.fixture
def connection(tmp_path: Path) -> Any:
    path = str(tmp_path / "plain.db")
    connection = Connection(sqlite.connect(path, synchronous="OFF", busy_timeout=1, read_only=False), path)
    yield connection
    connection.close()


def names(connection: Connection) -> list[str]:
    rows = connection.execute("select name from sqlite_master where type = 'table' and name not like 'sqlite_%'")
    return sorted(row.name for row in rows)


def tables(execute: Callable[[str], Any]) -> dict[str, Any]:
    """What a store's tables are: columns with type, null and key, and indexes with their columns and condition."""
    found: dict[str, Any] = {}
    for (table,) in execute("select name from sqlite_master where type = 'table' and name not like 'sqlite_%'"):
        columns = [tuple(row)[1:4] + tuple(row)[5:6] for row in execute(f"pragma table_info({table})")]
        indexes = {}
        for _number, index, unique, _origin, partial in map(tuple, execute(f"pragma index_list({table})")):
            keys = [tuple(row)[2:4] for row in execute(f"pragma index_xinfo({index})") if tuple(row)[5]]
            indexes["primary key" if index.startswith("sqlite_") else index] = (unique, partial, keys)
        found[table] = ([(name, kind.lower(), null, key) for name, kind, null, key in columns], indexes)
    return found


def test_all_migrations_applied_equal_the_models(connection: Connection) -> None:
    migrate(connection, NOW)
    declared = SqliteDatabase(":memory:")
    with declared.bind_ctx(TABLES):
        declared.create_tables(TABLES)
        expected = tables(lambda sql: declared.execute_sql(sql).fetchall())
    declared.close()
    assert tables(lambda sql: connection.execute(sql)) == expected


def test_partial_indexes_have_the_conditions_of_the_models(connection: Connection) -> None:
    migrate(connection, NOW)
    rows = connection.execute("select name, sql from sqlite_master where type = 'index' and sql like '% where %'")
    conditions = {row.name: row.sql.split(" where ")[1] for row in rows}
    assert conditions.pop("evaluation_settled") == "status in ('triggered', 'no_trigger')"
    declared = {index._name for table in TABLES for index in table._meta.fields_to_index() if index._where is not None}
    assert declared == {"evaluation_settled", *conditions}


def test_every_table_refuses_values_of_another_type(connection: Connection) -> None:
    migrate(connection, NOW)
    lax = "select name from pragma_table_list where schema = 'main' and not strict and name not like 'sqlite_%'"
    assert connection.execute(lax) == []


def test_numbers_are_unique_and_without_gaps() -> None:
    assert [step.number for step in migrations()] == list(range(1, len(migrations()) + 1))


def test_steps_are_applied_in_order_and_once(connection: Connection) -> None:
    assert migrate(connection, NOW, [ONE]) == 1
    assert migrate(connection, NOW, [ONE, TWO]) == 1
    assert migrate(connection, NOW, [ONE, TWO]) == 0
    rows = connection.execute("select number, name, checksum, applied_at from schema_version order by number")
    assert [tuple(row) for row in rows] == [
        (1, "one", ONE.checksum, "2025-01-15T00:00:00.000000Z"),
        (2, "two", TWO.checksum, "2025-01-15T00:00:00.000000Z"),
    ]
    assert connection.execute("select n from two")[0].n == 1


def test_a_step_that_fails_leaves_no_trace_and_keeps_those_before(connection: Connection) -> None:
    broken = Migration(2, "broken", "create table three (n integer);\ninsert into missing values (1);")
    with pytest.raises(Exception, match="missing"):
        migrate(connection, NOW, [ONE, broken])
    assert names(connection) == ["one", "schema_version"]
    assert migrate(connection, NOW, [ONE, TWO]) == 1


def test_what_is_due_is_decided_under_the_write_lock(connection: Connection, tmp_path: Path) -> None:
    path = str(tmp_path / "plain.db")
    other = Connection(sqlite.connect(path, synchronous="OFF", busy_timeout=0, read_only=False), path)
    refused: list[str] = []

    class Watched(Connection):
        __slots__ = ()

        def execute(self, sql: str, *args: Any, **named: Any) -> Any:
            if self.in_transaction:
                with pytest.raises(StoreUnavailable):
                    other.begin(write=True)
                refused.append(sql)
            return super().execute(sql, *args, **named)

    migrate(connection, NOW, [ONE])
    raw = sqlite.connect(path, synchronous="OFF", busy_timeout=0, read_only=False)
    assert migrate(Watched(raw, path), NOW, [ONE, TWO]) == 1
    assert any("from schema_version" in sql for sql in refused)
    raw.close()
    other.close()


def test_a_step_that_another_one_applied_meanwhile_is_not_applied_again(connection: Connection, tmp_path: Path) -> None:
    class Overtaken(Connection):
        __slots__ = ()

        def begin(self, *, write: bool) -> None:
            migrate(connection, NOW, [ONE, TWO])
            super().begin(write=write)

    path = str(tmp_path / "plain.db")
    raw = sqlite.connect(path, synchronous="OFF", busy_timeout=0, read_only=False)
    assert migrate(Overtaken(raw, path), NOW, [ONE, TWO]) == 0
    assert connection.execute("select n from two")[0].n == 1
    raw.close()


def test_a_store_that_is_up_to_date_is_not_written_to(url: str, database: Database) -> None:
    with Database.open(url, exclusive=False) as client:
        before = client.read(lambda connection: connection.data_version())
        Database.open(url, exclusive=False).close()
        assert client.read(lambda connection: connection.data_version()) == before


def test_a_newer_store_is_refused(url: str) -> None:
    newer = len(migrations()) + 1
    with Database.open(url) as database:
        database.transact(
            lambda connection: connection.execute(
                "insert into schema_version values (:number, 'future', 'x', 'now')", number=newer
            )
        )
    with pytest.raises(StoreUnavailable, match=f"step {newer}") as caught:
        Database.open(url)
    assert not caught.value.retryable


def test_a_step_that_was_changed_after_it_was_applied_is_refused(connection: Connection) -> None:
    migrate(connection, NOW, [ONE])
    with pytest.raises(StoreUnavailable, match="step 1"):
        migrate(connection, NOW, [Migration(1, "one", ONE.script + " "), TWO])
    assert names(connection) == ["one", "schema_version"]


@pytest.mark.concurrent
@pytest.mark.parametrize("_round", range(3))
def test_four_clients_that_open_a_new_store_at_once_migrate_it_once(url: str, script: Script, _round: int) -> None:
    clients = [script(OPEN, url, "client") for _ in range(4)]
    go(clients)
    assert [client.stdout.readline() for client in clients] == ["open\n"] * 4
    with Database.open(url) as database:
        rows = database.read(lambda connection: connection.execute("select number from schema_version"))
    assert sorted(row.number for row in rows) == [step.number for step in migrations()]


@pytest.mark.concurrent
def test_of_four_runtimes_that_open_a_new_store_at_once_one_holds_it_and_the_others_name_it(
    url: str, script: Script
) -> None:
    runtimes = [script(OPEN, url, "runtime") for _ in range(4)]
    go(runtimes)
    answers = [runtime.stdout.readline().strip() for runtime in runtimes]
    (winner,) = [runtime.pid for runtime, answer in zip(runtimes, answers, strict=True) if answer == "open"]
    assert sorted(answers) == sorted(["open", *[f"locked by {winner}"] * 3])


def go(processes: list[Any]) -> None:
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
