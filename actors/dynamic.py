"""The dynamic supervisor: many children of the same kind, started and stopped at any time, each in constant time.

Options: `max_restarts` within `max_seconds` for all children together (default 3 in 5), or `quarantine`, a budget
for each child alone: past it the child is parked as `broken` and tried again later, and neither its siblings nor
the supervisor notice. `max_children` bounds their number, `extra_args` come before each child's own arguments,
`backoff` pauses before restarts (default none). Events: ActorRestarted, ChildParked, SupervisorGaveUp,
ChildAbandoned.

Source: https://hexdocs.pm/elixir/DynamicSupervisor.html; `quarantine` is our own.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from actors.children import Parent, ParentRef
from actors.errors import ChildExists, ChildNotFound, ChildStartError, GaveUp, SpecError, TooManyChildren
from actors.events import ChildParked, SupervisorGaveUp
from actors.intensity import Intensity
from actors.messages import ChildExited, Shutdown
from actors.ref import ActorRef
from actors.shutdown import shut_down, stop_all
from actors.slot import BROKEN, RESTARTING, Slot
from actors.spec import Backoff, ChildSpec, Quarantine, not_negative
from actors.strategies import will_restart

__all__ = ["DynamicSupervisor", "DynamicSupervisorRef"]

logger = logging.getLogger("actors")


@dataclass(frozen=True, slots=True)
class _Again:
    """The supervisor's message to itself to start a child again.

    `counts` when the last try failed, which is a crash of its own.
    """

    slot: Slot
    reason: Any
    counts: bool


class DynamicSupervisorRef(ParentRef):
    """A ref of a dynamic supervisor, with its calls."""

    def terminate_child(self, child: str | ActorRef) -> None:
        """Stop and forget a child, by id or ref. Raises ChildNotFound."""
        self._call("terminate_child", child)


class DynamicSupervisor(Parent):
    """A supervisor of many children."""

    ref_class = DynamicSupervisorRef
    CALLS = Parent.CALLS | {"terminate_child"}

    def init(
        self,
        children: Sequence[ChildSpec] = (),
        *,
        max_restarts: int = 3,
        max_seconds: float = 5.0,
        quarantine: Quarantine | None = None,
        max_children: int | None = None,
        extra_args: Sequence[Any] = (),
        backoff: Backoff | None = None,
    ) -> None:
        """Take the options, and start `children` in order. Raises SpecError, ChildStartError."""
        self._intensity = Intensity(max_restarts, max_seconds)
        self._quarantine = quarantine
        self._max_children = not_negative("max_children", max_children) if max_children is not None else None
        self._extra_args = tuple(extra_args)
        self._backoff = backoff
        self._serial = itertools.count(1)
        self.move_in()
        for spec in children:
            try:
                self.start_child(spec)
            except ChildStartError:
                self.terminate("shutdown")
                raise

    def handle(self, message: Any) -> Any:
        """Try a start again, or pass on what is not the supervisor's."""
        if not isinstance(message, _Again):
            return super().handle(message)
        slot = message.slot
        if self.slots.get(slot.id) is slot and slot.state in (RESTARTING, BROKEN):
            if slot.state == BROKEN:
                slot.budget = None
            if message.counts:
                self._recover(slot, message.reason)
            else:
                self._restart(slot, message.reason)
        return None

    def terminate(self, reason: Any) -> None:
        """Stop all children, side by side."""
        state = self.fate_of_names(reason)
        slots = list(self.slots.values())
        for slot in slots:
            slot.state = state
        self._stop_side_by_side(slots)
        if state != RESTARTING:
            for slot in slots:
                slot.close()

    def child_exited(self, signal: ChildExited) -> None:
        """Act on a child's end by itself."""
        if not self.is_current(signal):
            return
        slot: Slot = signal.slot
        slot.reason = signal.reason
        if will_restart(slot.spec.restart, signal.reason):
            self._recover(slot, signal.reason)
        else:
            self._drop(slot)

    # -- calls

    def start_child(self, spec: ChildSpec) -> Any:
        """Add and start a child; without an id it gets one of its own."""
        if not isinstance(spec, ChildSpec):
            raise SpecError(f"expected a ChildSpec, got: {spec!r}")
        id = spec.id if spec.id is not None else f"{spec.cls.__name__}-{next(self._serial)}"
        if id in self.slots:
            raise ChildExists(id)
        if self._max_children is not None and len(self.slots) >= self._max_children:
            raise TooManyChildren(id, self._max_children)
        if self._extra_args:
            spec = replace(spec, args=(*self._extra_args, *spec.args))
        slot = self.slots[id] = self.slot_for(spec, id)
        error = self.launch(slot)
        if error is not None:
            self._drop(slot)
            raise ChildStartError(id, error)
        return slot.ref

    def terminate_child(self, child: str | ActorRef) -> None:
        """Stop and forget a child."""
        slot = self._find(child)
        del self.slots[slot.id]
        if slot.cell is not None:
            shut_down(slot.cell, slot.spec.patience)
        slot.close()

    # -- restarts

    def _recover(self, slot: Slot, reason: Any) -> None:
        """Count a crash, by the child's own budget or by the common one; then park, give up, or restart."""
        now = self.clock.monotonic()
        if self._quarantine is not None:
            budget = slot.budget or Intensity(self._quarantine.max_restarts, self._quarantine.max_seconds)
            slot.budget = budget.spend(now)
            if slot.budget.exceeded:
                self._park(slot, reason, self._quarantine.retry_after)
                return
        else:
            self._intensity = self._intensity.spend(now)
            if self._intensity.exceeded:
                self._give_up(slot, reason)
                return
        backoff = slot.spec.backoff or self._backoff
        if backoff is None:
            self._restart(slot, reason)
            return
        quiet = now - slot.restarted_at > backoff.reset_after
        slot.crashes = 1 if quiet else slot.crashes + 1
        slot.state = RESTARTING
        slot.timer = self.send_after(backoff.delay(slot.crashes), _Again(slot, reason, counts=False))

    def _restart(self, slot: Slot, reason: Any) -> None:
        slot.state = RESTARTING
        error = self.launch(slot)
        if error is None:
            self.count_restart(slot, reason)
        else:
            slot.state = RESTARTING
            self.ref.tell(_Again(slot, error, counts=True))

    def _park(self, slot: Slot, reason: Any, retry_after: float) -> None:
        slot.close(BROKEN)
        slot.timer = self.send_after(retry_after, _Again(slot, reason, counts=False))
        self.system.events.emit(ChildParked(slot.path, slot.id, reason, retry_after))
        self.child_parked(slot.id, reason)

    def _give_up(self, slot: Slot, reason: Any) -> None:
        error = GaveUp(self._cell.path, slot.id, self._intensity.max_restarts, self._intensity.max_seconds, reason)
        logger.error("%s", error)
        self.system.events.emit(SupervisorGaveUp(self._cell.path, slot.id, reason))
        self.stop(Shutdown(error))

    # -- children

    def _find(self, child: str | ActorRef) -> Slot:
        id = child if isinstance(child, str) else child.path.rpartition("/")[2]
        slot = self.slots.get(id)
        if slot is None or (isinstance(child, ActorRef) and child._slot is not slot and child.cell is not slot.cell):
            raise ChildNotFound(id)
        return slot

    def _drop(self, slot: Slot) -> None:
        self.slots.pop(slot.id, None)
        slot.close()

    def _stop_side_by_side(self, slots: Sequence[Slot]) -> None:
        by_patience: dict[float | None, list[Any]] = {}
        for slot in slots:
            if slot.cell is not None and slot.alive:
                by_patience.setdefault(slot.spec.patience, []).append(slot.cell)
        for patience, cells in by_patience.items():
            stop_all(cells, patience)
