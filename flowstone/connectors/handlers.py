"""Who handles which type of event: one handler each, found by its exact type."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from actors.raw import Lock
from flowstone.core.checks import check_int
from flowstone.core.names import check_name
from flowstone.durations import seconds
from flowstone.errors import ValidationError, did_you_mean, shown

__all__ = ["Handler", "Handlers"]

BACKOFF_LONGEST = 3600.0
"""Seconds after which a failed event is delivered again, at most."""


@dataclass(frozen=True, slots=True)
class Handler:
    """A function of an event, and how long it is given and how often.

    `call` gets the event, the context when it `takes_context`, and `connection=` when it `takes_connection`.
    """

    event_type: str
    call: Callable[..., Any]
    vt: float
    max_deliveries: int
    takes_context: bool
    takes_connection: bool

    def backoff(self, delivery: int) -> float:
        """Seconds after which an event whose delivery number `delivery` (from 1) failed is delivered again."""
        return float(min(max(self.vt, BACKOFF_LONGEST), self.vt * 2.0 ** min(delivery - 1, 30)))


class Handlers:
    """The handlers of a runtime; from any thread, before it starts and while it runs."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: dict[str, Handler] = {}
        self._longest = 0.0
        self._listeners: tuple[Callable[[], object], ...] = ()

    def add(self, event_type: str, call: Callable[..., Any], *, vt: object = "30s", max_deliveries: int = 5) -> Handler:
        """Let `call` handle the events of a type.

        Raises:
            ValidationError: the type has another handler, or an option is wrong.
        """
        takes_context, takes_connection = _signature(call)
        handler = Handler(
            event_type=check_name("event type", event_type),
            call=call,
            vt=seconds(vt, "vt", minimum=0.1),
            max_deliveries=check_int("max_deliveries", max_deliveries, minimum=1),
            takes_context=takes_context,
            takes_connection=takes_connection,
        )
        with self._lock:
            self._refuse_other(event_type, call)
            self._known[event_type] = handler
            self._longest = max(self._longest, handler.vt)
        for listener in self._listeners:
            listener()
        return handler

    def check(self, event_type: str, call: Callable[..., Any]) -> None:
        """Nothing, when `call` may handle the events of a type.

        Raises:
            ValidationError: the type has another handler.
        """
        with self._lock:
            self._refuse_other(event_type, call)

    def get(self, event_type: str) -> Handler | None:
        """The handler of a type; None when there is none."""
        return self._known.get(event_type)

    def __len__(self) -> int:
        """How many types have a handler."""
        return len(self._known)

    @property
    def longest(self) -> float:
        """The seconds that the most patient handler asks for; 0 without any."""
        return self._longest

    def types(self) -> tuple[str, ...]:
        """The types that have a handler, by name."""
        with self._lock:
            return tuple(sorted(self._known))

    def unknown(self, event_type: str) -> str:
        """What is said of a type without a handler."""
        hint = did_you_mean(event_type, self.types())
        return f"no handler for events of type {event_type!r}{hint}; register one with connectors.on_event"

    def listen(self, listener: Callable[[], object]) -> Callable[[], None]:
        """Call back after each handler that is added; returns what takes the listener back."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

        def take_back() -> None:
            with self._lock:
                self._listeners = tuple(other for other in self._listeners if other is not listener)

        return take_back

    def _refuse_other(self, event_type: str, call: Callable[..., Any]) -> None:
        known = self._known.get(event_type)
        if known is not None and known.call != call:
            message = f"expected one handler for events of type {event_type!r}, which has one: {shown(known.call)}"
            raise ValidationError(message, event_type=event_type)


def _signature(call: Callable[..., Any]) -> tuple[bool, bool]:
    """Whether a handler takes a context after the event, and whether it takes the connection."""
    if not callable(call):
        raise ValidationError(f"expected a handler to be a function of an event, got: {shown(call)}")
    try:
        parameters = inspect.signature(call).parameters
    except (TypeError, ValueError) as error:
        raise ValidationError(f"expected a handler with a readable signature, got: {shown(call)}") from error
    places = [
        p
        for p in parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.name != "connection"
    ]
    needed = [p for p in places if p.default is p.empty]
    if not places or len(needed) > 2:
        raise ValidationError(f"expected a handler of (event) or (event, context), got: {shown(call)}")
    takes_context = len(needed) == 2 or (len(places) > 1 and places[1].name == "context")
    return takes_context, "connection" in parameters
