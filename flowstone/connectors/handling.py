"""Handing one event to its handler, and what is written with its success or its failure.

What a handler emits and asks for takes effect with its success, in one transaction with the end of its message: so
however often an event is delivered, its consequences are there once. A handler that takes the `connection` writes in
that transaction too. Any other handler is called at least once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flowstone.connectors import events, queues
from flowstone.connectors.events import QUEUE, Emission, Event, Result
from flowstone.connectors.handlers import Handler
from flowstone.connectors.message import Message
from flowstone.core.partitions import Partition
from flowstone.core.run import RunRequest, Source, SourceKind
from flowstone.errors import StaleState, ValidationError
from flowstone.executors.call import awaited
from flowstone.failpoints import failpoint
from flowstone.runs import store
from flowstone.runs.requests import ResolvedRequest, resolve
from flowstone.runs.services import Services
from flowstone.runs.store import Requested
from flowstone.state.connection import Connection

__all__ = ["Delivery", "Effects", "EventContext", "deliver", "fail", "succeed"]

PushTo = Callable[[str, Any, str], Any]


@dataclass(slots=True)
class Effects:
    """What a handler wants to come of its event, checked."""

    emissions: list[Emission] = field(default_factory=list)
    requests: list[ResolvedRequest] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event in hand: the message that holds it, and who handles it."""

    message: Message
    event: Event
    handler: Handler


@dataclass(frozen=True, slots=True)
class EventContext:
    """What a handler knows and may do beside its event.

    `emit` and `materialize` take effect when the handler has returned, once.
    """

    event: Event
    log: logging.Logger
    effects: Effects = field(repr=False)
    _services: Services = field(repr=False)
    _push: PushTo = field(repr=False)

    def emit(self, event_type: str, payload: Any = None) -> None:
        """Emit an event.

        Raises:
            ValidationError: the type is no name, or JSON can't hold the payload.
        """
        self.effects.emissions.append(events.emission(event_type, payload))

    def materialize(self, asset: str, partition: Partition = None, *, priority: int = 0) -> None:
        """Ask for a run of an asset or selection, under the key `event:{event id}`, later ones with `:{n}` after it.

        Raises:
            AssetNotFound, PartitionError, ValidationError: the request makes no sense.
        """
        number = len(self.effects.requests)
        key = f"event:{self.event.id}" + (f":{number}" if number else "")
        source = Source(SourceKind.CONNECTOR, self.event.event_type, self.event.id)
        request = RunRequest(asset, partition, priority=priority)
        asked = resolve(
            self._services.catalog, request, default_key=key, source=source, payload=self.event.payload
        )
        self.effects.requests.append(asked)

    def push(self, sensor: str, message: Any) -> Any:
        """Push a message to a `Push` sensor under the id `event:{event id}`, at once and once; its evaluation.

        Raises:
            SensorNotFound, ValidationError: there is no such sensor, or it takes no messages.
        """
        return self._push(sensor, message, f"event:{self.event.id}")


def deliver(services: Services, push: PushTo, delivery: Delivery) -> Effects | Written:
    """Call the handler, in a thread of the executor; what it wants, or what was written when it took the connection.

    Raises:
        StaleState: somebody else has the message by now; nothing is written.
        BaseException: whatever the handler raised.
    """
    event, handler = delivery.event, delivery.handler
    log = logging.getLogger(f"flowstone.event.{event.event_type}")
    context = EventContext(event, log, Effects(), services, push)
    arguments = (event, context) if handler.takes_context else (event,)
    failpoint("event.before_call")
    if handler.takes_connection:
        return _within(services, delivery, context, arguments)
    awaited(handler.call(*arguments))
    failpoint("event.after_call")
    return context.effects


@dataclass(frozen=True, slots=True)
class Written:
    """What the success of an event has written: the runs that it asked for, and whether it emitted events."""

    requested: tuple[Requested, ...]
    emitted: bool


def succeed(
    connection: Connection, services: Services, delivery: Delivery, effects: Effects, *, duration: float | None
) -> Written:
    """End the message of an event, with all that comes of it.

    Raises:
        StaleState: somebody else has the message by now; nothing is written.
    """
    now, event = services.clock.now(), delivery.event
    _hold(connection, delivery)
    queues.keeper(connection, QUEUE).archive(connection, QUEUE, [delivery.message.msg_id])
    events.attempted(connection, event.id, Result.HANDLED, attempt=event.delivery, now=now, duration=duration)
    for number, asked in enumerate(effects.emissions):
        events.emit(connection, f"{event.id}:{number}", asked, now=now)
    requested = tuple(
        store.request(connection, asked, identity=services.identity, now=now) for asked in effects.requests
    )
    failpoint("event.before_commit")
    return Written(requested, bool(effects.emissions))


def fail(connection: Connection, delivery: Delivery, error: str, *, now: datetime, duration: float | None) -> bool:
    """Let the event come again later, or bury it after its last delivery; whether it was buried.

    Raises:
        StaleState: somebody else has the message by now; nothing is written.
    """
    event, handler, keeper = delivery.event, delivery.handler, queues.keeper(connection, QUEUE)
    _hold(connection, delivery)
    if event.delivery >= handler.max_deliveries:
        keeper.archive(connection, QUEUE, [delivery.message.msg_id])
        events.bury(connection, event, error, now=now)
        return True
    events.attempted(
        connection, event.id, Result.FAILED, attempt=event.delivery, now=now, error=error, duration=duration
    )
    keeper.set_vt(connection, QUEUE, delivery.message.msg_id, handler.backoff(event.delivery))
    return False


def _within(
    services: Services, delivery: Delivery, context: EventContext, arguments: tuple[Any, ...]
) -> Written:
    """Call the handler within the transaction that ends its message."""
    with services.database.apart() as connection:
        connection.begin(write=True)
        _hold(connection, delivery)
        awaited(delivery.handler.call(*arguments, connection=connection.driver))
        failpoint("event.after_write")
        if not connection.in_transaction:
            expected = "expected the handler to leave the transaction of its connection open, and it ended it"
            raise ValidationError(f"{expected}: let it neither commit nor roll back", event_id=delivery.event.id)
        written = succeed(connection, services, delivery, context.effects, duration=None)
        connection.commit()
        failpoint("event.after_own_commit")
        return written


def _hold(connection: Connection, delivery: Delivery) -> None:
    if not queues.keeper(connection, QUEUE).holds(connection, QUEUE, delivery.message):
        message = f"event {delivery.event.id} is in somebody else's hand by now"
        raise StaleState(message, event_id=delivery.event.id)
