"""Topics for users: subscribers are user code, and run on the executor, never in the actor that publishes."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from actors import ActorRef
from actors.pubsub import PubSub
from actors.raw import Lock
from flowstone.errors import FlowstoneError, ValidationError, shown
from flowstone.executors.threads import ThreadExecutor
from flowstone.outcome import Outcome

__all__ = ["TIMEOUT", "Topics"]

TIMEOUT = 60.0
"""Seconds that a subscriber may take for one message; then the next one goes on without waiting for it."""

log = logging.getLogger(__name__)


class _Subscriber:
    """One callable and the messages that wait for it: it gets them one after the other, in order."""

    def __init__(self, call: Callable[[Any], object], executor: ThreadExecutor) -> None:
        self._call = call
        self._executor = executor
        self._lock = Lock()
        self._waiting: deque[Any] = deque()
        self._busy = False

    def __call__(self, message: Any) -> None:
        """Queue a message; never blocks."""
        with self._lock:
            self._waiting.append(message)
        self._next()

    def _next(self) -> None:
        with self._lock:
            if self._busy or not self._waiting:
                return
            self._busy = True
            message = self._waiting.popleft()
        name = f"subscriber {getattr(self._call, '__qualname__', type(self._call).__name__)}"
        try:
            self._executor.submit(self._call, message, timeout=TIMEOUT, name=name, then=self._done)
        except FlowstoneError as error:
            log.debug("%s got nothing more: %s", name, error)

    def _done(self, outcome: Outcome[Any]) -> None:
        if not outcome.ok:
            log.error("a subscriber failed: %r", outcome.error or "it took too long", exc_info=outcome.error)
        with self._lock:
            self._busy = False
        self._next()


class Topics:
    """What a runtime publishes: on `sensors`, `("sensor_triggered", name, partition)` after each commit."""

    def __init__(self, pubsub: PubSub, executor: ThreadExecutor) -> None:
        self._pubsub = pubsub
        self._executor = executor
        self._lock = Lock()
        self._known: dict[tuple[str, Any], _Subscriber] = {}

    def subscribe(self, topic: str, subscriber: Callable[[Any], object] | ActorRef) -> None:
        """Let an actor, or a callable of one message, get what is published on a topic, once however often it asks.

        A callable gets its messages in order, on a thread of the executor; what it raises is logged.

        Raises:
            ValidationError: it is neither.
        """
        if isinstance(subscriber, ActorRef):
            self._pubsub.subscribe(topic, subscriber)
            return
        if not callable(subscriber):
            raise ValidationError(f"expected a subscriber to be a callable or an actor's ref, got: {shown(subscriber)}")
        with self._lock:
            wrapped = self._known.setdefault((topic, subscriber), _Subscriber(subscriber, self._executor))
        self._pubsub.subscribe(topic, wrapped)

    def unsubscribe(self, topic: str, subscriber: Callable[[Any], object] | ActorRef) -> None:
        """Take a subscription back; harmless when there is none."""
        with self._lock:
            wrapped = self._known.pop((topic, subscriber), None)
        self._pubsub.unsubscribe(topic, wrapped or subscriber)

    def publish(self, topic: str, message: Any) -> int:
        """Send a message to all subscribers of a topic; how many they are."""
        return self._pubsub.publish(topic, message)
