"""The alarm of a hub: one libev timer that fires what a real clock has due."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from actors.clock import RealClock

__all__ = ["Alarm"]


class Alarm:
    """The real clock of one hub, whose timers fire on the hub; `call` calls a function there, from any thread."""

    def __init__(self, call: Callable[[Callable[[], object]], None]) -> None:
        self._call = call
        self._loop: Any = None
        self._timer: Any = None
        self._due = 0.0
        self.clock = RealClock(self._set)

    def open(self, loop: Any) -> None:
        """Use this loop; called on the hub."""
        self._loop = loop

    def close(self) -> None:
        """Fire no more; called on the hub."""
        if self._timer is not None:
            self._timer.close()

    def _set(self, due: float) -> None:
        self._call(lambda: self._arm(due))

    def _arm(self, due: float) -> None:
        if self._timer is not None:
            if self._due <= due:
                return
            self._timer.close()
        self._due = due
        self._timer = self._loop.timer(max(0.0, due - time.monotonic()))
        self._timer.start(self._fire, update=True)

    def _fire(self) -> None:
        self._timer.close()
        self._timer = None
        due = self.clock.run_due()
        if due is not None:
            self._arm(due)
