"""The watchdog of a hub: says which actor holds it up, and where.

Only an operating system thread can see that a hub stands still. It looks at a counter of turns, and at the stack
when that has not moved.
"""

from __future__ import annotations

import sys
import time
import traceback
import weakref
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from actors.raw import Lock, start_thread

__all__ = ["Watchdog", "WatchedHub"]


END_TIMEOUT = 1.0
"""Real seconds to wait for the thread's end: a report of its own may be what stops the system."""


@runtime_checkable
class WatchedHub(Protocol):
    """What can be watched."""

    ident: int
    turns: int

    def running(self) -> str | None:
        """Return the path of the actor that has the hub now, None when it is idle."""
        ...


class Watchdog:
    """Calls `report(path, seconds, stack)` once for each turn that takes longer than `threshold` real seconds."""

    def __init__(self, hub: WatchedHub, threshold: float, report: Callable[[str, float, str], None]) -> None:
        self._hub = weakref.ref(hub)
        self._threshold = threshold
        self._report = report
        self._bell = Lock()
        self._bell.acquire()
        self._ended = Lock()
        self._ended.acquire()
        start_thread("actors-watchdog", self._run)

    def stop(self) -> None:
        """End the thread, and wait for its end; harmless the second time."""
        if self._bell.locked():
            self._bell.release()
            self._ended.acquire(timeout=END_TIMEOUT)

    def _run(self) -> None:
        try:
            self._watch()
        finally:
            self._ended.release()

    def _watch(self) -> None:
        turns, since, reported = -1, time.monotonic(), False
        while not self._bell.acquire(timeout=self._threshold / 4):
            hub = self._hub()
            if hub is None:
                return
            now = time.monotonic()
            path = hub.running()
            if path is None or hub.turns != turns:
                turns, since, reported = hub.turns, now, False
            elif now - since >= self._threshold and not reported:
                reported = True
                self._report(path, now - since, _stack(hub.ident))
            del hub


def _stack(ident: int) -> str:
    frame = sys._current_frames().get(ident)
    return "".join(traceback.format_stack(frame)) if frame is not None else ""
