"""Probes: actors that collect what they are sent, for tests to look at; and a look into an actor's state."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from actors.actor import Actor
from actors.backends.futures import Future
from actors.messages import Inspect
from actors.raw import Lock
from actors.ref import ActorRef
from actors.system import System

__all__ = ["Probe", "assert_actor_state"]

TIMEOUT = 5.0


class _Collector(Actor):
    trap_exit = True

    def init(self, probe: Probe) -> None:
        self._probe = probe

    def receive(self, message: Any) -> Any:
        if isinstance(message, _Watch):
            return self.monitor(message.ref)
        return self._probe._collect(message)


class _Watch:
    def __init__(self, ref: ActorRef) -> None:
        self.ref = ref


class Probe:
    """An actor of the test's: `ref` is told or asked, `expect` waits for what came.

    `answer` is what it answers to asks.

    >>> with System() as system:
    ...     probe = Probe(system)
    ...     probe.ref.tell("hello")
    ...     probe.expect("hello")
    'hello'
    """

    def __init__(self, system: System, answer: Any = None) -> None:
        self._lock = Lock()
        self._waiting: list[Any] = []
        self._came: Future[None] = Future()
        self._answer = answer
        self.messages: list[Any] = []
        """Everything that came, in order."""
        self.ref: ActorRef = system.start(_Collector, self)

    def expect(self, wanted: Any = None, *, timeout: float = TIMEOUT) -> Any:
        """Return the first message not yet expected that fits, waiting up to `timeout` real seconds.

        `wanted` is a class, a predicate, a value to equal, or None for any. Raises AssertionError with what came
        instead.
        """
        deadline = time.monotonic() + timeout
        while True:
            with self._lock:
                for index, message in enumerate(self._waiting):
                    if _fits(wanted, message):
                        return self._waiting.pop(index)
                came = self._came
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not came.settled(remaining):
                raise AssertionError(f"expected {wanted!r} within {timeout:g} s, got: {self._waiting!r}")

    def monitor(self, ref: ActorRef) -> None:
        """Let the probe get a `Down` when the actor ends; the monitor is in place when this returns."""
        self.ref.ask(_Watch(ref), timeout=TIMEOUT)

    def refute(self, wanted: Any = None) -> None:
        """Check that nothing that fits has come; all that was sent before from this thread has."""
        self.ref.describe(timeout=TIMEOUT)
        found = [message for message in self._waiting if _fits(wanted, message)]
        if found:
            raise AssertionError(f"expected nothing like {wanted!r}, got: {found!r}")

    def _collect(self, message: Any) -> Any:
        with self._lock:
            self.messages.append(message)
            self._waiting.append(message)
            came, self._came = self._came, Future()
        came.offer(None)
        return self._answer(message) if callable(self._answer) else self._answer


def assert_actor_state(ref: ActorRef, predicate: Callable[[Any], Any], *, timeout: float = TIMEOUT) -> None:
    """Check `predicate(actor.snapshot())`, run in the actor after all that was told before.

    Raises AssertionError with the state.
    """
    holds, state = ref.ask(
        Inspect(lambda actor: (bool(predicate(actor)), repr(getattr(actor, "__dict__", actor)))), timeout=timeout
    )
    if not holds:
        raise AssertionError(f"the state of {ref} does not fit: {state}")


def _fits(wanted: Any, message: Any) -> bool:
    if wanted is None:
        return True
    if isinstance(wanted, type):
        return isinstance(message, wanted)
    return bool(wanted(message)) if callable(wanted) else bool(message == wanted)
