"""What is SQLite's own: a new file's switch to write-ahead mode, scripts, and faults of the store."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from flowstone.errors import StoreUnavailable
from flowstone.state import sqlite


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "store.db")


@pytest.fixture
def busy(path: str) -> Iterator[sqlite3.Connection]:
    """Another connection that keeps a new file to itself."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("begin exclusive")
    yield other
    other.close()


def connect(path: str) -> sqlite3.Connection:
    return sqlite.connect(path, synchronous="FULL", busy_timeout=0, read_only=False)


def pausing(monkeypatch: pytest.MonkeyPatch, pause: Callable[[float], object]) -> None:
    monkeypatch.setattr(sqlite, "time", SimpleNamespace(sleep=pause))


def test_a_new_file_that_another_one_is_switching_is_tried_again(
    path: str, busy: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    pausing(monkeypatch, lambda _seconds: busy.execute("rollback"))
    raw = connect(path)
    assert raw.execute("pragma journal_mode").fetchone() == ("wal",)
    raw.close()


def test_a_new_file_that_stays_locked_is_unavailable(
    path: str, busy: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    pausing(monkeypatch, pauses.append)
    with pytest.raises(StoreUnavailable, match="another process is writing") as caught:
        connect(path)
    assert caught.value.retryable
    assert len(pauses) == sqlite.WAL_ATTEMPTS - 1


def test_a_file_that_cannot_be_opened_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    pausing(monkeypatch, pauses.append)
    with pytest.raises(StoreUnavailable, match="can't be opened"):
        connect(str(tmp_path / "missing" / "store.db"))
    assert pauses == []


def test_a_store_that_takes_no_write_ahead_log_is_refused() -> None:
    with pytest.raises(StoreUnavailable, match="write-ahead mode"):
        connect(":memory:")


def test_a_script_falls_into_its_statements() -> None:
    script = """
    create table one (n integer); -- a remark; with a semicolon
    create trigger t after insert on one begin
        delete from one;
        select ';';
    end;

    insert into one
    values (1)
    """
    starts = [statement.split()[:2] for statement in sqlite.statements(script)]
    assert starts == [["create", "table"], ["create", "trigger"], ["insert", "into"]]


def test_an_empty_script_has_no_statements() -> None:
    assert list(sqlite.statements(" \n\n")) == []


@pytest.mark.parametrize(
    ("name", "retryable"),
    [
        ("SQLITE_BUSY", True),
        ("SQLITE_BUSY_SNAPSHOT", True),
        ("SQLITE_FULL", True),
        ("SQLITE_IOERR_WRITE", True),
        ("SQLITE_READONLY", False),
        ("SQLITE_CORRUPT", False),
    ],
)
def test_faults_of_the_store_say_whether_to_try_again(name: str, retryable: bool) -> None:
    error = sqlite3.OperationalError("it failed")
    error.sqlite_errorcode = getattr(sqlite3, name)
    translated = sqlite.translated(error, "store.db")
    assert translated is not None
    assert translated.retryable is retryable
    assert "store.db" in str(translated)


def test_faults_of_a_statement_are_not_the_stores() -> None:
    assert sqlite.translated(sqlite3.IntegrityError("UNIQUE"), "store.db") is None
