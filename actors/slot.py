"""The place of a supervised child: the name that survives restarts.

A message sent to a slot between a crash and the restart waits in `pending`; so does what was still in the mailbox
of the crashed actor, ahead of it. The successor gets both first, so each sender's messages keep their order and
none is lost but the one in hand.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from actors.backends.base import Envelope, Target
from actors.backends.futures import Future
from actors.cell import Cell
from actors.errors import ActorDeadError
from actors.mailbox import make_cell
from actors.messages import Stop
from actors.raw import Guard
from actors.signals import answer_for
from actors.spec import ChildSpec
from actors.strategies import will_restart

if TYPE_CHECKING:
    from actors.intensity import Intensity
    from actors.ref import ActorRef
    from actors.system import System

__all__ = ["BROKEN", "RESTARTING", "RUNNING", "STOPPED", "Slot"]

RUNNING = "running"
RESTARTING = "restarting"
STOPPED = "stopped"
BROKEN = "broken"


class Slot(Target):
    """One child of a supervisor over all its incarnations."""

    __slots__ = (
        "_ref",
        "backend",
        "budget",
        "cell",
        "children",
        "crashes",
        "id",
        "lock",
        "path",
        "pending",
        "reason",
        "restarted_at",
        "restarts",
        "spec",
        "state",
        "system",
        "timer",
    )

    def __init__(self, system: System, spec: ChildSpec, id: str, path: str) -> None:
        self.system = system
        self.backend = system.backend
        self.lock: Any = Guard()
        self.spec = spec
        self.id = id
        self.path = path
        self.cell: Cell | None = None
        self.state = STOPPED
        self.reason: Any = None
        self.restarts = 0
        self.pending: deque[Envelope] = deque()
        self.children: dict[str, Slot] = {}
        self.budget: Intensity | None = None
        self.crashes = 0
        self.restarted_at = 0.0
        self.timer: Any = None
        self._ref: ActorRef | None = None

    @property
    def ref(self) -> ActorRef:
        """Return the ref that survives restarts."""
        if self._ref is None:
            self._ref = self.spec.cls.ref_class(self)
        return self._ref

    @property
    def bounded(self) -> bool:
        """Tell whether delivering may have to wait for room."""
        return self.spec.bounds is not None

    @property
    def present(self) -> Cell | None:
        return self.cell

    @property
    def alive(self) -> bool:
        """Tell whether there is an incarnation that has not ended."""
        return self.cell is not None and not self.cell.dead

    def deliver(self, item: Any) -> bool | Future[None]:
        if self.cell is not None and not self.cell.dead:
            return self.cell.deliver(item)
        if type(item) is tuple and self._expects_successor() and type(item[0]) is not Stop:
            self.pending.append(item)
            return True
        return False

    def refuses(self) -> bool:
        return not self.alive and not self._expects_successor()

    def lost(self, item: Any) -> None:
        if self.cell is not None:
            answer_for(self.cell, item)
        elif type(item) is tuple and item[1] is not None:
            item[1].offer(None, self.dead_error())

    def dead_error(self) -> ActorDeadError:
        """Return the error that a message to this ended child gets."""
        return ActorDeadError(self.path, self.reason if self.cell is None else self.cell.reason)

    def renew(self, parent: Cell) -> Cell:
        """Make the next incarnation, not yet started; it has what waits here in its mailbox already."""
        spec = self.spec
        cell = make_cell(self.system, spec, self.path, parent=parent, slot=self)
        with self.lock:
            cell.mailbox.extend(self.pending)
            self.pending.clear()
            self.cell = cell
            self.state = RUNNING
        return cell

    def keep(self, cell: Cell, left: list[Envelope]) -> list[Envelope]:
        """Keep what the successor of the ending `cell` should get; returns the rest. Called under the lock."""
        if cell is not self.cell or not self._expects_successor():
            return left
        self.pending.extend(envelope for envelope in left if envelope[2] is self and envelope[1] is None)
        return [envelope for envelope in left if envelope[2] is not self or envelope[1] is not None]

    def close(self, state: str = STOPPED) -> None:
        """Expect no successor any more: what waits is answered for, here and under a supervisor's children."""
        with self.lock:
            self.state = state
            left = list(self.pending)
            self.pending.clear()
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        for envelope in left:
            self.lost(envelope)
        for child in self.children.values():
            child.close()

    def _expects_successor(self) -> bool:
        if self.state == RUNNING:
            return self.cell is not None and will_restart(self.spec.restart, self.cell.reason)
        return self.state == RESTARTING
