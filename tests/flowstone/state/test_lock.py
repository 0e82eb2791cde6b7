"""One runtime holds a store, by name, and a killed one holds nothing."""

import errno
import fcntl
import os
import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flowstone.errors import StoreLocked, StoreUnavailable
from flowstone.state.connection import Connection
from flowstone.state.database import Database
from flowstone.state.lock import StoreLock

Script = Callable[..., Any]
NOW = datetime(2025, 1, 15, tzinfo=UTC)

HOLD = """
import sys
from flowstone.state.database import Database
database = Database.open(sys.argv[1])
print("held", flush=True)
sys.stdin.readline()
database.close()
print("free", flush=True)
sys.stdin.readline()
"""

FORK = """
import os, sys
from flowstone.errors import FlowstoneError
from flowstone.state.database import Database
database = Database.open(sys.argv[1])
database.transact(lambda connection: connection.execute("create table seen (pid integer)"))
if os.fork() == 0:
    for attempt in (
        lambda: Database.open(sys.argv[1]),
        lambda: database.transact(lambda connection: None),
        lambda: database.write(lambda connection: None, print),
        lambda: database.read(lambda connection: None),
        lambda: database.read_later(lambda connection: None, print),
        database.poll_outside_commits,
    ):
        try:
            attempt()
            print("allowed")
        except FlowstoneError as error:
            print(type(error).__name__, str(os.getppid()) in str(error))
    database.close()
    sys.exit(0)
os.wait()
database.transact(lambda connection: connection.execute("insert into seen values (1)"))
print("parent goes on", database.read(lambda connection: connection.execute("select pid from seen")[0].pid))
try:
    Database.open(sys.argv[1])
except FlowstoneError as error:
    print(type(error).__name__)
database.close()
"""

INHERIT = """
import os, sys
from flowstone.state.database import Database
database = Database.open(sys.argv[1])
child = os.fork()
if child == 0:
    sys.stdin.readline()
    os._exit(0)
print(child, flush=True)
os.waitpid(child, 0)
"""

on_sqlite = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


@on_sqlite
def test_a_second_runtime_of_one_process_is_refused_by_name(url: str, database: Database) -> None:
    with pytest.raises(StoreLocked, match=f"process {os.getpid()} ") as caught:
        Database.open(url)
    assert caught.value.context["pid"] == os.getpid()
    assert caught.value.context["since"].endswith("Z")


@on_sqlite
def test_the_refusal_harms_neither_the_lock_nor_the_store(url: str, database: Database, script: Script) -> None:
    with pytest.raises(StoreLocked):
        Database.open(url)
    refused = script(HOLD, url)
    assert refused.stdout.read() == ""
    database.transact(lambda connection: connection.execute("create table t (n integer)"))


@on_sqlite
def test_a_link_to_the_file_is_the_same_store(tmp_path: Path, database: Database) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "store.db")
    with pytest.raises(StoreLocked):
        Database.open(f"sqlite:///{tmp_path}/link.db")


@on_sqlite
def test_another_process_is_named(url: str, script: Script) -> None:
    holder = script(HOLD, url)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(StoreLocked, match=f"process {holder.pid} ") as caught:
        Database.open(url)
    assert caught.value.context["pid"] == holder.pid


def test_a_closed_store_is_free_at_once(url: str, script: Script) -> None:
    holder = script(HOLD, url)
    assert holder.stdout.readline() == "held\n"
    holder.stdin.write("\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "free\n"
    Database.open(url).close()
    Database.open(url).close()


@pytest.mark.crash
def test_the_lock_of_a_killed_holder_is_free_at_once(url: str, script: Script) -> None:
    holder = script(HOLD, url)
    assert holder.stdout.readline() == "held\n"
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    Database.open(url).close()


@pytest.mark.crash
def test_a_child_of_fork_does_not_keep_the_lock_of_a_killed_holder(url: str, script: Script) -> None:
    holder = script(INHERIT, url)
    child = int(holder.stdout.readline())
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    try:
        Database.open(url).close()
    finally:
        os.kill(child, signal.SIGKILL)


@on_sqlite
def test_a_child_of_fork_is_refused_and_the_parent_goes_on(url: str, script: Script) -> None:
    assert script(FORK, url).stdout.read().splitlines() == [
        "StoreLocked True",
        "ForkedRuntime True",
        "ForkedRuntime True",
        "ForkedRuntime True",
        "ForkedRuntime True",
        "ForkedRuntime True",
        "parent goes on 1",
        "StoreLocked",
    ]


def test_clients_open_a_store_that_a_runtime_holds(url: str, database: Database) -> None:
    with Database.open(url, exclusive=False) as client, Database.open(url, exclusive=False):
        client.transact(lambda connection: connection.execute("create table t (n integer)"))


def test_a_client_sees_whether_a_runtime_holds_the_store_and_is_in_nobodys_way(url: str, script: Script) -> None:
    def alone(connection: Connection) -> bool:
        return connection.alone()

    with Database.open(url, exclusive=False) as client:
        assert client.transact(alone)
        with Database.open(url):
            assert not client.transact(alone)
        assert client.transact(alone)
        holder = script(HOLD, url)
        assert holder.stdout.readline() == "held\n"
        assert not client.transact(alone)
        assert not client.transact(alone)


def test_a_runtime_that_comes_while_a_client_writes_what_a_runtime_would_waits_for_it(url: str) -> None:
    opened = threading.Event()

    def start() -> None:
        with Database.open(url) as runtime:
            runtime.transact(lambda connection: None)
            opened.set()

    def register(connection: Connection) -> bool:
        alone = connection.alone()
        thread.start()
        return alone and not opened.is_set()

    Database.open(url).close()
    thread = threading.Thread(target=start)
    with Database.open(url, exclusive=False) as client:
        assert client.transact(register)
    thread.join(20)
    assert opened.is_set()


def test_a_lock_is_released_once(tmp_path: Path) -> None:
    first = StoreLock.take(str(tmp_path / "x"), NOW)
    first.release()
    second = StoreLock.take(str(tmp_path / "x"), NOW)
    first.release()
    with pytest.raises(StoreLocked):
        StoreLock.take(str(tmp_path / "x"), NOW)
    second.release()


def test_a_lock_without_a_name_is_refused_all_the_same(tmp_path: Path, script: Script) -> None:
    holder = script(
        "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.lockf(file, fcntl.LOCK_EX, 1, 0);"
        "print('held', flush=True); sys.stdin.readline()",
        str(tmp_path / "x.lock"),
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(StoreLocked, match="left no name"):
        StoreLock.take(str(tmp_path / "x"), NOW)


def test_a_lock_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "x.lock").mkdir()
    with pytest.raises(StoreUnavailable, match=r"x\.lock"):
        StoreLock.take(str(tmp_path / "x"), NOW)


def test_a_file_system_without_locks_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with pytest.raises(StoreUnavailable, match="No locks available"):
        StoreLock.take(str(tmp_path / "x"), NOW)
    monkeypatch.undo()
    StoreLock.take(str(tmp_path / "x"), NOW).release()
