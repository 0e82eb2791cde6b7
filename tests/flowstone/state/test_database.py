"""Opening and closing a store, its options, and the commits of others."""

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowstone.errors import ConfigError, StoreUnavailable
from flowstone.state.connection import Connection
from flowstone.state.database import Database

MEMORY = """
import sys
from flowstone.state.database import Database
database = Database.open("memory://")
path = database.read(lambda connection: connection.execute("pragma database_list")[0].file)
print(path, flush=True)
sys.stdin.readline()
"""

on_sqlite = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


def pragma(database: Database, name: str) -> Any:
    return database.transact(lambda connection: connection.execute(f"pragma {name}")[0][0])


def file_of(database: Database) -> Path:
    return Path(database.read(lambda connection: connection.execute("pragma database_list")[0].file))


@on_sqlite
def test_a_file_is_flushed_with_every_commit_unless_asked_otherwise(url: str) -> None:
    full, normal, off = 2, 1, 0
    with Database.open(url) as database:
        assert (pragma(database, "synchronous"), pragma(database, "journal_mode")) == (full, "wal")
    with Database.open(url, synchronous="NORMAL") as database:
        assert pragma(database, "synchronous") == normal
    with Database.open("memory://") as database:
        assert (pragma(database, "synchronous"), pragma(database, "journal_mode")) == (off, "wal")


def test_an_unknown_way_of_flushing_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="FULL or NORMAL, got: 'OFF'"):
        Database.open(url, synchronous="OFF")  # type: ignore[arg-type]  # the wrong value is the test


def test_a_memory_store_is_private_and_gone_when_closed() -> None:
    with Database.open("memory://") as database:
        directory = file_of(database).parent
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert not directory.exists()


def test_memory_stores_are_separate() -> None:
    with Database.open("memory://") as one, Database.open("memory://") as other:
        one.transact(lambda connection: connection.execute("create table t (n integer)"))
        assert other.read(lambda connection: connection.execute("select 1 from sqlite_master where name = 't'")) == []


def test_a_memory_store_that_nobody_closed_is_gone_with_its_process(script: Callable[..., Any]) -> None:
    process = script(MEMORY)
    path = Path(process.stdout.readline().strip())
    assert path.exists()
    process.stdin.close()
    process.stdin = None
    process.wait()
    assert not path.parent.exists()


def test_what_was_written_is_there_when_opened_again(url: str) -> None:
    with Database.open(url) as database:
        database.transact(lambda connection: connection.execute("create table t (n integer)"))
    with Database.open(url) as database:
        assert database.read(lambda connection: connection.execute("select * from t")) == []


def test_closing_leaves_no_thread_and_is_harmless_when_repeated(url: str) -> None:
    before = threading.enumerate()
    database = Database.open(url)
    assert len(threading.enumerate()) > len(before)
    database.close()
    database.close()
    for thread in set(threading.enumerate()) - set(before):
        thread.join(20)
    assert threading.enumerate() == before


@on_sqlite
def test_closing_leaves_one_file_and_the_lock(url: str, tmp_path: Path) -> None:
    Database.open(url).close()
    assert sorted(os.listdir(tmp_path)) == ["store.db", "store.db.lock"]


def test_the_commit_of_another_process_is_noticed_once(url: str, database: Database) -> None:
    noticed: list[str] = []
    database.on_outside_commit(lambda: noticed.append("outside"))
    with Database.open(url, exclusive=False) as client:
        client.transact(lambda connection: connection.execute("create table t (n integer)"))
        looked(database)
        looked(database)
    assert noticed == ["outside"]


def test_commits_of_our_own_are_not_taken_for_anothers(database: Database) -> None:
    noticed: list[str] = []
    database.on_outside_commit(lambda: noticed.append("outside"))
    database.transact(lambda connection: connection.execute("create table t (n integer)"))
    looked(database)
    assert noticed == []


def test_a_commit_of_another_between_ours_is_noticed(url: str, database: Database) -> None:
    noticed: list[str] = []
    database.on_outside_commit(lambda: noticed.append("outside"))
    with Database.open(url, exclusive=False) as client:
        client.transact(lambda connection: connection.execute("create table t (n integer)"))
    database.transact(lambda connection: connection.execute("insert into t values (1)"))
    looked(database)
    assert noticed == ["outside"]


def test_a_listener_that_raises_harms_neither_the_others_nor_the_writer(
    url: str, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    noticed: list[str] = []

    def refuse() -> None:
        raise ValueError("no")

    database.on_outside_commit(refuse)
    database.on_outside_commit(lambda: noticed.append("outside"))
    with Database.open(url, exclusive=False) as client:
        client.transact(lambda connection: connection.execute("create table t (n integer)"))
    looked(database)
    assert noticed == ["outside"]
    assert "listener" in caplog.text


def test_a_look_that_fails_is_a_warning_and_the_next_one_works(
    url: str, database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_connection: Connection) -> int:
        raise StoreUnavailable("the disk gave an error")

    noticed: list[str] = []
    with monkeypatch.context() as patched:
        patched.setattr(Connection, "data_version", refuse)
        looked(database)
    assert "the disk gave an error" in caplog.text
    database.on_outside_commit(lambda: noticed.append("outside"))
    with Database.open(url, exclusive=False) as client:
        client.transact(lambda connection: connection.execute("create table t (n integer)"))
    looked(database)
    assert noticed == ["outside"]


def looked(database: Database) -> None:
    """Look for the commits of others and wait until that has been done."""
    database.poll_outside_commits()
    database.transact(nothing)


def nothing(_connection: Connection) -> None:
    pass
