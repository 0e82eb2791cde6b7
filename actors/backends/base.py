"""What the two backends have in common: the task that they run, and who runs in the thread that asks.

A task is a mailbox with a turn. At most one thread or greenlet takes a task's turn at a time; `deliver` is only
called with exclusive access to the task (in the hub's thread, or under the task's lock), through the backend's
`post`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from actors.raw import Guard, get_ident

if TYPE_CHECKING:
    from actors.backends.futures import Future
    from actors.clock import Clock
    from actors.backends.work import WorkCount

__all__ = ["RUNNERS", "Ask", "Backend", "Envelope", "Reply", "Runner", "Target", "Task", "current_task"]


class Reply(Protocol):
    """Where the answer to an ask goes: a future, or what stands for one while an asker waits."""

    target: Target | None

    def offer(self, value: Any, error: BaseException | None = None) -> object:
        """Answer, from any thread; what comes after the first answer goes nowhere."""
        ...


Envelope = tuple[Any, Reply | None, Any]
"""A message on its way.

What, where the answer to an ask goes or None, and the slot when it was sent to a name that survives restarts.
"""


class Target(ABC):
    """What can be sent to: a task, or a name that stands for one."""

    __slots__ = ()

    backend: Backend
    lock: Any

    @property
    @abstractmethod
    def bounded(self) -> bool:
        """Tell whether delivering may have to wait, or be refused, for want of room."""

    @abstractmethod
    def deliver(self, item: Any) -> bool | Future[None]:
        """Take an envelope (a tuple) or a signal; returns False when the target has ended.

        Called with exclusive access. A bounded target may answer later, with a future that is set when the item is in
        or failed when it is refused.
        """

    @property
    @abstractmethod
    def present(self) -> Task | None:
        """Return the task that would get a message now."""

    @abstractmethod
    def refuses(self) -> bool:
        """Tell whether a message would be refused now; may be asked from any thread."""

    @abstractmethod
    def dead_error(self) -> Exception:
        """Return the error that a message to this ended target gets."""

    @abstractmethod
    def lost(self, item: Any) -> None:
        """Answer for an item that could not be delivered."""

    def send(self, item: Any) -> None:
        """Deliver from any thread, or answer for what can't be delivered."""
        if not self.backend.post(self, item):
            self.lost(item)


class Task(Target):
    """What a backend runs."""

    __slots__ = (
        "backend",
        "dead",
        "freed",
        "handled",
        "hung",
        "lock",
        "mailbox",
        "scheduled",
        "urgent",
        "waiting_for",
        "wakeup",
        "worker",
    )

    def __init__(self, backend: Backend, lock: Any = None) -> None:
        self.backend = backend
        self.lock = lock if lock is not None else Guard()
        self.mailbox: deque[Envelope] = deque()
        self.urgent: deque[Any] | None = None
        # Not yet started: what is delivered waits for the backend's start.
        self.scheduled = True
        self.dead = False
        self.hung = False
        self.handled = 0
        self.freed: Future[None] | None = None
        self.waiting_for: Reply | None = None
        self.wakeup: Any = None
        self.worker: Any = None

    @property
    @abstractmethod
    def path(self) -> str:
        """Return the name that threads, greenlets and reports show."""

    @abstractmethod
    def run(self) -> None:
        """Handle what waits; returns when nothing does, after a fair share, or when the task is dead."""

    @property
    def present(self) -> Task | None:
        return self

    @property
    def waits(self) -> bool:
        """Tell whether anything waits to be handled."""
        return bool(self.mailbox) or bool(self.urgent)

    def deliver(self, item: Any) -> bool | Future[None]:
        if self.dead:
            return False
        if type(item) is tuple:
            self.mailbox.append(item)
        elif self.urgent is None:
            self.urgent = deque((item,))
        else:
            self.urgent.append(item)
        if not self.scheduled:
            self.scheduled = True
            self.backend.schedule(self)
        return True

    def refuses(self) -> bool:
        return self.dead


Ask = Callable[["Target", Any, Any, "float | None"], Any]


class Runner(Protocol):
    """Whoever runs tasks in one operating system thread."""

    quick_ask: Ask | None
    """`(target, message, slot, timeout)`: a shorter way than a future for an ask that waits, where there is one."""

    def task(self) -> Task | None:
        """Return the task whose turn it is in the calling thread or greenlet."""
        ...

    def wait(self, future: Future[Any], timeout: float | None, virtual: bool) -> bool:
        """Wait for `future` without stopping other tasks.

        `virtual` timeouts count by the system's clock. Returns whether it is settled.
        """
        ...


class Backend(ABC):
    """Runs tasks; `owner` names the system, `forked` tells that this process is a fork of the one that started it."""

    name: str
    owner = ""
    forked = False
    fair_share = 256
    """Messages that one task handles in a turn, at most."""
    work: WorkCount
    quick_ask: Ask | None = None
    real: Clock
    """What measures the patience of those outside, as `ask` and `stop` have it."""
    clock: Clock

    @abstractmethod
    def start(self, task: Task) -> None:
        """Give a new task its first turn, with what was delivered to it before."""

    @abstractmethod
    def post(self, target: Target, item: Any) -> bool | Future[None]:
        """Deliver from any thread or greenlet; answers as `deliver` does, True when that is not known yet."""

    @abstractmethod
    def schedule(self, task: Task) -> None:
        """Give the task a turn; called by `deliver`."""

    @abstractmethod
    def kill(self, task: Task) -> None:
        """Break off what the dead task does now, where the backend can, and let go of its thread or greenlet."""

    @abstractmethod
    def call(self, fn: Callable[[], object]) -> None:
        """Call `fn` with exclusive access to all tasks that have no lock of their own."""

    @abstractmethod
    def reap(self, task: Task) -> Future[None]:
        """Return a future that is settled when the thread or greenlet of a dead task is free of it."""

    def interrupted(self, error: KeyboardInterrupt) -> bool:
        """Pass a Ctrl-C on that came in a task's turn; returns whether it was the host's, and not the task's own."""
        return False

    def mark_forked(self) -> None:
        """Let everything sent in this process, a fork, raise ForkedSystem."""
        self.forked = True

    def drive(self, fn: Callable[[], None]) -> None:
        """Call `fn`, which posts much and waits often, where that is cheapest; returns when it has ended."""
        fn()

    @abstractmethod
    def progress(self) -> int:
        """Return a number that changes whenever a task gets on; from any thread."""

    @abstractmethod
    def forgive(self) -> None:
        """Leave tasks that are in the middle of a message, and wait, out of the count of work until they go on."""

    @abstractmethod
    def stop(self, timeout: float) -> bool:
        """End the backend's own threads; returns whether they ended within `timeout` real seconds."""


RUNNERS: dict[int, Runner] = {}
"""Who runs in which operating system thread; threads that are not here are foreign."""


def current_task() -> Task | None:
    """Return the task in whose turn the caller runs, None outside of actors."""
    runner = RUNNERS.get(get_ident())
    return runner.task() if runner is not None else None
