"""Values in a database, beyond the contract: what rows hold, and what an interrupted write leaves."""

import pickle
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import peewee
import psycopg
import pytest

from flowstone.errors import IOManagerError, ValidationError
from flowstone.io import DatabaseIO, IOContext, StoredValue

CONTEXT = IOContext(asset="raw", partition=date(2025, 1, 15), run_id="run_a", attempt=2, fence=7)


def rows_of(path: Path) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("select asset, partition, run_id, attempt, content, document from made").fetchall()
    finally:
        connection.close()


def test_sql_finds_a_document_by_asset_and_partition(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/values.db"
    DatabaseIO(url, format="json", table="made").store(CONTEXT, {"rows": 3})
    assert rows_of(tmp_path / "values.db") == [("raw", "d:2025-01-15", "run_a", 2, None, '{"rows":3}')]


def test_an_attempt_that_is_stored_again_is_one_row(tmp_path: Path) -> None:
    manager = DatabaseIO(f"sqlite:///{tmp_path}/values.db", table="made")
    manager.store(CONTEXT, 1)
    manager.store(CONTEXT, 1)
    assert [pickle.loads(row[4]) for row in rows_of(tmp_path / "values.db")] == [1]


def test_the_format_of_what_was_stored_stays_readable_when_the_option_changes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/values.db"
    stored = DatabaseIO(url).store(CONTEXT, {1: (2,)})
    assert DatabaseIO(url, format="json").load(CONTEXT, stored) == {1: (2,)}


@pytest.mark.parametrize(("form", "value"), [("json", {1, 2}), ("json", "\ud800"), ("pickle", lambda: 1)])
def test_what_the_format_cannot_hold_is_refused_and_leaves_nothing(tmp_path: Path, form: Any, value: Any) -> None:
    manager = DatabaseIO(f"sqlite:///{tmp_path}/values.db", format=form, table="made")
    manager.store(CONTEXT, 1)
    with pytest.raises(IOManagerError, match=f"a value that {form} can hold") as refused:
        manager.store(replace(CONTEXT, attempt=3), value)
    assert not refused.value.retryable
    assert len(rows_of(tmp_path / "values.db")) == 1


def test_a_place_that_would_break_sql_is_a_place_like_any_other(tmp_path: Path) -> None:
    manager = DatabaseIO(f"sqlite:///{tmp_path}/values.db")
    name = "'; drop table flowstone_value; --"
    stored = manager.store(replace(CONTEXT, asset=name, partition=name, run_id=name), 1)
    assert manager.load(CONTEXT, stored) == 1


def test_a_database_that_cannot_be_opened_is_a_retryable_error(tmp_path: Path) -> None:
    manager = DatabaseIO(f"sqlite:///{tmp_path}/nowhere/values.db")
    with pytest.raises(IOManagerError, match="could not store raw at .*unable to open") as refused:
        manager.store(CONTEXT, 1)
    assert refused.value.retryable


def test_what_is_no_pickle_is_an_error_and_not_a_value(tmp_path: Path) -> None:
    manager = DatabaseIO(f"sqlite:///{tmp_path}/values.db", table="made")
    stored = manager.store(CONTEXT, [1, 2])
    connection = sqlite3.connect(tmp_path / "values.db")
    connection.execute("update made set content = x'00'")
    connection.commit()
    connection.close()
    with pytest.raises(IOManagerError, match="could not load"):
        manager.load(CONTEXT, stored)


@pytest.mark.parametrize(
    "options",
    [
        {"url": "values.db"},
        {"url": None},
        {"url": "nosuch://user:secret@host/db"},
        {"url": "sqlite:///:memory:"},
        {"url": "sqlite:///"},
        {"format": "jsn"},
        {"placement": "atempt"},
        {"table": "a b"},
    ],
)
def test_bad_options_are_refused_where_they_are_given(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="expected") as refused:
        DatabaseIO(**{"url": f"sqlite:///{tmp_path}/values.db", **options})
    assert "secret" not in str(refused.value)


def test_a_manager_shows_no_password() -> None:
    manager = DatabaseIO("postgresql://user:secret@host/db")
    assert repr(manager) == "<DatabaseIO on Postgresql, table 'flowstone_value', format='pickle', placement='attempt'>"


def test_two_makers_of_one_table_meet_in_peace(postgres_url: str) -> None:
    first, second = DatabaseIO(postgres_url, format="json"), DatabaseIO(postgres_url, format="json")
    stored = first.store(CONTEXT, [1])
    assert second.load(CONTEXT, stored) == [1]
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("select document::json ->> 0 from flowstone_value").fetchall() == [("1",)]


def test_a_pool_of_peewee_s_keeps_connections_open(postgres_url: str) -> None:
    manager = DatabaseIO(postgres_url.replace("postgresql://", "postgresql+pool://"))
    assert [manager.load(CONTEXT, manager.store(replace(CONTEXT, attempt=n), n)) for n in range(3)] == [0, 1, 2]
    assert len(manager._database._connections) == 1
    manager._database.close_all()


WRITER = """
import sys
from flowstone.io import DatabaseIO, IOContext
values = DatabaseIO(sys.argv[1], placement=sys.argv[2], table="made")
for n in range(1_000_000):
    print(n, flush=True)
    values.store(IOContext(asset="raw", partition=n % 3, run_id="run_a", attempt=n), b"x" * 300_000)
"""


@pytest.mark.crash
@pytest.mark.parametrize("placement", ["attempt", "stable"])
def test_a_killed_writer_leaves_whole_values_only(tmp_path: Path, placement: Any) -> None:
    url, written = f"sqlite:///{tmp_path}/values.db", 0
    for kill in range(3):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, url, placement], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        for _ in range(random.randint(2, 12)):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        values = [pickle.loads(row[4]) for row in rows_of(tmp_path / "values.db")]
        assert all(value == b"x" * 300_000 for value in values), kill
        assert len(values) >= min(written, 1)
        written = len(values)
    assert DatabaseIO(url, table="made").store(CONTEXT, 1).bytes


def test_calls_wait_for_a_connection_of_a_pool_that_has_none_left(postgres_url: str) -> None:
    url = postgres_url.replace("postgresql://", "postgresql+pool://", 1) + "&max_connections=1"
    manager, ready = DatabaseIO(url), threading.Barrier(4)

    def store(number: int) -> StoredValue:
        ready.wait()
        return manager.store(replace(CONTEXT, run_id=f"run_{number}"), bytes(1_000_000))

    with ThreadPoolExecutor(4) as threads:
        assert len({stored.location for stored in threads.map(store, range(4))}) == 4
    manager._database.close_all()


def test_a_relative_file_is_that_of_the_time_of_definition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    manager = DatabaseIO("sqlite:///values.db")
    stored = manager.store(CONTEXT, 1)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert manager.load(CONTEXT, stored) == 1
    assert not list(Path().iterdir())


@pytest.mark.parametrize("url", ["sqlite://values.db", "sqlite:///:memory:", "sqlite://"])
def test_a_database_that_lives_no_longer_than_its_connection_is_refused_as_it_was_given(url: str) -> None:
    with pytest.raises(ValidationError, match=f"got: '{url}'; a file takes three slashes, as sqlite:///values.db"):
        DatabaseIO(url)


def test_a_disk_that_is_full_is_named_whatever_became_of_the_transaction(tmp_path: Path) -> None:
    manager = DatabaseIO(f"sqlite:///{tmp_path}/values.db")
    manager.store(CONTEXT, 1)
    manager._database.pragma("max_page_count", 20, permanent=True)
    with pytest.raises(IOManagerError, match="could not store .*: database or disk is full") as refused:
        manager.store(CONTEXT, bytes(1_000_000))
    assert refused.value.retryable
    assert manager.load(CONTEXT, manager.store(CONTEXT, 2)) == 2


@pytest.mark.filterwarnings("ignore:'passwd' is deprecated")
@pytest.mark.parametrize("form", ["pickle", "json"])
def test_large_values_and_any_text_come_back_from_mariadb(mariadb_server: Any, form: Any) -> None:
    manager = DatabaseIO(mariadb_server.make(), format=form)
    for value in ("x" * 70_000, "é🙂\0" * 500_000):
        assert manager.load(CONTEXT, manager.store(CONTEXT, value)) == value


def test_a_value_that_is_too_large_for_the_database_is_final(tmp_path: Path) -> None:
    manager = DatabaseIO(f"sqlite:///{tmp_path}/values.db")
    with manager._database.connection_context():
        connection = manager._database.connection()
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1000)
        with pytest.raises(peewee.DataError) as too_big:
            manager._database.execute_sql("select zeroblob(2000)")
    with pytest.raises(IOManagerError, match="DataError: string or blob too big") as refused:
        with manager._connected("store raw"):
            raise too_big.value
    assert not refused.value.retryable
