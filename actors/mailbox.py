"""Bounded mailboxes: what happens when messages come faster than they are handled.

`block` lets senders wait, first come first served; `refuse` raises MailboxFull in the sender; `drop_newest` and
`drop_oldest` lose a message, and an ask that is lost fails with MailboxFull. What the system itself sends (timers,
`Down`, stops) is never bounded.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from actors.backends.base import Envelope, current_task
from actors.backends.futures import Future
from actors.cell import Cell
from actors.errors import MailboxFull, WouldBlock
from actors.events import MessageLost
from actors.messages import DownFor, Stop, Tick
from actors.spec import ChildSpec, Mailbox, Overflow

if TYPE_CHECKING:
    from actors.slot import Slot
    from actors.system import System

__all__ = ["BoundedCell", "make_cell"]

UNBOUNDED = (Tick, DownFor, Stop)


class BoundedCell(Cell):
    """An incarnation with a bounded mailbox; `dropped`, `refused` and `blocked` count what came to a full one."""

    __slots__ = ("_bounds", "_senders", "blocked", "dropped", "refused")

    bounded = True
    plain = False

    def __init__(self, bounds: Mailbox, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._bounds = bounds
        self._senders: deque[tuple[Envelope, Future[None]]] = deque()
        self.dropped = self.refused = self.blocked = 0

    def deliver(self, item: Any) -> bool | Future[None]:
        full = type(item) is tuple and len(self.mailbox) >= self._bounds.size and type(item[0]) not in UNBOUNDED
        if self.dead or not full:
            return super().deliver(item)
        match self._bounds.overflow:
            case Overflow.BLOCK:
                return self._block(item)
            case Overflow.REFUSE:
                self.refused += 1
                return _failed(self._error())
            case Overflow.DROP_NEWEST:
                self._drop(item)
                return True
            case Overflow.DROP_OLDEST:
                taken = super().deliver(item)
                self._drop_oldest(item)
                return taken

    def counters(self) -> dict[str, int]:
        return {"dropped": self.dropped, "refused": self.refused, "blocked": self.blocked}

    def take(self) -> Envelope:
        # Under the lock, since a sender in another thread may be about to drop the oldest. It puts its own message in
        # before, so there is always one to take.
        with self.lock:
            envelope = self.mailbox.popleft()
            if self._senders and len(self.mailbox) < self._bounds.size:
                waiting, room = self._senders.popleft()
                self.mailbox.append(waiting)
                room.offer(None)
            return envelope

    def _answer(self, left: list[Envelope], signals: Any) -> None:
        while self._senders:
            envelope, room = self._senders.popleft()
            if not self._pass_on(envelope):
                room.offer(None, self.dead_error())
                self.lost(envelope)
            else:
                room.offer(None)
        super()._answer(left, signals)

    def _pass_on(self, envelope: Envelope) -> bool:
        """Let the successor have what a blocked sender told a name that survives restarts."""
        if self.slot is None or envelope[1] is not None or envelope[2] is not self.slot:
            return False
        return self.backend.post(self.slot, envelope) is True

    def _block(self, item: Envelope) -> Future[None]:
        if current_task() is self:
            return _failed(
                WouldBlock(f"{self.path} tells itself and its mailbox is full: it would wait for itself for ever")
            )
        self.blocked += 1
        room: Future[None] = Future()
        room.target = self
        self._senders.append((item, room))
        return room

    def _drop_oldest(self, newest: Envelope) -> None:
        for index, envelope in enumerate(self.mailbox):
            if type(envelope[0]) not in UNBOUNDED and envelope is not newest:
                del self.mailbox[index]
                self._drop(envelope)
                return

    def _drop(self, envelope: Envelope) -> None:
        self.dropped += 1
        if envelope[1] is not None:
            envelope[1].offer(None, self._error())
        if self.system.events.listeners:
            self.system.events.emit(MessageLost(self.path, type(envelope[0]).__name__))

    def _error(self) -> MailboxFull:
        return MailboxFull(self.path, len(self.mailbox), self._bounds.overflow)


def make_cell(
    system: System, spec: ChildSpec, path: str, *, parent: Cell | None = None, slot: Slot | None = None
) -> Cell:
    """Return a new incarnation of what `spec` describes, not yet started."""
    bounds = spec.bounds
    if bounds is None:
        return Cell(system, spec.cls, path, args=spec.args, kwargs=spec.kwargs, parent=parent, slot=slot)
    return BoundedCell(bounds, system, spec.cls, path, args=spec.args, kwargs=spec.kwargs, parent=parent, slot=slot)


def _failed(error: BaseException) -> Future[None]:
    future: Future[None] = Future()
    future.set_exception(error)
    return future
