"""A wake-up from PostgreSQL: a thread that listens on a channel, and asks for a poll when something is told there."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

__all__ = ["Listener"]

log = logging.getLogger(__name__)

PATIENCE = 0.5
"""Seconds of a wait for notifications, after which the thread looks whether it shall end."""

RETRY = 5.0
"""Seconds after which a lost connection is made again; the poll goes on in the meantime."""


class Listener:
    """Calls `wake` for each notification, and after each connection, before which some may have been missed."""

    def __init__(self, url: str, channel: str) -> None:
        self._url = url
        self._channel = channel
        self._wake: Callable[[], None] = lambda: None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def listen(self, wake: Callable[[], None]) -> None:
        """Wake this one from now on."""
        with self._lock:
            self._wake = wake
            if self._thread is None:
                self._over = threading.Event()
                name = f"flowstone listener {self._channel}"
                self._thread = threading.Thread(target=self._serve, args=(self._over,), name=name, daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End the thread, soon."""
        with self._lock:
            self._over.set()
            self._thread = None

    def _serve(self, over: threading.Event) -> None:
        import psycopg

        while not over.is_set():
            try:
                self._follow(over)
            except (psycopg.Error, OSError) as error:
                log.warning("the listener of channel %s lost its connection: %s", self._channel, type(error).__name__)
                over.wait(RETRY)

    def _follow(self, over: threading.Event) -> None:
        import psycopg
        from psycopg.sql import SQL, Identifier

        with psycopg.connect(self._url, autocommit=True, connect_timeout=10) as connection:
            connection.execute(SQL("listen {}").format(Identifier(self._channel)))
            self._wake()
            while not over.is_set():
                for _ in connection.notifies(timeout=PATIENCE):
                    self._wake()
