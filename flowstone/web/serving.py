"""The server of the web application: waitress, a pool of threads that wait for commits."""

from __future__ import annotations

import socket
import threading
from typing import Any

from flask import Flask
from waitress import wasyncore
from waitress.server import create_server

__all__ = ["Server"]

THREADS = 16
"""Pushes that wait for their commit at once; the store commits those that wait together."""

LAST_ROUNDS = 5


class Server:
    """Serves an application; `url` is where. Port 0 takes a free one.

    Raises:
        OSError: the address can't be listened on.
    """

    def __init__(self, app: Flask, *, host: str = "127.0.0.1", port: int = 8080, threads: int = THREADS) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=1024)
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
        self._map: dict[int, Any] = {}
        # The application's own limit answers in JSON; this one bounds what is read at all.
        most = 2 * int(app.config["MAX_CONTENT_LENGTH"])
        options: dict[str, Any] = {"threads": threads, "max_request_body_size": most, "ident": "flowstone"}
        self._server: Any = create_server(app, map=self._map, sockets=[listening], **options)
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def run(self) -> None:
        """Serve until `close` is called."""
        while not self._over.is_set():
            self._turn(1.0)
        self._server.task_dispatcher.shutdown()
        for _ in range(LAST_ROUNDS):
            # What was answered last is on its way out.
            self._turn(0.01)
        wasyncore.close_all(self._map, ignore_all=True)

    def start(self) -> None:
        """Serve in a thread of its own."""
        self._thread = threading.Thread(target=self.run, name="flowstone web", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more requests; those in hand are answered."""
        self._over.set()
        self._server.pull_trigger()
        if self._thread is not None:
            self._thread.join(10)

    def _turn(self, longest: float) -> None:
        """Let the sockets be served once, within so many seconds."""
        wasyncore.loop(timeout=longest, map=self._map, count=1)
