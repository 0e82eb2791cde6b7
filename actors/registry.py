"""Names of actors in one system; a name goes when its actor ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.errors import ActorDeadError, NameTaken
from actors.raw import Guard

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.ref import ActorRef

__all__ = ["Registry"]


class Registry:
    """The names of one system."""

    def __init__(self) -> None:
        self._lock = Guard()
        self._refs: dict[str, tuple[ActorRef, Cell]] = {}

    def register(self, name: str, ref: ActorRef) -> None:
        """Let `name` stand for `ref` until its present incarnation ends. Raises NameTaken, ActorDeadError."""
        cell = ref.cell
        if cell is None:
            raise ActorDeadError(ref.path, "not started")
        with self._lock:
            if cell.dead:
                raise ActorDeadError(ref.path, cell.reason)
            if name in self._refs and self._refs[name][1] is not cell:
                raise NameTaken(name, self._refs[name][0])
            self._refs[name] = (ref, cell)
            cell.names = {*(cell.names or ()), name}
        self._forget_if_dead(cell)

    def unregister(self, name: str) -> None:
        """Free `name`; harmless when nobody has it."""
        with self._lock:
            found = self._refs.pop(name, None)
            if found is not None and found[1].names is not None:
                found[1].names = found[1].names - {name}

    def whereis(self, name: str) -> ActorRef | None:
        """Return who has `name`, None when nobody does."""
        found = self._refs.get(name)
        return found[0] if found is not None else None

    def names(self) -> tuple[str, ...]:
        """Return all names, sorted."""
        with self._lock:
            return tuple(sorted(self._refs))

    def _forget_if_dead(self, cell: Cell) -> None:
        """Make up for an end that came between the look at `dead` and the entry."""
        if cell.dead:
            self.forget(cell)

    def forget(self, cell: Cell) -> None:
        """Free all names of an ended incarnation."""
        with self._lock:
            for name in cell.names or ():
                self._refs.pop(name, None)
            cell.names = None
