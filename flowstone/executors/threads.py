"""The executor of OS threads: a call that outlasts its timeout is given up, its thread replaced and never waited for.

With a number of threads, calls beyond it wait in order, and an abandoned one no longer takes a place. Without one there
are as many threads as calls, so that a call that hangs never delays another.

A call may end at the moment at which its timeout does. Who settles it first, under the lock, tells of it:

1. a worker gets the call, its timer armed by whoever assigned it;
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
    """A thread and the calls that it was given; None ends it."""

    name: str
    inbox: "SimpleQueue[Call | None]" = field(default_factory=SimpleQueue)
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
            worker = self._assign()
        self._give(worker)
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
                worker.inbox.put(None)
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

    def _assign(self) -> tuple[_Worker, Call] | None:
        """Under the lock: the next call and who is to run it; None when no call waits or all threads are busy."""
        if not self._waiting or (self._limit is not None and len(self._running) >= self._limit):
            return None
        call = self._waiting.popleft()
        self._running.add(call)
        return self._idle.pop() if self._idle else _Worker(f"{self.name}-{next(self._numbers)}"), call

    def _give(self, assigned: tuple[_Worker, Call] | None) -> None:
        """Outside of the lock, since the clock has one of its own: arm the timer, then hand the call over."""
        while assigned is not None:
            worker, call = assigned
            call.since = self._clock.now()
            if call.timeout is not None:
                call.timer = self._clock.call_after(call.timeout, partial(self._give_up, call))
            worker.inbox.put(call)
            if worker.begun or self._begin(worker, call):
                return
            with self._gate:
                assigned = self._assign()

    def _begin(self, worker: _Worker, call: Call) -> bool:
        """Start a worker's thread; when the system has none left, its call fails and the next one may be assigned."""
        try:
            worker.begun = True
            start_thread(worker.name, partial(self._serve, worker))
            return True
        except RuntimeError as error:
            with self._gate:
                self._running.discard(call)
                settled, call.settled = call.settled, True
            if not settled:
                message = f"no thread could be started for {call.name}: {error}"
                _refuse(call, ExecutionError(message, retryable=True))
            return False

    def _serve(self, worker: _Worker) -> None:
        """A worker's life: until a call of its is given up, the executor stops, or nothing came for a while."""
        while (call := self._next(worker)) is not None:
            if not self._finish(call, self._run(call)):
                return
            with self._gate:
                following = self._release(worker, call)
            if following:
                self._give(following)

    def _run(self, call: Call) -> Outcome[Any]:
        if call.settled:
            return Outcome(timed_out=True)
        started = self._clock.monotonic()
        outcome = outcome_of(call)
        return replace(outcome, duration=self._clock.monotonic() - started)

    def _next(self, worker: _Worker) -> Call | None:
        try:
            return worker.inbox.get(timeout=IDLE_SECONDS)
        except Empty:
            with self._gate:
                if worker in self._idle:
                    self._idle.remove(worker)
                    return None
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

    def _release(self, worker: _Worker, call: Call) -> tuple[_Worker, Call] | None:
        """Under the lock: a worker is free, for the call that waits longest if there is one."""
        self._running.discard(call)
        if self._stopped:
            worker.inbox.put(None)
            self._tell_quiet()
            return None
        self._idle.append(worker)
        return self._assign()

    def _give_up(self, call: Call) -> None:
        """The timer of a call has fired."""
        with self._gate:
            if call.settled:
                return
            self._abandon(call)
            following = self._assign()
        call.tell(Outcome(timed_out=True, duration=call.timeout or 0.0))
        self._give(following)

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
