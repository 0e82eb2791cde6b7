"""The router: one consume loop, which hands each event of the queue to the handler of its exact type.

It reads when an event was emitted here, when another process has committed, and when the next message becomes visible,
as many as there are free places. While a handler works, its message stays invisible to others. An event of a type that
nobody handles, and one that was delivered too often, goes to the dead letters. Without handlers nothing is read.

Options: `PLACES` (handlers at once, 16). Timers are in real time, as visibility is, by the database's clock.
Registers as `router` in the directory.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from actors import Actor, ActorDeadError
from flowstone.connectors import events, queues
from flowstone.connectors.events import QUEUE, Result
from flowstone.connectors.handlers import Handler, Handlers
from flowstone.connectors.handling import Delivery, Effects, PushTo, Written, deliver, fail, succeed
from flowstone.connectors.message import Message
from flowstone.errors import FlowstoneError, StaleState, StoreUnavailable
from flowstone.failpoints import failpoint
from flowstone.outcome import Outcome
from flowstone.runs import events as run_events
from flowstone.runs.services import Services
from flowstone.state.connection import Connection
from flowstone.state.store_actor import TOPIC, StoreChanged

__all__ = ["Router", "wake_router"]

PLACES = 16
STORE_RETRY = 0.5
SHORTEST, LONGEST = 0.1, 60.0
"""Real seconds between two looks without a word from anybody: what is visible may be locked by another reader."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Look:
    """Something may be visible in the queue."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What was read: deliveries to make, and when the next message becomes visible."""

    outcome: Outcome[tuple[list[Delivery], float | None]]


@dataclass(frozen=True, slots=True)
class Answered:
    """A handler has come back."""

    delivery: Delivery
    outcome: Outcome[Effects | Written]


@dataclass(frozen=True, slots=True)
class Concluded:
    """What became of an event is committed, or could not be."""

    answered: Answered
    outcome: Outcome[Written | bool]


@dataclass(frozen=True, slots=True)
class Extend:
    """A handler still works: its message is to stay in its hand."""

    msg_id: int


def wake_router(services: Services) -> None:
    """Tell the router that events were committed. One that is being restarted looks by itself."""
    router = services.directory.get("router")
    if router is not None:
        try:
            router.tell(Look())
        except ActorDeadError:
            return


class Router(Actor):
    """One for each runtime."""

    def init(self, services: Services, handlers: Handlers, push: PushTo) -> None:
        """Look at once."""
        self.services = services
        self.handlers = handlers
        self.push = push
        self.in_hand: dict[int, Delivery] = {}
        self.reading = False
        self.wanted = False
        self.timer: Any = None
        self.real = self.system.backend.real
        services.directory["router"] = self.ref
        services.pubsub.subscribe(TOPIC, self.ref)
        self.take_back = handlers.listen(lambda: self._post(Look()))
        self._look()

    def describe(self) -> dict[str, Any]:
        """How many types have a handler, and how many events are in hand."""
        return {"types": len(self.handlers), "in_hand": len(self.in_hand)}

    def receive(self, message: Any) -> None:
        """Serve one message of this module, or the word of another process's commit."""
        if isinstance(message, Look | StoreChanged):
            self._look()
        elif isinstance(message, Taken):
            self._taken(message.outcome)
        elif isinstance(message, Answered):
            self._conclude(message)
        elif isinstance(message, Concluded):
            self._concluded(message)
        elif isinstance(message, Extend):
            self._extend(message.msg_id)

    def terminate(self, reason: object) -> None:
        """Listen no more."""
        self.take_back()
        if self.timer is not None:
            self.timer.cancel()

    def _look(self) -> None:
        free = PLACES - len(self.in_hand)
        if self.reading or free <= 0 or not self.handlers:
            self.wanted = self.reading
            return
        self.reading, self.wanted = True, False
        now = self.services.clock.now()
        self.services.database.write(
            lambda connection: _take(connection, self.handlers, free, now),
            then=lambda outcome: self._post(Taken(outcome)),
        )

    def _taken(self, outcome: Outcome[tuple[list[Delivery], float | None]]) -> None:
        self.reading = False
        if outcome.error is not None:
            log.warning("no event can be read: %s", outcome.error)
            self._arm(STORE_RETRY)
            return
        deliveries, next_in = outcome.unwrap()
        failpoint("event.after_read")
        for delivery in deliveries:
            self._start(delivery)
        self._arm(LONGEST if next_in is None else next_in)
        if self.wanted or deliveries:
            self._look()

    def _start(self, delivery: Delivery) -> None:
        self.in_hand[delivery.message.msg_id] = delivery
        self._keep(delivery)
        try:
            self.services.polls.submit(
                partial(deliver, self.services, self.push),
                delivery,
                timeout=None,
                name=f"handler of {delivery.event.event_type}",
                then=lambda outcome: self._post(Answered(delivery, outcome)),
            )
        except FlowstoneError as error:
            # The executor stops before its callers do: the event is delivered again, to whoever comes next.
            log.debug("event %s was not handed over: %s", delivery.event.id, error)

    def _conclude(self, answered: Answered) -> None:
        outcome, delivery, services = answered.outcome, answered.delivery, self.services
        if isinstance(outcome.value, Written):
            self._concluded(Concluded(answered, Outcome(value=outcome.value)))
            return
        if isinstance(outcome.error, StaleState):
            self._concluded(Concluded(answered, Outcome(error=outcome.error)))
            return

        def step(connection: Connection) -> Written | bool:
            if isinstance(outcome.value, Effects):
                return succeed(connection, services, delivery, outcome.value, duration=outcome.duration)
            error = f"{type(outcome.error).__name__}: {outcome.error}"
            return fail(connection, delivery, error, now=services.clock.now(), duration=outcome.duration)

        services.database.write(step, then=lambda written: self._post(Concluded(answered, written)))

    def _concluded(self, concluded: Concluded) -> None:
        error, value, delivery = concluded.outcome.error, concluded.outcome.value, concluded.answered.delivery
        if isinstance(error, StoreUnavailable):
            log.warning("event %s waits for the store: %s", delivery.event.id, error)
            self.send_after(STORE_RETRY, concluded.answered)
            return
        failpoint("event.after_commit")
        self.in_hand.pop(delivery.message.msg_id, None)
        if error is not None:
            log.warning("event %s was not concluded: %s", delivery.event.id, error)
        elif isinstance(value, Written):
            self._tell(delivery, value, concluded.answered.outcome.duration)
        else:
            self._told("failed", delivery, concluded.answered.outcome.duration, concluded.answered.outcome.error)
        self._look()

    def _tell(self, delivery: Delivery, written: Written, duration: float) -> None:
        self._told("handled", delivery, duration, None)
        if written.requested:
            run_events.requested(self.services, *written.requested)
            self.services.wake()

    def _told(self, what: str, delivery: Delivery, duration: float, error: BaseException | None) -> None:
        about = {"event_type": delivery.event.event_type, "event_id": delivery.event.id}
        if error is not None:
            about["error"] = str(error)
        self.services.telemetry.emit(f"flowstone.event.{what}", {"duration": duration}, about)

    def _keep(self, delivery: Delivery) -> None:
        """Come back when half of the message's time is over; one whose row a transaction holds needs no more time."""
        if not delivery.handler.takes_connection:
            msg_id = delivery.message.msg_id
            self.real.call_after(delivery.handler.vt / 2, lambda: self._post(Extend(msg_id)))

    def _extend(self, msg_id: int) -> None:
        delivery = self.in_hand.get(msg_id)
        if delivery is None:
            return
        self._keep(delivery)
        self.services.database.write(partial(_extend, delivery), then=_warn)

    def _arm(self, after: float) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.timer = self.real.call_after(min(LONGEST, max(SHORTEST, after)), lambda: self._post(Look()))

    def _post(self, message: object) -> None:
        try:
            self.ref.tell(message)
        except ActorDeadError:
            log.debug("%s came too late for the router", type(message).__name__)


def _take(
    connection: Connection, handlers: Handlers, free: int, now: datetime
) -> tuple[list[Delivery], float | None]:
    """Read events for the free places; what can't be handled is buried at once."""
    queues.create(connection, QUEUE)
    keeper = queues.keeper(connection, QUEUE)
    # Whatever is read is hidden as long as the most patient handler asks for, and then as long as its own does.
    longest = handlers.longest
    deliveries = []
    for message in keeper.read(connection, QUEUE, longest, free):
        handler = _handler_or_bury(connection, handlers, message, now)
        if handler is None:
            keeper.archive(connection, QUEUE, [message.msg_id])
            continue
        if handler.vt != longest:
            keeper.set_vt(connection, QUEUE, message.msg_id, handler.vt)
        deliveries.append(Delivery(message, events.event_of(message), handler))
    return deliveries, keeper.next_in(connection, QUEUE)


def _handler_or_bury(connection: Connection, handlers: Handlers, message: Message, now: datetime) -> Handler | None:
    event = events.event_of(message)
    handler = handlers.get(event.event_type)
    if handler is None:
        events.bury(connection, event, handlers.unknown(event.event_type), now=now)
        return None
    if event.delivery > handler.max_deliveries:
        # Its process ended each time before the handler came back.
        events.attempted(connection, event.id, Result.FAILED, attempt=event.delivery - 1, now=now, error=LOST)
        events.bury(connection, event, LOST, now=now)
        return None
    return handler


LOST = "its handler never came back: the process ended, or lost the message, each time"


def _extend(delivery: Delivery, connection: Connection) -> None:
    keeper = queues.keeper(connection, QUEUE)
    if keeper.holds(connection, QUEUE, delivery.message):
        keeper.set_vt(connection, QUEUE, delivery.message.msg_id, delivery.handler.vt)


def _warn(outcome: Outcome[None]) -> None:
    if outcome.error is not None:
        log.warning("an event in hand was not kept from others: %s", outcome.error)
