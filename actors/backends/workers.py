"""Workers: the greenlets that take actors' turns, and how they are parked, woken and broken off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from greenlet import GreenletExit, greenlet

from actors.backends.base import Task
from actors.raw import get_ident

__all__ = ["Interrupt", "Killed", "Parked", "Throw", "Worker"]


class Killed(GreenletExit):
    """Thrown into an actor's greenlet to break it off."""


class Hub(Protocol):
    """What workers need of the backend that they work for."""

    hub: Any
    ident: int
    workers: set[Worker]

    def released(self, task: Task, worker: Worker) -> Callable[[], Any] | None:
        """Take back a worker after a task's turn; returns where it should switch to, None when it is not kept."""
        ...

    def make_ready(self, item: Any) -> None:
        """Let `item.resume()` be called in its turn."""
        ...

    def cross(self, target: Any, item: Any) -> None:
        """Let `target.deliver(item)` be called on the hub."""
        ...


class Worker(greenlet):
    """A greenlet that takes tasks' turns, one after the other."""

    __slots__ = ("_backend", "current")

    def __init__(self, backend: Hub) -> None:
        super().__init__(parent=backend.hub)
        self._backend = backend
        self.current: Task | None = None

    @property
    def name(self) -> str:
        """Return the path of the actor whose turn it is."""
        return self.current.path if self.current is not None else "actors-worker"

    def run(self, task: Task) -> None:
        """Take turns until the backend keeps the worker no longer."""
        backend = self._backend
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
            switch = backend.released(task, self)
            if switch is None:
                break
            try:
                task = switch()
            except GreenletExit:
                break
        backend.workers.discard(self)


class Parked:
    """A greenlet that waits; `wake` lets it go on, from any thread, once."""

    __slots__ = ("_backend", "greenlet", "waiting")

    def __init__(self, backend: Hub, parked: greenlet) -> None:
        self._backend = backend
        self.greenlet: greenlet | None = parked
        self.waiting = True

    def wake(self) -> None:
        """Let the greenlet go on; harmless the second time."""
        backend = self._backend
        if get_ident() != backend.ident:
            backend.cross(self, None)
        elif self.waiting:
            self.waiting = False
            backend.make_ready(self)

    def deliver(self, item: Any) -> bool:
        """Let the greenlet go on; called on the hub for a `wake` from another thread."""
        self.wake()
        return True

    def resume(self) -> None:
        """Go on, unless the greenlet has been broken off meanwhile."""
        if self.greenlet is not None:
            self.greenlet.switch()


class Throw:
    """A kill on its way to the greenlet that takes the task's turn."""

    __slots__ = ("_task",)

    def __init__(self, task: Task) -> None:
        self._task = task

    def resume(self) -> None:
        """Break off what the task does, if it still does anything."""
        worker = self._task.worker
        if worker is not None:
            worker.throw(Killed())


class Interrupt:
    """A Ctrl-C on its way to the host's main greenlet, in whose thread the hub is."""

    __slots__ = ("_error", "_hub")

    def __init__(self, hub: Any, error: KeyboardInterrupt) -> None:
        self._hub = hub
        self._error = error

    def resume(self) -> None:
        """Raise it where the main greenlet waits, as gevent does with one that comes in a greenlet of its own."""
        self._hub.handle_system_error(KeyboardInterrupt, self._error)
