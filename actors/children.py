"""What both kinds of supervisors do with their children: start, stop, pass on, answer calls about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from actors.actor import Actor
from actors.errors import ActorDeadError, ActorError, ChildNotFound, SpecError
from actors.events import ActorRestarted
from actors.messages import ChildExited
from actors.ref import ActorRef
from actors.shutdown import shut_down
from actors.slot import RESTARTING, RUNNING, STOPPED, Slot
from actors.spec import ChildSpec
from actors.strategies import will_restart

__all__ = ["Call", "ChildCounts", "ChildRow", "Parent", "ParentRef"]


@dataclass(frozen=True, slots=True)
class ChildRow:
    """One child: `state` is `running restarting stopped broken`, `restarts` counts since it was added."""

    id: str
    ref: ActorRef
    cls: str
    state: str
    restart: str
    restarts: int


@dataclass(frozen=True, slots=True)
class ChildCounts:
    """How many children there are.

    All specifications, those that run, and of all how many are supervisors or workers.
    """

    specs: int
    active: int
    supervisors: int
    workers: int

    def __getitem__(self, name: str) -> int:
        count: int = getattr(self, name)
        return count


@dataclass(frozen=True, slots=True)
class Call:
    """A call to a supervisor, by the name of its method."""

    method: str
    arguments: tuple[Any, ...]


class ParentRef(ActorRef):
    """A ref of a supervisor, with the calls that both kinds answer."""

    def child(self, id: str) -> Any:
        """Return the ref of a child that survives its restarts.

        Raises ChildNotFound, and ActorDeadError when the supervisor has ended.
        """
        slots = self._slots()
        if id not in slots:
            raise ChildNotFound(id, tuple(slots))
        return slots[id].ref

    def which_children(self) -> list[ChildRow]:
        """Return a row for each child, in start order."""
        rows: list[ChildRow] = self._call("which_children")
        return rows

    def count_children(self) -> ChildCounts:
        """Return how many children there are, of which kind."""
        counts: ChildCounts = self._call("count_children")
        return counts

    def start_child(self, spec: ChildSpec) -> Any:
        """Add and start a child; returns its ref that survives restarts.

        Raises ChildExists for a taken id, and ChildStartError, without adding it, when its `init` fails.
        """
        return self._call("start_child", spec)

    def _call(self, method: str, *arguments: Any) -> Any:
        answered, value = self.ask(Call(method, arguments))
        if not answered:
            raise value
        return value

    def _slots(self) -> dict[str, Slot]:
        if self._slot is not None:
            return self._slot.children
        cell = self.cell
        actor = cell.actor if cell is not None else None
        if actor is None:
            raise ActorDeadError(self.path, cell.reason if cell is not None else None)
        slots: dict[str, Slot] = actor.slots
        return slots


class Parent(Actor):
    """Base of supervisors. Children's ends come as signals, ahead of the mailbox: a flooded supervisor supervises."""

    supervises: ClassVar[bool] = True
    ref_class = ParentRef
    CALLS: ClassVar[frozenset[str]] = frozenset({"count_children", "start_child", "which_children"})

    slots: dict[str, Slot]
    _inherited: dict[str, Slot]

    def move_in(self) -> None:
        """Take over the names of the predecessor's children, so that refs to them survive this restart too."""
        own = self._cell.slot
        self._inherited = own.children if own is not None else {}
        self.slots = {}
        if own is not None:
            own.children = self.slots

    def settle_in(self) -> None:
        """Give up the names of the predecessor's children that were not started again."""
        for slot in self._inherited.values():
            slot.close()
        self._inherited = {}

    def receive(self, message: Any) -> Any:
        """Answer a call; anything else goes to `handle`."""
        if not isinstance(message, Call):
            return self.handle(message)
        try:
            if message.method not in self.CALLS:
                raise SpecError(f"a {type(self).__name__} does not answer {message.method}")
            method: Callable[..., Any] = getattr(self, message.method)
            return True, method(*message.arguments)
        except ActorError as error:
            return False, error

    def handle(self, message: Any) -> Any:
        """Handle a message that is no call; by default pykka's `on_receive`."""
        return self.on_receive(message)

    def describe(self) -> dict[str, Any]:
        """Return the children with their states."""
        return {"children": {slot.id: slot.state for slot in self.slots.values()}}

    # -- calls

    def which_children(self) -> list[ChildRow]:
        """Return a row for each child, in start order."""
        return [
            ChildRow(slot.id, slot.ref, slot.spec.cls.__name__, slot.state, slot.spec.restart, slot.restarts)
            for slot in self.slots.values()
        ]

    def count_children(self) -> ChildCounts:
        """Return how many children there are."""
        slots = self.slots.values()
        supervisors = sum(slot.spec.cls.supervises for slot in slots)
        return ChildCounts(
            len(slots), sum(slot.state == RUNNING for slot in slots), supervisors, len(slots) - supervisors
        )

    # -- one child

    def slot_for(self, spec: ChildSpec, id: str) -> Slot:
        """Return a place for `spec`: the predecessor's of that id, else a new one."""
        if not hasattr(spec.cls, "ref_class"):
            raise SpecError(f"expected child {id!r} to be an actor class, got: {spec.cls!r}")
        slot = self._inherited.pop(id, None)
        if slot is None:
            return Slot(self.system, spec, id, f"{self._cell.path}/{id}")
        slot.spec = spec
        return slot

    def launch(self, slot: Slot) -> BaseException | None:
        """Start the next incarnation and wait for its `init`; returns what went wrong."""
        started = slot.renew(self._cell).launch()
        started.settled()
        error = started.exception()
        if error is not None:
            slot.reason = error
        return error

    def count_restart(self, slot: Slot, reason: Any) -> None:
        """Note that a child has been started again."""
        slot.restarts += 1
        slot.restarted_at = self.clock.monotonic()
        if self.system.events.listeners:
            self.system.events.emit(ActorRestarted(slot.path, slot.id, reason, slot.restarts))
        self.child_restarted(slot.id, reason)

    def stop_child(self, slot: Slot, state: str) -> None:
        """Stop a child as its specification says; `state` is what becomes of its name."""
        if state == RESTARTING:
            slot.state = state
        cell = slot.cell
        if cell is not None:
            if state != RESTARTING:
                slot.state = STOPPED
            shut_down(cell, slot.spec.patience)
            slot.reason = cell.reason
        if state != RESTARTING:
            slot.close(state)

    def fate_of_names(self, reason: Any) -> str:
        """Return what becomes of the children's names when this supervisor ends.

        They wait when it will be restarted.
        """
        own = self._cell.slot
        if own is None:
            return STOPPED
        waits = own.state == RESTARTING or (own.state == RUNNING and will_restart(own.spec.restart, reason))
        return RESTARTING if waits else STOPPED

    def is_current(self, signal: ChildExited) -> bool:
        """Tell whether a child's end is news: not of a child that was stopped on purpose or replaced."""
        slot: Slot = signal.slot
        return self.slots.get(slot.id) is slot and slot.cell is signal.cell and slot.state == RUNNING

    def orphan(self) -> None:
        """Kill all children: this supervisor has been killed."""
        for slot in reversed(list(self.slots.values())):
            if slot.cell is not None:
                slot.cell.kill()
            slot.close()

    def child_restarted(self, id: str, reason: Any) -> None:
        """Override to hear of restarts."""

    def child_parked(self, id: str, reason: Any) -> None:
        """Override to hear of children that are given up for a while."""
