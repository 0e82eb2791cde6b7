"""What `run_forever` waits for: a signal, or the news that the tree of actors is gone.

News come as bytes over a socket pair, as asyncio does it. A signal may come on another thread, or in the instant before
the waiting thread blocks: a lock would then sleep on, a file descriptor does not.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

__all__ = ["Ending"]

SIGNALS = (signal.SIGTERM, signal.SIGINT)
GONE = 0


class Ending:
    """One thread waits, any thread may announce that the tree is gone."""

    def __init__(self) -> None:
        self._gone = False
        self._writer: socket.socket | None = None
        self._heard = False

    def announce(self) -> None:
        """Wake who waits, or will wait."""
        self._gone = True
        writer = self._writer
        if writer is not None:
            # Full means woken already, closed means that nobody waits any more.
            with suppress(OSError):
                writer.send(bytes([GONE]))

    @contextmanager
    def heeded(self) -> Iterator[Callable[[], None]]:
        """Heed the ending, and in the main thread SIGTERM and SIGINT; gives a call that waits for one of them.

        A second signal ends the process at once.
        """
        reader, writer = socket.socketpair()
        with reader, writer:
            writer.setblocking(False)
            # Either the one who announces sees the writer, or we see that it is gone.
            self._writer = writer
            if self._gone:
                self.announce()
            with self._signals_to(writer):
                yield lambda: _wait(reader)
            self._writer = None

    @contextmanager
    def _signals_to(self, writer: socket.socket) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        handlers = {number: signal.signal(number, self._handle) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._heard:
            os._exit(128 + number)
        self._heard = True


def _wait(reader: socket.socket) -> None:
    # Other signals that the program handles are bytes here too.
    while reader.recv(1)[0] not in (GONE, *SIGNALS):
        pass
