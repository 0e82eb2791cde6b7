"""Rules of semantics 4 about which instants are due and what becomes of each."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowstone.durations import seconds
from flowstone.schedules.due import admit, ahead, decide, overdue, settle, start_of, wake_at
from flowstone.schedules.policies import Misfire, Overlap

SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=n) for n in (1, 60, 3600, 86400))


def account(rows):
    """Accounts as (status, reason, first minute, count)."""
    return [(a.status.value, a.reason and a.reason.value, a.first.strftime("%H:%M"), a.count) for a in rows]


def decided(schedule, now):
    return account(decide(schedule, now).accounts)


class TestDue:
    def test_nothing_is_due_at_the_instant_of_creation(self, row, start):
        decision = decide(row(every="1m"), start)
        assert decision.accounts == ()
        assert decision.accounted_until == start

    def test_the_first_instant_is_strictly_after_the_creation(self, row, start):
        assert wake_at(row(every="1m")) == start + MINUTE

    def test_an_instant_is_due_up_to_and_including_now(self, row, start):
        schedule = row(every="1m")
        assert decided(schedule, start + MINUTE - SECOND / 1000) == []
        assert decided(schedule, start + MINUTE) == [("triggered", None, "02:01", 1)]

    def test_the_account_moves_to_the_last_instant_that_got_a_row_and_not_to_now(self, row, start):
        assert decide(row(every="1m"), start + 5 * MINUTE + SECOND).accounted_until == start + 5 * MINUTE

    def test_a_clock_that_was_set_back_makes_nothing_due(self, row, start):
        assert decided(row(every="1m"), start - DAY) == []
        assert settle(row(every="1m"), start - DAY) == ()

    def test_an_orphaned_schedule_decides_nothing(self, row, start):
        orphan = dataclasses.replace(row(every="1m"), orphaned=True)
        assert decided(orphan, start + HOUR) == []
        assert overdue(orphan, start + HOUR) == 0

    def test_a_decision_can_be_cut_after_its_first_run(self, row, start):
        decision = decide(row(every="1m", misfire=Misfire("all", max_count=3)), start + 5 * MINUTE)
        first = decision.up_to_first_run()
        assert account(first.accounts) == [
            ("missed", "max_count", "02:01", 1),
            ("missed", "max_count", "02:02", 1),
            ("triggered", None, "02:03", 1),
        ]
        assert first.accounted_until == start + 3 * MINUTE

    def test_a_decision_without_a_run_is_not_cut(self, row, start):
        decision = decide(row(every="1m", enabled=False), start + 5 * MINUTE)
        assert decision.up_to_first_run() == decision


class TestMisfire:
    def test_a_tick_within_30_s_is_on_time_whatever_the_policy(self, row, start):
        schedule = row(every="1h", misfire="skip")
        assert decided(schedule, start + HOUR + 30 * SECOND) == [("triggered", None, "03:00", 1)]
        assert decided(schedule, start + HOUR + 30.001 * SECOND) == [("missed", "late", "03:00", 1)]

    def test_a_tick_is_late_after_half_the_gap_when_that_is_shorter(self, row, start):
        schedule = row(every="10s", misfire="skip")
        assert decided(schedule, start + 15 * SECOND) == [("triggered", None, "02:00", 1)]
        assert decided(schedule, start + 15.001 * SECOND) == [("missed", "late", "02:00", 1)]

    def test_a_tick_is_late_when_a_newer_one_is_due(self, row, start):
        assert decided(row(every="1m", misfire="skip"), start + 2 * MINUTE) == [
            ("missed", "late", "02:01", 1),
            ("triggered", None, "02:02", 1),
        ]

    def test_latest_is_the_default_and_runs_only_the_newest(self, row, start):
        assert decided(row(every="1h"), start + 3.5 * HOUR) == [
            ("missed", "superseded", "03:00", 1),
            ("missed", "superseded", "04:00", 1),
            ("triggered", None, "05:00", 1),
        ]

    def test_latest_does_not_run_a_late_tick_beside_one_that_is_on_time(self, row, start):
        assert decided(row(every="1h"), start + 2 * HOUR) == [
            ("missed", "superseded", "03:00", 1),
            ("triggered", None, "04:00", 1),
        ]

    def test_all_runs_every_one_in_order(self, row, start):
        assert decided(row(every="1h", misfire="all"), start + 3.5 * HOUR) == [
            ("triggered", None, "03:00", 1),
            ("triggered", None, "04:00", 1),
            ("triggered", None, "05:00", 1),
        ]

    def test_max_count_keeps_the_newest(self, row, start):
        assert decided(row(every="1h", misfire=Misfire("all", max_count=2)), start + 4.5 * HOUR) == [
            ("missed", "max_count", "03:00", 1),
            ("missed", "max_count", "04:00", 1),
            ("triggered", None, "05:00", 1),
            ("triggered", None, "06:00", 1),
        ]

    def test_max_count_of_all_is_100_unless_given(self, row, start):
        accounts = decide(row(every="1m", misfire="all"), start + 5 * HOUR + 40 * SECOND).accounts
        assert [a.count for a in accounts if a.fires] == [1] * 100
        assert accounts[0].count == 200

    def test_nothing_older_than_max_age_runs(self, row, start):
        assert decided(row(every="1h", misfire=Misfire("all", max_age="2h")), start + 4.5 * HOUR) == [
            ("missed", "max_age", "03:00", 1),
            ("missed", "max_age", "04:00", 1),
            ("triggered", None, "05:00", 1),
            ("triggered", None, "06:00", 1),
        ]

    def test_a_tick_of_exactly_max_age_runs(self, row, start):
        assert decided(row(every="1h", misfire=Misfire("all", max_age="90m")), start + 2.5 * HOUR) == [
            ("triggered", None, "03:00", 1),
            ("triggered", None, "04:00", 1),
        ]

    def test_max_age_is_a_day_unless_given(self, row, start):
        schedule = row(every="12h", misfire="latest")
        assert decided(schedule, start + 35 * HOUR)[-1][0] == "triggered"
        assert decided(row(cron="0 3 * * 3"), start + 26 * HOUR) == [("missed", "max_age", "03:00", 1)]

    def test_no_max_age_runs_whatever_is_late(self, row, start):
        schedule = row(cron="0 3 * * 3", misfire=Misfire(max_age=None))
        assert decided(schedule, start + 26 * HOUR) == [("triggered", None, "03:00", 1)]

    def test_a_tick_on_time_is_not_subject_to_max_age(self, row, start):
        assert decided(row(every="1h", misfire=Misfire(max_age=1)), start + HOUR + 20 * SECOND)[0][0] == "triggered"

    def test_few_that_do_not_run_leave_a_row_each(self, row, start):
        accounts = decide(row(every="1m"), start + 11 * MINUTE).accounts
        assert [a.count for a in accounts] == [1] * 11

    def test_many_that_do_not_run_leave_one_row_for_a_counted_range(self, row, start):
        accounts = decide(row(every="1m"), start + 12 * MINUTE).accounts
        assert account(accounts) == [("missed", "superseded", "02:01", 11), ("triggered", None, "02:12", 1)]
        assert accounts[0].last == start + 11 * MINUTE

    def test_a_range_of_a_cron_is_counted_exactly_over_years(self, row, start):
        schedule = row(cron="*/30 * * * *", timezone="Europe/London", misfire=Misfire(max_age=None))
        missed, fired = decide(schedule, start + 730 * DAY).accounts
        assert missed.count == 730 * 48 - 1
        assert fired.first == start + 730 * DAY

    def test_a_year_of_seconds_is_counted_without_being_walked(self, row, start):
        old, superseded, fired = decide(row(every="1s"), start + 365 * DAY).accounts
        assert (old.reason, old.count) == ("max_age", 364 * 86400 - 1)
        assert (superseded.reason, superseded.count) == ("superseded", 86400)
        assert fired.count == 1


class TestPause:
    def test_ticks_of_a_disabled_schedule_pass_as_skipped(self, row, start):
        assert decided(row(every="1m", enabled=False), start + MINUTE) == [("skipped", "paused", "02:01", 1)]

    def test_many_of_them_leave_a_counted_range(self, row, start):
        assert decided(row(every="1m", enabled=False), start + HOUR) == [("skipped", "paused", "02:01", 60)]

    def test_resume_accounts_for_what_passed_as_paused(self, row, start):
        rows = settle(row(every="1m", enabled=False), start + 2 * MINUTE)
        assert account(rows) == [("skipped", "paused", "02:01", 1), ("skipped", "paused", "02:02", 1)]

    def test_an_edit_accounts_for_what_was_due_as_edited(self, row, start):
        assert account(settle(row(every="1m"), start + MINUTE)) == [("missed", "edited", "02:01", 1)]


class TestJitter:
    def test_a_tick_starts_after_its_jitter_and_before_the_next_tick(self, row, start):
        schedule = row(every="1m", jitter="1h")
        starts = [start_of(schedule, start + n * MINUTE) for n in range(1, 200)]
        assert all(start + n * MINUTE <= at < start + (n + 1) * MINUTE for n, at in enumerate(starts, 1))
        assert len({at - start - n * MINUTE for n, at in enumerate(starts, 1)}) > 190

    def test_a_jitter_shorter_than_the_gap_is_not_exceeded(self, row, start):
        schedule = row(every="1h", jitter="10s")
        assert all(start_of(schedule, start + n * HOUR) - start - n * HOUR < 10 * SECOND for n in range(1, 100))

    def test_it_is_a_stable_hash_of_schedule_and_instant(self, row, start):
        schedule = row(every="1h", jitter="10m")
        other = dataclasses.replace(schedule, name="other")
        assert start_of(schedule, start + HOUR) == datetime(2025, 1, 15, 3, 8, 17, 457685, tzinfo=UTC)
        assert start_of(other, start + HOUR) != start_of(schedule, start + HOUR)

    def test_what_is_due_but_not_ready_stays_due(self, row, start):
        schedule = row(every="1h", jitter="50m")
        ready = start_of(schedule, start + HOUR)
        before = decide(schedule, ready - SECOND)
        assert (before.accounts, before.accounted_until) == ((), start)
        assert wake_at(schedule) == ready
        assert decided(schedule, ready) == [("triggered", None, "03:00", 1)]

    def test_lateness_is_counted_from_the_jittered_start(self, row, start):
        schedule = row(every="1h", jitter="50m", misfire="skip")
        ready = start_of(schedule, start + HOUR)
        assert decided(schedule, ready + 30 * SECOND) == [("triggered", None, "03:00", 1)]
        assert decided(schedule, ready + 31 * SECOND) == [("missed", "late", "03:00", 1)]

    def test_an_edit_accounts_for_what_is_due_and_not_ready(self, row, start):
        schedule = row(every="1h", jitter="50m")
        assert account(settle(schedule, start + HOUR)) == [("missed", "edited", "03:00", 1)]


class TestOverlap:
    @pytest.mark.parametrize("policy", Overlap)
    def test_without_an_unfinished_run_every_policy_admits(self, policy):
        admission = admit(policy, [])
        assert (admission.blocked_by, admission.behind, admission.cancels) == (None, False, ())

    def test_skip_is_blocked_by_the_run_that_is_unfinished(self):
        assert admit(Overlap.SKIP, ["a", "b"]).blocked_by == "a"

    def test_queue_one_lets_one_wait_and_the_newcomer_is_blocked_by_it(self):
        assert admit(Overlap.QUEUE_ONE, ["a"]).behind
        assert admit(Overlap.QUEUE_ONE, ["a", "b"]).blocked_by == "b"

    def test_queue_all_waits_behind_all(self):
        admission = admit(Overlap.QUEUE_ALL, ["a", "b", "c"])
        assert (admission.blocked_by, admission.behind) == (None, True)

    def test_cancel_previous_cancels_all_that_are_unfinished(self):
        admission = admit(Overlap.CANCEL_PREVIOUS, ["a", "b"])
        assert (admission.blocked_by, admission.behind, admission.cancels) == (None, False, ("a", "b"))

    def test_allow_starts_beside_them(self):
        assert not admit(Overlap.ALLOW, ["a"]).behind


class TestProgress:
    def test_a_schedule_is_overdue_from_the_start_of_its_next_account(self, row, start):
        assert overdue(row(every="1m"), start + MINUTE + 5 * SECOND) == 5
        assert overdue(row(every="1m"), start) == 0

    def test_an_account_ahead_of_the_clock_says_by_how_much(self, row, start):
        assert ahead(row(every="1m"), start - MINUTE) == 60
        assert ahead(row(every="1m"), start + MINUTE) == 0


def expand(schedule, rows):
    """The instants that rows stand for; the count of a range is checked against its instants."""
    instants = []
    for each in rows:
        within = schedule.timing.between(each.first - SECOND, each.last)
        assert len(within) == each.count
        instants += within
    return instants


TIMINGS = st.sampled_from(
    [
        {"every": "7s", "cron": None},
        {"every": "10m", "cron": None},
        {"every": "90m", "cron": None},
        {"cron": "*/20 * * * *", "every": None, "timezone": "Australia/Lord_Howe"},
        {"cron": "30 1,2 * * *", "every": None, "timezone": "America/New_York"},
        {"cron": "0 3 * * 1", "every": None, "timezone": "UTC"},
    ]
)
STEPS = st.one_of(
    st.tuples(st.just("advance"), st.floats(0, 5 * 86400)),
    st.tuples(st.just("advance"), st.floats(0, 60)),
    st.tuples(st.just("back"), st.floats(0, 3 * 86400)),
    st.tuples(st.just("pause"), st.none()),
    st.tuples(st.just("resume"), st.none()),
    st.tuples(st.just("edit"), TIMINGS),
)
MISFIRES = st.builds(
    Misfire,
    st.sampled_from(["skip", "latest", "all"]),
    max_count=st.none() | st.integers(1, 15),
    max_age=st.none() | st.floats(0, 10 * 86400),
)


class World:
    """A schedule, its clock and its rows, moved by steps as the store would be."""

    def __init__(self, schedule, now):
        self.schedule, self.now, self.since = schedule, now, schedule.accounted_until
        self.rows, self.instants, self.expected = [], [], []

    def take(self, name, value):
        if name in ("advance", "back"):
            self.now += timedelta(seconds=value if name == "advance" else -value)
            return self.look()
        if name == "pause":
            self.schedule = dataclasses.replace(self.schedule, enabled=False)
        elif self.schedule.accounted_until <= self.now:
            # A resume with the account ahead of the clock gives instants up again; that is a rule of its own.
            self.write(settle(self.schedule, self.now), self.now)
            self.expected += self.schedule.timing.between(self.since, self.now)
            self.since = self.now
            changes = {"enabled": True} if name == "resume" else value
            self.schedule = dataclasses.replace(self.schedule, **columns(changes))

    def look(self):
        decision = decide(self.schedule, self.now)
        fires = [each for each in decision.accounts if each.fires]
        assert [each.count for each in fires] == [1] * len(fires)
        assert wake_at(dataclasses.replace(self.schedule, accounted_until=decision.accounted_until)) > self.now
        self.write(decision.accounts, decision.accounted_until)

    def write(self, rows, until):
        self.rows += rows
        self.instants += expand(self.schedule, rows)
        self.schedule = dataclasses.replace(self.schedule, accounted_until=until)


def columns(changes):
    return {**changes, "every": seconds(changes["every"])} if changes.get("every") else changes


@pytest.mark.property
@settings(max_examples=150, deadline=None)
@given(timing=TIMINGS, misfire=MISFIRES, jitter=st.sampled_from([0, 5, 3600]), steps=st.lists(STEPS, max_size=12))
def test_every_due_instant_has_exactly_one_account(row, timing, misfire, jitter, steps):
    now = datetime(2025, 3, 7, 12, 34, 56, tzinfo=UTC)
    world = World(row(now, **timing, misfire=misfire, jitter=jitter), now)
    for name, value in steps:
        world.take(name, value)
    world.expected += world.schedule.timing.between(world.since, world.schedule.accounted_until)
    assert world.instants == world.expected
    assert world.instants == sorted(set(world.instants))
