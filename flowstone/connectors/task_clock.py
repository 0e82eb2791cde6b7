"""The actor that fires scheduled tasks, or lets the database do so: it wakes at the next instant of any task.

Each task is seen to in a transaction of its own, from its row as it is then: so whatever was changed by plain SQL
counts, and two processes that see to one task write its event once. Without tasks it sleeps.

Where the database fires by itself (pg_cron), this actor fills the instants ahead, and fires only what is overdue by
`GRACE`: so tasks go on when the database's own clock is dead, and nothing fires twice when it is not.

Registers as `tasks` in the directory; no timer is longer than the services' `longest_timer`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from actors import Actor, ActorDeadError
from flowstone.connectors import instants, tasks
from flowstone.connectors.router import wake_router
from flowstone.connectors.tasks import Fired, ScheduledTask
from flowstone.failpoints import failpoint
from flowstone.outcome import Outcome
from flowstone.runs.services import Services
from flowstone.state.connection import Connection
from flowstone.state.store_actor import TOPIC, StoreChanged

__all__ = ["TaskClock", "tasks_changed"]

STORE_RETRY = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Changed:
    """Tasks were created, changed or deleted."""


@dataclass(frozen=True, slots=True)
class Look:
    """The next instant may have come."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The tasks, whether the database fires them by itself, and which of them need instants for it."""

    tasks: tuple[ScheduledTask, ...]
    kept: bool
    wanting: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Read:
    """The tasks as they are."""

    outcome: Outcome[Reading]


@dataclass(frozen=True, slots=True)
class Seen:
    """What was due of a task is committed, or could not be."""

    name: str
    outcome: Outcome[list[Fired]]


@dataclass(frozen=True, slots=True)
class Filled:
    """The instants ahead of a task are computed, or could not be."""

    name: str
    outcome: Outcome[int]


def tasks_changed(services: Services) -> None:
    """Tell the actor, if one runs, that tasks were changed."""
    ref = services.directory.get("tasks")
    if ref is not None:
        try:
            ref.tell(Changed())
        except ActorDeadError:
            log.debug("the clock of tasks is being restarted, and reads them anyway")


class TaskClock(Actor):
    """One for each runtime that has a scheduler."""

    def init(self, services: Services) -> None:
        """Read all tasks."""
        self.services = services
        self.known = Reading((), False, ())
        self.busy: set[str] = set()
        self.reading = self.wanted = False
        self.timer: Any = None
        services.directory["tasks"] = self.ref
        services.pubsub.subscribe(TOPIC, self.ref)
        services.database.write(instants.keep, lambda outcome: self._post(Changed()))

    def describe(self) -> dict[str, Any]:
        """How many tasks there are."""
        known = self.known
        return {"tasks": len(known.tasks), "busy": len(self.busy), "kept": "database" if known.kept else "runtime"}

    def receive(self, message: Any) -> None:
        """Serve one message of this module, or the word of another process's commit."""
        if isinstance(message, Changed | StoreChanged):
            self._read()
        elif isinstance(message, Read):
            self._take(message.outcome)
        elif isinstance(message, Look):
            self._look()
        elif isinstance(message, Seen):
            self._seen(message)
        elif isinstance(message, Filled):
            self._filled(message)

    def _read(self) -> None:
        if self.reading:
            self.wanted = True
            return
        self.reading, self.wanted = True, False
        query = partial(_read, now=self.services.clock.now())
        self.services.database.read_later(query, lambda outcome: self._post(Read(outcome)))

    def _take(self, outcome: Outcome[Reading]) -> None:
        self.reading = False
        if outcome.error is not None:
            log.warning("scheduled tasks can't be read: %s", outcome.error)
            self.send_after(STORE_RETRY, Changed())
            return
        self.known = outcome.unwrap()
        for name in self.known.wanting:
            self._fill(name)
        self._look()
        if self.wanted:
            self._read()

    def _look(self) -> None:
        now = self.services.clock.now()
        grace = instants.GRACE if self.known.kept else timedelta(0)
        times = {task.name: at + grace for task in self.known.tasks if (at := task.wake_at()) is not None}
        for name, at in times.items():
            if at <= now and name not in self.busy:
                self._fire(name)
        later = min((at for at in times.values() if at > now), default=None)
        if self.timer is not None:
            self.cancel(self.timer)
            self.timer = None
        if later is not None:
            wait = min(self.services.longest_timer, (later - now).total_seconds())
            self.timer = self.send_after(wait, Look())

    def _fire(self, name: str) -> None:
        self.busy.add(name)
        self.services.database.write(
            partial(tasks.fire, name=name, now=self.services.clock.now()),
            then=lambda outcome: self._post(Seen(name, outcome)),
        )

    def _fill(self, name: str) -> None:
        if name not in self.busy:
            self.busy.add(name)
            self.services.database.write(
                partial(instants.fill, name=name, now=self.services.clock.now()),
                then=lambda outcome: self._post(Filled(name, outcome)),
            )

    def _filled(self, filled: Filled) -> None:
        self.busy.discard(filled.name)
        if filled.outcome.error is not None:
            log.warning("scheduled task %s waits for instants: %s", filled.name, filled.outcome.error)
            self.send_after(STORE_RETRY, Changed())
        elif filled.outcome.value:
            self._read()
        else:
            self._look()

    def _seen(self, seen: Seen) -> None:
        self.busy.discard(seen.name)
        if seen.outcome.error is not None:
            log.warning("scheduled task %s waits for the store: %s", seen.name, seen.outcome.error)
            self.send_after(STORE_RETRY, Changed())
            return
        failpoint("task.after_commit")
        fired = seen.outcome.unwrap()
        for one in fired:
            about = {"task": one.task, "scheduled_for": one.scheduled_for.isoformat()}
            late = (self.services.clock.now() - one.scheduled_for).total_seconds()
            event = "flowstone.task.fired" if one.fired else "flowstone.task.missed"
            self.services.telemetry.emit(event, {"lateness": late, "count": one.count}, about)
        if any(one.fired for one in fired):
            wake_router(self.services)
        self._read()

    def _post(self, message: object) -> None:
        try:
            self.ref.tell(message)
        except ActorDeadError:
            log.debug("%s came too late for the clock of tasks", type(message).__name__)


def _read(connection: Connection, now: datetime) -> Reading:
    kept = instants.kept(connection)
    return Reading(tasks.every(connection), kept, tuple(instants.wanting(connection, now)) if kept else ())
