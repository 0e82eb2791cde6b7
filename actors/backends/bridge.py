"""The bridge into a hub: all crossing of threads, in one place.

It is one thing: `items`, a deque that any thread appends to, and `_async`, the libev watcher that tells the hub to
look. Nothing else of gevent may be touched from another thread: its locks, events and queues break the loop's count
of live watchers, and the hub ends in `LoopExit`.

Work is counted as one unit for the whole hub, held from the first message until nothing is ready and no actor is in the
middle of one:
1. a foreign sender appends to the bridge, and takes the unit unless `_signalled` says that a drain is still to come;
2. the drain clears `_signalled` before it reads the bridge, so what is appended later signals again;
3. the unit is given back, under `_gate`, only when the bridge is empty, no drain is to come, and the hub has
   nothing to do.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from actors.backends.base import Target
from actors.backends.futures import Future
from actors.backends.work import WorkCount
from actors.errors import ActorDeadError, ForkedSystem
from actors.raw import Guard

__all__ = ["Bridge", "Call", "Offer"]

logger = logging.getLogger("actors")


class Offer:
    """An item for a bounded target, whose sender waits to hear whether it is in."""

    __slots__ = ("_room", "_target")

    def __init__(self, target: Target, room: Future[None]) -> None:
        self._target = target
        self._room = room

    def deliver(self, item: Any) -> bool:
        """Deliver to the target, and pass its answer on."""
        taken = self._target.deliver(item)
        if isinstance(taken, Future):
            if not taken.on_done(lambda: self._room.offer(None, taken.exception())):
                self._room.offer(None, taken.exception())
        elif taken:
            self._room.offer(None)
        else:
            self._target.lost(item)
            self._room.offer(None, ActorDeadError(getattr(self._target, "path", "the actor"), "ended meanwhile"))
        return True


class Call:
    """A function to be called on the hub; it must not block."""

    __slots__ = ("_fn",)

    def __init__(self, fn: Callable[[], object]) -> None:
        self._fn = fn

    def deliver(self, item: Any) -> bool:
        """Call the function."""
        self._fn()
        return True


class Bridge:
    """What other threads may touch of one hub."""

    def __init__(self, work: WorkCount) -> None:
        self._work = work
        self._gate = Guard()
        self._signalled = False
        self._async: Any = None
        self.items: deque[tuple[Any, Any]] = deque()
        self.held = False
        self.forked_from: str | None = None

    def open(self, loop: Any, drain: Callable[[], None]) -> None:
        """Let `drain` be called on the hub whenever something has been put; called on the hub."""
        self._async = loop.async_()
        self._async.start(drain)

    def close(self) -> None:
        """End the bridge, and give the unit of work back; called on the hub."""
        with self._gate:
            watcher, self._async = self._async, None
        watcher.close()
        if self.held:
            self.held = False
            self._work.down()

    def let_go(self) -> None:
        """Keep the bridge for greenlets of the host's that are parked still, but keep no loop alive for it."""
        self._async.ref = False

    def mark_forked(self, owner: str) -> None:
        """Refuse from now on: the hub's thread did not come along, nor whoever may have held the gate."""
        self.forked_from = owner
        self._gate = Guard()
        self._signalled = False

    # -- from any thread

    def put(self, target: Any, item: Any) -> None:
        """Let `target.deliver(item)` be called on the hub."""
        self.items.append((target, item))
        if not self._signalled:
            self._signal()

    def _signal(self) -> None:
        if self.forked_from is not None:
            raise ForkedSystem(self.forked_from)
        with self._gate:
            watcher = self._async
            if self._signalled or watcher is None:
                return
            self._signalled = True
            self._take_unit()
        watcher.send()

    # -- on the hub's thread

    def hold(self) -> None:
        """Take the unit of work."""
        with self._gate:
            self._take_unit()

    def give_back(self, idle: Callable[[], bool]) -> None:
        """Give the unit of work back when there is nothing to do: neither here nor, by `idle`, on the hub."""
        with self._gate:
            if not self.held or self._signalled or self.items or not idle():
                return
            self.held = False
        self._work.down()

    def drained(self) -> None:
        """Note that the watcher has called: whoever puts from now on signals again."""
        self._signalled = False

    def take(self) -> None:
        """Deliver what has been put."""
        items = self.items
        for _ in range(len(items)):
            target, item = items.popleft()
            try:
                if not target.deliver(item):
                    target.lost(item)
            except Exception:
                logger.exception("a message from another thread failed")

    def _take_unit(self) -> None:
        if not self.held:
            self.held = True
            self._work.up()
