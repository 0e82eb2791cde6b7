"""The actor that watches the deadlines of approvals: durable ones, found again whenever it starts.

It knows the next deadline, and lets the transaction of `approving.expire` decide when that has passed. It reads the
next one again when an asset asks, when somebody decides, and when another process has committed.

Options: `store_retry` (seconds, 0.5); a wall clock that was set is noticed after `longest_timer` of the services.
Registers as `deadlines` in the directory.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from actors import Actor, ActorDeadError
from flowstone.approvals.store import next_deadline
from flowstone.failpoints import failpoint
from flowstone.outcome import Outcome
from flowstone.runs.approving import Decided, after_decision, expire
from flowstone.runs.messages import Look
from flowstone.runs.reminding import tell_of_slots
from flowstone.runs.services import Services
from flowstone.state.connection import Connection
from flowstone.state.store_actor import TOPIC, StoreChanged

__all__ = ["Deadlines"]

STORE_RETRY = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Next:
    """The next deadline was read; None when there is none."""

    outcome: Outcome[datetime | None]


@dataclass(frozen=True, slots=True)
class Passed:
    """What deadlines decided was committed, with the next one, or failed."""

    outcome: Outcome[tuple[tuple[Decided, ...], datetime | None]]


@dataclass(frozen=True, slots=True)
class Alarm:
    """The next deadline may have passed."""


class Deadlines(Actor):
    """One for each runtime."""

    def init(self, services: Services) -> None:
        """Find the next deadline, which may have passed while nobody was there."""
        self.services = services
        self.next: datetime | None = None
        self.timer: Any = None
        self.expiring = False
        self.reading = False
        self.stale = False
        services.directory["deadlines"] = self.ref
        services.pubsub.subscribe(TOPIC, self.ref)
        self._read()

    def receive(self, message: Any) -> None:
        """Serve one message."""
        match message:
            case Look() | StoreChanged():
                self._read()
            case Next(outcome):
                self._know(outcome)
            case Alarm():
                self._arm(self.next)
            case Passed(outcome):
                self._passed(outcome)

    def _read(self) -> None:
        # One at a time: of two answers, the one that comes last is not always the newer one.
        self.stale = self.reading
        if not self.reading:
            self.reading = True
            self.services.database.read_later(next_deadline, lambda outcome: self._post(Next(outcome)))

    def _know(self, outcome: Outcome[datetime | None]) -> None:
        self.reading = False
        if self.stale:
            self._read()
        elif self._succeeded(outcome.error, Look()):
            self._arm(outcome.unwrap())

    def _arm(self, deadline: datetime | None) -> None:
        """Wait for a deadline; one that has passed decides."""
        if self.timer is not None:
            self.cancel(self.timer)
        self.next, self.timer = deadline, None
        if deadline is None or self.expiring:
            return
        left = (deadline - self.services.clock.now()).total_seconds()
        if left <= 0:
            self._expire()
        else:
            self.timer = self.send_after(min(left, self.services.longest_timer), Alarm())

    def _expire(self) -> None:
        services, graph = self.services, self.services.catalog.graph
        self.expiring = True

        def step(connection: Connection) -> tuple[tuple[Decided, ...], datetime | None]:
            return expire(connection, graph, services.clock.now()), next_deadline(connection)

        services.database.write(step, lambda outcome: self._post(Passed(outcome)))

    def _passed(self, outcome: Outcome[tuple[tuple[Decided, ...], datetime | None]]) -> None:
        self.expiring = False
        if not self._succeeded(outcome.error, Alarm()):
            # It may be committed all the same, and then nobody is told of it again.
            self.services.waiters.stir()
            tell_of_slots(self.services)
            return
        failpoint("approval.after_deadline")
        decisions, deadline = outcome.unwrap()
        for decided in decisions:
            after_decision(self.services, decided)
        self._arm(deadline)

    def _succeeded(self, error: BaseException | None, again: object) -> bool:
        if error is not None:
            log.warning("deadlines of approvals wait for the store: %s", error)
            self.send_after(STORE_RETRY, again)
        return error is None

    def _post(self, message: object) -> None:
        try:
            self.ref.tell(message)
        except ActorDeadError:
            log.debug("%s came too late for the deadlines", message)
