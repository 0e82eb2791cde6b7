"""Rules of semantics 1 and 4 about the timer: every due instant has its row, whatever happens to clock and store."""

import contextlib
import dataclasses
import sqlite3
import threading
from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pytest

from actors.testing import assert_actor_state, crash
from flowstone.errors import StoreUnavailable
from flowstone.outcome import Outcome
from flowstone.schedules.policies import Misfire
from flowstone.schedules.rules import previous_day
from flowstone.schedules.schedule import Schedule
from flowstone.schedules.scheduler import changed
from flowstone.state.database import Database
from flowstone.state.store_actor import TOPIC, StoreChanged

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def report(**options):
    return Schedule("report", **{"every": "1m", "overlap": "allow", **options})


class Faulty:
    """A database whose next calls fail as told; `lose` lets the commit happen and its answer be lost."""

    def __init__(self, database):
        self.database = database
        self.writes, self.reads, self.lose, self.refuse = 0, 0, False, False

    def __getattr__(self, name):
        return getattr(self.database, name)

    def write(self, transaction, then):
        if not self.writes:
            return self.database.write(transaction, then)
        self.writes -= 1
        if self.refuse:
            raise StoreUnavailable("refused")
        if self.lose:
            return self.database.write(transaction, lambda _: then(Outcome(error=StoreUnavailable("cut"))))
        return then(Outcome(error=StoreUnavailable("locked")))

    def read_later(self, query, then):
        if not self.reads:
            return self.database.read_later(query, then)
        self.reads -= 1
        if self.refuse:
            raise StoreUnavailable("refused")
        return then(Outcome(error=StoreUnavailable("locked")))


class Gate:
    """Where a rule waits, so that a test can act while it is called."""

    def __init__(self):
        self.waiting, self.opened = threading.Event(), threading.Event()

    def wait(self):
        self.waiting.set()
        return self.opened.wait(30)

    @contextlib.contextmanager
    def reached(self, world, duration):
        """Let time go on elsewhere until the rule waits; open the gate at the end, and wait for all that follows."""
        advancing = threading.Thread(target=world.clock.advance, args=(duration,))
        advancing.start()
        assert self.waiting.wait(30)
        yield
        self.opened.set()
        advancing.join()
        world.settle()


@pytest.fixture(params=["greenlets", "threads"])
def gated(request, make_world):
    """A world in which a call that takes its time is not taken for one that hangs, and a gate for it."""
    return make_world("memory://", request.param, stall=30), Gate()


@pytest.fixture
def faulty(make_world):
    """A world whose store fails as told, and that store's faults."""
    world = make_world("memory://")
    faults = Faulty(world.database)
    world.services = dataclasses.replace(world.services, database=faults)
    return world, faults


class TestTicks:
    def test_each_due_instant_makes_a_tick_and_its_run_in_one_transaction(self, world, start):
        world.begin(report())
        world.advance("3m")
        assert world.told() == [("triggered", None, f"02:0{n}", 1) for n in (1, 2, 3)]
        assert [tick.tick_id for tick in world.ticks()] == [
            f"report:{int((start + n * MINUTE).timestamp())}" for n in (1, 2, 3)
        ]
        assert [tick.run_id for tick in world.ticks()] == [run.run_id for run in world.runs()]
        assert world.runs()[0].run_key == f"sched:report:{int((start + MINUTE).timestamp())}"
        assert world.runs()[0].evaluation_id == world.ticks()[0].tick_id

    def test_the_account_and_what_is_displayed_move_with_it(self, world, start):
        world.begin(report())
        world.advance("90s")
        row = world.schedules.get("report")
        assert (row.accounted_until, row.last_scheduled_for) == (start + MINUTE, start + MINUTE)
        assert (row.version, row.updated_at) == (1, start)

    def test_ticks_are_committed_at_their_instants(self, world, start):
        world.begin(report())
        world.advance("2m")
        assert [tick.at - tick.scheduled_for for tick in world.ticks()] == [timedelta(0)] * 2

    def test_many_schedules_are_ready_at_one_wake_up(self, world):
        names = [f"report{n}" for n in range(250)]
        world.begin(*(Schedule(name, every="1m", target="report") for name in names))
        world.advance("1m")
        assert Counter(row.schedule for row in world.execute("select * from tick")) == dict.fromkeys(names, 1)

    def test_the_partition_is_that_of_the_scheduled_instant(self, world):
        world.begin(report(cron="30 21 * * *", every=None, timezone="America/New_York", partition=previous_day))
        world.advance("1d")
        assert [tick.partition for tick in world.ticks()] == [date(2025, 1, 13)]

    def test_jitter_delays_the_start_and_not_the_instant(self, world):
        world.begin(report(jitter="40s"))
        world.advance("10m")
        lateness = [(tick.at - tick.scheduled_for).total_seconds() for tick in world.ticks()]
        assert [tick.scheduled_for.minute for tick in world.ticks()][:9] == list(range(1, 10))
        assert all(0 <= late < 40 for late in lateness)
        assert len(set(lateness)) >= 9

    def test_a_schedule_whose_zone_is_gone_disturbs_no_other(self, world):
        world.define(report(), Schedule("broken", every="1m", target="report"))
        world.execute("update schedule set every = null, cron = '0 25 * * *' where name = 'broken'")
        world.begin(report(), Schedule("broken", every="1m", target="report"))
        world.advance("1m")
        assert len(world.ticks()) == 1
        assert world.ticks("broken") == []


class TestRestart:
    def test_what_was_missed_while_nobody_ran_is_decided_by_the_misfire_policy(self, world):
        world.define(report(misfire=Misfire("all", max_count=2)))
        world.clock.advance(4 * 60 + 40)
        world.begin(report(misfire=Misfire("all", max_count=2)))
        assert world.told() == [
            ("missed", "max_count", "02:01", 1),
            ("missed", "max_count", "02:02", 1),
            ("triggered", None, "02:03", 1),
            ("triggered", None, "02:04", 1),
        ]

    def test_a_crash_of_the_actor_loses_and_doubles_nothing(self, world):
        world.begin(report())
        for _ in range(3):
            world.advance("30s")
            crash(world.root.child("scheduler"))
            world.settle()
            world.advance("30s")
        assert world.told() == [("triggered", None, f"02:0{n}", 1) for n in (1, 2, 3)]

    def test_a_second_scheduler_on_the_same_store_is_a_no_op(self, make_world, url):
        first = make_world(url)
        second = make_world(url) if url == "memory://" else make_world("memory://")
        second.services = dataclasses.replace(second.services, database=first.database, clock=first.clock)
        first.begin(report())
        second.begin(report())
        for _ in range(5):
            second.clock.advance(60)
            first.clock.advance(60)
            second.settle()
            first.settle()
        assert first.told() == [("triggered", None, f"02:0{n}", 1) for n in range(1, 6)]
        assert len(first.runs()) == 5

    def test_what_comes_after_its_end_is_nobodys(self, world):
        gate = threading.Event()
        world.begin(report(partition=lambda instant: gate.wait(10)))
        world.clock.advance(60)
        ref = world.services.directory["scheduler"]
        world.root.terminate_child("scheduler")
        assert not ref.is_alive()
        changed(world.services, "report")
        gate.set()
        world.settle()
        assert world.ticks() == []


class TestClock:
    def test_a_clock_that_is_set_back_fires_nothing_twice(self, world, start):
        world.begin(report())
        world.advance("2m")
        world.clock.set_wall(start)
        world.advance("2m")
        assert len(world.ticks()) == 2
        world.advance("1m")
        assert world.told()[2:] == [("triggered", None, "02:03", 1)]

    def test_a_clock_that_is_set_forward_is_noticed_within_a_minute(self, world, start):
        world.begin(report(every="12h"))
        world.clock.set_wall(start + timedelta(hours=37))
        world.advance("1m")
        assert [(tick.status, tick.reason) for tick in world.ticks()] == [
            ("missed", "max_age"),
            ("missed", "superseded"),
            ("triggered", None),
        ]

    def test_an_account_ahead_of_the_clock_waits_until_resume_brings_it_to_now(self, world, start):
        world.begin(report())
        world.clock.set_wall(datetime(2030, 1, 1, tzinfo=UTC))
        world.advance("1m")
        world.clock.set_wall(start + HOUR)
        world.advance("5m")
        assert [tick.status for tick in world.ticks()] == ["missed", "missed", "triggered"]
        world.schedules.resume("report")
        world.advance("1m")
        assert world.ticks()[-1].scheduled_for == start + HOUR + 6 * MINUTE

    def test_no_schedule_needs_no_timer(self, world):
        world.begin()
        world.advance("1d")
        assert world.schedules.list() == ()


class TestWhileRunning:
    def test_one_that_is_created_takes_effect_at_once(self, world):
        world.begin()
        world.schedules.create("report", every="10s", overlap="allow")
        world.advance("25s")
        assert len(world.ticks()) == 2

    def test_one_that_is_changed_takes_effect_at_once(self, world):
        world.begin(report(every="1h"))
        world.advance("1m")
        world.schedules.update("report", every="10s")
        world.advance("20s")
        assert world.told() == [("triggered", None, "02:01", 1)] * 2

    def test_an_instant_that_an_edit_took_away_counts_no_more(self, world):
        world.begin(report(every="30s"), Schedule("other", every="30s", target="report", overlap="allow"))
        world.schedules.update("report", every="2m")
        world.advance("2m")
        assert world.told() == [("triggered", None, "02:02", 1)]
        assert len(world.ticks("other")) == 4

    def test_a_deleted_one_stops_at_once(self, world):
        world.begin(report())
        world.advance("1m")
        world.schedules.delete("report")
        world.advance("5m")
        assert len(world.ticks()) == 1

    def test_a_deleted_one_that_is_created_again_starts_anew(self, world):
        world.begin(report())
        world.advance("90s")
        world.schedules.delete("report")
        world.schedules.create("report", every="1m", overlap="allow")
        world.advance("1m")
        assert [minute for _, _, minute, _ in world.told()] == ["02:01", "02:02"]

    def test_ticks_of_a_paused_one_pass_as_skipped_and_are_not_replayed(self, world):
        world.begin(report())
        world.schedules.pause("report")
        world.advance("2m")
        world.schedules.resume("report")
        world.advance("1m")
        assert world.told() == [
            ("skipped", "paused", "02:01", 1),
            ("skipped", "paused", "02:02", 1),
            ("triggered", None, "02:03", 1),
        ]
        assert world.schedules.get("report").last_scheduled_for.minute == 3

    def test_an_orphaned_one_never_fires_and_goes_on_when_it_returns(self, world):
        world.begin(report())
        world.advance("1m")
        world.define()
        changed(world.services, "report")
        world.advance("2m")
        assert len(world.ticks()) == 1
        world.define(report())
        changed(world.services, "report")
        world.settle()
        world.advance("1m")
        assert world.told()[1:] == [
            ("missed", "superseded", "02:02", 1),
            ("triggered", None, "02:03", 1),
            ("triggered", None, "02:04", 1),
        ]

    def test_what_another_process_committed_is_read(self, world):
        world.begin(report(), Schedule("gone", every="1m", target="report"))
        world.execute("update schedule set every = 10.0, version = 2 where name = 'report'")
        world.execute("delete from schedule where name = 'gone'")
        world.services.pubsub.publish(TOPIC, StoreChanged())
        world.settle()
        world.advance("20s")
        assert len(world.ticks()) == 2

    def test_a_commit_that_changed_no_schedule_is_seen_to_have_changed_none(self, world):
        world.begin(report())
        world.services.pubsub.publish(TOPIC, StoreChanged())
        world.services.pubsub.publish(TOPIC, StoreChanged())
        world.settle()
        world.advance("1m")
        assert len(world.ticks()) == 1

    def test_reading_all_again_does_not_make_the_heap_grow(self, world):
        world.begin(report())
        for version in range(2, 7):
            world.execute("update schedule set version = :version", version=version)
            world.services.pubsub.publish(TOPIC, StoreChanged())
            world.settle()
        assert_actor_state(world.services.directory["scheduler"], lambda actor: len(actor.heap) == 1)

    def test_a_change_that_it_has_not_heard_of_wins(self, world):
        world.begin(report())
        world.execute("update schedule set enabled = false, version = 2")
        world.advance("1m")
        assert world.told() == [("skipped", "paused", "02:01", 1)]

    def test_one_that_was_deleted_unheard_fires_no_more(self, world):
        world.begin(report())
        world.execute("delete from schedule")
        world.advance("2m")
        assert world.execute("select * from tick") == []

    def test_the_actor_shows_how_many_there_are_and_when_the_next_is_ready(self, world, start):
        world.begin()
        ref = world.services.directory["scheduler"]
        assert_actor_state(ref, lambda actor: actor.describe() == {"schedules": 0, "busy": 0, "next_at": None})
        world.schedules.create("report", every="1m")
        world.settle()
        shown = {"schedules": 1, "busy": 0, "next_at": start + MINUTE}
        assert_actor_state(ref, lambda actor: actor.describe() == shown)


class TestOverlap:
    def test_skip_suppresses_with_the_run_that_stood_in_its_way(self, world):
        world.begin(report(overlap="skip"))
        world.advance("2m")
        first, second = world.ticks()
        assert (second.status, second.reason, second.blocked_by) == ("suppressed", "overlap", first.run_id)
        assert (second.run_id, second.partition) == (None, date(2025, 1, 15))
        world.finish()
        world.advance("1m")
        assert [tick.status for tick in world.ticks()] == ["triggered", "suppressed", "triggered"]

    def test_queue_one_lets_one_wait(self, world):
        world.begin(report(overlap="queue_one"))
        world.advance("3m")
        assert [tick.status for tick in world.ticks()] == ["triggered", "triggered", "suppressed"]
        assert world.ticks()[2].blocked_by == world.ticks()[1].run_id
        assert [run.behind for run in world.runs()] == [0, 1]

    def test_queue_all_lets_all_wait(self, world):
        world.begin(report(overlap="queue_all"))
        world.advance("3m")
        assert [run.behind for run in world.runs()] == [0, 1, 1]

    def test_cancel_previous_cancels_what_is_unfinished(self, world):
        world.begin(report(overlap="cancel_previous"))
        world.advance("3m")
        assert [run.status for run in world.runs()] == ["cancelled", "cancelled", "queued"]
        assert world.runs()[0].reason == f"overlapped by {world.ticks()[1].tick_id}"

    def test_allow_starts_beside_them(self, world):
        world.begin(report(overlap="allow"))
        world.advance("3m")
        assert [(run.status, run.behind) for run in world.runs()] == [("queued", 0)] * 3

    def test_a_tick_by_hand_stands_in_the_way_of_the_timer(self, world):
        world.begin(report(overlap="skip"))
        tick = world.schedules.trigger("report")
        world.advance("1m")
        assert world.ticks()[1].blocked_by == tick.run_id

    def test_a_tick_that_was_triggered_ahead_of_its_time_is_not_made_again(self, world, start):
        world.begin(report(overlap="allow"))
        ahead = world.schedules.trigger("report", at=start + MINUTE)
        world.advance("2m")
        assert world.ticks()[0] == ahead
        assert [minute for _, _, minute, _ in world.told()] == ["02:01", "02:02"]


class TestRules:
    def test_a_rule_of_the_users_is_called_outside_of_the_actor(self, world):
        threads = []

        def rule(instant):
            threads.append(threading.current_thread().name)
            return instant.date()

        world.begin(report(partition=rule))
        world.advance("2m")
        assert [tick.partition for tick in world.ticks()] == [date(2025, 1, 15)] * 2
        assert all(name.startswith("polls") for name in threads)

    def test_a_rule_that_raises_fails_its_tick_alone(self, world):
        def rule(instant):
            if instant.minute == 2:
                raise LookupError("no such day")
            return "fine"

        world.begin(report(partition=rule), Schedule("other", every="1m", target="report", overlap="allow"))
        world.advance("3m")
        assert [tick.status for tick in world.ticks()] == ["triggered", "failed", "triggered"]
        assert world.ticks()[1].error == "LookupError: no such day"
        assert [tick.status for tick in world.ticks("other")] == ["triggered"] * 3

    def test_a_failed_tick_moves_the_account_and_not_what_is_displayed(self, world, start):
        world.begin(report(partition=lambda instant: 1 / 0))
        world.advance("1m")
        row = world.schedules.get("report")
        assert (row.accounted_until, row.last_scheduled_for) == (start + MINUTE, None)

    def test_a_rule_that_outlasts_5_s_fails_its_tick_while_the_others_go_on(self, world):
        gate = threading.Event()

        def rule(instant):
            return gate.wait(30) if instant.minute == 1 and instant.second == 0 else "fine"

        other = Schedule("other", every="1s", target="report", overlap="allow")
        world.begin(report(every="10s", partition=rule), other)
        world.clock.advance(50)
        world.clock.advance(20)
        gate.set()
        world.settle()
        late = next(tick for tick in world.ticks() if tick.status == "failed")
        assert late.scheduled_for.minute == 1
        assert late.error.startswith("timeout_exceeded: ")
        assert (late.at - late.scheduled_for).total_seconds() == 5
        assert len(world.ticks("other")) == 70
        assert len(world.ticks()) == 7

    def test_each_tick_is_committed_as_its_rule_answers(self, world):
        world.define(report(misfire="all", partition=lambda instant: f"m{instant.minute}"))
        world.clock.advance(3 * 60)
        world.begin(report(misfire="all", partition=lambda instant: f"m{instant.minute}"))
        assert [(tick.partition, tick.status) for tick in world.ticks()] == [
            ("m1", "triggered"),
            ("m2", "triggered"),
            ("m3", "triggered"),
        ]

    def test_it_is_called_once_for_a_tick_however_often_the_schedule_is_read_meanwhile(self, gated):
        world, gate = gated
        called = []

        def rule(instant):
            called.append(instant)
            return gate.wait() and "fine"

        world.begin(report(every="1h", partition=rule))
        with gate.reached(world, 3600):
            for _ in range(3):
                changed(world.services, "report")
            assert_actor_state(world.services.directory["scheduler"], lambda actor: actor.busy == {"report"})
        assert len(called) == len(world.ticks()) == 1

    def test_an_edit_while_it_is_called_wins(self, gated):
        world, gate = gated
        world.begin(report(every="1h", partition=lambda instant: gate.wait() and "old"))
        with gate.reached(world, 3600):
            world.schedules.update("report", partition=previous_day)
        assert [tick.partition for tick in world.ticks()] == [date(2025, 1, 14)]

    def test_a_paused_schedule_calls_no_rule(self, world):
        called = []
        world.begin(report(enabled=False, partition=called.append))
        world.advance("2m")
        assert called == []
        assert len(world.ticks()) == 2

    def test_an_executor_that_stops_leaves_the_instant_due(self, world, start):
        gate = threading.Event()
        world.begin(report(every="1h", partition=lambda instant: gate.wait(30)))
        world.clock.advance(3599)
        stopping = threading.Timer(0, world.polls.stop, (0,))
        stopping.start()
        stopping.join()
        world.advance("1s")
        gate.set()
        assert world.ticks() == []
        assert world.schedules.get("report").accounted_until == start


class TestStoreFaults:
    @pytest.mark.parametrize("kind", ["before", "after", "refused"])
    def test_the_work_is_kept_and_tried_again_under_the_same_keys(self, faulty, kind, start):
        world, faults = faulty
        faults.lose, faults.refuse = kind == "after", kind == "refused"
        world.begin(report(), Schedule("other", every="1m", target="report", overlap="allow"))
        faults.writes = 3
        world.advance("2m")
        for name in ("report", "other"):
            assert world.told(name) == [("triggered", None, "02:01", 1), ("triggered", None, "02:02", 1)]
        assert len(world.runs()) == 4

    def test_a_tick_that_the_store_held_up_was_not_late(self, faulty):
        world, faults = faulty
        world.begin(report(every="1h", misfire="skip"))
        faults.writes = 12
        world.advance("62m")
        tick = world.ticks()[0]
        assert (tick.status, (tick.at - tick.scheduled_for).total_seconds() > 40) == ("triggered", True)

    @pytest.mark.parametrize("refuse", [True, False])
    def test_a_store_that_can_not_be_read_is_read_again(self, faulty, refuse):
        world, faults = faulty
        faults.reads, faults.refuse = 4, refuse
        world.begin(report())
        world.advance("2m")
        assert world.told() == [("triggered", None, "02:01", 1), ("triggered", None, "02:02", 1)]

    def test_a_file_that_another_process_has_locked_holds_up_and_loses_nothing(self, make_world, tmp_path):
        world = make_world(f"sqlite:///{tmp_path}/store.db")
        world.database.close()
        world.database = Database.open(world.url, work=world.system.work, busy_timeout=0.01)
        world.services = dataclasses.replace(world.services, database=world.database)
        world.begin(report())
        other = sqlite3.connect(f"{tmp_path}/store.db", isolation_level=None)
        other.execute("begin immediate")
        world.advance("70s")
        other.execute("rollback")
        other.close()
        world.advance("50s")
        assert world.database.read(lambda c: c.execute("select count(*) as n from tick"))[0].n == 2
