"""The tree of actors as rows: what `system.tree()` shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actors.slot import RUNNING, Slot

if TYPE_CHECKING:
    from actors.cell import Cell

__all__ = ["Row", "row_of"]


@dataclass(frozen=True, slots=True)
class Row:
    """One actor; times are seconds of the system's clock.

    `state` is `starting running stopping restarting stopped broken ended`.

    `last_message` is the class name of the last message, `last_message_at` when the turn with it began, `age` since
    this incarnation started.
    """

    name: str
    path: str
    cls: str
    state: str
    restarts: int
    mailbox: int
    handled: int
    dropped: int
    last_message: str | None
    last_message_at: float | None
    age: float | None
    children: tuple[Row, ...]

    def walk(self) -> Iterator[Row]:
        """Return this row and all below it, parents first."""
        yield self
        for child in self.children:
            yield from child.walk()

    def __str__(self) -> str:
        return "\n".join(self._lines(0))

    def _lines(self, depth: int) -> Iterator[str]:
        yield f"{'  ' * depth}{self.name} ({self.cls}) {self.state}, restarts {self.restarts}, mailbox {self.mailbox}"
        for child in self.children:
            yield from child._lines(depth + 1)


def row_of(cell: Cell | None, slot: Slot | None, now: float) -> Row:
    """Return the row of an actor (a root has no slot, a stopped child perhaps no cell) with its children."""
    path = slot.path if slot is not None else cell.path if cell is not None else ""
    cls = slot.spec.cls if slot is not None else cell.cls if cell is not None else object
    living = cell is not None and not cell.dead
    children = list(getattr(cell.actor, "slots", {}).values()) if cell is not None and living else []
    return Row(
        name=slot.id if slot is not None else path.rpartition("/")[2],
        path=path,
        cls=cls.__name__,
        state=_state(cell, slot),
        restarts=slot.restarts if slot is not None else 0,
        mailbox=len(cell.mailbox) if cell is not None else 0,
        handled=cell.handled if cell is not None else 0,
        dropped=cell.counters().get("dropped", 0) if cell is not None else 0,
        last_message=cell.last.__name__ if cell is not None and cell.last is not None else None,
        last_message_at=cell.last_at if cell is not None and cell.last is not None else None,
        age=now - cell.started_at if cell is not None and living else None,
        children=tuple(row_of(child.cell, child, now) for child in children),
    )


def _state(cell: Cell | None, slot: Slot | None) -> str:
    if slot is not None and (slot.state != RUNNING or cell is None):
        return slot.state
    return cell.status if cell is not None else "ended"
