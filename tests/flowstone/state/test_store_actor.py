"""The store's actor keeps its node's heartbeat and passes on that others committed."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import datetime

import pytest

from actors import ActorRef, ChildSpec, RealClock, Supervisor, System
from flowstone.errors import StoreUnavailable
from flowstone.state import nodes
from flowstone.state.connection import Connection, Row
from flowstone.state.database import Database
from flowstone.state.fields import instant
from flowstone.state.membership import Membership
from flowstone.state.store_actor import Heartbeat, Look, OutsideCommit, StoreActor, StoreChanged, join


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


def rows(database: Database) -> list[Row]:
    database.transact(lambda _connection: None)
    return database.read(lambda connection: connection.execute("select * from node order by number"))


def joined(database: Database, boot: str = "boot-1") -> Membership:
    """The membership of a runtime that has joined, as the only one of the store."""
    membership = Membership(boot, name="vm", fresh_id=lambda: f"{membership.boot}-again")
    database.transact(lambda connection: join(connection, membership, RealClock().now()))
    return membership


def make_table(connection: Connection) -> None:
    connection.execute("create table t (n integer)")


def test_the_node_is_written_when_the_actor_starts(system: System, database: Database) -> None:
    before = system.clock.now()
    system.start(StoreActor, database, joined(database))
    (row,) = rows(database)
    assert (row.name, row.boot, row.pid, row.host) == ("vm", "boot-1", os.getpid(), socket.gethostname())
    assert before <= instant(row.started_at) <= instant(row.heartbeat_at) <= system.clock.now()


def test_a_heartbeat_renews_the_node(system: System, database: Database) -> None:
    ref = system.start(StoreActor, database, joined(database))
    (first,) = rows(database)
    ref.ask(Heartbeat())
    (second,) = rows(database)
    assert second.started_at == first.started_at
    assert second.heartbeat_at > first.heartbeat_at


def test_heartbeats_come_by_themselves(system: System, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    beats = threading.Semaphore(0)
    beat = nodes.beat

    def noted(connection: Connection, *, boot: str, now: datetime) -> bool:
        beats.release()
        return beat(connection, boot=boot, now=now)

    monkeypatch.setattr(nodes, "beat", noted)
    monkeypatch.setattr(nodes, "HEARTBEAT", 0.01)
    system.start(StoreActor, database, joined(database))
    for _ in range(3):
        assert beats.acquire(timeout=20)


def test_a_node_that_has_ended_joins_anew(
    system: System, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor = system.start(
        Supervisor, children=[ChildSpec(StoreActor, id="store", args=(database, joined(database)))]
    )
    database.transact(lambda connection: nodes.leave(connection, boot="boot-1", now=RealClock().now()))
    supervisor.child("store").tell(Heartbeat())
    found: list[Row] = []
    while len(found) < 2:
        found = rows(database)
    assert [(row.boot, row.ended_at is None) for row in found] == [("boot-1", False), ("boot-1-again", True)]


def test_a_commit_of_another_process_is_passed_on(
    system: System, changed: threading.Event, url: str, database: Database
) -> None:
    system.start(StoreActor, database, joined(database))
    with Database.open(url, exclusive=False) as client:
        client.transact(make_table)
        assert changed.wait(20)


def test_after_its_restart_the_actor_listens_once(
    system: System, changed: threading.Event, url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []
    monkeypatch.setattr(StoreActor, "receive", lambda _actor, message: told.append(message))
    membership = joined(database)
    first: ActorRef = system.start(StoreActor, database, membership)
    first.stop()
    second: ActorRef = system.start(StoreActor, database, membership)
    rows(database)
    with Database.open(url, exclusive=False) as client:
        client.transact(make_table)
        database.poll_outside_commits()
        database.transact(lambda _connection: None)
        second.ask("everything told before has been handled")
    assert told.count(OutsideCommit()) == 1


def test_a_store_that_fails_is_a_warning(
    system: System, database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise StoreUnavailable("the disk is full")

    ref = system.start(StoreActor, database, joined(database))
    monkeypatch.setattr(nodes, "beat", refuse)
    ref.ask(Heartbeat())
    database.transact(lambda _connection: None)
    ref.ask(Look())
    assert ref.is_alive()
    assert "the disk is full" in caplog.text


def test_a_private_store_is_left_alone(system: System) -> None:
    with Database.open("memory://") as database:
        ref = system.start(StoreActor, database, Membership("boot-1"))
        assert rows(database) == []
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
    ref = system.start(StoreActor, database, joined(database))
    ref.stop()
    listeners[0]()
