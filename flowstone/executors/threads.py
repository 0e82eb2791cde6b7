"""The executor of OS threads: a call that outlasts its timeout is given up, its thread replaced and never waited for.

With a number of threads, calls beyond it wait in order, and an abandoned one no longer takes a place. Without one there
are as many threads as calls, so that a call that hangs never delays another.

A call that has a place is taken by the first thread that is free. One thread at a time is woken for what is there to be
taken, and wakes the next before it calls user code: so one that blocks delays no other, and a burst of short calls is
served by few threads, which do not fight for the interpreter.

A call may end at the moment at which its timeout does. Who settles it first, under the lock, tells of it:

1. a worker takes the call, its timer armed by whoever gave it its place;
2. the worker comes back and settles, or the timer fires and settles, and then the call is abandoned;
3. the other one finds it settled: the timer does nothing, the worker reports the end of the call and retires.
"""

import itertools
import os
from _queue import Empty, SimpleQueue
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from actors.backends.work import WorkCount
from actors.clock import Clock
from actors.raw import Lock, start_thread
from flowstone.errors import ExecutionError, ForkedRuntime, RuntimeStopped, ValidationError
from flowstone.executors.call import Call, outcome_of
from flowstone.outcome import Outcome

__all__ = ["IDLE_SECONDS", "ThreadExecutor"]

IDLE_SECONDS = 10.0
"""How long a thread waits for its next call before it ends, in real seconds."""


@dataclass(slots=True, eq=False)
class _Worker:
    """A thread, which is woken to take calls (True), or to end (False)."""

    name: str
    inbox: "SimpleQueue[bool]" = field(default_factory=SimpleQueue)
    begun: bool = False


class ThreadExecutor:
    """Runs calls on daemon threads of the operating system.

    `threads` is how many calls run at once; None is as many as there are. Calls count as work in flight from `submit`
    until their `then` has returned.
    """

    def __init__(self, name: str, *, clock: Clock, work: WorkCount, threads: int | None) -> None:
        if threads is not None and threads < 1:
            raise ValidationError(f"expected threads to be at least 1 or None, got: {threads}", threads=threads)
        self.name = name
        self._clock = clock
        self._work = work
        self._limit = threads
        self._pid = os.getpid()
        self._numbers = itertools.count(1)
        self._gate = Lock()
        self._stopped = False
        self._busy = Lock()
        self._busy.acquire()
        self._waiting: deque[Call] = deque()
        self._ready: deque[Call] = deque()
        self._waking = False
        self._running: set[Call] = set()
        self._abandoned: list[Call] = []
        self._idle: list[_Worker] = []

    def submit(
        self,
        fn: Callable[..., Any],
        *args: Any,
        timeout: float | None,
        name: str,
        then: Callable[[Outcome[Any]], None],
        ended: Callable[[], None] | None = None,
    ) -> Call:
        """Accept a call of `fn`, which may be async; never blocks.

        `then` is called once: with what `fn` gave or raised, or `timed_out` when it has run for `timeout` seconds.
        `ended` is called once, after `then`, when `fn` has really come back or will never be called.
        Both are called on a thread of this executor or of the clock, and must not block.

        Raises:
            RuntimeStopped: the executor has been stopped.
            ForkedRuntime: the executor belongs to the process that forked this one.
        """
        if os.getpid() != self._pid:
            raise ForkedRuntime(f"executor {self.name} belongs to process {self._pid}: make it after the fork")
        with self._gate:
            if self._stopped:
                raise RuntimeStopped(f"executor {self.name} is stopped and takes no {name}")
            token = self._work.begin(f"{self.name}: {name}")
            call = Call(name, self._clock.now(), fn, args, timeout, then, ended, token)
            self._waiting.append(call)
            placed = self._place()
        self._give(placed)
        return call

    def abandoned(self) -> list[Call]:
        """The calls that were given up and still go on, oldest first."""
        with self._gate:
            return list(self._abandoned)

    def stop(self, timeout: float) -> None:
        """Refuse new calls and wait up to `timeout` real seconds for those that run; harmless when repeated.

        Blocks the calling thread. Calls that wait, and those that still run in the end, are told `RuntimeStopped`.
        """
        with self._gate:
            self._stopped = True
            refused = list(self._waiting)
            self._waiting.clear()
            for worker in self._idle:
                worker.inbox.put(False)
            self._idle.clear()
            self._tell_quiet()
        for call in refused:
            _refuse(call, RuntimeStopped(f"executor {self.name} was stopped before it came to {call.name}"))
        if self._busy.acquire(timeout=timeout):
            self._busy.release()
        with self._gate:
            given_up = [call for call in self._running if not call.settled]
            for call in given_up:
                self._abandon(call)
        for call in given_up:
            call.tell(Outcome(error=RuntimeStopped(f"executor {self.name} was stopped while {call.name} was running")))

    def _place(self) -> Call | None:
        """Under the lock: the call that waits longest gets a place; None when none waits or all places are taken."""
        if not self._waiting or (self._limit is not None and len(self._running) >= self._limit):
            return None
        call = self._waiting.popleft()
        self._running.add(call)
        return call

    def _give(self, placed: Call | None) -> None:
        """Let a thread take a call that got a place."""
        if placed is not None:
            self._offer(placed)
            self._wake()

    def _offer(self, placed: Call) -> None:
        """Outside of the lock, since the clock has one of its own: arm the timer, then let the call be taken."""
        placed.since = self._clock.now()
        if placed.timeout is not None:
            placed.timer = self._clock.call_after(placed.timeout, partial(self._give_up, placed))
        with self._gate:
            self._ready.append(placed)

    def _wake(self) -> None:
        """Wake a thread for what is there to be taken, unless one is on its way; begin a new one when none is idle."""
        while True:
            with self._gate:
                if self._waking or not self._ready:
                    return
                self._waking = True
                worker = self._idle.pop() if self._idle else _Worker(f"{self.name}-{next(self._numbers)}")
            worker.inbox.put(True)
            if worker.begun or self._begin(worker):
                return

    def _begin(self, worker: _Worker) -> bool:
        """Start a worker's thread; when the system has none left, the call that it was for fails."""
        try:
            worker.begun = True
            start_thread(worker.name, partial(self._serve, worker))
            return True
        except RuntimeError as error:
            with self._gate:
                self._waking = False
                call = self._ready.popleft() if self._ready else None
                if call is not None:
                    self._running.discard(call)
                    settled, call.settled = call.settled, True
                placed = self._place()
            if call is not None and not settled:
                message = f"no thread could be started for {call.name}: {error}"
                _refuse(call, ExecutionError(message, retryable=True))
            if placed is not None:
                self._offer(placed)
            return False

    def _serve(self, worker: _Worker) -> None:
        """A worker's life: until a call of its is given up, the executor stops, or nothing came for a while."""
        while self._is_woken(worker):
            call = self._take(worker, woken=True)
            while call is not None:
                if not self._finish(call, self._run(call)):
                    return
                self._release(call)
                call = self._take(worker)

    def _take(self, worker: _Worker, *, woken: bool = False) -> Call | None:
        """The next call for a worker, which is idle when there is none; another worker is woken for what is left."""
        with self._gate:
            if woken:
                self._waking = False
            call = self._ready.popleft() if self._ready else None
            if call is None and self._stopped:
                worker.inbox.put(False)
            elif call is None:
                self._idle.append(worker)
            others = bool(self._ready)
        if others:
            self._wake()
        return call

    def _run(self, call: Call) -> Outcome[Any]:
        if call.settled:
            return Outcome(timed_out=True)
        started = self._clock.monotonic()
        outcome = outcome_of(call)
        return replace(outcome, duration=self._clock.monotonic() - started)

    def _is_woken(self, worker: _Worker) -> bool:
        """Wait until there is something to take; False when the worker is to end."""
        try:
            return worker.inbox.get(timeout=IDLE_SECONDS)
        except Empty:
            with self._gate:
                if worker in self._idle:
                    self._idle.remove(worker)
                    return False
            return worker.inbox.get()

    def _finish(self, call: Call, outcome: Outcome[Any]) -> bool:
        """Report a call that has come back; False when it had been given up, and another thread replaces this one."""
        with self._gate:
            in_time, call.settled = not call.settled, True
            if not in_time:
                self._abandoned.remove(call)
        if in_time:
            call.tell(outcome)
        call.end()
        return in_time

    def _release(self, call: Call) -> None:
        """A place is free, for the call that waits longest if there is one."""
        with self._gate:
            self._running.discard(call)
            self._tell_quiet()
            placed = self._place()
        if placed is not None:
            self._offer(placed)

    def _give_up(self, call: Call) -> None:
        """The timer of a call has fired."""
        with self._gate:
            if call.settled:
                return
            self._abandon(call)
            placed = self._place()
        call.tell(Outcome(timed_out=True, duration=call.timeout or 0.0))
        self._give(placed)

    def _abandon(self, call: Call) -> None:
        """Under the lock: the call no longer counts, and its thread retires when it comes back."""
        call.settled = True
        self._running.discard(call)
        self._abandoned.append(call)
        self._tell_quiet()

    def _tell_quiet(self) -> None:
        """Under the lock: let `stop` go on when nothing runs any more."""
        if self._stopped and not self._running and self._busy.locked():
            self._busy.release()


def _refuse(call: Call, error: Exception) -> None:
    """Settle a call that will never run."""
    call.tell(Outcome(error=error))
    call.end()
