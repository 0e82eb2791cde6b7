"""The rules of nodes: who lives, who is dead, and what a dead one may still do. The instants are the test's own."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flowstone.errors import StoreUnavailable
from flowstone.state import nodes
from flowstone.state.assignment import SCHEDULER, Cluster
from flowstone.state.connection import Connection
from flowstone.state.database import Database
from flowstone.state.nodes import HEARTBEAT

NOW = datetime(2025, 1, 15, tzinfo=UTC)
LONG = timedelta(seconds=3 * HEARTBEAT + 1)
on_postgresql = pytest.mark.parametrize("url", ["postgresql"], indirect=True)


def later(beats: float) -> datetime:
    return NOW + timedelta(seconds=beats * HEARTBEAT)


class Store:
    """The transactions of nodes on one store."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def join(self, boot: str, at: datetime = NOW) -> None:
        self.database.transact(lambda c: nodes.join(c, boot=boot, name="vm", offers=[SCHEDULER], now=at))

    def beat(self, boot: str, at: datetime) -> bool:
        return self.database.transact(lambda c: nodes.beat(c, boot=boot, now=at))

    def settle(self, boot: str, epoch: int | None) -> None:
        self.database.transact(lambda c: nodes.settle(c, boot=boot, epoch=epoch))

    def bury(self, boot: str, at: datetime, *, steady: bool = True) -> tuple[str, ...]:
        return self.database.transact(lambda c: nodes.bury(c, boot=boot, now=at, steady=steady))

    def bury_soon(self, boot: str, at: datetime) -> tuple[str, ...]:
        """Once the server has noticed the end of a connection."""
        tries = (self.bury(boot, at, steady=False) for _ in range(10_000))
        return next((buried for buried in tries if buried), ())

    def cluster(self) -> Cluster:
        return self.database.read(nodes.cluster_of)

    @property
    def living(self) -> list[str]:
        return [node.boot for node in self.cluster().nodes]


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database)


def test_each_change_of_the_nodes_is_an_epoch(store: Store) -> None:
    store.join("a")
    store.join("b")
    assert (store.cluster().epoch, store.living) == (2, ["a", "b"])
    assert not store.cluster().settled
    store.settle("a", 2)
    store.settle("b", None)
    assert store.cluster().settled
    store.beat("a", later(1))
    assert store.cluster().epoch == 2
    store.database.transact(lambda c: nodes.leave(c, boot="a", now=later(1)))
    store.database.transact(lambda c: nodes.leave(c, boot="a", now=later(2)))
    assert (store.cluster().epoch, store.living) == (3, ["b"])


def test_what_a_node_offers_may_change(store: Store) -> None:
    store.join("a")
    store.database.transact(lambda c: nodes.offer(c, boot="a", offers=["sensor:files"]))
    assert (store.cluster().epoch, store.cluster().owners) == (2, {"sensor:files": "a"})


def test_a_join_whose_answer_was_lost_is_repeated_without_a_second_row(store: Store) -> None:
    store.join("a")
    store.join("a", later(1))
    assert store.living == ["a"]


def test_a_node_is_dead_after_three_heartbeats_of_silence_and_not_before(store: Store) -> None:
    store.join("a")
    store.join("b")
    store.beat("b", later(1))
    assert store.bury("a", later(3)) == ()
    assert store.bury("a", later(4)) == ()
    assert store.bury("a", later(4.1)) == ("b",)
    assert store.bury("a", later(5)) == ()
    assert store.living == ["a"]


def test_a_node_that_has_ended_never_beats_again(store: Store) -> None:
    store.join("a")
    store.join("b")
    store.beat("a", later(9))
    assert store.bury("a", later(9)) == ("b",)
    assert not store.beat("b", later(9))
    assert store.living == ["a"]


def test_nobody_buries_itself(store: Store) -> None:
    store.join("a")
    assert store.bury("a", later(99)) == ()


@on_postgresql
def test_who_was_silent_itself_judges_nobody_whose_connection_is_there(store: Store, url: str) -> None:
    with Database.open(url) as other:
        Store(other).join("b")
        store.join("a")
        assert store.bury("a", later(9), steady=False) == ()
    assert store.bury_soon("a", later(9)) == ("b",)


@on_postgresql
def test_a_process_that_is_gone_with_its_connection_is_dead_at_once(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(pid: int, signal: int) -> None:
        raise ProcessLookupError

    other = Database.open(url)
    Store(other).join("b")
    store.join("a")
    assert store.bury("a", NOW, steady=False) == ()
    monkeypatch.setattr(os, "kill", gone)
    assert store.bury("a", NOW, steady=False) == ()
    other.close()
    assert store.bury_soon("a", NOW) == ("b",)


@on_postgresql
def test_a_node_is_not_buried_in_the_middle_of_a_transaction(store: Store, url: str, held: Any) -> None:
    store.join("a")
    with Database.open(url) as other:
        Store(other).join("b")
        other.enlist("b")
        working = held(other)
        assert store.bury("a", later(9)) == ()
        working.let_go()
        assert store.bury("a", later(9)) == ("b",)


@on_postgresql
def test_a_transaction_apart_is_refused_too(store: Store, url: str) -> None:
    store.join("a")
    store.database.enlist("a")
    with Database.open(url) as other:
        other.transact(lambda c: nodes.leave(c, boot="a", now=NOW))
    with store.database.apart() as connection, pytest.raises(StoreUnavailable, match="refuses this node"):
        connection.begin(write=True)


@on_postgresql
def test_a_turn_is_had_by_one_transaction_at_a_time(store: Store, url: str) -> None:
    def with_turn(connection: Connection) -> tuple[bool, bool]:
        mine = connection.turn("claims")
        return mine, other.transact(lambda c: c.turn("claims"))

    with Database.open(url) as other:
        assert store.database.transact(with_turn) == (True, False)
        assert other.transact(lambda c: c.turn("claims"))


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_who_holds_a_store_of_one_runtime_is_its_only_node(store: Store) -> None:
    store.join("a")
    store.join("b")
    store.database.transact(lambda c: nodes.end_others(c, boot="b", now=NOW))
    assert store.living == ["b"]


def test_rows_of_nodes_are_kept_for_a_day(store: Store) -> None:
    store.join("a")
    store.database.transact(lambda c: nodes.leave(c, boot="a", now=NOW))

    def kept(connection: Connection) -> list[str]:
        return [row.boot for row in connection.execute("select boot from node order by boot")]

    store.join("b", NOW + timedelta(hours=23))
    assert store.database.read(kept) == ["a", "b"]
    store.join("c", NOW + timedelta(hours=25))
    assert store.database.read(kept) == ["b", "c"]
