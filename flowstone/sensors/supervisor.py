"""The supervisor of all sensors: one actor each, with a restart budget of its own.

A sensor's actor that crashes more often than that is given up for a while: its row says `broken`, reason `crashes`,
until it was started again and stayed up for a time as long as the budget's. No other sensor notices.

Registers as `sensors` in the directory, and listens to topic `store`: what another process changed is looked at.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from actors import (
    ActorDeadError,
    ChildNotFound,
    ChildSpec,
    DynamicSupervisor,
    DynamicSupervisorRef,
    Quarantine,
    Timer,
)
from flowstone.errors import SensorNotFound, StoreUnavailable
from flowstone.outcome import Outcome
from flowstone.runs.services import Services
from flowstone.sensors import store
from flowstone.sensors.announcing import announce_all
from flowstone.sensors.backoff import CAP
from flowstone.sensors.book import SensorBook
from flowstone.sensors.cleanup import SHUTDOWN
from flowstone.sensors.messages import Changed
from flowstone.sensors.rows import Fault
from flowstone.sensors.spec import SensorSpec
from flowstone.sensors.worker import STORE_RETRY, Worker
from flowstone.state.assignment import polls_of
from flowstone.state.store_actor import NODES, TOPIC, DutiesChanged, StoreChanged

__all__ = ["BUDGET", "SensorSupervisor", "child_spec", "tell_changed"]

log = logging.getLogger(__name__)

BUDGET = Quarantine(max_restarts=3, max_seconds=5.0, retry_after=CAP)
"""How often one sensor's actor may crash before it is given up, for how long, in seconds."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """The actor of a sensor that had been given up has stayed up."""

    name: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Write whether a sensor is broken by crashes."""

    name: str
    broken: bool


@dataclass(frozen=True, slots=True)
class Marked:
    """It was written, or the store failed."""

    mark: Mark
    outcome: Outcome[Any]


@dataclass(frozen=True, slots=True)
class Versions:
    """The state versions of all sensors after somebody else's commit, or the store failed."""

    outcome: Outcome[dict[str, int]]


def child_spec(services: Services, book: SensorBook, spec: SensorSpec) -> ChildSpec:
    """The child that polls one sensor."""
    return ChildSpec(Worker, id=spec.name, args=(services, spec, book.gate(spec.name)), shutdown=SHUTDOWN)


def tell_changed(services: Services, name: str) -> None:
    """Let the sensor's actor look at its row, where it has one here."""
    supervisor: DynamicSupervisorRef | None = services.directory.get("sensors")
    if supervisor is not None:
        try:
            supervisor.child(name).tell(Changed())
        except (ActorDeadError, ChildNotFound):
            log.debug("sensor %s has no actor here at present, and its next one reads the row anyway", name)


class SensorSupervisor(DynamicSupervisor):
    """One for each runtime; its children are those of the book that are polled on this node."""

    def init(self, services: Services, book: SensorBook) -> None:  # type: ignore[override]  # the options are settled
        """Start an actor for each sensor of the book."""
        self._services = services
        self._parked: set[str] = set()
        self._recovering: dict[str, Timer] = {}
        services.directory["sensors"] = self.ref
        services.pubsub.subscribe(TOPIC, self.ref)
        services.pubsub.subscribe(NODES, self.ref)
        self._book = book
        membership = services.membership
        epoch = membership.cluster.epoch
        mine = [spec for spec in book.specs() if membership.has(polls_of(spec.name))]
        super().init([child_spec(services, book, spec) for spec in mine], quarantine=BUDGET)
        membership.released(epoch)
        announce_all(services)

    def handle(self, message: Any) -> Any:
        """Serve one message of this module, or what the store's actor publishes."""
        match message:
            case StoreChanged():
                self._services.database.read_later(store.versions, lambda outcome: self._post(Versions(outcome)))
            case DutiesChanged():
                self._take_over()
            case Versions(outcome):
                self._pass_on(outcome)
            case Quiet(name):
                del self._recovering[name]
                self._mark(Mark(name, broken=False))
            case Mark():
                self._mark(message)
            case Marked(mark, outcome):
                self._marked(mark, outcome)
            case _:
                return super().handle(message)
        return None

    def _take_over(self) -> None:
        """Stop what another node polls from now on, say so, and start what is polled here."""
        membership, book = self._services.membership, self._book
        epoch = membership.cluster.epoch
        mine = {spec.name: spec for spec in book.specs() if membership.has(polls_of(spec.name))}
        for name in [name for name in self.slots if name not in mine]:
            self._parked.discard(name)
            self._stop_waiting(name)
            self.terminate_child(name)
        # What the actors had queued for the store is committed before this is.
        membership.released(epoch)
        for name, spec in mine.items():
            if name not in self.slots:
                self.start_child(child_spec(self._services, book, spec))

    def child_parked(self, id: str, reason: Any) -> None:
        """A sensor's actor used up its budget."""
        log.error("sensor %s is broken: its actor crashed too often, the last time on %r", id, reason)
        self._parked.add(id)
        self._stop_waiting(id)
        self._mark(Mark(id, broken=True))

    def child_restarted(self, id: str, reason: Any) -> None:
        """A sensor's actor is up again; one that had used up its budget has to stay up for a while."""
        announce_all(self._services)
        if id in self._parked or id in self._recovering:
            self._parked.discard(id)
            self._stop_waiting(id)
            self._recovering[id] = self.send_after(BUDGET.max_seconds, Quiet(id))

    def _stop_waiting(self, name: str) -> None:
        timer = self._recovering.pop(name, None)
        if timer is not None:
            self.cancel(timer)

    def _mark(self, mark: Mark) -> None:
        self._services.database.write(
            lambda connection: store.set_fault(connection, mark.name, Fault.CRASHES, present=mark.broken),
            then=lambda outcome: self._post(Marked(mark, outcome)),
        )

    def _marked(self, mark: Mark, outcome: Outcome[Any]) -> None:
        if isinstance(outcome.error, StoreUnavailable):
            log.warning("sensor %s waits for the store: %s", mark.name, outcome.error)
            self.send_after(STORE_RETRY, mark)
        elif not isinstance(outcome.error, SensorNotFound):
            outcome.unwrap()

    def _pass_on(self, outcome: Outcome[dict[str, int]]) -> None:
        if outcome.error is not None:
            log.warning("what another process changed is seen with its next commit: %s", outcome.error)
            return
        for name, version in outcome.unwrap().items():
            if name in self.slots:
                try:
                    self.slots[name].ref.tell(Changed(version))
                except ActorDeadError:
                    log.debug("sensor %s has no actor at present", name)

    def _post(self, message: object) -> None:
        try:
            self.ref.tell(message)
        except ActorDeadError:
            log.debug("%s came too late for the sensors", type(message).__name__)
