"""The watch over a store for what other processes commit to it.

Others live in real time, so this looks in real time too, whatever clock the runtime has: once in `INTERVAL` seconds,
from the first listener on. It asks SQLite for a number that changes with the commits of other connections.
"""

import logging
from collections.abc import Callable

from actors.raw import Lock, start_thread
from flowstone.errors import RuntimeStopped
from flowstone.outcome import Outcome
from flowstone.state.connection import Connection
from flowstone.state.writer import Writer

__all__ = ["INTERVAL", "Watch"]

log = logging.getLogger(__name__)

INTERVAL = 0.5
"""Real seconds between two looks."""


class Watch:
    """Who wants to be told, and the thread that looks."""

    def __init__(self, writer: Writer, version: int, *, name: str) -> None:
        self._writer = writer
        self._version = version
        self._name = name
        self._gate = Lock()
        self._over = Lock()
        self._over.acquire()
        self._looking = False
        self._listeners: tuple[Callable[[], object], ...] = ()

    def listen(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call back after each look that finds a commit; returns what takes the listener back."""
        with self._gate:
            self._listeners = (*self._listeners, callback)
            starts, self._looking = not self._looking, True
        if starts:
            start_thread(f"{self._name}-watch", self._look_on)

        def take_back() -> None:
            with self._gate:
                self._listeners = tuple(other for other in self._listeners if other is not callback)

        return take_back

    def look(self) -> None:
        """Look once; never blocks.

        Raises:
            RuntimeStopped: the store is closed.
        """
        self._writer.look(Connection.data_version, self._compare)

    def close(self) -> None:
        """End the thread, without waiting for it; harmless when repeated."""
        with self._gate:
            if self._over.locked():
                self._over.release()

    def _look_on(self) -> None:
        while not self._over.acquire(timeout=INTERVAL):
            try:
                self.look()
            except RuntimeStopped:
                return
        self._over.release()

    def _compare(self, outcome: Outcome[int]) -> None:
        if outcome.value is None:
            log.warning("store %s can't be watched: %s", self._name, outcome.error)
            return
        before, self._version = self._version, outcome.value
        if before != self._version:
            for listener in self._listeners:
                _notify(listener)


def _notify(listener: Callable[[], object]) -> None:
    try:
        listener()
    except Exception:
        log.exception("a listener to the commits of others failed")
