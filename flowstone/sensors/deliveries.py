"""The actor of deliveries: hands the calls of sensors' callbacks from the outbox to the executor.

Each sensor's deliveries are called one after the other; those of one sensor never wait for another's. A callback that
hangs is given up after the sensor's timeout, and counts as failed; with as many such calls as `max_abandoned` the
sensor's deliveries wait until one has come back.

Options: `timeout` and `max_abandoned` of the definition; `STORE_RETRY`, the seconds between two tries of the store.
Registers as `deliveries` in the directory.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from actors import Actor, ActorDeadError, Timer
from flowstone.errors import RuntimeStopped, SensorNotFound, StoreUnavailable
from flowstone.failpoints import failpoint
from flowstone.outcome import Outcome
from flowstone.runs.services import Services
from flowstone.sensors import outbox
from flowstone.sensors.answers import failure_of
from flowstone.sensors.book import PollGate, SensorBook
from flowstone.sensors.event import TriggerEvent
from flowstone.sensors.messages import Look
from flowstone.sensors.outbox import Delivery, Due
from flowstone.sensors.spec import SensorSpec
from flowstone.sensors.worker import STORE_RETRY
from flowstone.state.assignment import deliveries_of
from flowstone.state.store_actor import NODES, TOPIC, DutiesChanged, StoreChanged

__all__ = ["Deliveries"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """What is due, or the store failed."""

    outcome: Outcome[Due]


@dataclass(frozen=True, slots=True)
class Called:
    """A callback has ended, or was given up."""

    delivery: Delivery
    error: str | None


@dataclass(frozen=True, slots=True)
class Concluded:
    """What came of a call was written, or the store failed."""

    called: Called
    outcome: Outcome[None]


class Deliveries(Actor):
    """One for each runtime; of several nodes, one calls the callbacks of a sensor."""

    def init(self, services: Services, book: SensorBook) -> None:
        """Look for what an earlier actor left."""
        self._services = services
        self._book = book
        self._busy: set[str] = set()
        self._looking = False
        self._again = False
        self._concluded_since: set[int] = set()
        self._timer: Timer | None = None
        services.directory["deliveries"] = self.ref
        for topic in (TOPIC, NODES) if services.membership.shared else ():
            services.pubsub.subscribe(topic, self.ref)
        self._look()

    def receive(self, message: Any) -> Any:
        """Serve one message of this module."""
        match message:
            case Look() | StoreChanged() | DutiesChanged():
                self._look()
            case Found(outcome):
                self._found(outcome)
            case Called():
                self._conclude(message)
            case Concluded(called, outcome):
                self._concluded(called, outcome)
            case _:
                return super().receive(message)
        return None

    def _look(self) -> None:
        if self._looking:
            self._again = True
            return
        self._looking, self._again = True, False
        self._concluded_since = set()
        now = self.clock.now()
        self._services.database.read_later(
            lambda connection: outbox.due(connection, now), lambda outcome: self._post(Found(outcome))
        )

    def _found(self, outcome: Outcome[Due]) -> None:
        self._looking = False
        if isinstance(outcome.error, StoreUnavailable):
            log.warning("deliveries wait for the store: %s", outcome.error)
            self.send_after(STORE_RETRY, Look())
            return
        found = outcome.unwrap()
        # What was concluded while the store was read may still look due in what was read.
        for delivery in [one for one in found.deliveries if one.id not in self._concluded_since]:
            self._begin(delivery)
        self._arm(found.next_at)
        if self._again:
            self._look()

    def _begin(self, delivery: Delivery) -> None:
        """Call the sensor's callback, unless one of its calls is in progress or too many were given up."""
        try:
            spec = self._book.get(delivery.sensor)
        except SensorNotFound:
            # It was removed or left the code: what it owes waits for its return.
            return
        if not self._services.membership.has(deliveries_of(spec.name)):
            return
        callback, gate = spec.on_trigger, self._book.gate(_call_name(spec))
        if callback is None or spec.name in self._busy or self._abandoned(spec) >= spec.max_abandoned:
            return
        if gate.enter(lambda: self._post(Look())):
            self._busy.add(spec.name)
            failpoint("delivery.before_call")
            self._call(spec, partial(callback, _event(delivery)), gate, delivery)

    def _call(self, spec: SensorSpec, call: Callable[[], object], gate: PollGate, delivery: Delivery) -> None:
        given_up = False

        def then(outcome: Outcome[Any]) -> None:
            nonlocal given_up
            given_up = outcome.timed_out
            failure = failure_of(outcome)
            gate.leave()
            self._post(Called(delivery, None if failure is None else failure.reason))

        def ended() -> None:
            if given_up:
                self._post(Look())

        name = _call_name(spec)
        try:
            self._services.polls.submit(call, timeout=spec.timeout, name=name, then=then, ended=ended)
        except RuntimeStopped:
            gate.leave()
            raise

    def _conclude(self, called: Called) -> None:
        now = self.clock.now()
        failpoint("delivery.after_call")
        self._services.database.write(
            lambda connection: outbox.conclude(connection, called.delivery, called.error, now),
            then=lambda outcome: self._post(Concluded(called, outcome)),
        )

    def _concluded(self, called: Called, outcome: Outcome[None]) -> None:
        if isinstance(outcome.error, StoreUnavailable):
            log.warning("delivery %d waits for the store: %s", called.delivery.id, outcome.error)
            self.send_after(STORE_RETRY, called)
            return
        outcome.unwrap()
        failpoint("delivery.after_commit")
        self._busy.discard(called.delivery.sensor)
        self._concluded_since.add(called.delivery.id)
        self._look()

    def _arm(self, next_at: datetime | None) -> None:
        if self._timer is not None:
            self.cancel(self._timer)
        wait = None if next_at is None else max(0.0, (next_at - self.clock.now()).total_seconds())
        self._timer = None if wait is None else self.send_after(wait, Look())

    def _abandoned(self, spec: SensorSpec) -> int:
        name = _call_name(spec)
        return sum(call.name == name for call in self._services.polls.abandoned())

    def _post(self, message: object) -> None:
        try:
            self.ref.tell(message)
        except ActorDeadError:
            log.debug("%s came too late for the deliveries", type(message).__name__)


def _call_name(spec: SensorSpec) -> str:
    return f"sensor {spec.name} delivery"


def _event(delivery: Delivery) -> TriggerEvent:
    return TriggerEvent(
        sensor=delivery.sensor,
        partition=delivery.partition,
        payload=delivery.payload,
        evaluation_id=delivery.evaluation_id,
        delivery_id=delivery.id,
    )
