"""The future: set from any thread, waited for from any thread or actor.

An actor on greenlets that waits lets the hub go on; a thread waits on a raw lock. pykka's `map filter reduce join`
work on it.
"""

from __future__ import annotations

import queue
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import pykka

from actors.backends.base import RUNNERS, Reply, Target, Task
from actors.clock import Clock
from actors.errors import AskCycleError, AskTimeout
from actors.raw import Lock, get_ident

__all__ = ["Future", "refuse_cycle", "wait_in_thread"]

T = TypeVar("T")
LONGEST_CHAIN = 10_000


class Future(pykka.Future[T]):
    """A value or an exception to come. Settled once; `set` on a settled one raises `queue.Full` as in pykka."""

    _get_hook: Callable[[float | None], T] | None = None
    _outcome: tuple[Any, BaseException | None] | None = None
    target: Target | None = None
    """Whose answer this is; None for a future of nobody's."""
    what = "the future"

    def __init__(self) -> None:
        # Without a lock, since a lock for each ask shows. Taking the one item of `_open` is what only one setter
        # can do; and 1. whoever waits adds itself first and then looks for an outcome, 2. whoever settles sets the
        # outcome first and then takes the waiters one by one: so each waiter is either woken or has seen the
        # outcome, and takes itself back. pykka's own constructor only sets what the class sets here.
        self._open = [True]
        self._waiters: list[Callable[[], object]] = []

    def get(self, *, timeout: float | None = None) -> Any:
        """Return the value, or raise the exception, waiting for it up to `timeout` seconds.

        In an actor the timeout counts by the system's clock, elsewhere it is real time. Raises AskTimeout.
        """
        if self._get_hook is not None:
            return super().get(timeout=timeout)
        outcome = self._outcome
        if outcome is None:
            if not self._wait(timeout, virtual=True):
                raise AskTimeout(self.describe(), timeout or 0.0)
            outcome = self._outcome
            assert outcome is not None
        value, error = outcome
        if error is not None:
            raise error
        return value

    def settled(self, timeout: float | None = None) -> bool:
        """Wait up to `timeout` seconds of real time; returns whether there is a value or an exception."""
        return self._outcome is not None or self._wait(timeout, virtual=False)

    @property
    def done(self) -> bool:
        """Tell whether there is a value or an exception."""
        return self._outcome is not None

    @property
    def value(self) -> Any:
        """Return the value of a settled future, None for an exception."""
        return self._outcome[0] if self._outcome is not None else None

    def exception(self) -> BaseException | None:
        """Return the exception of a settled future, None for a value."""
        return self._outcome[1] if self._outcome is not None else None

    def set(self, value: Any = None) -> None:
        """Settle with `value`. Raises queue.Full when settled already."""
        if not self.offer(value):
            raise queue.Full

    def set_exception(self, exc_info: Any = None) -> None:
        """Settle with an exception.

        An `exc_info` triple, an exception, or by default the one being handled. Raises queue.Full.
        """
        if isinstance(exc_info, BaseException):
            error = exc_info
        else:
            error = (exc_info if exc_info is not None else sys.exc_info())[1] or TypeError("no exception was given")
        if not self.offer(None, error):
            raise queue.Full

    def offer(self, value: Any, error: BaseException | None = None) -> bool:
        """Settle if that has not happened yet; returns whether it did."""
        try:
            self._open.pop()
        except IndexError:
            return False
        self._outcome = (value, error)
        waiters = self._waiters
        while waiters:
            try:
                wake = waiters.pop(0)
            except IndexError:
                break
            wake()
        return True

    def on_done(self, wake: Callable[[], object]) -> bool:
        """Call `wake()` once when this is settled, in the settling thread.

        Returns False, and calls nothing, when it is already.
        """
        self._waiters.append(wake)
        return self._outcome is None or not self.forget(wake)

    def forget(self, wake: Callable[[], object]) -> bool:
        """Take back what `on_done` was given; returns whether it had not been called yet."""
        try:
            self._waiters.remove(wake)
        except ValueError:
            return False
        return True

    def set_get_hook(self, func: Callable[[float | None], T]) -> None:
        """Let `get` call `func(timeout)`: how pykka's `map filter reduce join` are made."""
        super().__init__()
        super().set_get_hook(func)
        self._open.clear()

    def describe(self) -> str:
        """Return whose answer this is, for messages."""
        return getattr(self.target, "path", self.what)

    def _wait(self, timeout: float | None, *, virtual: bool) -> bool:
        runner = RUNNERS.get(get_ident())
        return wait_in_thread(self, timeout, None) if runner is None else runner.wait(self, timeout, virtual)

    def refuse_cycle(self, task: Task, asks: bool) -> None:
        """Raise AskCycleError when `task`, which has said that it waits for this, would wait for ever.

        A supervisor that waits for its child does not ask (`asks` is False): the last one in the chain is refused
        instead.
        """
        cycle = find_cycle(task, self.target) if self.target is not None else None
        if cycle is None:
            return
        path, last = cycle
        if asks or last is None:
            raise AskCycleError(path)
        last.offer(None, AskCycleError(path))


Cycle = tuple[tuple[str, ...], Reply | None]


def find_cycle(asking: Task, target: Target) -> Cycle | None:
    """Return who waits for whom, and the last one's future, when `target` waits for `asking`, itself or over others."""
    at = target.present
    if at is None or (at is not asking and at.waiting_for is None):
        return None
    path = [asking.path]
    last: Reply | None = None
    while at is not None and len(path) < LONGEST_CHAIN:
        path.append(at.path)
        if at is asking:
            return tuple(path), last
        last = at.waiting_for
        at = last.target.present if last is not None and last.target is not None else None
    return None


def refuse_cycle(asking: Task, target: Target) -> None:
    """Raise AskCycleError when `asking` would wait for ever for `target`."""
    cycle = find_cycle(asking, target)
    if cycle is not None:
        raise AskCycleError(cycle[0])


def wait_in_thread(future: Future[Any], timeout: float | None, clock: Clock | None) -> bool:
    """Stop the calling operating system thread until `future` is settled.

    `clock` measures `timeout` when it is given.
    """
    if clock is not None and timeout is not None:
        either: Future[None] = Future()
        future.on_done(lambda: either.offer(None))
        timer = clock.call_after(timeout, lambda: either.offer(None))
        if not future.done:
            wait_in_thread(either, None, None)
        timer.cancel()
        return future.done
    bell = Lock()
    bell.acquire()
    if future.on_done(bell.release):
        bell.acquire(timeout=-1 if timeout is None else max(0.0, timeout))
        if not future.done:
            future.forget(bell.release)
    return future.done
