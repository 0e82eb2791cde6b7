"""Answers: what a blocking ask waits for. A whole future would cost more than the message.

Whoever answers only calls `offer`, on these as on a future; the first offer counts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from actors.backends.base import Reply, Target
from actors.backends.futures import Future
from actors.errors import AskTimeout
from actors.raw import Lock, get_ident

if TYPE_CHECKING:
    from greenlet import greenlet

__all__ = ["GreenletAnswer", "ThreadAnswer", "ask_for_future", "note_room"]


class Hub(Protocol):
    """What answers need of the backend that the asker runs on."""

    ident: int
    ready: deque[Any]
    kicked: bool

    def kick(self) -> None:
        """Let the hub look at what is ready."""
        ...

    def make_ready(self, item: Any) -> None:
        """Let `item.resume()` be called in its turn."""
        ...

    def cross(self, target: Any, item: Any) -> None:
        """Let `target.deliver(item)` be called on the hub."""
        ...

    def call(self, fn: Callable[[], object]) -> None:
        """Call `fn` on the hub."""
        ...


class GreenletAnswer:
    """The answer that one greenlet of a hub is parked for."""

    __slots__ = ("_hub", "done", "error", "greenlet", "target", "value")

    value: Any
    error: BaseException | None

    def __init__(self, hub: Hub, parked: greenlet, target: Target) -> None:
        self._hub = hub
        # None as soon as the asker goes on: what is ready a second time, late or after a kill, then finds nobody.
        self.greenlet: greenlet | None = parked
        self.target: Target | None = target
        self.done = False

    def offer(self, value: Any, error: BaseException | None = None) -> None:
        """Answer, from any thread; what comes later goes nowhere."""
        hub = self._hub
        if get_ident() != hub.ident:
            hub.cross(self, (value, error))
        elif not self.done:
            self.done = True
            self.value = value
            self.error = error
            hub.ready.append(self)
            if not hub.kicked:
                hub.kick()

    def deliver(self, item: tuple[Any, BaseException | None]) -> bool:
        """Answer; called on the hub for an `offer` from another thread."""
        self.offer(*item)
        return True

    def expire(self) -> None:
        """Let the greenlet go on without an answer; from any thread."""
        hub = self._hub
        hub.call(lambda: hub.make_ready(self))

    def describe(self) -> str:
        """Return whose answer this is, for messages."""
        return _name(self.target)

    def resume(self) -> None:
        """Go on, unless the greenlet has been broken off meanwhile."""
        if self.greenlet is not None:
            self.greenlet.switch()


class ThreadAnswer:
    """The answer that a thread which runs no actors waits for, on a raw lock."""

    __slots__ = ("_bell", "_outcomes", "target")

    def __init__(self, target: Target) -> None:
        self._bell = Lock()
        self._bell.acquire()
        self._outcomes: list[tuple[Any, BaseException | None]] = []
        self.target: Target | None = target

    def offer(self, value: Any, error: BaseException | None = None) -> None:
        """Answer, from any thread; what comes later goes nowhere."""
        # Two may offer at once, the actor and a supervisor that has given it up: the first in the list counts.
        self._outcomes.append((value, error))
        try:
            self._bell.release()
        except RuntimeError:
            # Rung by the first, and the asker has not come for it yet.
            return

    def get(self, timeout: float | None) -> Any:
        """Wait for the answer and return it, or raise it; AskTimeout after `timeout` real seconds."""
        if not self._bell.acquire(timeout=-1 if timeout is None else max(0.0, timeout)) and not self._outcomes:
            raise AskTimeout(_name(self.target), timeout or 0.0)
        value, error = self._outcomes[0]
        if error is not None:
            raise error
        return value


def _name(target: Target | None) -> str:
    return getattr(target, "path", "whoever took the answer over")


def note_room(target: Target, taken: bool | Future[None], answer: Reply) -> None:
    """Fail the answer when the question was not taken; one that waits for room is answered as any other."""
    if isinstance(taken, bool):
        answer.offer(None, target.dead_error())
        return

    def look() -> None:
        error = taken.exception()
        if error is not None:
            answer.offer(None, error)

    if not taken.on_done(look):
        look()


def ask_for_future(target: Target, message: Any, slot: Any) -> Future[Any]:
    """Send `message`, and return the future of its answer."""
    future: Future[Any] = Future()
    future.target = target
    taken = target.backend.post(target, (message, future, slot))
    if taken is not True:
        note_room(target, taken, future)
    return future
