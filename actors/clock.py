"""Time: the `Clock` that everything reads, and the real one.

A clock is the only reader of real time and the only source of timers. Delays and intervals use `monotonic`,
calendars use `now`.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Thread, current_thread
from typing import Protocol

from actors.raw import Guard, Lock, start_thread

__all__ = ["Clock", "RealClock", "TimerHandle", "TimerHeap"]

logger = logging.getLogger("actors")
MANY_CANCELLED = 256


class TimerHandle:
    """One armed timer; `due` in monotonic seconds."""

    __slots__ = ("_heap", "due", "fn")

    def __init__(self, heap: TimerHeap, due: float, fn: Callable[[], object]) -> None:
        self._heap = heap
        self.due = due
        self.fn: Callable[[], object] | None = fn

    def cancel(self) -> None:
        """Let the timer not fire; harmless when it has fired."""
        if self.fn is not None:
            self.fn = None
            self._heap.count_cancelled()

    def fire(self) -> None:
        """Call the timer's function, once; what it raises is logged."""
        fn, self.fn = self.fn, None
        if fn is not None:
            try:
                fn()
            except Exception:
                logger.exception("a timer's function failed")


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> datetime:
        """Return the wall time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        ...

    def call_after(self, delay: float, fn: Callable[[], object]) -> TimerHandle:
        """Call `fn` after `delay` seconds, on the clock's own thread or hub.

        It must not block. Returns the handle with `cancel()`.
        """
        ...


class TimerHeap:
    """Timers in (due time, order of arming) order; safe for many threads."""

    def __init__(self) -> None:
        self._lock = Guard()
        self._heap: list[tuple[float, int, TimerHandle]] = []
        self._serial = itertools.count()
        self._cancelled = 0

    def push(self, due: float, fn: Callable[[], object]) -> tuple[TimerHandle, bool]:
        """Add a timer; returns it and whether it is the first one due now."""
        handle = TimerHandle(self, due, fn)
        entry = (due, next(self._serial), handle)
        with self._lock:
            heapq.heappush(self._heap, entry)
            return handle, self._heap[0] is entry

    def first_due(self) -> float | None:
        """Return when the first timer is due, or None without timers."""
        with self._lock:
            while self._heap and self._heap[0][2].fn is None:
                heapq.heappop(self._heap)
                self._cancelled -= 1
            return self._heap[0][0] if self._heap else None

    def pop_due(self, until: float) -> TimerHandle | None:
        """Remove and return the first timer that is due at `until` or before, None when there is none."""
        with self._lock:
            while self._heap and self._heap[0][0] <= until:
                handle = heapq.heappop(self._heap)[2]
                if handle.fn is not None:
                    return handle
                self._cancelled -= 1
        return None

    def clear(self) -> None:
        """Forget every timer."""
        with self._lock:
            self._heap.clear()
            self._cancelled = 0

    def count_cancelled(self) -> None:
        """Note that a timer was cancelled.

        Sweeps when most are, since asks with a timeout cancel nearly all of theirs.
        """
        with self._lock:
            self._cancelled += 1
            if self._cancelled > MANY_CANCELLED and self._cancelled * 2 > len(self._heap):
                self._heap = [entry for entry in self._heap if entry[2].fn is not None]
                heapq.heapify(self._heap)
                self._cancelled = 0


class RealClock:
    """The time of the machine; timers fire on a thread of the clock's own, or where `alarm` makes `run_due` be called.

    `alarm(due)` is told, in any thread, when the first due time has become earlier.
    """

    def __init__(self, alarm: Callable[[float], None] | None = None) -> None:
        self._timers = TimerHeap()
        self._thread = _AlarmThread(self)
        self._alarm = alarm if alarm is not None else self._thread.set
        self.monotonic = time.monotonic

    def now(self) -> datetime:
        """Return the wall time, aware, in UTC."""
        return datetime.now(UTC)

    def call_after(self, delay: float, fn: Callable[[], object]) -> TimerHandle:
        """Call `fn` after `delay` seconds; returns the handle with `cancel()`."""
        due = time.monotonic() + max(0.0, delay)
        handle, first = self._timers.push(due, fn)
        if first:
            self._alarm(due)
        return handle

    def run_due(self) -> float | None:
        """Fire what is due now; returns when the next one is due, None without timers."""
        until = time.monotonic()
        while (handle := self._timers.pop_due(until)) is not None:
            handle.fire()
        return self._timers.first_due()

    def close(self, timeout: float = 1.0) -> None:
        """Forget every timer, and wait up to `timeout` seconds for the clock's own thread to end, if it has one.

        A timer that is armed afterwards fires all the same.
        """
        self._timers.clear()
        self._thread.end(timeout)


class _AlarmThread:
    """The thread that fires a real clock's timers: started with the first one, ended with the clock."""

    def __init__(self, clock: RealClock) -> None:
        self._clock = clock
        self._guard = Guard()
        self._bell = Lock()
        self._bell.acquire()
        self._thread: Thread | None = None
        self._running = self._ending = False

    def set(self, due: float) -> None:
        with self._guard:
            self._ending = False
            if not self._running:
                self._running = True
                self._thread = start_thread("actors-clock", self._run)
            self._ring()

    def end(self, timeout: float) -> None:
        with self._guard:
            self._ending = True
            self._ring()
            thread = self._thread
        if thread is not None and thread is not current_thread():
            thread.join(timeout)

    def _ring(self) -> None:
        if self._bell.locked():
            self._bell.release()

    def _run(self) -> None:
        while not self._ended():
            due = self._clock.run_due()
            timeout = -1.0 if due is None else max(0.0, due - time.monotonic())
            self._bell.acquire(timeout=min(timeout, 3600.0))

    def _ended(self) -> bool:
        with self._guard:
            self._running = not self._ending
            return self._ending
