"""Rules of semantics 4 about definitions: those of the code and those made at run time live side by side, durable."""

import json

import pytest

from flowstone.errors import ScheduleNotFound, ValidationError
from flowstone.schedules import store
from flowstone.schedules.rules import previous_day
from flowstone.schedules.schedule import Schedule


def minutes(name="report", **options):
    given = {"every": "1m", "target": "report", "metadata": {"team": "data"}, "partition": previous_day, **options}
    return Schedule(name, **given)


MINUTES = minutes()


@pytest.fixture
def world(store_world):
    return store_world


def at(world, transaction, *args, **options):
    return world.database.transact(lambda connection: transaction(connection, *args, **options))


def test_a_schedule_is_read_as_it_was_written(world, start):
    written = at(world, store.create, MINUTES, start, actor="ada")
    assert at(world, store.get, "report") == written
    assert written.definition() == MINUTES.definition()
    assert (written.version, written.status, written.origin) == (1, "active", "runtime")
    assert (written.accounted_until, written.created_at, written.last_scheduled_for) == (start, start, None)


def test_a_duplicate_name_is_refused(world, start):
    at(world, store.create, MINUTES, start, actor="ada")
    with pytest.raises(ValidationError, match="expected a new schedule name, got: 'report'"):
        at(world, store.create, MINUTES, start, actor="ada")


@pytest.mark.parametrize("function", [store.get, store.locked])
def test_an_unknown_name_is_an_error_that_suggests(world, start, function):
    at(world, store.create, MINUTES, start, actor="ada")
    with pytest.raises(ScheduleNotFound, match="schedule 'reprot' not found; did you mean 'report'"):
        at(world, function, "reprot")


def test_all_schedules_are_listed_by_name(world, start):
    world.define(Schedule("b", every=5, target="report"), Schedule("a", every=5, target="report"))
    assert [row.name for row in at(world, store.every)] == ["a", "b"]


class TestVersion:
    def test_it_rises_at_each_real_change(self, world, start):
        row = at(world, store.create, MINUTES, start, actor="ada")
        row = at(world, store.change, row, {"jitter": 5.0}, start, actor="ada")
        row = at(world, store.change, row, {"enabled": False}, start, actor="ada")
        assert row.version == 3
        assert at(world, store.get, "report") == row

    def test_a_change_of_nothing_changes_nothing(self, world, start):
        row = at(world, store.create, MINUTES, start, actor="ada")
        assert at(world, store.change, row, MINUTES.definition(), start, actor="ada") is row

    def test_the_mark_differs_with_each_change_and_not_with_accounts(self, world, start):
        empty = at(world, store.mark)
        row = at(world, store.create, MINUTES, start, actor="ada")
        created = at(world, store.mark)
        at(world, store.change, row, {"jitter": 5.0}, start, actor="ada")
        edited = at(world, store.mark)
        assert len({empty, created, edited}) == 3
        world.execute("update schedule set accounted_until = :now", now=start)
        assert at(world, store.mark) == edited
        at(world, store.delete, "report", start, actor="ada")
        assert at(world, store.mark) == empty


class TestEdit:
    def test_a_change_of_timing_brings_the_account_to_now(self, world, start):
        row = at(world, store.create, MINUTES, start, actor="ada")
        world.advance("90s")
        row = at(world, store.change, row, {"every": 7.0}, world.clock.now(), actor="ada")
        assert row.accounted_until == world.clock.now()
        assert world.told() == [("missed", "edited", "02:01", 1)]

    def test_another_change_leaves_the_account_where_it_is(self, world, start):
        row = at(world, store.create, MINUTES, start, actor="ada")
        world.advance("90s")
        row = at(world, store.change, row, {"jitter": 5.0}, world.clock.now(), actor="ada")
        assert row.accounted_until == start
        assert world.told() == []

    def test_an_edit_of_a_paused_schedule_skips_what_was_due(self, world, start):
        row = at(world, store.create, minutes(enabled=False), start, actor="ada")
        world.advance("90s")
        at(world, store.change, row, {"every": 7.0}, world.clock.now(), actor="ada")
        assert world.told() == [("skipped", "paused", "02:01", 1)]


class TestDefinitionsOfTheCode:
    def test_new_ones_are_created(self, world):
        world.define(MINUTES)
        row = at(world, store.get, "report")
        assert (row.origin, json.loads(row.definition_text)) == ("code", MINUTES.definition())

    def test_known_ones_keep_what_the_store_knows_of_them(self, world):
        world.define(MINUTES)
        row = at(world, store.get, "report")
        row = at(world, store.change, row, {"enabled": False}, world.clock.now(), actor="ada")
        row = at(world, store.change, row, {"jitter": 5.0}, world.clock.now(), actor="ada")
        world.advance("1h")
        world.define(MINUTES)
        assert at(world, store.get, "report") == row

    def test_what_the_code_says_otherwise_is_changed_and_the_rest_stays(self, world):
        world.define(MINUTES)
        row = at(world, store.get, "report")
        row = at(world, store.change, row, {"enabled": False}, world.clock.now(), actor="ada")
        world.define(minutes(jitter="3s"))
        changed = at(world, store.get, "report")
        assert (changed.enabled, changed.jitter, changed.version) == (False, 3.0, row.version + 1)
        assert json.loads(changed.definition_text)["jitter"] == 3.0

    def test_an_option_that_the_code_did_not_know_before_is_changed(self, world):
        world.define(MINUTES)
        world.execute("update schedule set definition = json_remove(definition, '$.jitter'), jitter = 9")
        world.define(MINUTES)
        assert at(world, store.get, "report").jitter == 0

    def test_a_new_timing_in_the_code_fires_nothing_for_the_past(self, world):
        world.define(MINUTES)
        world.advance("2m")
        world.define(minutes(every=7.0))
        assert world.told() == [("missed", "edited", "02:01", 1), ("missed", "edited", "02:02", 1)]
        assert at(world, store.get, "report").accounted_until == world.clock.now()

    def test_one_that_left_is_orphaned_and_keeps_its_account(self, world, start):
        world.define(MINUTES)
        world.advance("2m")
        world.define()
        row = at(world, store.get, "report")
        assert (row.status, row.accounted_until) == ("orphaned", start)
        world.define()
        assert at(world, store.get, "report") == row

    def test_one_that_returns_goes_on_where_it_was(self, world, start):
        world.define(MINUTES)
        world.define()
        world.advance("2m")
        world.define(MINUTES)
        row = at(world, store.get, "report")
        assert (row.status, row.accounted_until) == ("active", start)
        assert world.told() == []

    def test_one_that_was_made_at_run_time_is_never_orphaned(self, world, start):
        at(world, store.create, MINUTES, start, actor="ada")
        world.define()
        assert at(world, store.get, "report").status == "active"

    def test_the_code_takes_over_one_that_was_made_at_run_time(self, world, start):
        at(world, store.create, minutes(jitter=5.0), start, actor="ada")
        world.define(MINUTES)
        row = at(world, store.get, "report")
        assert (row.origin, row.jitter, row.version) == ("code", 0.0, 2)


def test_every_change_is_audited(world, start):
    world.define(MINUTES)
    world.define(minutes(jitter=5.0))
    world.define()
    row = at(world, store.create, minutes("other"), start, actor="ada")
    at(world, store.change, row, {"enabled": False}, start, actor="ada", event="paused")
    at(world, store.delete, "other", start, actor="ada")
    assert world.audited() == [
        "schedule.created",
        "schedule.defined",
        "schedule.orphaned",
        "schedule.created",
        "schedule.paused",
        "schedule.deleted",
    ]
    paused = world.execute("select * from audit where event_type = 'schedule.paused'")[0]
    assert (paused.actor, paused.resource) == ("ada", "schedule:other")
    assert paused.details == '{"version":2,"enabled":false}'


def test_a_deleted_schedule_is_gone_and_its_history_stays(world, start):
    row = at(world, store.create, MINUTES, start, actor="ada")
    world.advance("1m")
    at(world, store.change, row, {"every": 7.0}, world.clock.now(), actor="ada")
    at(world, store.delete, "report", world.clock.now(), actor="ada")
    with pytest.raises(ScheduleNotFound):
        at(world, store.delete, "report", world.clock.now(), actor="ada")
    assert world.told() == [("missed", "edited", "02:01", 1)]
