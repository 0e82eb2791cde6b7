"""How greenlets of a hub ask and wait: parked, while the hub goes on with others."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

from greenlet import getcurrent

from actors.backends.answers import GreenletAnswer, ask_for_future, note_room
from actors.backends.base import Backend, Envelope, Target, Task
from actors.backends.bridge import Bridge
from actors.backends.futures import Future, refuse_cycle
from actors.backends.workers import Parked, Worker
from actors.clock import RealClock
from actors.errors import AskTimeout, WouldBlock

__all__ = ["LOOK", "STRAIGHT", "Parking"]

LOOK = 15
"""A mask: when the count of turns has none of these bits, the hub looks at the bridge and at the time."""

STRAIGHT = 63
"""The same mask for asks that go straight from asker to asked and back: the way over the hub costs more than the ask.

With 15 an ask took 3.3 µs, with 63 3.15, with 1023 no less.
"""


class Parking(Backend):
    """The part of a backend on a hub that asks and waits; everything here runs on the hub's thread."""

    real: RealClock
    hub: Any
    ident: int
    switch_to_hub: Callable[[], Any]
    bridge: Bridge
    ready: deque[Any]
    """What goes on next: tasks with messages, and what was parked and waits no longer."""
    kicked: bool
    workers: set[Worker]
    pool: list[Worker]
    active: int
    """How many tasks are in the middle of something or ready for it."""
    turns: int
    on: Any
    """What has the hub now."""

    @abstractmethod
    def kick(self) -> None:
        """Let the hub look at what is ready."""

    @abstractmethod
    def make_ready(self, item: Any) -> None:
        """Let `item.resume()` be called in its turn."""

    @abstractmethod
    def released(self, task: Task, worker: Worker) -> Callable[[], Any] | None:
        """Take back a worker after a task's turn; returns where it should switch to, None when it is not kept."""

    @abstractmethod
    def cross(self, target: Any, item: Any) -> None:
        """Let `target.deliver(item)` be called on the hub; from any thread."""

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
                    self.own_up(task)
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
            if asked is None or asked.scheduled or asked.dead or self.ready or not self.turns & STRAIGHT:
                self._deliver(target, (message, answer, slot))
                if not answer.done:
                    self.switch_to_hub()
            else:
                # The asked actor is idle and would be next: there without going over the hub.
                asked.scheduled = True
                asked.mailbox.append((message, answer, slot))
                self.active += 1
                if not self.bridge.held:
                    self.bridge.hold()
                self.turns += 1
                self.on = asked
                (self.pool.pop() if self.pool else Worker(self)).switch(asked)
        finally:
            answer.greenlet = task.waiting_for = None
            if timer is not None:
                timer.cancel()
            if task.hung:
                self.own_up(task)
        if not answer.done:
            raise AskTimeout(answer.describe(), timeout or 0.0)
        if answer.error is not None:
            raise answer.error
        return answer.value

    def _deliver(self, target: Target, envelope: Envelope) -> None:
        taken = target.deliver(envelope)
        if taken is not True and envelope[1] is not None:
            note_room(target, taken, envelope[1])

    def own_up(self, task: Task) -> None:
        """Count a task that goes on after all."""
        task.hung = False
        self.active += 1
        if not self.bridge.held:
            self.bridge.hold()

    def _ask_elsewhere(self, target: Any, message: Any, slot: Any, timeout: float | None) -> Any:
        task = self.task()
        if task is not None:
            refuse_cycle(task, target)
        return ask_for_future(target, message, slot).get(timeout=timeout)
