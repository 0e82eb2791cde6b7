"""Rules of semantics 4 about commits: tick and run in one transaction, and a second writer is a no-op."""

import dataclasses
from datetime import timedelta

import pytest

from flowstone.core.partitions import Partition
from flowstone.core.run_key import run_id
from flowstone.runs.store import request
from flowstone.schedules.due import decide
from flowstone.schedules.preparation import evaluate, is_inline, prepare
from flowstone.schedules.rules import Rules
from flowstone.schedules.schedule import Schedule
from flowstone.schedules.ticks import Commit, Writing

MINUTE = timedelta(minutes=1)


@pytest.fixture
def world(store_world):
    store_world.define(Schedule("report", every="1m", overlap="allow"))
    return store_world


def decided(world, row, now):
    """What the scheduler would commit for a schedule at an instant."""

    def prepared(account):
        def partition() -> Partition:
            return evaluate(world.services.catalog, row, world.rules, account.first)

        return prepare(world.services.catalog, row, account, partition)

    decision = decide(row, now)
    return Commit(row, tuple(map(prepared, decision.accounts)), decision.accounted_until)


def commit(world, work):
    def transaction(connection):
        return Writing(connection, world.services, world.clock.now()).commit(work)

    moved = world.database.transact(transaction)
    return None if moved is None else moved.row


def test_it_gives_the_schedule_as_it_stands_then(world, start):
    row = world.schedules.get("report")
    moved = commit(world, decided(world, row, start + MINUTE))
    assert moved == world.schedules.get("report")
    assert moved.accounted_until == start + MINUTE


def test_the_same_decision_a_second_time_writes_nothing(world, start):
    work = decided(world, world.schedules.get("report"), start + 20 * MINUTE)
    assert commit(world, work) is not None
    before = world.ticks()
    assert commit(world, work) is None
    assert (world.ticks(), len(world.runs())) == (before, 1)


def test_a_decision_about_an_older_account_writes_nothing_and_moves_nothing_back(world, start):
    row = world.schedules.get("report")
    late, early = decided(world, row, start + 30 * MINUTE), decided(world, row, start + 20 * MINUTE)
    commit(world, late)
    before = world.ticks()
    assert commit(world, early) is None
    assert world.ticks() == before
    assert world.schedules.get("report").accounted_until == start + 30 * MINUTE


def test_a_decision_about_an_older_version_writes_nothing(world, start):
    row = world.schedules.get("report")
    world.schedules.update("report", jitter="1s")
    assert commit(world, decided(world, row, start + MINUTE)) is None
    assert world.ticks() == []


def test_a_tick_that_is_there_keeps_its_row_and_the_account_moves_past_it(world, start):
    row = world.schedules.get("report")
    world.schedules.trigger("report", at=start + MINUTE, partition="mine")
    moved = commit(world, decided(world, row, start + MINUTE))
    assert (moved.accounted_until, moved.last_scheduled_for) == (start + MINUTE, None)
    assert [tick.partition for tick in world.ticks()] == ["mine"]
    assert len(world.runs()) == 1


def test_a_run_that_fails_to_be_written_leaves_no_tick(world, start):
    row = world.schedules.get("report")
    work = decided(world, row, start + MINUTE)
    broken = dataclasses.replace(work.prepared[0].request, tags={"no": object()})
    work = dataclasses.replace(work, prepared=(dataclasses.replace(work.prepared[0], request=broken),))
    with pytest.raises(Exception, match="JSON"):
        commit(world, work)
    assert (world.ticks(), world.runs()) == ([], [])
    assert world.schedules.get("report") == row


def test_the_unique_index_is_the_last_word(world, start):
    commit(world, decided(world, world.schedules.get("report"), start + MINUTE))
    world.execute("update schedule set accounted_until = :start, last_scheduled_for = null", start=start)
    commit(world, decided(world, world.schedules.get("report"), start + MINUTE))
    assert (len(world.ticks()), len(world.runs())) == (1, 1)


def test_a_rule_that_is_not_known_is_no_user_code_to_call(row):
    unknown = dataclasses.replace(row(every="1m"), partition_rule="nowhere:rule")
    assert is_inline(unknown, Rules())
    assert is_inline(row(every="1m"), Rules())
    assert is_inline(row(every="1m", partition="this_day"), Rules())
    assert not is_inline(dataclasses.replace(unknown, partition_rule="json:loads"), Rules())


def test_a_run_key_that_is_free_by_the_dedupe_scope_gives_the_tick_a_run_of_the_next_generation(world, start):
    world.schedules.update("report", dedupe="window:1h")
    taken = decided(world, world.schedules.get("report"), start + MINUTE).prepared[0].request
    world.database.transact(lambda c: request(c, taken, identity=world.services.identity, now=start - 2 * 60 * MINUTE))
    assert str(world.schedules.get("report").dedupe) == "window:1h"
    commit(world, decided(world, world.schedules.get("report"), start + MINUTE))
    assert [tick.run_id for tick in world.ticks()] == [run_id(f"{taken.run_key}#1")]
