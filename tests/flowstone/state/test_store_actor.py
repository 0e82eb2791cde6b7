"""The store's actor keeps its node's heartbeat and passes on that others committed."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import datetime

import pytest

from actors import ActorRef, System
from flowstone.errors import StoreUnavailable
from flowstone.state import store_actor
from flowstone.state.connection import Connection, Row
from flowstone.state.database import Database
from flowstone.state.fields import instant
from flowstone.state.nodes import Node
from flowstone.state.store_actor import Heartbeat, OutsideCommit, StoreActor, StoreChanged


@pytest.fixture(params=["greenlets", "threads"])
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    with System(backend=request.param) as system:
        yield system


@pytest.fixture
def changed(system: System) -> threading.Event:
    """Set when the actor says that others committed."""
    event = threading.Event()

    def note(message: object) -> None:
        assert message == StoreChanged()
        event.set()

    system.pubsub.subscribe("store", note)
    return event


def nodes(database: Database) -> list[Row]:
    database.transact(lambda _connection: None)
    return database.read(lambda connection: connection.execute("select * from node"))


def make_table(connection: Connection) -> None:
    connection.execute("create table t (n integer)")


def test_the_node_is_written_when_the_actor_starts(system: System, database: Database) -> None:
    before = system.clock.now()
    system.start(StoreActor, database, "boot-1", "vm")
    (row,) = nodes(database)
    assert (row.name, row.boot, row.pid, row.host) == ("vm", "boot-1", os.getpid(), socket.gethostname())
    assert before <= instant(row.started_at) == instant(row.heartbeat_at) <= system.clock.now()


def test_a_heartbeat_renews_the_node(system: System, database: Database) -> None:
    ref = system.start(StoreActor, database, "boot-1", "vm")
    (first,) = nodes(database)
    ref.ask(Heartbeat())
    (second,) = nodes(database)
    assert second.started_at == first.started_at
    assert second.heartbeat_at > first.heartbeat_at


def test_heartbeats_come_by_themselves(system: System, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    beats = threading.Semaphore(0)
    beat = Node.beat

    def noted(node: Node, connection: Connection, now: datetime) -> None:
        beat(node, connection, now)
        beats.release()

    monkeypatch.setattr(Node, "beat", noted)
    monkeypatch.setattr(store_actor, "HEARTBEAT", 0.01)
    system.start(StoreActor, database, "boot-1", "vm")
    for _ in range(3):
        assert beats.acquire(timeout=20)


def test_another_boot_takes_the_node_over(database: Database) -> None:
    early, late = datetime.fromisoformat("2025-01-01T00:00Z"), datetime.fromisoformat("2025-01-02T00:00Z")
    database.transact(lambda connection: Node("vm", "boot-1").beat(connection, early))
    database.transact(lambda connection: Node("vm", "boot-2").beat(connection, late))
    (row,) = nodes(database)
    assert (row.boot, instant(row.started_at)) == ("boot-2", late)


def test_a_commit_of_another_process_is_passed_on(
    system: System, changed: threading.Event, url: str, database: Database
) -> None:
    system.start(StoreActor, database, "boot-1", "vm")
    with Database.open(url, exclusive=False) as client:
        client.transact(make_table)
        assert changed.wait(20)


def test_after_its_restart_the_actor_listens_once(
    system: System, changed: threading.Event, url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []
    monkeypatch.setattr(StoreActor, "receive", lambda _actor, message: told.append(message))
    first: ActorRef = system.start(StoreActor, database, "boot-1", "vm")
    first.stop()
    second: ActorRef = system.start(StoreActor, database, "boot-1", "vm")
    nodes(database)
    with Database.open(url, exclusive=False) as client:
        client.transact(make_table)
        database.poll_outside_commits()
        database.transact(lambda _connection: None)
        second.ask("everything told before has been handled")
    assert told.count(OutsideCommit()) == 1


def test_a_store_that_fails_is_a_warning(
    system: System, database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_args: object) -> None:
        raise StoreUnavailable("the disk is full")

    ref = system.start(StoreActor, database, "boot-1", "vm")
    monkeypatch.setattr(Node, "beat", refuse)
    ref.ask(Heartbeat())
    database.transact(lambda _connection: None)
    assert ref.is_alive()
    assert "the disk is full" in caplog.text


def test_a_private_store_is_left_alone(system: System) -> None:
    with Database.open("memory://") as database:
        ref = system.start(StoreActor, database, "boot-1", "vm")
        assert nodes(database) == []
        ref.stop()


def test_a_listener_that_is_taken_back_is_not_called(url: str, database: Database) -> None:
    told: list[str] = []
    take_back = database.on_outside_commit(lambda: told.append("first"))
    database.on_outside_commit(lambda: told.append("second"))
    take_back()
    take_back()
    with Database.open(url, exclusive=False) as client:
        client.transact(make_table)
        database.poll_outside_commits()
        database.transact(lambda _connection: None)
    assert told == ["second"]


def test_a_commit_noticed_while_the_actor_restarts_harms_nobody(
    system: System, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    listeners: list[Callable[[], object]] = []

    def listen(callback: Callable[[], object]) -> Callable[[], None]:
        listeners.append(callback)
        return lambda: None

    monkeypatch.setattr(database, "on_outside_commit", listen)
    ref = system.start(StoreActor, database, "boot-1", "vm")
    ref.stop()
    listeners[0]()
