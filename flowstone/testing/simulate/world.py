"""A simulated world: one process after the other on one store, and the time that goes on when nothing else can."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from flowstone.io import MemoryIO
from flowstone.pipeline import Pipeline
from flowstone.state.connection import Connection
from flowstone.testing.simulate.faults import Dice, Faults
from flowstone.testing.simulate.feeds import Feed, PushedFeed
from flowstone.testing.simulate.journal import Journal
from flowstone.testing.simulate.life import Life, Surroundings
from flowstone.testing.simulate.people import People
from flowstone.testing.simulate.time import MICRO, WorldTime

__all__ = ["Stuck", "World"]

CALM = 43_200.0
"""Seconds of rest for a world, at least: longer than any wait of the runtime's own."""

PATIENCE = 86_400.0
"""Seconds after which a world that has not come to rest never will."""

MOST_STEPS = 20_000
"""Steps without time going on, after which something goes round in circles."""

MOST_STEPS_TO_DOOM = 60
MOST_STEPS_TO_A_WRITE = 100
"""Steps for which half of the deaths wait for the worst moment: when a run's step is on its way to the store."""

LATEST = 5.0
"""Seconds after the start of the next process at which what its predecessor wrote arrives, at most."""


class Stuck(Exception):
    """The world does not come to rest."""


class World:
    """The pipelines, run for so many days."""

    def __init__(
        self,
        pipelines: tuple[Pipeline, ...],
        disk: Connection,
        time: WorldTime,
        *,
        days: float,
        seed: object,
        faults: Faults,
        spared: frozenset[str] = frozenset(),
    ) -> None:
        dice = Dice(seed, faults, spared)
        names = {asset.io_manager for pipeline in pipelines for asset in pipeline.assets}
        values = MemoryIO()
        self.around = Surroundings(
            pipelines,
            time,
            dice,
            Journal(time),
            disk,
            {name: values for name in sorted({"memory", *filter(None, names)})},
        )
        self.days = days
        self.lives = 0
        self.calm_from = 0
        """The newest evaluation at the moment from which on nothing went wrong."""
        self.life: Life | None = None
        self.feeds: dict[str, list[float]] = {}
        self.calm = CALM
        """Seconds for which nothing goes wrong before the world is looked at; twice any feed's interval at least."""
        self.people = People(self.around, lambda: self.life)
        self._doom: int | None = None
        self._patience = 0
        self._arrange()

    def run(self) -> None:
        """Let it all happen, and come to rest.

        Raises:
            Stuck: it does not.
        """
        time = self.around.time
        try:
            self._be_born()
            self._go_on(self.days * 86400)
            self._calm_down()
            self._go_on(time.monotonic() + self.calm)
            last = time.monotonic() + PATIENCE
            while self.life is None or self.life.calling:
                if time.monotonic() >= last:
                    raise Stuck("calls of user code never end")
                self._go_on(time.monotonic() + 1.0)
        finally:
            if self.life is not None:
                self.life.die()

    def _calm_down(self) -> None:
        self.around.dice.calm()
        self._doom = None
        newest = self.around.disk.execute("select coalesce(max(id), 0) as newest from evaluation")[0].newest
        self.calm_from = newest
        self.around.journal.note("calm", "nothing goes wrong from now on")

    # -- what is to come

    def _arrange(self) -> None:
        time, dice = self.around.time, self.around.dice
        for at in dice.moments("deaths", self.days):
            time.at(at, self._draw_death)
        for at in dice.moments("jumps", self.days):
            time.at(at, self._jump)
        for at in dice.moments("meddling", self.days):
            time.at(at, self.people.meddle)
        for at in dice.moments("deciding", self.days):
            time.at(at, self.people.decide)
        for pipeline in self.around.pipelines:
            for spec in pipeline.sensors:
                if isinstance(spec.sensor, Feed | PushedFeed):
                    self._arrange_feed(spec.name, spec.sensor)
                    self.calm = max(self.calm, 2 * (spec.every or 0.0))

    def _arrange_feed(self, name: str, feed: Feed | PushedFeed) -> None:
        time, dice = self.around.time, self.around.dice.of(f"feed {name}")
        moments: list[float] = []
        at = 0.0
        while feed.a_day > 0 and (at := at + dice.expovariate(feed.a_day / 86400)) < self.days * 86400:
            moments.append(at)
        self.feeds[name] = moments
        if isinstance(feed, Feed):
            feed.bind(time, moments)
            return
        self.people.acknowledged[name] = set()
        for number, at in enumerate(moments):
            time.at(at, partial(self.people.push, name, number))

    # -- births, deaths, and clocks that are set

    def _be_born(self) -> None:
        self.lives += 1
        self.around.journal.note("life", f"process {self.lives} starts")
        self.life = Life(self.around, self.lives)

    def _draw_death(self) -> None:
        """Let the process die in the middle of what it does next."""
        if self.around.dice.fires("deaths"):
            dice = self.around.dice.of("how it dies")
            self._doom = 1 + dice.randrange(MOST_STEPS_TO_DOOM)
            self._patience = dice.choice((0, MOST_STEPS_TO_A_WRITE))

    def _meet_doom(self, life: Life) -> None:
        self._doom = None
        dice = self.around.dice.of("how it dies")
        if life.running is not None and not life.stopping and dice.random() < 0.25:
            self.around.journal.note("life", f"process {life.number} is stopped")
            life.stop()
        else:
            self._bury(life, "is killed")

    def _bury(self, life: Life, how: str) -> None:
        self.around.journal.note("life", f"process {life.number} {how}")
        late = [write for write in life.late_writes() if self.around.dice.happens("late")]
        life.die()
        self.life = None
        # Seconds mostly, and sometimes hours.
        down = math.exp(self.around.dice.of("how long down").uniform(0.0, 9.5))
        self.around.time.after(down, self._be_born)
        for write in late:
            self.around.time.after(down + self.around.dice.of("how late").random() * LATEST, write)

    def _jump(self) -> None:
        if self.around.dice.fires("jumps"):
            dice = self.around.dice.of("how far")
            seconds = round(math.exp(dice.uniform(0.0, 11.5)) * dice.choice((-1, 1)), 6)
            self.around.time.jump(seconds)
            self.around.journal.note("jump", f"the wall clock is set by {seconds:+.6f} s")

    # -- going on

    def _go_on(self, until: float) -> None:
        """Let everything happen that happens before `until`, in seconds since the beginning."""
        time, limit = self.around.time, round(until * MICRO)
        self._exhaust()
        while (due := self._next_due()) is not None and due <= limit:
            time.micros = max(time.micros, due)
            self._fire()
            self._exhaust()
        time.micros = max(time.micros, limit)

    def _next_due(self) -> int | None:
        found = [self.around.time.agenda.first_due()]
        if self.life is not None:
            found.append(self.life.clock.timers.first_due())
        dues = [int(due) for due in found if due is not None]
        return min(dues, default=None)

    def _fire(self) -> None:
        """Fire every timer that is due now, the world's first."""
        now = self.around.time.micros
        while (timer := self.around.time.agenda.pop_due(now)) is not None:
            _call(timer.fn)
        while self.life is not None and (timer := self.life.clock.timers.pop_due(now)) is not None:
            _call(timer.fn)

    def _exhaust(self) -> None:
        """Let everything happen that can before time goes on."""
        steps = 0
        while (life := self.life) is not None:
            if life.defect is not None:
                raise life.defect
            if life.over is not None:
                self._bury(life, f"is gone: {life.over}")
                return
            if not life.step():
                return
            steps += 1
            if steps > MOST_STEPS:
                raise Stuck("messages go round in circles without time going on")
            if self._doom is not None:
                self._doom -= 1
                if self._doom <= 0 and (self._doom < -self._patience or life.late_writes()):
                    self._meet_doom(life)


def _call(fn: Callable[[], object] | None) -> None:
    # Not `fire`, which logs what is raised and goes on: here it is a defect of the simulation.
    if fn is not None:
        fn()
