"""Rows that PostgreSQL tells of: polled at once, each once, whatever the connection that listens goes through."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.sql import SQL, Identifier

from flowstone.core.partitions import decode_partition
from flowstone.sensors import DatabaseChange, SensorSpec
from flowstone.sensors.builtin.database import listening

CUT = "select pg_terminate_backend(pid) from pg_stat_activity where query = %s"
SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Orders:
    """A table whose inserts are told on a channel of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.channel = url.rpartition("%3D")[2]
        self.server = psycopg.connect(url, autocommit=True)
        self.server.execute("create table if not exists orders (id bigserial primary key)")
        self.ids: list[int] = []

    def insert(self, count: int, *, fate: str = "commit") -> None:
        with psycopg.connect(self.url) as other:
            for _ in range(count):
                (row,) = other.execute("insert into orders default values returning id").fetchall()
                self.ids += [row[0]] if fate == "commit" else []
                other.execute(SQL("notify {}").format(Identifier(self.channel)))
            if fate != "commit":
                other.rollback()

    def delete(self) -> None:
        self.server.execute("delete from orders")

    def cut(self) -> int:
        """End the connections that listen; how many there were."""
        return len(self.server.execute(CUT, [f'listen "{self.channel}"']).fetchall())

    def rename(self, old: str, new: str) -> None:
        self.server.execute(SQL("alter table {} rename to {}").format(Identifier(old), Identifier(new)))


class Taken:
    """The rows of one table whose runs a store holds, and a wait for them."""

    def __init__(self, room: Any) -> None:
        self.room = room
        self.committed = threading.Semaphore(0)
        self.before = 0
        self.before = len(self.ids())

    def listen(self) -> None:
        self.room.system.pubsub.subscribe("sensors", lambda message: self.committed.release())

    def ids(self) -> list[int]:
        """In the order of their ids. What is told while a room is closed may be told to nobody: the store knows."""
        rows = self.room.database.read(lambda connection: connection.execute("select partition from run"))
        ids = sorted(int(str(decode_partition(row.partition))) for row in rows)
        return ids[self.before:]

    def wait_for(self, count: int) -> None:
        while len(self.ids()) < count:
            assert self.committed.acquire(timeout=20), f"{count} rows were told of, and {len(self.ids())} taken"


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["insert", "insert", "rollback", "delete", "wait", "cut", "fail", "restart"]),
        st.integers(1, 3),
    ),
    max_size=10,
)


@pytest.mark.property
@settings(SLOW, max_examples=12)
@given(steps=STEPS)
def test_the_runs_are_the_rows_that_were_told_of(
    postgres_url: str, durable: Any, monkeypatch: pytest.MonkeyPatch, steps: Any
) -> None:
    """Inserts, rollbacks, deletions, connections that are cut, a table that is away, restarts.

    The interval is an hour, and time stands still: after the first poll of each start, nothing but a notification, or
    a new connection of the listener, asks for a poll.
    """
    monkeypatch.setattr(listening, "RETRY", 0.01)
    monkeypatch.setattr(listening, "PATIENCE", 0.05)
    world = Orders(postgres_url)
    told: dict[str, Any] = {"table": "orders", "high_water": "id", "channel": world.channel}
    sensor = DatabaseChange(url=postgres_url, partition=lambda row: str(row["id"]), **told)
    room = durable.open(SensorSpec("orders", sensor, every="1h", target="raw"))
    taken = Taken(room)
    taken.listen()
    room.sensors.poll("orders")
    with closing(room), closing(world.server):
        play(world, room, taken, steps)
        assert taken.ids() == world.ids


def play(world: Orders, room: Any, taken: Taken, steps: Any) -> None:
    """Take the steps, then wait for what they come to, and see that a poll finds nothing more."""
    for step, count in [*steps, ("wait", 0)]:
        if step in ("insert", "rollback"):
            world.insert(count, fate="commit" if step == "insert" else "rollback")
        elif step == "wait":
            taken.wait_for(len(world.ids))
        elif step == "delete":
            taken.wait_for(len(world.ids))
            world.delete()
        elif step == "cut":
            world.cut()
        elif step == "fail":
            world.rename("orders", "away")
            assert room.sensors.poll("orders").status == "error"
            world.rename("away", "orders")
            assert room.sensors.poll("orders").status != "error"
        else:
            room.close()
            room.open()
            taken.listen()
            room.sensors.poll("orders")
    assert room.sensors.poll("orders").request_count == 0


def test_a_row_that_comes_while_nobody_listens_is_taken_by_the_next_connection(
    postgres_url: str, durable: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "RETRY", 0.01)
    monkeypatch.setattr(listening, "PATIENCE", 0.05)
    world, connect, refused, open_again = Orders(postgres_url), psycopg.connect, threading.Event(), threading.Event()

    def connected(*args: Any, **options: Any) -> Any:
        listens = threading.current_thread().name.startswith("flowstone listener")
        if listens and refused.is_set() and not open_again.is_set():
            open_again.wait(20)
            raise psycopg.OperationalError("refused")
        return connect(*args, **options)

    monkeypatch.setattr(psycopg, "connect", connected)
    told: dict[str, Any] = {"table": "orders", "high_water": "id", "channel": world.channel}
    sensor = DatabaseChange(url=postgres_url, partition=lambda row: str(row["id"]), **told)
    room = durable.open(SensorSpec("orders", sensor, every="1h", target="raw"))
    taken = Taken(room)
    taken.listen()
    room.sensors.poll("orders")
    world.insert(1)
    taken.wait_for(1)
    refused.set()
    assert world.cut() == 1
    world.server.execute("insert into orders values (1000)")
    open_again.set()
    taken.wait_for(2)
    world.server.close()
    assert taken.ids() == [world.ids[0], 1000]
