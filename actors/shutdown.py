"""Stopping actors, with patience and an end to it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from actors.cell import Cell
from actors.events import ChildAbandoned
from actors.messages import SHUTDOWN, Stop, StopBy
from actors.ref import STOP_GRACE

__all__ = ["shut_down", "stop_all"]

logger = logging.getLogger("actors")
KILL_PATIENCE = 0.5


def shut_down(cell: Cell, patience: float | None, reason: Any = SHUTDOWN) -> bool:
    """Stop one actor: ask, wait `patience` real seconds (None for ever, 0 not at all), kill.

    Returns whether it went by itself or was broken off.
    """
    return stop_all([cell], patience, reason)


def stop_all(cells: Sequence[Cell], patience: float | None, reason: Any = SHUTDOWN, *, graceful: bool = False) -> bool:
    """Stop actors side by side.

    `graceful` lets what was told before be handled first. Returns False when one had to be abandoned.
    """
    waits = [(cell, cell.ended()) for cell in cells if not cell.dead]
    if patience != 0:
        for cell, _ in waits:
            if graceful:
                cell.send((Stop(reason), None, None))
                cell.send(StopBy(reason, cell.backend.real.monotonic() + STOP_GRACE))
            else:
                cell.send(Stop(reason))
    if not waits:
        return True
    monotonic = waits[0][0].backend.real.monotonic
    deadline = None if patience is None else monotonic() + patience
    clean = True
    for cell, ended in waits:
        remaining = None if deadline is None else max(0.0, deadline - monotonic())
        if remaining == 0.0 and not ended.done or not ended.settled(remaining):
            clean = _kill(cell) and clean
    return clean


def _kill(cell: Cell) -> bool:
    cell.kill()
    if cell.let_go(KILL_PATIENCE):
        return True
    name = cell.slot.id if cell.slot is not None else cell.path
    cell.system.abandoned.append(cell.path)
    logger.error("%s could not be stopped and was abandoned", cell.path)
    cell.system.events.emit(ChildAbandoned(cell.path, name))
    return False
