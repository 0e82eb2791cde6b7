"""Runs of several nodes on one store: claimed by one, held against all, put back when their node has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from flowstone.core.catalog import Catalog
from flowstone.core.run import RunStatus
from flowstone.errors import ExecutionError, StaleState
from flowstone.io import StoredValue
from flowstone.runs import store
from flowstone.runs.attempts import Failed, Succeeded
from flowstone.runs.leases import ANOTHER_CLAIMS, Claimed, claim, settle
from flowstone.runs.recovery import put_back, recover, release_busy
from flowstone.runs.store import Requested
from flowstone.state import nodes
from flowstone.state.connection import Connection
from flowstone.state.database import Database

Ask = Callable[..., Requested]
NOW = datetime(2025, 1, 15, 2, tzinfo=UTC)
STORED = StoredValue(manager="memory", location="here", data_version="1")


@pytest.fixture
def make_claim(catalog: Catalog, database: Database) -> Callable[[Connection, str], Claimed]:
    """Claims as a node; both nodes have joined."""
    for boot in ("one", "two"):
        database.transact(lambda c, boot=boot: nodes.join(c, boot=boot, name="vm", offers=(), now=NOW))
    return lambda connection, boot: claim(connection, catalog.graph, boot=boot, now=NOW, limit=10)


def end(database: Database, boot: str) -> None:
    database.transact(lambda c: nodes.leave(c, boot=boot, now=NOW))


def swept(database: Database, boot: str = "two") -> tuple[str, ...]:
    return database.transact(lambda c: recover(c, boot=boot, now=NOW))


def test_what_one_node_holds_no_other_claims(ask: Ask, database: Database, make_claim) -> None:
    ask("raw", "monday")
    ask("raw", "monday")
    other = ask("raw", "tuesday").run_id
    (first, *_) = database.transact(lambda c: make_claim(c, "one")).claims
    assert first.lease.boot == "one"
    ask("raw", "monday")
    assert database.transact(lambda c: make_claim(c, "two")).claims == ()
    assert database.read(lambda c: store.find(c, other)).status is RunStatus.RUNNING


def test_runs_of_a_node_that_lives_are_left_alone(ask: Ask, database: Database, make_claim) -> None:
    run_id = ask().run_id
    database.transact(lambda c: make_claim(c, "one"))
    assert swept(database) == ()
    end(database, "one")
    assert swept(database) == (run_id,)
    assert swept(database) == ()
    run = database.read(lambda c: store.find(c, run_id))
    assert (run.status, run.interruptions) == (RunStatus.QUEUED, 1)


def test_a_node_whose_runs_were_put_back_settles_nothing(
    ask: Ask, database: Database, catalog: Catalog, make_claim
) -> None:
    ask()
    (claimed,) = database.transact(lambda c: make_claim(c, "one")).claims
    end(database, "one")
    swept(database)
    (again,) = database.transact(lambda c: make_claim(c, "two")).claims
    for verdict in (Succeeded(STORED), Failed(ExecutionError("boom"))):
        with pytest.raises(StaleState):
            database.transact(
                lambda c, verdict=verdict: settle(
                    c, catalog.graph, claimed.lease, "raw", verdict, now=NOW, duration=1.0
                )
            )
    settled = database.transact(
        lambda c: settle(c, catalog.graph, again.lease, "raw", Succeeded(STORED), now=NOW, duration=1.0)
    )
    assert settled.finished is RunStatus.SUCCESS


def test_a_call_holds_its_partition_against_all_nodes_until_it_or_its_node_ends(
    ask: Ask, database: Database, make_claim
) -> None:
    for _round, free in enumerate((lambda run_id: None, lambda run_id: end(database, "one"))):
        run_id = ask("raw", f"day-{_round}").run_id
        database.transact(lambda c: make_claim(c, "one"))
        database.transact(
            lambda c, run_id=run_id: put_back(c, run_id, now=NOW, reason="a crash", boot="one", busy=("raw",))
        )
        swept(database)
        assert database.transact(lambda c: make_claim(c, "two")).claims == ()
        free(run_id)
        if _round == 0:
            database.transact(lambda c, run_id=run_id: release_busy(c, run_id, "raw", boot="one"))
        swept(database)
        assert len(database.transact(lambda c: make_claim(c, "two")).claims) == 1


@pytest.fixture
def beside(database: Database, postgres_url: str) -> Iterator[Database]:
    """The store of another node."""
    with Database.open(postgres_url) as other:
        yield other


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_of_two_nodes_one_claims_at_a_time(ask: Ask, database: Database, beside: Database, make_claim) -> None:
    ask()
    meanwhile: list[Claimed] = []

    def both(connection: Connection) -> Claimed:
        mine = make_claim(connection, "one")
        meanwhile.append(beside.transact(lambda c: make_claim(c, "two")))
        return mine

    assert len(database.transact(both).claims) == 1
    assert meanwhile == [Claimed((), (), NOW + ANOTHER_CLAIMS)]
    assert beside.transact(lambda c: make_claim(c, "two")).claims == ()


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_run_is_put_back_once_by_however_many_nodes(
    ask: Ask, database: Database, beside: Database, make_claim
) -> None:
    run_id = ask().run_id
    database.transact(lambda c: make_claim(c, "one"))
    end(database, "one")
    answers: list[tuple[str, ...]] = []

    def both(connection: Connection) -> None:
        answers.append(recover(connection, boot="two", now=NOW))
        beside.write(lambda c: recover(c, boot="three", now=NOW + timedelta(1)), lambda o: answers.append(o.unwrap()))

    database.transact(both)
    beside.transact(lambda connection: None)
    assert answers == [(run_id,), ()]
    assert database.read(lambda c: store.find(c, run_id)).interruptions == 1
