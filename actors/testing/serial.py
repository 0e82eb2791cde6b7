"""A backend that runs all actors on the calling thread, one message a turn, in an order that its owner draws.

Nothing happens by itself: the owner looks at `ready`, takes one of it and runs it. An actor that waits is parked as on
greenlets' hub, and is ready again when what it waits for has come. Every timeout, those of callers outside too, counts
by the one clock. Another thread has no business here: what it sends would come at no moment that can be repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

from actors.backends.base import RUNNERS, Backend, Target, Task
from actors.backends.futures import Future
from actors.backends.work import WorkCount
from actors.clock import Clock
from actors.errors import WouldBlock
from actors.raw import get_ident

__all__ = ["SerialBackend"]


class Killed(GreenletExit):
    """Thrown into an actor's greenlet to break it off; the cell knows it by its name."""


class _Worker(greenlet):
    """A greenlet that takes tasks' turns, one after the other."""

    def __init__(self, backend: SerialBackend) -> None:
        super().__init__(parent=backend.owner_greenlet)
        self._backend = backend
        self.current: Task | None = None

    def run(self, task: Task) -> None:
        backend = self._backend
        while task is not None:
            self.current = task
            task.worker = self
            try:
                task.run()
            except GreenletExit:
                # Broken off between two messages; whoever did it has ended the actor.
                pass
            self.current = task.worker = None
            backend.released(task, self)
            task = backend.owner_greenlet.switch()


class _Parked:
    """A greenlet that waits; it becomes ready once."""

    __slots__ = ("_backend", "greenlet", "waiting")

    def __init__(self, backend: SerialBackend, parked: greenlet) -> None:
        self._backend = backend
        self.greenlet: greenlet | None = parked
        self.waiting = True

    def wake(self) -> None:
        if self.waiting:
            self.waiting = False
            self._backend.ready.append(self)


class _Throw:
    """A kill on its way to the greenlet that takes the task's turn."""

    __slots__ = ("task",)

    def __init__(self, task: Task) -> None:
        self.task = task


class SerialBackend(Backend):
    """Runs tasks when its owner says so; made on the thread, and in the greenlet, of its owner."""

    name = "serial"
    fair_share = 1

    def __init__(self, work: WorkCount, clock: Clock) -> None:
        self.work = work
        self.clock = self.real = clock
        self.owner_greenlet = getcurrent()
        self.ready: list[Any] = []
        """What can go on now: tasks with messages, and what was parked and waits no longer."""
        self.alive = True
        self._ident = get_ident()
        self._greenlets: dict[greenlet, None] = {}
        self._idle: list[_Worker] = []
        self._beneath = RUNNERS.get(self._ident)
        RUNNERS[self._ident] = self

    # -- for the owner

    def spawn(self, fn: Callable[[], object]) -> None:
        """Run `fn` in a greenlet of its own, which may wait for actors, until it first waits."""
        outside = greenlet(fn, parent=self.owner_greenlet)
        self._greenlets[outside] = None
        outside.switch()
        if outside.dead:
            self._greenlets.pop(outside, None)

    def run(self, index: int) -> None:
        """Let what is ready at `index` go on until it is done, or waits."""
        item = self.ready.pop(index)
        if type(item) is _Parked:
            if item.greenlet is not None:
                item.greenlet.switch()
        elif type(item) is _Throw:
            if item.task.worker is not None:
                item.task.worker.throw(Killed())
        else:
            worker = self._idle.pop() if self._idle else self._new_worker()
            worker.switch(item)

    def die(self) -> None:
        """End all at once, as the death of a process does; nothing that is sent here has an effect any more."""
        if not self.alive:
            return
        self.alive = False
        self.ready.clear()
        for each in list(self._greenlets):
            if not each.dead and each is not getcurrent():
                each.throw(GreenletExit)
        self.ready.clear()
        self._greenlets.clear()
        self._idle.clear()
        self.mark_forked()
        if RUNNERS.get(self._ident) is self:
            RUNNERS.pop(self._ident)
            if self._beneath is not None:
                RUNNERS[self._ident] = self._beneath

    def _new_worker(self) -> _Worker:
        worker = _Worker(self)
        self._greenlets[worker] = None
        return worker

    def released(self, task: Task, worker: _Worker) -> None:
        """Take back a worker after a task's turn."""
        if task.waits and not task.dead:
            self.ready.append(task)
        else:
            task.scheduled = False
            if task.freed is not None:
                task.freed.offer(None)
        self._idle.append(worker)

    # -- for actors and those who talk to them

    def start(self, task: Task) -> None:
        self.schedule(task)

    def post(self, target: Target, item: Any) -> bool | Future[None]:
        if get_ident() != self._ident:
            raise WouldBlock("another thread sent to actors that run in one deterministic order, on one thread")
        return target.deliver(item)

    def schedule(self, task: Task) -> None:
        self.ready.append(task)

    def kill(self, task: Task) -> None:
        self.ready.append(_Throw(task))

    def call(self, fn: Callable[[], object]) -> None:
        fn()

    def reap(self, task: Task) -> Future[None]:
        freed: Future[None] = Future()
        task.freed = freed
        if not task.scheduled:
            freed.offer(None)
        return freed

    def progress(self) -> int:
        return 0

    def forgive(self) -> None:
        return

    def stop(self, timeout: float) -> bool:
        return True

    def task(self) -> Task | None:
        """Return the task whose turn it is."""
        here = getcurrent()
        return here.current if type(here) is _Worker else None

    def wait(self, future: Future[Any], timeout: float | None, virtual: bool) -> bool:
        """Wait for `future` while the owner goes on; whatever is waited for, by the one clock."""
        here = getcurrent()
        if not self.alive:
            raise GreenletExit
        if here is self.owner_greenlet:
            raise WouldBlock(f"waiting for {future.describe()} would stop everything")
        task = here.current if type(here) is _Worker else None
        if task is not None:
            task.waiting_for = future
            asked = future.target.present if future.target is not None else None
            if asked is not None and (asked is task or asked.waiting_for is not None):
                future.refuse_cycle(task, virtual)
        parked = _Parked(self, here)
        if not future.on_done(parked.wake):
            return True
        timer = None if timeout is None else self.clock.call_after(timeout, parked.wake)
        try:
            self.owner_greenlet.switch()
        finally:
            parked.greenlet = None
            if task is not None:
                task.waiting_for = None
            if timer is not None:
                timer.cancel()
            if not future.done:
                future.forget(parked.wake)
        return future.done
