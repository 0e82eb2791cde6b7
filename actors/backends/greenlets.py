"""The backend of greenlets: all actors on one gevent hub.

The hub is in a thread of our own or, in a process that gevent has patched, the host's. An actor without messages
holds no greenlet: a worker from a pool takes its turn and goes back when the mailbox is empty. A worker whose actor
waits (for an answer, for gevent's own I/O) is parked with it, and the hub goes on with another one. Other threads
come over the bridge.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gevent
from gevent.exceptions import LoopExit
from greenlet import GreenletExit, greenlet

from actors.backends.alarm import Alarm
from actors.backends.answers import GreenletAnswer
from actors.backends.base import RUNNERS, Target, Task
from actors.backends.bridge import Bridge, Call, Offer
from actors.backends.futures import Future
from actors.backends.parking import LOOK, STRAIGHT, Parking
from actors.backends.work import WorkCount
from actors.backends.workers import Interrupt, Parked, Throw, Worker
from actors.clock import Clock
from actors.raw import get_ident, is_patched, start_thread

__all__ = ["GreenletBackend"]

SLICE = 0.005
IDLE_WORKERS = 256
STOPPED = -1
FORKED = -2


class GreenletBackend(Parking):
    """Runs all tasks on one hub."""

    name = "greenlets"

    def __init__(self, work: WorkCount, name: str) -> None:
        self.work = work
        self._alarm = Alarm(self.call)
        self.real = self._alarm.clock
        self.clock: Clock = self.real
        self.own_thread = not is_patched()
        self.ident = 0
        self.quick_ask = self.ask
        self.ready: deque[Any] = deque()
        self.workers: set[Worker] = set()
        self.turns = 0
        self.pool: list[Worker] = []
        self.active = 0
        self.kicked = False
        self.bridge = Bridge(work)
        self.on: Any = None
        self._ended: Future[None] = Future()
        started: Future[None] = Future()
        if self.own_thread:
            self._thread = start_thread(f"{name}-hub", lambda: self._run(started))
            started.get()
        else:
            self._attach()

    def _attach(self) -> None:
        self.hub: Any = gevent.get_hub()
        self.loop = self.hub.loop
        # gevent's own Hub.switch looks for a switch_out hook on each call; our greenlets have none.
        self.switch_to_hub: Callable[[], Any] = greenlet.switch.__get__(self.hub)
        self._alarm.open(self.loop)
        self.bridge.open(self.loop, self._drain)
        self._again = self.loop.timer(0.0)
        self.ident = get_ident()
        self._beneath = RUNNERS.get(self.ident)
        RUNNERS[self.ident] = self

    def _run(self, started: Future[None]) -> None:
        self._attach()
        started.set(None)
        with suppress(LoopExit):
            self.switch_to_hub()
        # A greenlet that has not ended would be ended by the main thread, in the middle of whatever it does.
        self.hub.throw(GreenletExit)
        self.hub.destroy(destroy_loop=True)
        self._ended.offer(None)

    def resume(self) -> None:
        """Leave the hub; called on it as the last of what was ready."""
        if RUNNERS.get(self.ident) is self:
            RUNNERS.pop(self.ident)
            if self._beneath is not None:
                RUNNERS[self.ident] = self._beneath
        for worker in self.pool:
            worker.throw(GreenletExit)
        self._alarm.close()
        if not self.own_thread:
            self.bridge.let_go()
            self._ended.offer(None)
            return
        self.ident = STOPPED
        self._again.close()
        self.bridge.close()
        self.loop.break_()

    # -- from any thread

    def start(self, task: Task) -> None:
        self.call(lambda: self.schedule(task))

    def post(self, target: Target, item: Any) -> bool | Future[None]:
        if get_ident() == self.ident:
            return target.deliver(item)
        if target.refuses():
            return False
        if target.bounded:
            room: Future[None] = Future()
            self.bridge.put(Offer(target, room), item)
            return room
        self.bridge.put(target, item)
        return True

    def cross(self, target: Any, item: Any) -> None:
        """Let `target.deliver(item)` be called on the hub."""
        self.bridge.put(target, item)

    def kill(self, task: Task) -> None:
        self.call(lambda: self.make_ready(Throw(task)))

    def call(self, fn: Callable[[], object]) -> None:
        if get_ident() == self.ident:
            fn()
        else:
            self.bridge.put(Call(fn), None)

    def mark_forked(self) -> None:
        super().mark_forked()
        self.ident = FORKED
        self.bridge.mark_forked(self.owner)

    def drive(self, fn: Callable[[], None]) -> None:
        if not self.own_thread or self.ident <= 0:
            fn()
            return
        ended: Future[None] = Future()
        self.call(lambda: greenlet(lambda: _settle(ended, fn), parent=self.hub).switch())
        ended.get()

    def running(self) -> str | None:
        """Return the path of the actor that has the hub now, None when it is idle."""
        on = self.on
        if isinstance(on, (GreenletAnswer, Parked)):
            on = getattr(on.greenlet, "current", None)
        return on.path if isinstance(on, Task) else None

    def reap(self, task: Task) -> Future[None]:
        freed: Future[None] = Future()

        def look() -> None:
            task.freed = freed
            if not task.scheduled:
                freed.offer(None)

        self.call(look)
        return freed

    def progress(self) -> int:
        tasks = [worker.current for worker in list(self.workers)]
        return self.turns + sum(task.handled for task in tasks if task is not None)

    def forgive(self) -> None:
        self.call(self._forgive)

    def stop(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        self.call(lambda: self.make_ready(self))
        clean = self._ended.settled(timeout)
        if self.own_thread and clean and self._thread is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
        return clean

    # -- on the hub's thread

    def interrupted(self, error: KeyboardInterrupt) -> bool:
        if self.own_thread:
            return False
        self.ready.appendleft(Interrupt(self.hub, error))
        if not self.kicked:
            self.kick()
        return True

    def schedule(self, task: Task) -> None:
        self.active += 1
        if not self.bridge.held:
            self.bridge.hold()
        self.ready.append(task)
        if not self.kicked:
            self.kick()

    def make_ready(self, item: Any) -> None:
        """Let `item.resume()` be called in its turn."""
        self.ready.append(item)
        if not self.kicked:
            self.kick()

    def released(self, task: Task, worker: Worker) -> Callable[[], Any] | None:
        """Take back a worker after a task's turn; returns where it should switch to, None when it is not kept."""
        if (task.mailbox or task.urgent) and not task.dead:
            if task.hung:
                self.own_up(task)
            self.ready.append(task)
        else:
            task.scheduled = False
            if task.freed is not None:
                task.freed.offer(None)
            if task.hung:
                task.hung = False
            else:
                self.active -= 1
        if not self.kicked:
            self.kick()
        if len(self.pool) >= IDLE_WORKERS:
            return None
        self.pool.append(worker)
        ready = self.ready
        if len(ready) == 1 and type(ready[0]) is GreenletAnswer and self.turns & STRAIGHT:
            # The one who asked is next: there without going over the hub.
            asker = ready[0].greenlet
            if asker is not None:
                self.on = ready.popleft()
                self.turns += 1
                switch: Callable[[], Any] = asker.switch
                return switch
        return self.switch_to_hub

    def kick(self) -> None:
        """Let the hub look at what is ready."""
        self.kicked = True
        self.loop.run_callback(self._turn)

    def _turn(self) -> None:
        ready, pool, bridge = self.ready, self.pool, self.bridge
        until = time.monotonic() + SLICE
        while ready:
            if not self.turns & LOOK:
                if bridge.items:
                    bridge.take()
                if time.monotonic() > until:
                    break
            self.turns += 1
            item = ready.popleft()
            self.on = item
            if type(item) in RESUMED:
                item.resume()
            else:
                worker = pool.pop() if pool else Worker(self)
                worker.switch(item)
        self.on = None
        if ready:
            # Not run_callback: gevent runs many callbacks before it looks at its watchers again, and a flood would
            # starve them.
            self._again.start(self._turn, update=False)
        else:
            self.kicked = False
            self.bridge.give_back(self._idle)

    def _drain(self) -> None:
        kicked, self.kicked = self.kicked, True
        self.bridge.drained()
        self.bridge.take()
        if not kicked:
            self._turn()

    def _idle(self) -> bool:
        return not self.ready and not self.active

    def _forgive(self) -> None:
        for worker in self.workers:
            task = worker.current
            if task is not None and not task.hung:
                task.hung = True
                self.active -= 1


RESUMED = (GreenletAnswer, Parked, Throw, Interrupt, GreenletBackend)


def _settle(ended: Future[None], fn: Callable[[], None]) -> None:
    try:
        fn()
    except BaseException as error:  # noqa: B036 - whatever it was, the one who waits gets it
        ended.offer(None, error)
    else:
        ended.offer(None)
