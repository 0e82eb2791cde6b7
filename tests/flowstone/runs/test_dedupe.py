"""Dedupe scopes at work: which request finds the run that has its key, and which makes one of the next generation."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from flowstone.core.asset import Asset
from flowstone.core.catalog import Catalog
from flowstone.core.dedupe import Dedupe
from flowstone.core.run import Identity, RunRequest, RunStatus, Source, SourceKind
from flowstone.core.run_key import run_id
from flowstone.runs import store
from flowstone.runs.requests import resolve
from flowstone.runs.store import Requested
from flowstone.state.database import Database
from hypothesis import given, settings
from hypothesis import strategies as st

NOW = datetime(2025, 1, 15, 12, tzinfo=UTC)
CATALOG = Catalog([Asset(lambda context: 1, name="raw"), Asset(lambda context: 1, name="other")])


def ask(database: Database, dedupe: str = "forever", *, at: datetime = NOW, asset: str = "raw") -> Requested:
    resolved = resolve(
        CATALOG,
        RunRequest(asset, run_key="k"),
        default_key="unused",
        source=Source(SourceKind.MANUAL),
        dedupe=Dedupe.read(dedupe),
    )
    return database.transact(lambda connection: store.request(connection, resolved, identity=Identity(), now=at))


def end(database: Database, run: Requested, status: str) -> None:
    sql = "update run set status = :status where run_id = :id"
    database.transact(lambda connection: connection.execute(sql, status=status, id=run.run_id))


@pytest.fixture
def opened(make_store_url: Callable[[str], str], request: pytest.FixtureRequest) -> Database:
    database = Database.open(make_store_url(getattr(request, "param", "memory")))
    request.addfinalizer(database.close)
    return database


EVERY_STORE = pytest.mark.parametrize("opened", ["memory", "sqlite", "postgresql"], indirect=True)


@EVERY_STORE
def test_until_success_a_failed_run_frees_its_key_for_a_run_of_the_next_generation(opened: Database) -> None:
    for generation in range(3):
        made = ask(opened, "until_success")
        assert made == Requested(run_id("k", generation=generation), created=True)
        assert ask(opened, "until_success") == Requested(made.run_id, created=False)
        end(opened, made, "failed")


@pytest.mark.parametrize("status", [status for status in RunStatus if status is not RunStatus.FAILED])
def test_until_success_any_other_run_keeps_its_key(opened: Database, status: RunStatus) -> None:
    first = ask(opened, "until_success")
    end(opened, first, status)
    assert ask(opened, "until_success", at=NOW + timedelta(days=1000)) == Requested(first.run_id, created=False)


@EVERY_STORE
def test_a_window_counts_from_the_request_and_not_from_later_ones(opened: Database) -> None:
    first = ask(opened, "window:1h")
    assert not ask(opened, "window:1h", at=NOW + timedelta(minutes=59)).created
    assert not ask(opened, "window:1h", at=NOW + timedelta(minutes=60)).created
    second = ask(opened, "window:1h", at=NOW + timedelta(minutes=61))
    assert (second.created, second.run_id) == (True, run_id("k#1"))
    assert first.run_id == run_id("k")
    assert not ask(opened, "window:1h", at=NOW + timedelta(minutes=121)).created


def test_forever_a_failed_run_keeps_its_key(opened: Database) -> None:
    first = ask(opened)
    end(opened, first, "failed")
    assert ask(opened, at=NOW + timedelta(days=1000)) == Requested(first.run_id, created=False)


def test_a_key_that_is_free_may_mean_something_else(opened: Database) -> None:
    end(opened, ask(opened, "until_success"), "failed")
    other = ask(opened, "until_success", asset="other")
    assert (other.created, other.conflict) == (True, False)
    assert opened.read(store.conflicts) == ()
    assert ask(opened, "until_success", asset="raw").conflict


def test_the_scope_is_that_of_the_request_that_comes_second(opened: Database) -> None:
    end(opened, ask(opened, "until_success"), "failed")
    assert not ask(opened, "forever").created
    assert ask(opened, "until_success").created


def test_a_key_whose_run_was_pruned_is_outside_of_any_window(opened: Database) -> None:
    ask(opened, "window:1h")
    opened.transact(lambda connection: connection.execute("delete from run"))
    assert ask(opened, "window:1h").run_id == run_id("k#1")
    opened.transact(lambda connection: connection.execute("delete from run"))
    assert not ask(opened, "forever").created


@pytest.mark.property
@settings(max_examples=60, deadline=None)
@given(
    scope=st.sampled_from(["forever", "until_success", "window:10s"]),
    steps=st.lists(st.tuples(st.integers(0, 15), st.sampled_from(["success", "failed", "cancelled"])), max_size=12),
)
def test_requests_of_one_key_make_runs_as_a_model_of_the_scope_says(scope: str, steps: list[tuple[int, str]]) -> None:
    database = Database.open("memory://")
    try:
        generation, held, now = -1, None, NOW
        for wait, ending in steps:
            now += timedelta(seconds=wait)
            free = held is None or {
                "forever": False,
                "until_success": held[1] == "failed",
                "window:10s": now - held[0] > timedelta(seconds=10),
            }[scope]
            made = ask(database, scope, at=now)
            assert made.created is free
            if free:
                generation, held = generation + 1, (now, ending)
                end(database, made, ending)
            assert made.run_id == run_id("k", generation=generation)
        assert len(database.read(lambda connection: connection.execute("select 1 from run"))) == generation + 1
    finally:
        database.close()
