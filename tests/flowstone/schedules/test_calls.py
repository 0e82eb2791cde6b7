"""Rules of semantics 4 about the calls: create get list update delete pause resume trigger preview history."""

from datetime import UTC, date, datetime, timedelta

import pytest

from flowstone.errors import (
    AssetNotFound,
    CronError,
    PartitionError,
    RuntimeStopped,
    ScheduleNotFound,
    ValidationError,
)
from flowstone.schedules.rules import previous_day
from flowstone.schedules.schedule import Schedule

MINUTE = timedelta(minutes=1)


@pytest.fixture
def world(store_world):
    return store_world


class TestCreate:
    def test_it_gives_the_row(self, world, start):
        row = world.schedules.create("report", cron="0 2 * * *", timezone="America/New_York", metadata={"team": "data"})
        assert (row.name, row.target, row.cron, row.every) == ("report", "report", "0 2 * * *", None)
        assert (row.timezone, row.enabled, row.version) == ("America/New_York", True, 1)
        assert (row.last_scheduled_for, row.metadata) == (None, {"team": "data"})
        assert world.schedules.get("report") == row
        assert world.schedules.list() == (row,)

    def test_it_takes_a_value_too(self, world):
        assert world.schedules.create(Schedule("report", every="10s")).every == 10

    def test_a_value_takes_no_options_beside_it(self, world):
        with pytest.raises(ValidationError, match="create with a Schedule does not take 'every'"):
            world.schedules.create(Schedule("report", every="10s"), every=5)

    def test_an_unknown_asset_is_refused(self, world):
        with pytest.raises(AssetNotFound, match="reprot"):
            world.schedules.create("nightly", every="10s", target="reprot")

    def test_a_bad_cron_or_zone_is_refused(self, world):
        with pytest.raises(CronError):
            world.schedules.create("report", cron="invalid cron")
        with pytest.raises(CronError):
            world.schedules.create("report", cron="@daily", timezone="Nowhere")

    def test_a_duplicate_name_is_refused_and_its_rule_forgotten(self, world):
        world.schedules.create("report", every="10s", partition=lambda instant: "first")
        with pytest.raises(ValidationError, match="exists"):
            world.schedules.create("report", every="10s", partition=lambda instant: "second")
        assert world.schedules.trigger("report").partition == "first"

    def test_an_unknown_name_is_not_found(self, world):
        for call in (world.schedules.get, world.schedules.delete, world.schedules.pause, world.schedules.resume):
            with pytest.raises(ScheduleNotFound):
                call("report")
        for call in (world.schedules.update, world.schedules.trigger, world.schedules.preview, world.schedules.history):
            with pytest.raises(ScheduleNotFound):
                call("report")


class TestUpdate:
    def test_it_changes_what_is_given(self, world):
        world.schedules.create("report", every="10s", metadata={"team": "data"})
        row = world.schedules.update("report", jitter="1s", overlap="allow")
        assert (row.every, row.jitter, row.overlap, row.version) == (10, 1, "allow", 2)
        assert row.metadata == {"team": "data"}
        assert world.schedules.get("report") == row

    def test_the_same_again_is_no_change(self, world):
        world.schedules.create("report", every="10s")
        assert world.schedules.update("report", every=10).version == 1

    def test_a_cron_takes_the_place_of_every_and_back(self, world):
        world.schedules.create("report", every="10s")
        row = world.schedules.update("report", cron="@daily")
        assert (row.cron, row.every) == ("@daily", None)
        row = world.schedules.update("report", every="5s")
        assert (row.cron, row.every) == (None, 5)

    def test_the_default_overlap_follows_the_misfire_policy(self, world):
        world.schedules.create("report", every="10s")
        assert world.schedules.update("report", misfire="all").overlap == "queue_all"
        assert world.schedules.update("report", overlap="allow").overlap == "allow"
        assert world.schedules.update("report", misfire="latest").overlap == "allow"

    def test_the_rule_stays_unless_another_is_given(self, world):
        world.schedules.create("report", every="10s", partition=lambda instant: "mine")
        world.schedules.update("report", jitter="1s")
        assert world.schedules.trigger("report").partition == "mine"
        world.schedules.update("report", partition=previous_day)
        assert world.schedules.trigger("report").partition == date(2025, 1, 14)
        assert world.schedules.update("report", partition=None).partition_rule is None

    @pytest.mark.parametrize(
        ("changes", "error"),
        [({"cron": "nope"}, CronError), ({"target": "nope"}, AssetNotFound), ({"nmae": 1}, ValidationError)],
    )
    def test_what_is_wrong_is_refused_and_changes_nothing(self, world, changes, error):
        before = world.schedules.create("report", every="10s")
        with pytest.raises(error):
            world.schedules.update("report", **changes)
        assert world.schedules.get("report") == before

    def test_a_new_timing_fires_nothing_for_the_past(self, world):
        world.schedules.create("report", every="1m")
        world.advance("150s")
        assert world.schedules.update("report", every="40s").accounted_until == world.clock.now()
        assert world.told() == [("missed", "edited", "02:01", 1), ("missed", "edited", "02:02", 1)]


class TestPause:
    def test_it_disables_and_resume_enables(self, world):
        world.schedules.create("report", every="10s")
        row = world.schedules.pause("report")
        assert (row.enabled, row.status, row.version) == (False, "paused", 2)
        row = world.schedules.resume("report")
        assert (row.enabled, row.status, row.version) == (True, "active", 3)

    def test_doing_it_again_changes_nothing(self, world):
        world.schedules.create("report", every="10s")
        assert world.schedules.pause("report") == world.schedules.pause("report")
        assert world.schedules.resume("report") == world.schedules.resume("report")

    def test_resume_does_not_replay_what_passed(self, world):
        world.schedules.create("report", every="1m")
        world.schedules.pause("report")
        world.advance("2m")
        row = world.schedules.resume("report")
        assert row.accounted_until == world.clock.now()
        assert world.told() == [("skipped", "paused", "02:01", 1), ("skipped", "paused", "02:02", 1)]

    def test_enabling_by_update_is_a_resume(self, world):
        world.schedules.create("report", every="1m", enabled=False)
        world.advance("1m")
        assert world.schedules.update("report", enabled=True).accounted_until == world.clock.now()
        assert world.told() == [("skipped", "paused", "02:01", 1)]

    def test_resume_brings_an_account_that_is_ahead_of_the_clock_to_now(self, world, start):
        world.schedules.create("report", every="1m")
        world.execute("update schedule set accounted_until = '2030-01-01T00:00:00.000000Z'")
        row = world.schedules.resume("report")
        assert (row.accounted_until, row.version) == (start, 2)
        assert world.told() == []


class TestTrigger:
    def test_a_tick_by_hand_makes_a_run_under_its_own_key(self, world, start):
        world.schedules.create("report", every="1h")
        tick = world.schedules.trigger("report")
        ms = int(start.timestamp() * 1000)
        assert (tick.tick_id, tick.status, tick.manual) == (f"report:manual:{ms}", "triggered", True)
        assert (tick.scheduled_for, tick.count, tick.reason) == (start, 1, None)
        run = world.runs()[0]
        assert (run.run_id, run.run_key, run.status) == (tick.run_id, f"sched:report:manual:{ms}", "queued")
        assert (run.source_kind, run.source_name) == ("schedule", "report")

    def test_each_is_another_one_within_the_same_millisecond_and_after_a_clock_that_went_back(self, world, start):
        world.schedules.create("report", every="1h", overlap="skip")
        first, second = world.schedules.trigger("report"), world.schedules.trigger("report")
        ms = int(start.timestamp() * 1000)
        assert [first.tick_id, second.tick_id] == [f"report:manual:{ms}", f"report:manual:{ms + 1}"]
        world.execute("update schedule set last_manual_ms = :ms", ms=ms + 3_600_000)
        assert world.schedules.trigger("report").tick_id == f"report:manual:{ms + 3_600_001}"

    def test_it_is_allowed_while_paused_and_ignores_the_overlap_policy(self, world):
        world.schedules.create("report", every="1h", enabled=False, overlap="skip")
        assert [world.schedules.trigger("report").status for _ in range(3)] == ["triggered"] * 3

    def test_it_moves_neither_the_account_nor_what_is_displayed(self, world):
        row = world.schedules.create("report", every="1h")
        world.schedules.trigger("report")
        world.schedules.trigger("report", at=datetime(2025, 1, 15, 3, tzinfo=UTC))
        assert world.schedules.get("report") == row

    def test_the_rule_gets_the_scheduled_instant_in_the_zone(self, world):
        seen = []
        world.schedules.create("report", every="1h", timezone="America/New_York", partition=seen.append)
        world.schedules.trigger("report", at=datetime(2025, 1, 15, 3, tzinfo=UTC))
        world.schedules.trigger("report")
        assert [instant.isoformat() for instant in seen] == ["2025-01-14T22:00:00-05:00", "2025-01-14T21:00:00-05:00"]

    def test_the_default_partition_is_the_date_in_the_zone(self, world):
        world.schedules.create("report", every="1h", timezone="America/New_York")
        assert world.schedules.trigger("report").partition == date(2025, 1, 14)

    def test_the_default_partition_of_a_target_with_a_set_is_its_key(self, world):
        world.schedules.create("days", every="1h")
        assert world.schedules.trigger("days").partition == date(2025, 1, 14)

    def test_an_async_rule_is_a_rule(self, world):
        async def rule(instant):
            return "later"

        world.schedules.create("report", every="1h", partition=rule)
        assert world.schedules.trigger("report").partition == "later"

    def test_a_given_partition_is_read_by_the_set(self, world):
        world.schedules.create("days", every="1h")
        assert world.schedules.trigger("days", partition="2025-01-02").partition == date(2025, 1, 2)

    def test_none_is_a_partition_too(self, world):
        world.schedules.create("report", every="1h")
        tick = world.schedules.trigger("report", partition=None)
        assert (tick.partition, world.runs()[0].partition) == (None, "")

    def test_a_partition_that_the_target_does_not_hold_is_refused(self, world):
        world.schedules.create("regions", every="1h", partition=lambda instant: "eu")
        with pytest.raises(PartitionError):
            world.schedules.trigger("regions", partition="mars")
        assert world.ticks("regions") == []

    @pytest.mark.parametrize(
        ("rule", "says"),
        [
            (lambda instant: 1 / 0, "ZeroDivisionError: division by zero"),
            (lambda instant: 1.5, "partition_error: "),
            (lambda instant: exec("raise SystemExit(3)"), "SystemExit: 3"),
        ],
    )
    def test_a_rule_that_fails_makes_the_tick_failed(self, world, rule, says):
        world.schedules.create("report", every="1h", partition=rule)
        tick = world.schedules.trigger("report")
        assert (tick.status, tick.reason, tick.run_id) == ("failed", "partition", None)
        assert tick.error.startswith(says)
        assert world.runs() == []

    def test_an_error_without_a_text_and_one_that_no_store_takes_are_told_too(self, world):
        class Mute(Exception):
            def __str__(self):
                raise RuntimeError

        def raising(error):
            def rule(instant):
                raise error

            return rule

        world.schedules.create("report", every="1h", partition=raising(Mute()))
        assert world.schedules.trigger("report").error == "Mute: Mute()"
        world.schedules.update("report", partition=raising(ValueError("\ud800\0" + "x" * 5000)))
        error = world.schedules.trigger("report").error
        assert error.startswith("ValueError: \\ud800\\x00xxx")
        assert len(error) < 2100

    def test_a_set_without_instants_fails_the_tick(self, world):
        world.schedules.create("regions", every="1h")
        assert world.schedules.trigger("regions").error.startswith("partition_error: ")

    def test_a_rule_that_this_process_does_not_know_fails_the_tick(self, world):
        world.schedules.create("report", every="1h")
        world.execute("update schedule set partition_rule = 'elsewhere:rule'")
        assert "schedules.update(name, partition=…)" in world.schedules.trigger("report").error

    def test_an_orphaned_schedule_never_fires(self, world):
        world.define(Schedule("report", every="1h"))
        world.define()
        for at in (None, datetime(2025, 1, 15, 3, tzinfo=UTC)):
            with pytest.raises(ValidationError, match="which left it and never fires"):
                world.schedules.trigger("report", at=at)

    def test_a_change_between_reading_and_writing_is_read_again(self, world):
        def rule(instant):
            if world.schedules.get("report").jitter == 0:
                world.schedules.update("report", jitter="1s", target="days", partition="this_day")
            return "stale"

        world.schedules.create("report", every="1h", partition=rule)
        assert world.schedules.trigger("report").partition == date(2025, 1, 15)
        assert [run.asset for run in world.runs()] == ["days"]

    def test_a_call_of_a_rule_in_a_runtime_that_stops_writes_nothing(self, world):
        def rule(instant):
            raise RuntimeStopped("over")

        world.schedules.create("report", every="1h", partition=rule)
        with pytest.raises(RuntimeStopped):
            world.schedules.trigger("report")
        assert world.ticks() == []


class TestTriggerAt:
    at = datetime(2025, 1, 15, 3, tzinfo=UTC)

    def test_it_makes_the_tick_of_that_instant_under_its_ordinary_key(self, world):
        world.schedules.create("report", every="1h")
        tick = world.schedules.trigger("report", at=self.at)
        epoch = int(self.at.timestamp())
        assert (tick.tick_id, tick.scheduled_for, tick.status) == (f"report:{epoch}", self.at, "triggered")
        assert world.runs()[0].run_key == f"sched:report:{epoch}"

    def test_an_external_cron_may_call_it_twice(self, world):
        world.schedules.create("report", every="1h")
        first = world.schedules.trigger("report", at=self.at)
        assert world.schedules.trigger("report", at=self.at + timedelta(microseconds=5)) == first
        assert len(world.runs()) == 1

    def test_two_at_the_same_time_get_the_same_tick(self, world):
        inner = []

        def rule(instant):
            if not inner:
                inner.append(None)
                inner[0] = world.schedules.trigger("report", at=self.at)
            return "mine"

        world.schedules.create("report", every="1h", partition=rule)
        assert world.schedules.trigger("report", at=self.at) == inner[0]
        assert len(world.runs()) == len(world.ticks()) == 1

    def test_any_zone_names_the_instant(self, world):
        world.schedules.create("report", every="1h")
        tick = world.schedules.trigger("report", at=datetime.fromisoformat("2025-01-15T08:30:00+05:30"))
        assert tick.scheduled_for == self.at

    def test_while_paused_it_is_skipped_as_the_timer_would(self, world):
        world.schedules.create("report", every="1h", enabled=False)
        tick = world.schedules.trigger("report", at=self.at)
        assert (tick.status, tick.reason, tick.run_id) == ("skipped", "paused", None)

    def test_the_overlap_policy_holds(self, world):
        world.schedules.create("report", every="1h")
        first = world.schedules.trigger("report", at=self.at)
        second = world.schedules.trigger("report", at=self.at + timedelta(hours=1))
        assert (second.status, second.reason, second.blocked_by) == ("suppressed", "overlap", first.run_id)

    def test_an_instant_within_a_counted_range_has_its_row(self, world):
        world.schedules.create("report", every="1m")
        world.advance("1h")
        world.schedules.update("report", every="7m")
        tick = world.schedules.trigger("report", at=datetime(2025, 1, 15, 2, 30, tzinfo=UTC))
        assert (tick.status, tick.reason, tick.count) == ("missed", "edited", 60)
        assert world.schedules.trigger("report", at=datetime(2025, 1, 15, 1, 0, tzinfo=UTC)).status == "triggered"

    def test_a_range_does_not_count_what_was_triggered_ahead_of_its_time(self, world, start):
        world.schedules.create("report", every="1m", overlap="allow")
        world.schedules.trigger("report", at=start + 30 * MINUTE)
        world.schedules.trigger("report", at=start + 30 * MINUTE + timedelta(seconds=1))
        world.advance("20m")
        world.schedules.trigger("report")
        world.advance("40m")
        world.schedules.update("report", every="7m")
        assert world.told()[-1] == ("missed", "edited", "02:01", 59)

    def test_a_range_of_nothing_else_leaves_no_row(self, world, start):
        world.schedules.create("report", every="1m", overlap="allow")
        for minute in range(1, 13):
            world.schedules.trigger("report", at=start + minute * MINUTE)
        world.advance("12m")
        world.schedules.update("report", every="7m")
        assert len(world.ticks()) == 12

    @pytest.mark.parametrize("at", [datetime(2025, 1, 15), "2025-01-15T00:00:00Z", 5])
    def test_what_is_no_aware_instant_is_refused(self, world, at):
        world.schedules.create("report", every="1h")
        with pytest.raises(ValidationError, match="expected at to be an aware datetime"):
            world.schedules.trigger("report", at=at)

    def test_a_run_key_that_means_otherwise_fails_the_tick(self, world):
        world.schedules.create("report", every="1h")
        first = world.schedules.trigger("report", at=self.at)
        world.execute("delete from tick")
        world.finish()
        world.schedules.update("report", target="days")
        tick = world.schedules.trigger("report", at=self.at)
        assert (tick.status, tick.reason, tick.run_id) == ("failed", "conflict", None)
        assert tick.error.startswith("run_key_conflict: ") and first.run_id in tick.error
        assert len(world.execute("select * from run_conflict")) == 1


class TestPreview:
    def test_it_gives_the_next_instants_after_now(self, world):
        world.schedules.create("report", cron="0 2 * * *", timezone="America/New_York")
        assert [instant.isoformat() for instant in world.schedules.preview("report", count=2)] == [
            "2025-01-15T07:00:00+00:00",
            "2025-01-16T07:00:00+00:00",
        ]

    def test_there_are_ten_unless_told(self, world):
        world.schedules.create("report", every="1h", enabled=False)
        assert len(world.schedules.preview("report")) == 10

    @pytest.mark.parametrize("count", [0, 1.5, True])
    def test_a_count_below_1_is_refused(self, world, count):
        world.schedules.create("report", every="1h")
        with pytest.raises(ValidationError, match="expected count to be an int of at least 1"):
            world.schedules.preview("report", count=count)


class TestHistory:
    def test_it_is_newest_first_and_pages_by_cursor(self, world):
        world.schedules.create("report", every="1h", overlap="allow")
        made = [world.schedules.trigger("report") for _ in range(5)]
        first = world.schedules.history("report", limit=2)
        assert list(first) == [made[4], made[3]]
        world.schedules.trigger("report")
        second = world.schedules.history("report", limit=2, cursor=first.next_cursor)
        third = world.schedules.history("report", limit=2, cursor=second.next_cursor)
        assert [*second, *third] == [made[2], made[1], made[0]]
        assert third.next_cursor is None

    def test_it_may_be_of_one_status(self, world):
        world.schedules.create("report", every="1h")
        world.schedules.trigger("report")
        assert len(world.schedules.history("report", status="triggered")) == 1
        assert world.schedules.history("report", status="missed") == ()
        with pytest.raises(ValidationError, match="expected status to be one of 'triggered'"):
            world.schedules.history("report", status="done")

    def test_that_of_a_deleted_schedule_stays(self, world):
        world.schedules.create("report", every="1h")
        tick = world.schedules.trigger("report")
        world.schedules.delete("report")
        assert world.schedules.history("report") == (tick,)


def test_who_acts_is_audited(world):
    world.schedules.create("report", every="1h", by="ada")
    world.schedules.update("report", every="2h", by="bob")
    world.schedules.pause("report", by="bob")
    world.schedules.resume("report", by="bob")
    world.schedules.trigger("report", by="eve")
    world.schedules.delete("report", by="ada")
    rows = world.execute("select event_type, actor from audit order by id")
    assert [(row.event_type.removeprefix("schedule."), row.actor) for row in rows] == [
        ("created", "ada"),
        ("updated", "bob"),
        ("paused", "bob"),
        ("resumed", "bob"),
        ("triggered", "eve"),
        ("deleted", "ada"),
    ]
