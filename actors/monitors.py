"""Monitors and links: who hears of an actor's end.

A monitor is a signal to the watched actor. Whether it arrives before or after the end, exactly one answer comes
back: the end itself tells those on its list, and a signal that finds the actor ended is answered at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.errors import ActorDeadError, ActorError
from actors.messages import DownFor, Link, Unlink, Unwatch, Watch

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.ref import ActorRef

__all__ = ["Token", "demonitor", "link", "monitor", "unlink"]


class Token:
    """One monitor; given back to `demonitor`."""

    __slots__ = ("ref", "target")

    def __init__(self, ref: ActorRef, target: Cell) -> None:
        self.ref = ref
        self.target = target


def monitor(cell: Cell, ref: ActorRef) -> Token:
    """Let `cell` get one `Down(ref, reason)` when the present incarnation behind `ref` ends."""
    token = Token(ref, _present(ref))
    if cell.watching is None:
        cell.watching = {}
    cell.watching[token] = ref

    def sink(reason: Any) -> None:
        cell.send((DownFor(token, reason), None, None))

    token.target.send(Watch(token, sink))
    return token


def demonitor(cell: Cell, token: Token) -> None:
    """Take back a monitor, with a `Down` that may wait in the mailbox already."""
    if cell.watching is not None and cell.watching.pop(token, None) is not None:
        token.target.send(Unwatch(token))


def link(cell: Cell, ref: ActorRef) -> None:
    """Link `cell` and the present incarnation behind `ref`. Raises ActorError for itself."""
    other = _present(ref)
    if other is cell:
        raise ActorError(f"{cell.path} can't be linked to itself")
    if cell.links is None:
        cell.links = set()
    cell.links.add(other)
    other.send(Link(cell))


def unlink(cell: Cell, ref: ActorRef) -> None:
    """Remove the link between `cell` and the present incarnation behind `ref`."""
    other = ref.cell
    if cell.links is not None and other in cell.links:
        cell.links.discard(other)
        other.send(Unlink(cell))


def _present(ref: ActorRef) -> Cell:
    cell = ref.cell
    if cell is None:
        raise ActorDeadError(ref.path, "not started")
    return cell
