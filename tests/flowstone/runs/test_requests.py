"""Run keys: same key, same meaning, one run (semantics 6)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flowstone.core.run import RunRequest, RunStatus, Source, SourceKind
from flowstone.errors import AssetNotFound, ValidationError
from flowstone.runs import store
from flowstone.runs.store import Requested
from flowstone.state.database import Database

Ask = Callable[..., Requested]


def test_same_key_and_meaning_is_the_existing_run(ask: Ask, database: Database) -> None:
    first, second = ask(run_key="orders-1"), ask(run_key="orders-1")
    assert (first.created, second.created) == (True, False)
    assert first.run_id == second.run_id
    assert len(database.read(store.list_runs)) == 1


def test_same_key_and_other_meaning_is_a_conflict_row_and_the_first_stays(ask: Ask, database: Database) -> None:
    first = ask("raw", "monday", run_key="orders-1")
    second = ask("raw", "tuesday", run_key="orders-1", source=Source(SourceKind.SENSOR, "orders"))
    assert (second.run_id, second.conflict) == (first.run_id, True)
    (conflict,) = database.read(store.conflicts)
    assert (conflict.run_key, conflict.source) == ("orders-1", "sensor:orders")
    assert conflict.existing_fingerprint != conflict.requested_fingerprint
    assert [run.partition for run in database.read(store.list_runs)] == ["monday"]


def test_tags_and_priority_are_no_part_of_the_meaning(ask: Ask) -> None:
    assert not ask(run_key="orders-1", priority=5).conflict
    assert not ask(run_key="orders-1").conflict


def test_a_freed_key_makes_a_run_with_an_id_of_its_own(ask: Ask, database: Database) -> None:
    first = ask(run_key="orders-1")
    assert database.transact(lambda c: store.free_key(c, "orders-1"))
    second = ask(run_key="orders-1")
    third = ask(run_key="orders-1")
    assert second.created and not third.created
    assert first.run_id != second.run_id == third.run_id


def test_runs_by_hand_are_always_new(ask: Ask) -> None:
    assert ask().run_id != ask().run_id


def test_a_selection_is_one_run_with_a_row_for_each_asset(ask: Ask, database: Database) -> None:
    run = database.read(lambda c: store.find(c, ask("+report", "monday").run_id))
    assert run is not None
    assert (run.asset, run.status) == ("+report", RunStatus.QUEUED)
    assert [m.asset for m in run.materializations] == ["raw", "clean", "report"]


def test_an_unknown_asset_is_refused_and_nothing_is_written(ask: Ask, database: Database) -> None:
    with pytest.raises(AssetNotFound, match="did you mean 'report'"):
        ask("repotr")
    assert database.read(store.list_runs) == ()


@pytest.mark.parametrize("key", ["", "x" * 513, "orders#1", 7])
def test_a_users_key_that_could_collide_is_refused(key: object) -> None:
    with pytest.raises(ValidationError):
        RunRequest("raw", run_key=key)  # type: ignore[arg-type]


def test_pages_go_on_where_the_last_one_ended(ask: Ask, database: Database) -> None:
    ids = [ask().run_id for _ in range(5)]
    first = database.read(lambda c: store.list_runs(c, limit=3))
    ask()
    second = database.read(lambda c: store.list_runs(c, limit=3, cursor=first.next_cursor))
    assert [run.run_id for run in (*first, *second)] == ids[::-1]
    assert second.next_cursor is None


def test_unfinished_runs_are_counted_by_source(ask: Ask, database: Database) -> None:
    ask(source=Source(SourceKind.SCHEDULE, "nightly"))
    ask()
    assert database.read(store.unfinished) == 2
    assert len(database.read(lambda c: store.unfinished_of_source(c, "schedule", "nightly"))) == 1
