"""Connectors: they are triggered by events of a type of their own, collect something, and emit signals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowstone.core.names import check_name
from flowstone.errors import ValidationError, shown

if TYPE_CHECKING:
    # A program that only defines connectors loads no store.
    from flowstone.connectors.events import Event
    from flowstone.connectors.handling import EventContext

__all__ = ["Connector"]


class Connector:
    """What is triggered by `connector.trigger.{id}`, or by another type, and emits its signal.

    Override `handle_trigger` to collect something first. `signal_payload` is what is emitted, and a part of the
    trigger's payload, beside `connectorId`.

    >>> Connector("heartbeat").trigger_event_type
    'connector.trigger.heartbeat'

    Raises:
        ValidationError: a name is not legal, or a signal's type does not begin with `signal.`.
    """

    def __init__(
        self,
        id: str,
        *,
        trigger_event_type: str | None = None,
        signal_event_type: str | None = None,
        signal_payload: dict[str, Any] | None = None,
    ) -> None:
        self.id = check_name("connector", id)
        self.trigger_event_type = check_name("event type", trigger_event_type or f"connector.trigger.{id}")
        self.signal_event_type = _signal(signal_event_type)
        if signal_payload is not None and not isinstance(signal_payload, dict):
            raise ValidationError(f"expected signal_payload to be an object, got: {shown(signal_payload)}")
        self.signal_payload = dict(signal_payload or {})

    @property
    def trigger_payload(self) -> dict[str, Any]:
        """What triggers it carry: `connectorId`, and the signal's payload."""
        return {"connectorId": self.id, **self.signal_payload}

    def handle_trigger(self, event: Event, context: EventContext) -> Any:
        """Serve one trigger; by default, emit the signal. What it emits takes effect when it returns."""
        if self.signal_event_type is not None:
            context.emit(self.signal_event_type, self.signal_payload)

    def __call__(self, event: Event, context: EventContext) -> Any:
        return self.handle_trigger(event, context)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    __hash__ = None  # type: ignore[assignment]  # equal by what they are configured to do, which may be a dict

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"


def _signal(given: object) -> str | None:
    if given is None:
        return None
    event_type = check_name("event type", given)
    if not event_type.startswith("signal."):
        raise ValidationError(f"expected signal_event_type to begin with 'signal.', got: {event_type!r}")
    return event_type
