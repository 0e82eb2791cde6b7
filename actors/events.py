"""Events of a system, for telemetry: what started, crashed, was restarted, was lost.

Listeners are called in the context where the event happened and must not block; one that raises is logged and kept.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = [
    "ActorCrashed",
    "ActorRestarted",
    "ActorStarted",
    "ActorStopped",
    "ChildAbandoned",
    "ChildParked",
    "Event",
    "Events",
    "HubBlocked",
    "MessageHandled",
    "MessageLost",
    "Subscription",
    "SupervisorGaveUp",
]

logger = logging.getLogger("actors")


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events: `path` of the actor that it is about."""

    path: str


@dataclass(frozen=True, slots=True)
class ActorStarted(Event):
    """An actor's `init` has ended well."""

    cls: str


@dataclass(frozen=True, slots=True)
class ActorStopped(Event):
    """An actor has ended as expected, for `reason`."""

    reason: Any


@dataclass(frozen=True, slots=True)
class ActorCrashed(Event):
    """An actor has ended with an exception (or was killed); `message` is the class name of what it handled."""

    reason: Any
    message: str | None


@dataclass(frozen=True, slots=True)
class ActorRestarted(Event):
    """A supervisor has started the child `id` again after `reason`; `count` restarts so far."""

    id: str
    reason: Any
    count: int


@dataclass(frozen=True, slots=True)
class ChildParked(Event):
    """A child crashed past its own budget and is `broken` until it is tried again in `retry_after` seconds."""

    id: str
    reason: Any
    retry_after: float


@dataclass(frozen=True, slots=True)
class ChildAbandoned(Event):
    """A child could not be stopped; it is left behind and counted in `system.abandoned`."""

    id: str


@dataclass(frozen=True, slots=True)
class SupervisorGaveUp(Event):
    """A supervisor ended because child `id` crashed too often."""

    id: str
    reason: Any


@dataclass(frozen=True, slots=True)
class MessageLost(Event):
    """A told message found its actor ended, or was dropped by a full mailbox; `message` is its class name."""

    message: str


@dataclass(frozen=True, slots=True)
class MessageHandled(Event):
    """A traced actor has handled a message in `duration` seconds."""

    message: Any
    duration: float
    error: BaseException | None


@dataclass(frozen=True, slots=True)
class HubBlocked(Event):
    """The hub has not turned for `seconds` because this actor does not let go; `stack` shows where."""

    seconds: float
    stack: str


class Subscription:
    """A listener's place in `Events`; `cancel()` ends it."""

    __slots__ = ("_events", "listener")

    def __init__(self, events: Events, listener: Callable[[Event], None]) -> None:
        self._events = events
        self.listener = listener

    def cancel(self) -> None:
        """Stop calling the listener; harmless the second time."""
        self._events._remove(self)


class Events:
    """The listeners of one system."""

    def __init__(self) -> None:
        self.listeners: tuple[Subscription, ...] = ()

    def subscribe(self, listener: Callable[[Event], None]) -> Subscription:
        """Call `listener(event)` for each event from now on; returns the handle with `cancel()`."""
        subscription = Subscription(self, listener)
        self.listeners = (*self.listeners, subscription)
        return subscription

    def emit(self, event: Event) -> None:
        """Hand `event` to every listener."""
        for subscription in self.listeners:
            try:
                subscription.listener(event)
            except Exception:
                logger.exception("a listener of events failed on %r", event)

    def _remove(self, subscription: Subscription) -> None:
        self.listeners = tuple(known for known in self.listeners if known is not subscription)
