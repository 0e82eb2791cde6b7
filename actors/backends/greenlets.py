"""The backend of greenlets: all actors on one gevent hub.

The hub is in a thread of our own or, in a process that gevent has patched, the host's.

An actor without messages holds no greenlet: a worker from a pool takes its turn and goes back when the mailbox is
empty. A worker whose actor waits (for an answer, for gevent's own I/O) is parked with it, and the hub goes on with
another one.

All crossing of threads is in this file, and it is one thing: `_bridge`, a deque that any thread appends to, and
`_async`, the libev watcher that tells the hub to look. Nothing else of gevent may be touched from another thread:
its locks, events and queues break the loop's count of live watchers, and the hub ends in `LoopExit`.

Work is counted as one unit for the whole hub, held from the first message until nothing is ready and no actor is in
the middle of one:
1. a foreign sender appends to the bridge, and takes the unit unless `_signalled` says that a drain is still to come;
2. the drain clears `_signalled` before it reads the bridge, so what is appended later signals again;
3. the unit is given back, under `_gate`, only when bridge, ready queue and active count are empty and no drain is
   to come.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import gevent
from greenlet import GreenletExit, getcurrent, greenlet

from actors.backends.base import RUNNERS, Backend, Target, Task
from actors.backends.futures import Future
from actors.backends.work import WorkCount
from actors.clock import Clock, RealClock
from actors.errors import ActorDeadError, ForkedSystem, WouldBlock
from actors.raw import Guard, get_ident, is_patched, start_thread

__all__ = ["GreenletBackend", "Killed"]

logger = logging.getLogger("actors")
TURNS_BETWEEN_LOOKS = 16
SLICE = 0.005
IDLE_WORKERS = 256
STOPPED = -1
FORKED = -2


class Killed(GreenletExit):
    """Thrown into an actor's greenlet to break it off."""


class _Worker(greenlet):
    """A greenlet that takes tasks' turns, one after the other."""

    def __init__(self, backend: GreenletBackend) -> None:
        super().__init__(parent=backend.hub)
        self._backend = backend
        self.current: Task | None = None

    @property
    def name(self) -> str:
        """Return the path of the actor whose turn it is."""
        return self.current.path if self.current is not None else "actors-worker"

    def run(self, task: Task) -> None:
        backend, switch_to_hub = self._backend, self._backend.switch_to_hub
        backend.workers.add(self)
        while True:
            self.current = task
            task.worker = self
            try:
                task.run()
            except GreenletExit:
                # A kill that came between two messages; whoever killed has ended the actor.
                pass
            self.current = task.worker = None
            if not backend.released(task, self):
                break
            try:
                task = switch_to_hub()
            except GreenletExit:
                break
        backend.workers.discard(self)


class _Parked:
    """A greenlet that waits; `wake` lets it go on, from any thread, once."""

    __slots__ = ("_backend", "greenlet", "waiting")

    def __init__(self, backend: GreenletBackend, parked: greenlet) -> None:
        self._backend = backend
        self.greenlet: greenlet | None = parked
        self.waiting = True

    def wake(self) -> None:
        backend = self._backend
        if get_ident() != backend.ident:
            backend.cross(self, None)
        elif self.waiting:
            self.waiting = False
            backend.make_ready(self)

    def deliver(self, item: Any) -> bool:
        if self.waiting:
            self.waiting = False
            self._backend.make_ready(self)
        return True

    def resume(self) -> None:
        if self.greenlet is not None:
            self.greenlet.switch()


class _Throw:
    """A kill on its way to the greenlet that takes the task's turn."""

    __slots__ = ("_task",)

    def __init__(self, task: Task) -> None:
        self._task = task

    def resume(self) -> None:
        worker = self._task.worker
        if worker is not None:
            worker.throw(Killed())


class _Offer:
    """An item for a bounded target, whose sender waits to hear whether it is in."""

    __slots__ = ("_room", "_target")

    def __init__(self, target: Target, room: Future[None]) -> None:
        self._target = target
        self._room = room

    def deliver(self, item: Any) -> bool:
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


class _Call:
    """A function to be called on the hub; it must not block."""

    __slots__ = ("_fn",)

    def __init__(self, fn: Callable[[], object]) -> None:
        self._fn = fn

    def deliver(self, item: Any) -> bool:
        self._fn()
        return True


class GreenletBackend(Backend):
    """Runs all tasks on one hub."""

    name = "greenlets"
    real: RealClock

    def __init__(self, work: WorkCount, name: str) -> None:
        self.work = work
        self.real = RealClock(self._alarm)
        self.clock: Clock = self.real
        self.own_thread = not is_patched()
        self.ident = 0
        self.ready: deque[Any] = deque()
        self.workers: set[_Worker] = set()
        self.turns = 0
        self._pool: list[_Worker] = []
        self._active = 0
        self._kicked = False
        self._gate = Guard()
        self._held = False
        self._signalled = False
        self._bridge: deque[tuple[Any, Any]] = deque()
        self._on: Any = None
        self._timer: Any = None
        self._timer_due = 0.0
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
        self._async = self.loop.async_()
        self._async.start(self._drain)
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
        self._again.close()
        if self._timer is not None:
            self._timer.close()
        if not self.own_thread:
            # A greenlet of the host's may still be parked through this backend: the bridge stays, but keeps no loop
            # alive.
            self._async.ref = False
            self._ended.offer(None)
            return
        self.ident = STOPPED
        self._async.close()
        if self._held:
            self._held = False
            self.work.down()
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
            return self._offer(target, item)
        self._bridge.append((target, item))
        if not self._signalled:
            self._signal()
        return True

    def _offer(self, target: Target, item: Any) -> Future[None]:
        """Deliver to a target that may refuse or let wait, with its answer to come."""
        room: Future[None] = Future()
        self.cross(_Offer(target, room), item)
        return room

    def cross(self, target: Any, item: Any) -> None:
        """Let `target.deliver(item)` be called on the hub."""
        self._bridge.append((target, item))
        if not self._signalled:
            self._signal()

    def kill(self, task: Task) -> None:
        self.call(lambda: self.make_ready(_Throw(task)))

    def call(self, fn: Callable[[], object]) -> None:
        if get_ident() == self.ident:
            fn()
        else:
            self.cross(_Call(fn), None)

    def mark_forked(self) -> None:
        super().mark_forked()
        # The hub's thread did not come along, and whoever held the gate then will never open it here.
        self.ident = FORKED
        self._gate = Guard()
        self._signalled = False

    def drive(self, fn: Callable[[], None]) -> None:
        if not self.own_thread or self.ident <= 0:
            fn()
            return
        ended: Future[None] = Future()
        self.cross(_Call(lambda: greenlet(lambda: _settle(ended, fn), parent=self.hub).switch()), None)
        ended.get()

    def running(self) -> str | None:
        """Return the path of the actor that has the hub now, None when it is idle."""
        on = self._on
        if isinstance(on, _Parked):
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
        self.cross(_Call(self._forgive), None)

    def stop(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        self.call(lambda: self.make_ready(self))
        clean = self._ended.settled(timeout)
        if self.own_thread and clean and self._thread is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
        return clean

    def _signal(self) -> None:
        with self._gate:
            if self.forked:
                raise ForkedSystem(self.owner)
            if self._signalled or self.ident == STOPPED:
                return
            self._signalled = True
            self._hold()
        self._async.send()

    def _hold(self) -> None:
        if not self._held:
            self._held = True
            self.work.up()

    # -- on the hub's thread

    def task(self) -> Task | None:
        here = getcurrent()
        return here.current if type(here) is _Worker else None

    def wait(self, future: Future[Any], timeout: float | None, virtual: bool) -> bool:
        here = getcurrent()
        if here is self.hub:
            raise WouldBlock(
                f"waiting for {future.describe()} on the hub itself would stop every actor; wait in an actor"
            )
        task: Task | None = here.current if type(here) is _Worker else None
        if task is not None:
            task.waiting_for = future
            asked = future.target.present if future.target is not None else None
            if asked is not None and (asked is task or asked.waiting_for is not None):
                future.refuse_cycle(task, virtual)
        parked = _Parked(self, here)
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
                    task.hung = False
                    self._activate()
            if timer is not None:
                timer.cancel()
            if not future.done:
                future.forget(wake)
        return future.done

    def schedule(self, task: Task) -> None:
        self._activate()
        self.ready.append(task)
        if not self._kicked:
            self._kick()

    def make_ready(self, item: Any) -> None:
        """Let `item.resume()` be called in its turn."""
        self.ready.append(item)
        if not self._kicked:
            self._kick()

    def released(self, task: Task, worker: _Worker) -> bool:
        """Take back a worker after a task's turn; returns whether it is kept."""
        if (task.mailbox or task.urgent) and not task.dead:
            if task.hung:
                task.hung = False
                self._activate()
            self.ready.append(task)
        else:
            task.scheduled = False
            if task.freed is not None:
                task.freed.offer(None)
            if task.hung:
                task.hung = False
            else:
                self._active -= 1
        if not self._kicked:
            self._kick()
        if len(self._pool) >= IDLE_WORKERS:
            return False
        self._pool.append(worker)
        return True

    def _kick(self) -> None:
        self._kicked = True
        self.loop.run_callback(self._turn)

    def _activate(self) -> None:
        self._active += 1
        if not self._held:
            with self._gate:
                self._hold()

    def _turn(self) -> None:
        ready, pool, bridge = self.ready, self._pool, self._bridge
        until, looks = time.monotonic() + SLICE, TURNS_BETWEEN_LOOKS
        while ready:
            looks -= 1
            if not looks:
                looks = TURNS_BETWEEN_LOOKS
                if bridge:
                    self._take_bridge()
                if time.monotonic() > until:
                    break
            self.turns += 1
            item = ready.popleft()
            self._on = item
            if type(item) in RESUMED:
                item.resume()
            else:
                worker = pool.pop() if pool else _Worker(self)
                worker.switch(item)
        self._on = None
        if ready:
            # Not run_callback: gevent runs many callbacks before it looks at its watchers again, and a flood would
            # starve them.
            self._again.start(self._turn, update=False)
        else:
            self._kicked = False
            self._give_back()

    def _drain(self) -> None:
        kicked, self._kicked = self._kicked, True
        self._signalled = False
        self._take_bridge()
        if not kicked:
            self._turn()

    def _take_bridge(self) -> None:
        bridge = self._bridge
        for _ in range(len(bridge)):
            target, item = bridge.popleft()
            try:
                if not target.deliver(item):
                    target.lost(item)
            except Exception:
                logger.exception("a message from another thread failed")

    def _give_back(self) -> None:
        with self._gate:
            if not self._held or self.ready or self._active or self._signalled or self._bridge:
                return
            self._held = False
        self.work.down()

    def _forgive(self) -> None:
        for worker in self.workers:
            task = worker.current
            if task is not None and not task.hung:
                task.hung = True
                self._active -= 1

    # -- timers

    def _alarm(self, due: float) -> None:
        self.call(lambda: self._arm(due))

    def _arm(self, due: float) -> None:
        if self._timer is not None:
            if self._timer_due <= due:
                return
            self._timer.close()
        self._timer_due = due
        self._timer = self.loop.timer(max(0.0, due - time.monotonic()))
        self._timer.start(self._fire, update=True)

    def _fire(self) -> None:
        self._timer.close()
        self._timer = None
        due = self.real.run_due()
        if due is not None:
            self._arm(due)


RESUMED = (_Parked, _Throw, GreenletBackend)


def _settle(ended: Future[None], fn: Callable[[], None]) -> None:
    try:
        fn()
    except BaseException as error:  # noqa: B036 - whatever it was, the one who waits gets it
        ended.offer(None, error)
    else:
        ended.offer(None)
