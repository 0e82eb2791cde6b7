"""What a system owes its process: an orderly end at interpreter shutdown, and one clear error in a forked child.

Threads don't survive a fork, so neither does a system: in the child its backends are marked, and whatever is sent
raises ForkedSystem.
"""

from __future__ import annotations

import atexit
import os
from typing import TYPE_CHECKING
from weakref import WeakSet

from actors.backends.base import RUNNERS

if TYPE_CHECKING:
    from actors.system import System

__all__ = ["adopt"]

EXIT_TIMEOUT = 2.0
_systems: WeakSet[System] = WeakSet()


def adopt(system: System) -> None:
    """Look after `system` until it is stopped or gone."""
    _systems.add(system)


def _stop_all() -> None:
    for system in list(_systems):
        if not system.backend.forked:
            system.stop(timeout=EXIT_TIMEOUT)


def _forked() -> None:
    RUNNERS.clear()
    for system in list(_systems):
        system.backend.mark_forked()


atexit.register(_stop_all)
os.register_at_fork(after_in_child=_forked)
