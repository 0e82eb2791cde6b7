"""The base class of actors: pykka's class, with OTP's callbacks.

    init(*args, **kwargs)   runs in the actor; a failure here fails the start
    receive(message)        the return value answers an ask; an exception ends the actor, and an asker gets it
    terminate(reason)       runs when the actor stops or has crashed; reason is "normal", "shutdown" or the exception

An actor handles one message at a time. It waits only where that is its purpose: an actor that waits answers nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import pykka

from actors import monitors
from actors.backends.futures import Future
from actors.messages import NORMAL
from actors.ref import ActorRef
from actors.timers import Timer

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.clock import Clock
    from actors.system import System

__all__ = ["Actor"]


class Actor(pykka.Actor):
    """Base of actors; started by `system.start(cls, *args, **kwargs)` or by a supervisor.

    >>> from actors import System
    >>> class Counter(Actor):
    ...     def init(self, start=0):
    ...         self.count = start
    ...     def receive(self, message):
    ...         self.count += message
    ...         return self.count
    >>> with System() as system:
    ...     system.start(Counter, 1).ask(2)
    3
    """

    ref_class: ClassVar[type[ActorRef]] = ActorRef
    """The class of refs to such actors."""

    supervises: ClassVar[bool] = False
    """Whether such actors have children."""

    trap_exit: bool = False
    """Whether ends of linked actors arrive as `Exit` messages rather than end this one."""

    _cell: Cell

    def __init__(self) -> None:
        # pykka's constructor makes an inbox and a registered name; here both belong to the system.
        pass

    def init(self, *args: Any, **kwargs: Any) -> None:
        """Set up the actor, in the actor; by default calls pykka's `on_start`."""
        self.on_start()

    def receive(self, message: Any) -> Any:
        """Handle one message and return the answer; by default calls pykka's `on_receive`."""
        return self.on_receive(message)

    def terminate(self, reason: Any) -> None:
        """Clean up; by default calls pykka's `on_stop`."""
        self.on_stop()

    def describe(self) -> dict[str, Any]:
        """Return what to show about the state: by default the public attributes."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def snapshot(self) -> Any:
        """Return what `assert_actor_state` looks at: by default the actor itself."""
        return self

    # -- itself

    @property
    def ref(self) -> ActorRef:
        """Return the ref of this incarnation."""
        return self._cell.ref

    @property
    def actor_ref(self) -> ActorRef:
        """Return `ref`, under pykka's name."""
        return self._cell.ref

    @property
    def system(self) -> System:
        """Return the system that this actor lives in."""
        return self._cell.system

    @property
    def clock(self) -> Clock:
        """Return the system's clock."""
        return self._cell.system.clock

    def stop(self, reason: Any = NORMAL) -> None:
        """End this actor with `reason` when the message in hand has been handled."""
        self._cell.stopping = reason

    def defer(self) -> Future[Any]:
        """Answer the ask in hand later: set the returned future, from anywhere; what `receive` returns is then ignored.

        When the actor ends first, the asker gets ActorDeadError. For a message that was told, nobody waits for the
        future.
        """
        return self._cell.defer()

    # -- timers

    def send_after(self, delay: float, message: Any) -> Timer:
        """Send this actor `message` after `delay` seconds; returns the timer for `cancel`."""
        return Timer.once(self._cell, delay, message)

    def send_every(self, interval: float, message: Any) -> Timer:
        """Send this actor `message` every `interval` seconds, without drift; returns the timer for `cancel`.

        Ticks that come while one still waits in the mailbox are coalesced into it, and counted in `timer.coalesced`.
        """
        return Timer.every(self._cell, interval, message)

    def cancel(self, timer: Timer) -> None:
        """Stop a timer; its message does not come any more, even when it waits in the mailbox already."""
        timer.cancel()

    # -- others

    def monitor(self, ref: ActorRef) -> monitors.Token:
        """Get one `Down(ref, reason)` when the actor ends, at once when it has; returns the token for `demonitor`."""
        return monitors.monitor(self._cell, ref)

    def demonitor(self, token: monitors.Token) -> None:
        """Take back a monitor; its `Down` does not come any more."""
        monitors.demonitor(self._cell, token)

    def link(self, ref: ActorRef) -> None:
        """Tie both ends together: when either ends other than `normal`, so does the other, unless it traps exits."""
        monitors.link(self._cell, ref)

    def unlink(self, ref: ActorRef) -> None:
        """Take back a link; harmless when there is none."""
        monitors.unlink(self._cell, ref)

    def __str__(self) -> str:
        return f"{type(self).__name__} ({self._cell.path})"

    # -- pykka's hooks

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: an actor is started by its system."""
        raise TypeError(f"start {cls.__name__} in a system: system.start({cls.__name__}, ...)")

    @staticmethod
    def _create_actor_inbox() -> NoReturn:
        raise TypeError("the mailbox belongs to the system")

    @staticmethod
    def _create_future() -> Future[Any]:
        return Future()

    def _start_actor_loop(self) -> NoReturn:
        raise TypeError("the loop belongs to the system")
