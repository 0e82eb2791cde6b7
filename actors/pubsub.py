"""Topics: one message to all that want it. A subscription goes when its actor ends."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from actors.errors import ActorDeadError, MailboxFull
from actors.raw import Guard
from actors.ref import ActorRef

if TYPE_CHECKING:
    from actors.cell import Cell

__all__ = ["PubSub", "Subscriber"]

logger = logging.getLogger("actors")
Subscriber = ActorRef | Callable[[Any], object]


class PubSub:
    """The topics of one system."""

    def __init__(self) -> None:
        self._lock = Guard()
        self._topics: dict[str, dict[Any, None]] = {}

    def subscribe(self, topic: str, subscriber: Subscriber) -> None:
        """Let `subscriber` get what is published on `topic`, once however often it subscribes.

        A ref is told; a function is called where the message is published and must not block; one that raises is
        logged and kept.
        """
        cell = _incarnation(subscriber)
        with self._lock:
            self._topics.setdefault(topic, {})[subscriber] = None
            if cell is not None:
                cell.topics = {*(cell.topics or ()), topic}
        if cell is not None and cell.dead:
            self.forget(cell)

    def unsubscribe(self, topic: str, subscriber: Subscriber) -> None:
        """Take back a subscription; harmless when there is none."""
        with self._lock:
            subscribers = self._topics.get(topic, {})
            subscribers.pop(subscriber, None)
            if not subscribers:
                self._topics.pop(topic, None)

    def publish(self, topic: str, message: Any) -> int:
        """Send `message` to all subscribers of `topic`; returns how many got it."""
        with self._lock:
            subscribers = list(self._topics.get(topic, ()))
        return sum(self._send(topic, subscriber, message) for subscriber in subscribers)

    def subscribers(self, topic: str) -> int:
        """Return how many subscribe to `topic`."""
        return len(self._topics.get(topic, ()))

    def forget(self, cell: Cell) -> None:
        """Take back all subscriptions of an ended incarnation."""
        for topic in cell.topics or ():
            self.unsubscribe(topic, cell.ref)
        cell.topics = None

    def _send(self, topic: str, subscriber: Subscriber, message: Any) -> bool:
        if isinstance(subscriber, ActorRef):
            try:
                subscriber.tell(message)
            except ActorDeadError:
                self.unsubscribe(topic, subscriber)
                return False
            except MailboxFull:
                return False
            return True
        try:
            subscriber(message)
        except Exception:
            logger.exception("a subscriber of %r failed", topic)
        return True


def _incarnation(subscriber: Subscriber) -> Cell | None:
    """Return the incarnation that the subscription ends with; a name that survives restarts keeps its own."""
    return subscriber.cell if isinstance(subscriber, ActorRef) and subscriber._slot is None else None
