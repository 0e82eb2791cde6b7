"""The accident on purpose: one day's reading is held until the actor that works on it has been crashed."""

import threading
from pathlib import Path

from flowstone.demo.weather import Day

__all__ = ["PATIENCE", "Accident"]

PATIENCE = 10.0
"""Seconds that the reading waits for the crash, and the crash for the reading; then there is no accident."""


class Accident:
    """Waits for the first reading of one day's file; `read` is the demo's way to read files."""

    def __init__(self, day: str | None) -> None:
        self.day = day
        self._begun = threading.Event()
        self._over = threading.Event()

    def read(self, path: Path) -> Day:
        """The day of a file; the chosen one's first reading is held until the accident is over."""
        if path.stem == self.day and not self._begun.is_set():
            self._begun.set()
            self._over.wait(PATIENCE)
        return Day.read(path)

    def ready(self, timeout: float = 0.0) -> bool:
        """Whether the chosen day is being read; waits up to `timeout` seconds for it."""
        return self.day is not None and self._begun.wait(timeout)

    def over(self) -> None:
        """Lets the reading go on."""
        self._over.set()
