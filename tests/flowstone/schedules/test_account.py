"""The law of semantics 4 over real parts: every due instant has exactly one account, counts included."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.testing import crash
from flowstone.schedules.policies import Misfire
from flowstone.schedules.schedule import Schedule

SECOND = timedelta(seconds=1)

TIMINGS = st.sampled_from([{"every": "40s"}, {"every": "7m"}, {"cron": "*/20 * * * *"}, {"cron": "30 1,2 * * *"}])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("advance"), st.integers(1, 200)),
        st.tuples(st.just("sleep"), st.integers(1, 100_000)),
        st.tuples(st.just("back"), st.integers(1, 5000)),
        st.tuples(st.just("crash"), st.none()),
        st.tuples(st.just("pause"), st.none()),
        st.tuples(st.just("resume"), st.none()),
        st.tuples(st.just("edit"), TIMINGS),
        st.tuples(st.just("trigger"), st.none()),
        st.tuples(st.just("ahead"), st.integers(1, 30)),
    ),
    max_size=10,
)
MISFIRES = st.builds(Misfire, st.sampled_from(["skip", "latest", "all"]), max_count=st.none() | st.integers(1, 5))


class History:
    """A world with one schedule, and the instants that its definitions made due."""

    def __init__(self, world, definition):
        self.world = world
        world.begin(definition)
        self.since = world.clock.now()
        self.due = []

    @property
    def row(self):
        return self.world.schedules.get("report")

    def take(self, step, value):
        world = self.world
        if step == "advance":
            world.advance(value)
        elif step in ("sleep", "back"):
            world.clock.set_wall(world.clock.now() + value * SECOND * (1 if step == "sleep" else -1))
        elif step == "crash":
            crash(world.root.child("scheduler"))
            world.settle()
        elif step == "pause":
            world.schedules.pause("report")
        elif step == "trigger":
            world.schedules.trigger("report")
        elif step == "ahead":
            world.schedules.trigger("report", at=self.row.timing.next_after(world.clock.now() + value * SECOND))
        elif self.row.accounted_until <= world.clock.now():
            self.settle(step, value or {})

    def settle(self, step, changes):
        """An edit, or a resume; with the account ahead of the clock it would give instants up, by another rule."""
        before, now = self.row, self.world.clock.now()
        if step == "edit":
            self.world.schedules.update("report", **changes)
        else:
            self.world.schedules.resume("report")
        if self.row.version > before.version:
            self.due += before.timing.between(self.since, now)
            self.since = now

    def accounted(self):
        """The instants of all rows but those made by hand, in order; each range holds as many as it counts."""
        alone = [t.scheduled_for for t in self.world.ticks() if t.until is None and ":manual:" not in t.tick_id]
        instants = list(alone)
        for tick in self.world.ticks():
            if tick.until is not None:
                held = [i for i in self.due if tick.scheduled_for <= i <= tick.until and i not in alone]
                assert len(held) == tick.count
                instants += held
        return sorted(instants)


@pytest.mark.property
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(timing=TIMINGS, misfire=MISFIRES, jitter=st.sampled_from([0, 15]), steps=STEPS)
def test_every_due_instant_has_exactly_one_row(make_world, timing, misfire, jitter, steps):
    world = make_world("memory://")
    try:
        history = History(world, Schedule("report", **timing, misfire=misfire, jitter=jitter, overlap="allow"))
        for step, value in steps:
            history.take(step, value)
        world.advance("61s")
        until = history.row.accounted_until
        history.due += history.row.timing.between(history.since, until)
        rows = history.accounted()
        assert rows == sorted(set(rows))
        assert [i for i in rows if i in set(history.due)] == history.due
        runs = world.execute("select count(*) as n from run")[0].n
        assert runs == sum(tick.status == "triggered" for tick in world.ticks())
    finally:
        world.end()


def test_the_law_is_tried_on_a_history_of_everything(make_world):
    """One history by hand, so that the law above can't pass by trying nothing."""
    world = make_world("memory://")
    history = History(world, Schedule("report", every="40s", overlap="allow"))
    for step, value in [("ahead", 5), ("sleep", 4000), ("advance", 60), ("edit", {"every": "7m"}), ("sleep", 900)]:
        history.take(step, value)
    world.advance("61s")
    history.due += history.row.timing.between(history.since, history.row.accounted_until)
    assert history.accounted() == history.due
    assert history.due[0] == datetime(2025, 1, 15, 2, 0, 40, tzinfo=UTC)
    assert {tick.status.value for tick in world.ticks()} == {"missed", "triggered"}
