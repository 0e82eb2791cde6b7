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
from typing import Any

import gevent
from greenlet import GreenletExit, getcurrent, greenlet

from actors.backends.alarm import Alarm
from actors.backends.answers import GreenletAnswer, ask_for_future, note_room
from actors.backends.base import RUNNERS, Backend, Envelope, Target, Task
from actors.backends.bridge import Bridge, Call, Offer
from actors.backends.futures import Future, refuse_cycle
from actors.backends.work import WorkCount
from actors.backends.workers import Parked, Throw, Worker
from actors.clock import Clock, RealClock
from actors.errors import AskTimeout, WouldBlock
from actors.raw import get_ident, is_patched, start_thread

__all__ = ["GreenletBackend"]

LOOK = 15
"""A mask: when the count of turns has none of these bits, the hub looks at the bridge and at the time."""
SLICE = 0.005
IDLE_WORKERS = 256
STOPPED = -1
FORKED = -2


class GreenletBackend(Backend):
    """Runs all tasks on one hub."""

    name = "greenlets"
    real: RealClock

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
        self._pool: list[Worker] = []
        self._active = 0
        self.kicked = False
        self._bridge = Bridge(work)
        self._on: Any = None
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
        self._bridge.open(self.loop, self._drain)
        self._again = self.loop.timer(0.0)
        self.ident = get_ident()
        self._beneath = RUNNERS.get(self.ident)
        RUNNERS[self.ident] = self

    def _run(self, started: Future[None]) -> None:
        self._attach()
        self._main = getcurrent()
        started.set(None)
        self.switch_to_hub()
        self.hub.destroy(destroy_loop=True)
        self._ended.offer(None)

    def resume(self) -> None:
        """Leave the hub; called on it as the last of what was ready."""
        if RUNNERS.get(self.ident) is self:
            RUNNERS.pop(self.ident)
            if self._beneath is not None:
                RUNNERS[self.ident] = self._beneath
        for worker in self._pool:
            worker.throw(GreenletExit)
        self._alarm.close()
        if not self.own_thread:
            self._bridge.let_go()
            self._ended.offer(None)
            return
        self.ident = STOPPED
        self._again.close()
        self._bridge.close()
        self._main.switch()

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
            self._bridge.put(Offer(target, room), item)
            return room
        self._bridge.put(target, item)
        return True

    def cross(self, target: Any, item: Any) -> None:
        """Let `target.deliver(item)` be called on the hub."""
        self._bridge.put(target, item)

    def kill(self, task: Task) -> None:
        self.call(lambda: self.make_ready(Throw(task)))

    def call(self, fn: Callable[[], object]) -> None:
        if get_ident() == self.ident:
            fn()
        else:
            self._bridge.put(Call(fn), None)

    def mark_forked(self) -> None:
        super().mark_forked()
        self.ident = FORKED
        self._bridge.mark_forked(self.owner)

    def drive(self, fn: Callable[[], None]) -> None:
        if not self.own_thread or self.ident <= 0:
            fn()
            return
        ended: Future[None] = Future()
        self.call(lambda: greenlet(lambda: _settle(ended, fn), parent=self.hub).switch())
        ended.get()

    def running(self) -> str | None:
        """Return the path of the actor that has the hub now, None when it is idle."""
        on = self._on
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

    def task(self) -> Task | None:
        """Return the task whose turn it is in the calling greenlet."""
        here = getcurrent()
        return here.current if type(here) is Worker else None

    def wait(self, future: Future[Any], timeout: float | None, virtual: bool) -> bool:
        """Park the calling greenlet until `future` is settled; returns whether it is."""
        here = getcurrent()
        if here is self.hub:
            raise WouldBlock(
                f"waiting for {future.describe()} on the hub itself would stop every actor; wait in an actor"
            )
        task: Task | None = here.current if type(here) is Worker else None
        if task is not None:
            task.waiting_for = future
            asked = future.target.present if future.target is not None else None
            if asked is not None and (asked is task or asked.waiting_for is not None):
                future.refuse_cycle(task, virtual)
        parked = Parked(self, here)
        wake = parked.wake
        if not future.on_done(wake):
            return True
        timer = None
        if timeout is not None:
            timer = (self.clock if virtual and task is not None else self.real).call_after(timeout, wake)
        try:
            self.switch_to_hub()
        finally:
            parked.greenlet = None
            if task is not None:
                task.waiting_for = None
                if task.hung:
                    self._own_up(task)
            if timer is not None:
                timer.cancel()
            if not future.done:
                future.forget(wake)
        return future.done

    def ask(self, target: Any, message: Any, slot: Any, timeout: float | None) -> Any:
        """Ask, without a future where asker and asked are both actors of this hub."""
        here = getcurrent()
        if type(here) is not Worker or target.backend is not self:
            return self._ask_elsewhere(target, message, slot, timeout)
        task: Any = here.current
        asked = target if slot is None else target.present
        if asked is not None and (asked is task or asked.waiting_for is not None):
            refuse_cycle(task, target)
        answer = GreenletAnswer(self, here, target)
        task.waiting_for = answer
        timer = None if timeout is None else self.clock.call_after(timeout, answer.expire)
        try:
            if asked is None or asked.scheduled or asked.dead or self.ready or not self.turns & LOOK:
                self._deliver(target, (message, answer, slot))
                if answer.outcome is None:
                    self.switch_to_hub()
            else:
                # The asked actor is idle and would be next: there without going over the hub.
                asked.scheduled = True
                asked.mailbox.append((message, answer, slot))
                self._active += 1
                if not self._bridge.held:
                    self._bridge.hold()
                self.turns += 1
                self._on = asked
                (self._pool.pop() if self._pool else Worker(self)).switch(asked)
        finally:
            answer.greenlet = task.waiting_for = None
            if timer is not None:
                timer.cancel()
            if task.hung:
                self._own_up(task)
        if answer.outcome is None:
            raise AskTimeout(answer.describe(), timeout or 0.0)
        value, error = answer.outcome
        if error is not None:
            raise error
        return value

    def _deliver(self, target: Target, envelope: Envelope) -> None:
        taken = target.deliver(envelope)
        if taken is not True and envelope[1] is not None:
            note_room(target, taken, envelope[1])

    def _own_up(self, task: Task) -> None:
        """Count a task that goes on after all."""
        task.hung = False
        self._activate()

    def _ask_elsewhere(self, target: Any, message: Any, slot: Any, timeout: float | None) -> Any:
        task = self.task()
        if task is not None:
            refuse_cycle(task, target)
        return ask_for_future(target, message, slot).get(timeout=timeout)

    def schedule(self, task: Task) -> None:
        self._active += 1
        if not self._bridge.held:
            self._bridge.hold()
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
                self._own_up(task)
            self.ready.append(task)
        else:
            task.scheduled = False
            if task.freed is not None:
                task.freed.offer(None)
            if task.hung:
                task.hung = False
            else:
                self._active -= 1
        if not self.kicked:
            self.kick()
        if len(self._pool) >= IDLE_WORKERS:
            return None
        self._pool.append(worker)
        ready = self.ready
        if len(ready) == 1 and type(ready[0]) is GreenletAnswer and self.turns & LOOK:
            # The one who asked is next: there without going over the hub.
            asker = ready[0].greenlet
            if asker is not None:
                self._on = ready.popleft()
                self.turns += 1
                switch: Callable[[], Any] = asker.switch
                return switch
        return self.switch_to_hub

    def kick(self) -> None:
        self.kicked = True
        self.loop.run_callback(self._turn)

    def _activate(self) -> None:
        self._active += 1
        if not self._bridge.held:
            self._bridge.hold()

    def _turn(self) -> None:
        ready, pool, bridge = self.ready, self._pool, self._bridge
        until = time.monotonic() + SLICE
        while ready:
            if not self.turns & LOOK:
                if bridge.items:
                    bridge.take()
                if time.monotonic() > until:
                    break
            self.turns += 1
            item = ready.popleft()
            self._on = item
            if type(item) in RESUMED:
                item.resume()
            else:
                worker = pool.pop() if pool else Worker(self)
                worker.switch(item)
        self._on = None
        if ready:
            # Not run_callback: gevent runs many callbacks before it looks at its watchers again, and a flood would
            # starve them.
            self._again.start(self._turn, update=False)
        else:
            self.kicked = False
            self._bridge.give_back(self._idle)

    def _drain(self) -> None:
        kicked, self.kicked = self.kicked, True
        self._bridge.drained()
        self._bridge.take()
        if not kicked:
            self._turn()

    def _idle(self) -> bool:
        return not self.ready and not self._active

    def _forgive(self) -> None:
        for worker in self.workers:
            task = worker.current
            if task is not None and not task.hung:
                task.hung = True
                self._active -= 1


RESUMED = (GreenletAnswer, Parked, Throw, GreenletBackend)


def _settle(ended: Future[None], fn: Callable[[], None]) -> None:
    try:
        fn()
    except BaseException as error:  # noqa: B036 - whatever it was, the one who waits gets it
        ended.offer(None, error)
    else:
        ended.offer(None)
