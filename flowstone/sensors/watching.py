"""A wake-up from the file system: inotify where there is, through the package watchdog; the poll stays the truth.

Our own look at a folder opens it, so only what changes it counts: files that come, are moved in, or are closed after
they were written.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from flowstone.errors import ConfigError

__all__ = ["FolderWatch"]

CHANGES = {"closed", "created", "moved"}


class FolderWatch:
    """Calls `wake` when a folder changes; one for each sensor, shared by its polls."""

    def __init__(self, path: str, *, recursive: bool) -> None:
        self._path = path
        self._recursive = recursive
        self._observer: Any = None
        self._identity: str | None = None
        self._wake: Callable[[], None] = lambda: None
        self._lock = threading.Lock()

    def follow(self, identity: str | None, wake: Callable[[], None]) -> None:
        """Watch the folder of this identity, in place of one that was there before; None when there is none.

        Raises:
            ConfigError: the package watchdog is missing.
        """
        with self._lock:
            self._wake = wake
            if identity == self._identity:
                return
            self._end()
            if identity is not None:
                try:
                    self._observer = self._started()
                except OSError:
                    # It has left again, or there are too many watches: the next poll tries once more.
                    return
            self._identity = identity

    def stop(self) -> None:
        """Watch no more."""
        with self._lock:
            self._end()

    def dispatch(self, event: Any) -> None:
        """What watchdog calls for each event."""
        if event.event_type in CHANGES:
            self._wake()

    def _started(self) -> Any:
        try:
            from watchdog.observers import Observer
        except ImportError as error:
            raise ConfigError("FileArrival(watch=True) needs watchdog: pip install 'flowstone[watch]'") from error
        observer = Observer()
        handler: Any = self
        observer.schedule(handler, self._path, recursive=self._recursive)
        observer.start()
        return observer

    def _end(self) -> None:
        observer, self._observer, self._identity = self._observer, None, None
        if observer is not None:
            observer.stop()
