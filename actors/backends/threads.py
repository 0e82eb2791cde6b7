"""The backend of threads: each actor has an operating system thread of its own for as long as it lives."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Thread
from typing import Any
from weakref import WeakSet

from actors.backends.base import RUNNERS, Ask, Backend, Target, Task
from actors.backends.futures import Future, wait_in_thread
from actors.backends.work import WorkCount
from actors.clock import Clock, RealClock
from actors.errors import ForkedSystem
from actors.raw import Guard, Lock, get_ident, start_thread

__all__ = ["ThreadBackend"]


class _Thread:
    """The runner of one task's thread."""

    __slots__ = ("_backend", "_task")

    quick_ask: Ask | None = None

    def __init__(self, backend: ThreadBackend, task: Task) -> None:
        self._backend = backend
        self._task = task

    def task(self) -> Task | None:
        return self._task

    def wait(self, future: Future[Any], timeout: float | None, virtual: bool) -> bool:
        clock, task = self._backend.clock, self._task
        task.waiting_for = future
        try:
            # Two may pass the check of `ask` before their messages are out; here both have said what they wait for.
            future.refuse_cycle(task, virtual)
            return wait_in_thread(future, timeout, clock if virtual and clock is not self._backend.real else None)
        finally:
            task.waiting_for = None

    def run(self) -> None:
        ident = get_ident()
        RUNNERS[ident] = self
        try:
            self._turns()
        finally:
            RUNNERS.pop(ident, None)
            self._backend.ended(self._task)

    def _turns(self) -> None:
        task, work = self._task, self._backend.work
        while True:
            task.run()
            with task.lock:
                if task.waits and not task.dead:
                    continue
                task.scheduled = task.dead
                if task.hung:
                    task.hung = False
                else:
                    work.down()
                if task.dead:
                    return
            task.wakeup.acquire()


class ThreadBackend(Backend):
    """Runs each task in a thread named after it."""

    name = "threads"
    real: RealClock

    def __init__(self, work: WorkCount) -> None:
        self.work = work
        self.real = RealClock()
        self.clock: Clock = self.real
        self._guard = Guard()
        self._tasks: set[Task] = set()
        self._threads: WeakSet[Thread] = WeakSet()
        self._empty: Future[None] | None = None

    def start(self, task: Task) -> None:
        task.wakeup = Lock()
        task.wakeup.acquire()
        self.work.up()
        with self._guard:
            self._tasks.add(task)
        thread = start_thread(task.path, _Thread(self, task).run)
        if thread is not None:
            self._threads.add(thread)

    def post(self, target: Target, item: Any) -> bool | Future[None]:
        if self.forked:
            raise ForkedSystem(self.owner)
        with target.lock:
            return target.deliver(item)

    def schedule(self, task: Task) -> None:
        self.work.up()
        task.wakeup.release()

    def kill(self, task: Task) -> None:
        """Let an idle task's thread end. Python can't break off a busy one: it ends when what it does has ended."""
        with task.lock:
            if not task.scheduled:
                task.scheduled = True
                self.schedule(task)

    def call(self, fn: Callable[[], object]) -> None:
        fn()

    def reap(self, task: Task) -> Future[None]:
        freed: Future[None] = Future()
        with task.lock:
            if task.wakeup is None:
                freed.set()
            task.freed = freed
        return freed

    def progress(self) -> int:
        with self._guard:
            return len(self._tasks) + sum(task.handled for task in self._tasks)

    def forgive(self) -> None:
        with self._guard:
            tasks = list(self._tasks)
        for task in tasks:
            with task.lock:
                if task.scheduled and not task.hung and not task.dead:
                    task.hung = True
                    self.work.down()

    def ended(self, task: Task) -> None:
        """Note that the task's thread is about to end."""
        with task.lock:
            task.wakeup = None
            freed = task.freed
        if freed is not None:
            freed.offer(None)
        with self._guard:
            self._tasks.discard(task)
            empty = self._empty if not self._tasks else None
        if empty is not None:
            empty.offer(None)

    def stop(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        with self._guard:
            self._empty = Future()
            if not self._tasks:
                self._empty.set()
        clean = self._empty.settled(timeout)
        for thread in list(self._threads) if clean else ():
            thread.join(max(0.0, deadline - time.monotonic()))
        self.real.close(max(0.0, deadline - time.monotonic()))
        return clean
