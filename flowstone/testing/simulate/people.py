"""People of a simulated world: they push until heard, poll by hand, pause and resume, approve, cancel, ask again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from flowstone.running import Running
from flowstone.runs.approval_calls import Approvals
from flowstone.runs.calls import Runs
from flowstone.sensors.rows import SETTLED
from flowstone.testing.simulate.feeds import item_name
from flowstone.testing.simulate.life import Life, Surroundings

__all__ = ["People"]

AGAIN = 30.0
"""Seconds after which they try again what failed."""

SOON = 3.0
"""Seconds within which they pause what they polled: the poll goes on for about as long."""

PAUSE = 7200.0
"""Seconds that a pause lasts at most."""


class People:
    """Those who use the runtime from outside; `life` gives the process that lives now."""

    def __init__(self, around: Surroundings, life: Callable[[], Life | None]) -> None:
        self.acknowledged: dict[str, set[int]] = {}
        self._around = around
        self._life = life
        self._dice = around.dice.of("people")
        self._deciding = around.dice.of("people who decide")
        polled = [spec.name for each in around.pipelines for spec in each.sensors if spec.sensor.kind == "poll"]
        self._polled = frozenset(polled)
        self._names = [*polled, *(schedule.name for each in around.pipelines for schedule in each.schedules)]

    def push(self, sensor: str, number: int) -> None:
        """Push an item until its success is heard of."""
        acknowledged = self.acknowledged[sensor]

        def push(running: Running) -> None:
            found = running.sensors.push(sensor, {"item": number}, message_id=item_name(number))
            if found.status in SETTLED:
                acknowledged.add(number)

        if number not in acknowledged:
            self._around.time.after(AGAIN, partial(self.push, sensor, number))
            self._do(f"push {item_name(number)} to {sensor}", push)

    def meddle(self) -> None:
        """Poll a sensor by hand and pause it meanwhile, or pause a schedule; later, let it go on."""
        if not self._names or not self._around.dice.fires("meddling"):
            return
        name, time = self._dice.choice(self._names), self._around.time
        if name in self._polled:
            self._do(f"poll {name}", lambda running: running.sensors.poll(name))
        time.after(self._dice.random() * SOON, partial(self._do, f"pause {name}", partial(self._pause, name)))
        time.after(SOON + self._dice.random() * PAUSE, partial(self._resume, name, set()))

    def decide(self) -> None:
        """Say something of what an asset asks, cancel a run, or ask for one again."""
        if self._around.dice.fires("deciding"):
            self._do("decide", self._decide)

    def _decide(self, running: Running) -> None:
        dice, approvals, runs = self._deciding, Approvals(running.services), Runs(running.services)
        asked = approvals.list_pending()
        chosen = dice.random()
        if asked and chosen < 0.9:
            approval = dice.choice(asked)
            say = dice.choice([approvals.approve, approvals.reject, approvals.escalate, None])
            if say is None:
                approvals.modify(approval.id, payload={"note": chosen}, by="people")
            else:
                say(approval.id, by="people")
        elif chosen < 0.95:
            for run in runs.list(limit=1):
                runs.cancel(run.run_id, by="people")
        else:
            for run in runs.list(status="failed", limit=1):
                runs.retry(run.run_id, by="people")

    def _pause(self, name: str, running: Running) -> object:
        return (running.sensors if name in self._polled else running.schedules).pause(name)

    def _resume(self, name: str, done: set[str]) -> None:
        def resume(running: Running) -> None:
            (running.sensors if name in self._polled else running.schedules).resume(name)
            done.add(name)

        if name not in done:
            self._around.time.after(AGAIN, partial(self._resume, name, done))
            self._do(f"resume {name}", resume)

    def _do(self, what: str, call: Callable[[Running], object]) -> None:
        """Call the runtime, if one runs, and note how that went."""

        def called(running: Running) -> None:
            try:
                call(running)
                self._around.journal.note("people", what)
            except Exception as error:
                self._around.journal.note("people", f"{what}: {type(error).__name__}")

        life = self._life()
        if life is not None and life.running is not None:
            life.spawn(partial(called, life.running))
