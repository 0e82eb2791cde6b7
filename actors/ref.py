"""Refs: what others hold of an actor. Messages go to one incarnation, or to a child's name that survives restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pykka

from actors.backends.answers import ThreadAnswer, ask_for_future, note_room
from actors.backends.base import RUNNERS
from actors.backends.futures import Future, refuse_cycle
from actors.cell import Cell
from actors.messages import NORMAL, Describe, Stop, StopBy
from actors.raw import get_ident

if TYPE_CHECKING:
    from actors.aio import AioRef
    from actors.slot import Slot

__all__ = ["STOP_GRACE", "ActorRef"]

STOP_GRACE = 0.1
"""Real seconds for which a stop lets the messages told before it be handled; then it overtakes them."""


class ActorRef(pykka.ActorRef[Any]):
    """A reference to an actor, safe to pass around.

    Equal to another ref of the same incarnation or the same child's name.
    """

    _slot: Slot | None

    def __init__(self, target: Cell | Slot) -> None:
        # pykka's constructor would read an actor, which lives elsewhere; what pykka's proxies need of it is in
        # __getattr__.
        self._target = target
        # isinstance is slow on abstract classes, and a ref is made with each actor.
        self._slot = cast("Slot", target) if hasattr(target, "pending") else None
        self._post = target.backend.post

    @property
    def path(self) -> str:
        """Return where the actor stands in its system, as `/supervisor/child`."""
        return self._target.path

    @property
    def cell(self) -> Cell | None:
        """Return the incarnation that messages go to now, for the package's own use."""
        return self._slot.cell if self._slot is not None else cast("Cell", self._target)

    def is_alive(self) -> bool:
        """Tell whether the actor (of a name that survives restarts: its present incarnation) has not ended."""
        cell = self.cell
        return cell is not None and not cell.dead

    def tell(self, message: Any) -> None:
        """Send `message` without waiting.

        Raises ActorDeadError when the actor has ended and no successor is to come.
        """
        taken = self._post(self._target, (message, None, self._slot))
        if taken is not True:
            self._wait_for_room(taken)

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """Send `message` and return the answer, or a future of it when `block` is False.

        Raises AskTimeout after `timeout` seconds, ActorDeadError when the actor ends before it answers, and what
        the actor raised.
        """
        runner, target = RUNNERS.get(get_ident()), self._target
        if not block:
            return ask_for_future(target, message, self._slot)
        if runner is None:
            answer = ThreadAnswer(target)
            taken = self._post(target, (message, answer, self._slot))
            if taken is not True:
                note_room(target, taken, answer)
            return answer.get(timeout)
        if (quick_ask := runner.quick_ask) is not None:
            return quick_ask(target, message, self._slot, timeout)
        asking, asked = runner.task(), target.present
        if asking is not None and asked is not None and (asked is asking or asked.waiting_for is not None):
            refuse_cycle(asking, target)
        return ask_for_future(target, message, self._slot).get(timeout=timeout)

    def stop(self, *, block: bool = True, timeout: float | None = None, reason: Any = NORMAL) -> Any:
        """Let the actor end with `reason`; returns whether it was alive (or a future of that when `block` is False).

        Messages told before are handled first, for at most `STOP_GRACE` seconds.
        """
        future: Future[bool] = Future()
        future.target = self._target
        if self._post(self._target, (Stop(reason), future, None)) is True:
            self._post(self._target, StopBy(reason, self._target.backend.real.monotonic() + STOP_GRACE))
        else:
            future.offer(False)
        return future.get(timeout=timeout) if block else future

    def describe(self, *, timeout: float | None = None) -> dict[str, Any]:
        """Return what the actor says about itself; asked ahead of the mailbox, so a flooded actor answers too."""
        future: Future[dict[str, Any]] = Future()
        future.target = self._target
        self._target.send(Describe(future))
        answer: dict[str, Any] = future.get(timeout=timeout)
        return answer

    @property
    def aio(self) -> AioRef:
        """Return the same ref for asyncio: `await ref.aio.ask(message, timeout=)`, `await ref.aio.stop()`."""
        # asyncio is heavy, and loaded already where somebody awaits.
        from actors.aio import AioRef

        return AioRef(self)

    def _wait_for_room(self, taken: bool | Future[None]) -> None:
        if isinstance(taken, bool):
            raise self._target.dead_error()
        taken.get()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorRef) and other._target is self._target

    def __hash__(self) -> int:
        return hash(id(self._target))

    def __repr__(self) -> str:
        return f"<ActorRef {self._target.path}>"

    def __str__(self) -> str:
        return self._target.path

    def __getattr__(self, name: str) -> Any:
        cell = self.cell
        if name == "_actor_weakref":
            return lambda: cell.actor if cell is not None else None
        if name == "actor_class":
            return self._slot.spec.cls if self._slot is not None else cast("Cell", self._target).cls
        if name == "actor_urn":
            return f"urn:actor:{self._target.path}:{id(self._target):x}"
        if name == "actor_stopped":
            return _Stopped(self)
        if name == "actor_inbox":
            return cell.mailbox if cell is not None else ()
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")


class _Stopped:
    """pykka's flag of an ended actor, read only."""

    __slots__ = ("_ref",)

    def __init__(self, ref: ActorRef) -> None:
        self._ref = ref

    def is_set(self) -> bool:
        return not self._ref.is_alive()
