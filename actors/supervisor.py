"""The supervisor: a fixed list of children in order, restarted by OTP's rules.

Options: `children` (ChildSpecs, started in order), `strategy`, at most `max_restarts` restarts within `max_seconds`
seconds (default 3 in 5) or it gives up, `auto_shutdown`, and `backoff`, a pause before restarts (default none).
Events: ActorRestarted, SupervisorGaveUp, ChildAbandoned.

Source: https://www.erlang.org/doc/man/supervisor and OTP's supervisor.erl.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actors.children import Parent, ParentRef
from actors.errors import ChildExists, ChildNotFound, ChildRunning, ChildStartError, GaveUp, SpecError
from actors.events import SupervisorGaveUp
from actors.intensity import Intensity
from actors.messages import SHUTDOWN, ChildExited, Shutdown
from actors.slot import RESTARTING, RUNNING, STOPPED, Slot
from actors.spec import AutoShutdown, Backoff, ChildSpec, Restart, Strategy, choice
from actors.strategies import affected, shuts_down, will_restart

__all__ = ["Supervisor", "SupervisorRef"]

logger = logging.getLogger("actors")


@dataclass(frozen=True, slots=True)
class _Again:
    """The supervisor's message to itself to start a child again.

    `counts` when the last try failed, which is a crash of its own.
    """

    slot: Slot
    reason: Any
    counts: bool


class SupervisorRef(ParentRef):
    """A ref of a supervisor, with its calls. Each raises ChildNotFound for an unknown id."""

    def terminate_child(self, id: str) -> None:
        """Stop a child and keep its specification; a temporary one is forgotten."""
        self._call("terminate_child", id)

    def restart_child(self, id: str) -> Any:
        """Start a stopped child again and return its ref. Raises ChildRunning, ChildStartError."""
        return self._call("restart_child", id)

    def delete_child(self, id: str) -> None:
        """Forget a stopped child. Raises ChildRunning."""
        self._call("delete_child", id)


class Supervisor(Parent):
    """A supervisor of fixed children."""

    ref_class = SupervisorRef
    CALLS = Parent.CALLS | {"delete_child", "restart_child", "terminate_child"}

    def init(
        self,
        children: Sequence[ChildSpec] = (),
        *,
        strategy: str = Strategy.ONE_FOR_ONE,
        max_restarts: int = 3,
        max_seconds: float = 5.0,
        auto_shutdown: str = AutoShutdown.NEVER,
        backoff: Backoff | None = None,
    ) -> None:
        """Start the children in order. Raises ChildStartError, with those before it stopped again, and SpecError."""
        self._strategy = choice("strategy", strategy, Strategy)
        self._auto_shutdown = choice("auto_shutdown", auto_shutdown, AutoShutdown)
        self._intensity = Intensity(max_restarts, max_seconds)
        self._backoff = backoff
        self._check(children)
        self.move_in()
        for spec in children:
            self._admit(spec)
        for slot in list(self.slots.values()):
            error = self.launch(slot)
            if error is not None:
                self._stop_children(STOPPED)
                raise ChildStartError(slot.id, error)

    def handle(self, message: Any) -> Any:
        """Try a restart again, or pass on what is not the supervisor's."""
        if not isinstance(message, _Again):
            return super().handle(message)
        slot = message.slot
        if self.slots.get(slot.id) is slot and slot.state == RESTARTING:
            if message.counts:
                self._recover(slot, message.reason)
            else:
                self._restart(slot, message.reason)
        return None

    def terminate(self, reason: Any) -> None:
        """Stop the children, the last started first."""
        self._stop_children(self.fate_of_names(reason))

    def child_exited(self, signal: ChildExited) -> None:
        """Act on a child's end by itself."""
        if not self.is_current(signal):
            return
        slot: Slot = signal.slot
        slot.reason = signal.reason
        if will_restart(slot.spec.restart, signal.reason):
            self._recover(slot, signal.reason)
            return
        slot.close()
        if slot.spec.restart is Restart.TEMPORARY:
            del self.slots[slot.id]
        others = any(other.spec.significant and other.state in (RUNNING, RESTARTING) for other in self.slots.values())
        if shuts_down(self._auto_shutdown, significant=slot.spec.significant, others_active=others):
            self.stop(SHUTDOWN)

    # -- calls

    def start_child(self, spec: ChildSpec) -> Any:
        """Add and start a child."""
        self._check([spec])
        slot = self._admit(spec)
        error = self.launch(slot)
        if error is not None:
            del self.slots[slot.id]
            slot.close()
            raise ChildStartError(slot.id, error)
        return slot.ref

    def terminate_child(self, id: str) -> None:
        """Stop a child."""
        slot = self._find(id)
        self.stop_child(slot, STOPPED)
        if slot.spec.restart is Restart.TEMPORARY:
            del self.slots[id]

    def restart_child(self, id: str) -> Any:
        """Start a stopped child."""
        slot = self._find(id)
        if slot.state != STOPPED:
            raise ChildRunning(id, slot.state)
        error = self.launch(slot)
        if error is not None:
            slot.close()
            raise ChildStartError(id, error)
        return slot.ref

    def delete_child(self, id: str) -> None:
        """Forget a stopped child."""
        slot = self._find(id)
        if slot.state != STOPPED:
            raise ChildRunning(id, slot.state)
        del self.slots[id]

    # -- restarts

    def _recover(self, slot: Slot, reason: Any) -> None:
        """Count a crash; give up, or restart, perhaps after a pause."""
        now = self.clock.monotonic()
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

    def _restart(self, failed: Slot, reason: Any) -> None:
        """Stop and start what the strategy says; a child that fails to start is tried again by a message, as in OTP."""
        ids = affected(self._strategy, list(self.slots), failed.id)
        slots = [self.slots[id] for id in ids]
        for slot in reversed(slots):
            if slot is not failed and slot.spec.restart is Restart.TEMPORARY:
                self.stop_child(slot, STOPPED)
                del self.slots[slot.id]
            else:
                self.stop_child(slot, RESTARTING)
        for slot in slots:
            if slot.id not in self.slots:
                continue
            error = self.launch(slot)
            if error is not None:
                slot.state = RESTARTING
                self.ref.tell(_Again(slot, error, counts=True))
                return
            self.count_restart(slot, reason)

    def _give_up(self, slot: Slot, reason: Any) -> None:
        error = GaveUp(self._cell.path, slot.id, self._intensity.max_restarts, self._intensity.max_seconds, reason)
        logger.error("%s", error)
        self.system.events.emit(SupervisorGaveUp(self._cell.path, slot.id, reason))
        self.stop(Shutdown(error))

    def _stop_children(self, state: str) -> None:
        for slot in reversed(list(self.slots.values())):
            self.stop_child(slot, state)

    # -- specifications

    def _admit(self, spec: ChildSpec) -> Slot:
        if spec.name in self.slots:
            raise ChildExists(spec.name)
        slot = self.slot_for(spec, spec.name)
        self.slots[slot.id] = slot
        return slot

    def _find(self, id: str) -> Slot:
        if id not in self.slots:
            raise ChildNotFound(id, tuple(self.slots))
        return self.slots[id]

    def _check(self, specs: Sequence[ChildSpec]) -> None:
        for spec in specs:
            if not isinstance(spec, ChildSpec):
                raise SpecError(f"expected children to be ChildSpecs, got: {spec!r}")
            if spec.significant and self._auto_shutdown is AutoShutdown.NEVER:
                raise SpecError(f"expected no significant child under auto_shutdown='never', got: {spec.name!r}")
